"""Which services' traffic goes together, and where it no longer does.

Where the call graph is not known, services whose traffic rose and fell together while all was well stand for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from incident.movements import movements, quantiles
from incident.series import Array, Column, Frame, Quantity

COUPLED = 0.6
"""Correlation of two services' healthy traffic from which on one is taken to call the other."""

MIRRORED = 0.99
"""Correlation of healthy latency from which on a service is taken to be what users meet."""

ENOUGH = 20
"""Healthy rows below which a correlation says nothing."""

_TINY = 1e-9


@dataclass(frozen=True)
class Coupling:
    """Two services of which the first one calls the second, as far as is known."""

    caller: str
    callee: str
    weight: float
    """0..1: how much of what happens to the caller this callee accounts for."""
    far: float
    """Spreads by which the callee's traffic for each request of the caller moved; NaN: it could not be told."""


def couplings(history: Frame, recent: Frame, onset: float, graph: Sequence[tuple[str, str]]) -> tuple[Coupling, ...]:
    """The calls of the graph; without one, both ways between services whose healthy traffic went together."""
    traffic = {column.service: column for column in recent.columns if column.quantity is Quantity.TRAFFIC}
    weights = _known(graph) if graph else _together(history, tuple(traffic.values()))
    pairs = [pair for pair in weights if pair[0] in traffic and pair[1] in traffic]
    far = dict(zip(pairs, _moved(history, recent, onset, traffic, pairs), strict=True))
    return tuple(Coupling(*pair, weight, far.get(pair, np.nan)) for pair, weight in weights.items())


def mirror(history: Frame, entry: str) -> str | None:
    """The service whose healthy latency is that of the entry: what users meet under its own name; `None`: none."""
    latency = [column for column in history.columns if column.quantity is Quantity.LATENCY]
    others = [column for column in latency if column.service != entry]
    values, known = history.only(latency).values, history.only(others)
    best, found = MIRRORED, None
    for place, column in enumerate(latency):
        if column.service == entry:
            for other, likeness in zip(others, _correlations(values[:, place], known.values), strict=True):
                if likeness >= best:
                    best, found = likeness, other.service
    return found


def _known(graph: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], float]:
    """Each call by the share that it is of its caller's."""
    callees = [caller for caller, _ in dict.fromkeys(graph)]
    return {(caller, callee): 1 / callees.count(caller) for caller, callee in dict.fromkeys(graph)}


def _together(history: Frame, columns: Sequence[Column]) -> Mapping[tuple[str, str], float]:
    values = history.only(columns).values
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < ENOUGH or len(columns) <= 1:
        return {}
    values = np.log(np.maximum(values, 0) + quantiles(values, (0.5,))[0] / 10 + _TINY)
    likeness = [_correlations(values[:, place], values) for place in range(len(columns))]
    return {
        (columns[one].service, columns[other].service): float(likeness[one][other])
        for one in range(len(columns))
        for other in range(len(columns))
        if one != other and likeness[one][other] >= COUPLED
    }


def _correlations(values: Array, others: Array) -> Array:
    """Pearson's, of a column (n,) with each of m others (n, m) on the rows that both have: shape (m,); 0: not known."""
    both = np.isfinite(values)[:, None] & np.isfinite(others)
    count = both.sum(axis=0)
    size = np.maximum(count, 1)
    first = np.where(both, values[:, None], 0.0)
    second = np.where(both, others, 0.0)
    first = np.where(both, first - first.sum(axis=0) / size, 0.0)
    second = np.where(both, second - second.sum(axis=0) / size, 0.0)
    scale = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    known = (count >= ENOUGH) & (scale > 0)
    return np.asarray(np.where(known, (first * second).sum(axis=0) / np.where(known, scale, 1.0), 0.0))


def _moved(
    history: Frame, recent: Frame, onset: float, traffic: Mapping[str, Column], pairs: Sequence[tuple[str, str]]
) -> Array:
    """How far each callee's traffic moved for each request of its caller."""
    callers = [traffic[caller] for caller, _ in pairs]
    callees = [traffic[callee] for _, callee in pairs]
    names = tuple(Column(service=callee, metric=caller, quantity=Quantity.TRAFFIC) for caller, callee in pairs)

    def shares(frame: Frame) -> Frame:
        asked = frame.only(callers).values
        some = asked > 0
        values = np.where(some, frame.only(callees).values / np.where(some, asked, 1.0), np.nan)
        return Frame(frame.times, names, values)

    return movements(shares(history), shares(recent), onset).far
