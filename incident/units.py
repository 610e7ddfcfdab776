"""Units that change: seconds that were milliseconds are a matter of the exporter, not an incident."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from incident.expectations import quantiles
from incident.series import Array, Frame, Quantity

_THOUSAND = 3.0
"""log10 of the step between ms and s, and between µs and ms."""
_NEAR = 0.3
"""How near a thousand, in log10: 500 to 2,000 times."""
_UNUSUAL = 10 ** (_THOUSAND - _NEAR)
_SAME_SHAPE = 0.3
"""A unit moves every quantile by the same factor, within twofold; a fault moves the high ones otherwise."""
_AS_BEFORE = 1.0
"""Within ten times of what is usual, the unit is the usual one."""
_TOLD_APART = 1.5
"""Quantiles that differ by less than this have no shape to tell a unit by."""
_NEVER_SEEN = 10.0
"""A unit is in question only so many times beyond all that the history held: what swings so anyway, swings."""


@dataclass(frozen=True)
class UnitChange:
    """One service's latencies, all of them, came in another unit."""

    service: str
    factor: float
    """By what they are multiplied from here on, to be in the unit of the history again."""


class Units:
    """Keeps latencies in the unit of their history, by how all quantiles of a service stand to their usual values."""

    def __init__(self, history: Frame) -> None:
        """Args: `history`: known-healthy rows, which the unit is taken from."""
        least, centre, most = np.full((3, len(history.columns)), np.nan)
        known = np.isfinite(history.values).any(axis=0)
        least[known], centre[known], most[known] = quantiles(history.values[:, known], (0.0, 0.5, 1.0))
        self._centre, self._least, self._most = centre, least / _NEVER_SEEN, most * _NEVER_SEEN
        families = defaultdict(list)
        for place, column in enumerate(history.columns):
            if column.quantity is Quantity.LATENCY and self._centre[place] > 0:
                families[column.service].append(place)
        self._families = {
            service: np.array(places)
            for service, places in families.items()
            if self._centre[places].max() >= _TOLD_APART * self._centre[places].min()
        }
        self._latencies = np.concatenate([np.empty(0, dtype=int), *self._families.values()])
        self._factor = np.ones(len(self._centre))

    def restore(self, rows: Array) -> tuple[Array, tuple[tuple[int, UnitChange], ...]]:
        """The next rows, shape (n, m), in the units of the history, and what has changed at which of them."""
        ratios = rows[:, self._latencies] / self._centre[self._latencies]
        usual = np.isnan(ratios) | ((ratios < _UNUSUAL) & (ratios > 1 / _UNUSUAL))
        if usual.all() and (self._factor == 1).all():
            return rows, ()
        restored, changes = rows.copy(), []
        for place, row in enumerate(rows):
            if not usual[place].all() or (self._factor != 1).any():
                changes += [(place, each) for each in self._changes(row)]
                restored[place] *= self._factor
        return restored, tuple(changes)

    def _changes(self, row: Array) -> list[UnitChange]:
        found = []
        for service, places in self._families.items():
            known = places[row[places] > 0]
            factor = self._factor_of(row[known], known)
            if factor is not None and factor != self._factor[places[0]]:
                self._factor[places] = factor
                found.append(UnitChange(service, factor))
        return found

    def _factor_of(self, values: Array, places: np.ndarray) -> float | None:
        """By what these quantiles must be multiplied; `None`: they do not say."""
        centre = self._centre[places]
        if len(values) < 2 or centre.max() < _TOLD_APART * centre.min():  # noqa: PLR2004 - a shape takes two
            return None
        steps = np.log10(values / centre)
        step = float(np.median(steps))
        if abs(step) < _AS_BEFORE:
            return 1.0
        new = (values > self._most[places]).all() or (values < self._least[places]).all()
        if new and np.ptp(steps) <= _SAME_SHAPE and abs(abs(step) - _THOUSAND) <= _NEAR:
            return float(10 ** -np.copysign(_THOUSAND, step))
        return None
