"""How far each metric moved since the onset, against what is known to be healthy and against the rows just before.

A robust score in the manner of BARO's RobustScorer (Pham et al., FSE 2024): the distance from the median in units of
the usual spread. Spread is taken at several quantiles, so that a metric that is quiet most of the time and not always
does not pass for moved; and what stood there already before the onset is no movement.
"""

from dataclasses import dataclass

import numpy as np

from incident.expectations import smallest
from incident.series import Array, Column, Frame, Quantity

_SCALED = frozenset({Quantity.LATENCY, Quantity.CPU, Quantity.MEMORY, Quantity.IO, Quantity.TRAFFIC})
"""Quantities whose changes are told as ratios: doubling is as much at any level."""

SOFTENING = 0.1
"""Of a column's median: what is added before the logarithm, so that values near zero make no ratio of their own; the
least that matters of such a metric, where that is more."""

RATIO_FLOOR = 0.05
"""The smallest spread of what is told as a ratio: nobody is woken for 5 %, nor for less than matters of it."""

SHARE_FLOOR = 0.02
"""The smallest spread of other columns, of their median."""

FAILED_FLOOR = 0.005
"""The smallest spread of what failed or succeeded, of all: one in two hundred; of a number of failures, one."""

FAR = 20.0
"""Farther than this many spreads is not more telling: the spread itself is not known that well."""

FEW = 10
"""So many healthy rows are few: what is known from them alone, or only now and then among many, counts for less."""

BEFORE = 5
"""Rows just before the onset: what stood in all of them is no movement."""

AFTER = 3
"""Latest rows that are judged: the median of them, so that one odd row does not count."""

CLEAR = 3.0
"""Spreads beyond which a metric has clearly moved."""

_SPREADS = ((0.25, 0.6745), (0.05, 1.645), (0.01, 2.326))
"""Tail probability, and how many standard deviations from the median a normal distribution puts it."""

_TINY = 1e-9


@dataclass(frozen=True)
class Movements:
    """How far each of m columns moved."""

    far: Array
    """Shape (m,): spreads, with the sign of the movement, within ±`FAR`; NaN: it could not be told."""
    first: Array
    """Shape (m,): unix seconds of the first row since the onset that was clearly off; NaN: none was."""


def movements(history: Frame, recent: Frame, onset: float) -> Movements:
    """How far each column moved since the onset.

    Args:
        history: known-healthy rows; of a column that has none, the rows before the onset stand for them if they are
            `FEW` at least.
        recent: rows up to now.
        onset: unix seconds; the first row of the trouble bears it or is later.

    Returns:
        One value for each column of `recent`.
    """
    healthy = history.only(recent.columns).values
    earlier, since = recent.values[recent.times < onset], recent.values[recent.times >= onset]
    nothing = np.full(len(recent.columns), np.nan)
    if not len(since):
        return Movements(nothing, nothing)
    unknown = ~np.isfinite(healthy).any(axis=0) & (len(earlier) >= FEW)
    rows = np.where(unknown, len(earlier), len(healthy))
    known = np.vstack([healthy, np.where(unknown, earlier, np.nan)])
    ratio = np.array([column.quantity in _SCALED for column in recent.columns], dtype=bool)
    level = np.nan_to_num(np.abs(quantiles(known, (0.5,))[0]))
    largest = np.nan_to_num(quantiles(np.vstack([known, recent.values]), (1.0,))[0])
    least = smallest(recent.columns, level)
    added = np.fmax(SOFTENING * level, least)
    ratios = np.fmax(RATIO_FLOOR, least / (level + added))
    floor = np.array([_floor(*each) for each in zip(recent.columns, level, largest, ratios, strict=True)])
    known, before, since = (_ratios(values, ratio, added) for values in (known, earlier[-BEFORE:], since))
    middle, up, down = _spread(known, floor)
    sure = np.isfinite(known).sum(axis=0) / (rows + FEW)
    (now,) = quantiles(since[-AFTER:], (0.5,))
    usual = _nearest(before, middle)

    def spreads(values: Array) -> Array:
        moved = _lesser(values - middle, values - usual)
        return np.asarray(sure * np.clip(np.where(moved > 0, moved / up, moved / down), -FAR, FAR))

    off = np.abs(spreads(since)) >= CLEAR
    first = np.where(off.any(axis=0), recent.times[recent.times >= onset][off.argmax(axis=0)], np.nan)
    return Movements(spreads(now), first)


def quantiles(values: Array, shares: tuple[float, ...]) -> Array:
    """Of each of m columns without its NaN: shape (len(shares), m); NaN where a column has no value."""
    if not len(values):
        return np.full((len(shares), values.shape[1]), np.nan)
    ordered = np.sort(values, axis=0)
    last = np.isfinite(values).sum(axis=0) - 1
    places = np.maximum(last, 0) * np.array(shares)[:, None]
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, np.maximum(last, 0))
    lower, upper = np.take_along_axis(ordered, low, axis=0), np.take_along_axis(ordered, high, axis=0)
    return np.asarray(np.where(last >= 0, lower + (places - low) * (upper - lower), np.nan))


def _floor(column: Column, level: float, largest: float, ratio: float) -> float:
    """The smallest spread of a column of that healthy median and that largest value, of ratios that it is told as."""
    match column.quantity:
        case quantity if quantity in _SCALED:
            return float(np.log1p(ratio))
        case Quantity.SUCCESS:
            return FAILED_FLOOR * level + _TINY
        case Quantity.ERRORS if largest <= 1:
            return FAILED_FLOOR
        case Quantity.ERRORS:
            return 1.0
        case _:
            return SHARE_FLOOR * level + _TINY


def _ratios(values: Array, ratio: Array, added: Array) -> Array:
    """Logarithms in the columns that are told as ratios."""
    softened = np.where(ratio, np.maximum(values, 0) + added + _TINY, 1.0)
    return np.asarray(np.where(ratio, np.log(softened), values))


def _spread(known: Array, floor: Array) -> tuple[Array, Array, Array]:
    """The median, and the standard deviation above and below it that fits the widest of the quantiles."""
    (middle,) = quantiles(known, (0.5,))
    up = down = floor
    for tail, deviations in _SPREADS:
        low, high = quantiles(known, (tail, 1 - tail))
        up, down = np.fmax(up, (high - middle) / deviations), np.fmax(down, (middle - low) / deviations)
    return middle, up, down


def _nearest(before: Array, middle: Array) -> Array:
    """Of each column, the value of `before` that is nearest to `middle`, or the first; NaN: there is none."""
    if not len(before):
        return np.full(len(middle), np.nan)
    distance = np.abs(before - middle)
    nearest = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=0)
    return np.asarray(before[nearest, np.arange(len(middle))])


def _lesser(first: Array, second: Array) -> Array:
    """The smaller movement where both go the same way, else none; where one is not known, the other one."""
    both = np.where(np.sign(first) == np.sign(second), np.where(abs(first) < abs(second), first, second), 0.0)
    return np.asarray(np.where(np.isnan(first), second, np.where(np.isnan(second), first, both)))
