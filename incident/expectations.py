"""What a metric is like when all is well: by hour of the week where the history is long enough, and under its load."""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from incident.series import Array, Column, Frame, Quantity

HOURS_IN_A_WEEK = 168
_SEASONAL_FROM = timedelta(weeks=2).total_seconds()
"""History that has each hour of the week twice: with less, an hour's habit is one day's accident."""
_PAIRS = 30
"""Samples of a metric and its service's traffic that a slope is learnt from: a regression's usual least."""
_WORTH = 0.8
"""An hour's habit or a load's slope is kept where it leaves at most this share of the spread."""
_CORRELATED = 0.5
"""Under this correlation a slope is not worth its try."""
_LOAD_REACH = 3.0
"""How far beyond the most traffic of the history a slope is trusted, in multiples of it."""
_EPOCH_HOUR = 72
"""1970-01-01 was a Thursday: its first hour is the week's 72nd, counted from Monday in UTC."""
_TINY = 1e-9

_SMALLEST: tuple[tuple[Quantity, tuple[tuple[str, float], ...]], ...] = (
    (Quantity.SUCCESS, (("_pct", 0.2), ("", 0.002))),
    (Quantity.ERRORS, (("_pct", 0.2), ("_ratio", 0.002), ("", 1.0))),
    (Quantity.LATENCY, (("_ms", 1.0), ("", 0.001))),
    (Quantity.CPU, (("_pct", 1.0), ("_m", 10.0), ("", 0.01))),
)
"""A spread under these matters to nobody, by the unit that a metric's name ends in: 0.2 % of the requests, 1 ms, 1 % of
a processor."""
_SMALLEST_SHARE = 0.05
"""Nor does one under this share of the usual value; of ratios that are near 1 by nature the values above decide."""


@dataclass(frozen=True)
class Expectation:
    """The usual value and spread of m columns, each in its own unit."""

    centre: Array
    """Shape (m,): medians; NaN where nothing is known."""
    spread: Array
    """Shape (m,): robust standard deviations, never under what matters."""
    season: Array | None
    """Shape (168, m): what each hour of the week (UTC, from Monday) adds; `None`: the history is too short."""
    slope: Array
    """Shape (m,): what one more of its service's traffic adds; 0: nothing."""
    traffic: np.ndarray
    """Shape (m,): the place of the service's traffic among the columns; -1: it has none."""
    load: Array
    """Shape (2, m): the median and the most of that traffic."""

    def usual(self, times: Array) -> Array:
        """The usual values under the usual load at `times`, (n,), unix seconds: shape (n, m), or (m,) for all times."""
        return self.centre if self.season is None else self.centre + self.season[_hours(times)]

    def distances(self, times: Array, values: Array) -> Array:
        """How far `values`, shape (n, m), are from usual, in spreads; NaN: not known. `times`: (n,), unix seconds.

        More load excuses what it usually brings, less load accuses nobody.
        """
        beyond = values - self.usual(times)
        loaded = np.flatnonzero(self.slope)
        if len(loaded):
            usual, most = self.load[:, loaded]
            now = np.clip(values[:, self.traffic[loaded]], usual, most * _LOAD_REACH)
            beyond[:, loaded] -= np.nan_to_num(self.slope[loaded] * (now - usual))
        return np.asarray(beyond / self.spread, dtype=np.float64)


def learn(history: Frame) -> Expectation:
    """What the columns of `history`, all of it healthy, are usually like; columns without a value stay unknown."""
    values, width = history.values, len(history.columns)
    centre, spread = np.full(width, np.nan), np.zeros(width)
    known = np.isfinite(values).any(axis=0)
    centre[known] = quantiles(values[:, known], (0.5,))[0]
    season = _season(history, centre)
    rest = values - centre
    if season is not None:
        rest = rest - season[_hours(history.times)]
    slope, traffic, load = _loads(history, rest)
    unscaled = Expectation(centre, np.ones(width), season, slope, traffic, load)
    spread[known] = _spread(unscaled.distances(history.times, values)[:, known])
    return replace(unscaled, spread=np.fmax(spread, smallest(history.columns, centre)))


def quantiles(values: Array, shares: tuple[float, ...]) -> Array:
    """The quantiles of each column of (n, m) that has a value, shape (len(shares), m), as numpy.nanquantile gives them.

    One sort for all columns: numpy's own takes them one by one.
    """
    ordered = np.sort(values, axis=0)
    last = np.isfinite(ordered).sum(axis=0) - 1
    found = np.empty((len(shares), values.shape[1]))
    for place, share in enumerate(shares):
        at = last * share
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, last)
        low, high = (np.take_along_axis(ordered, rows[None, :], axis=0)[0] for rows in (below, above))
        found[place] = low + (high - low) * (at - below)
    return found


def smallest(columns: tuple[Column, ...], centre: Array) -> Array:
    """The least that matters of each of m columns of those usual values, (m,), in its own unit: shape (m,)."""
    units = dict(_SMALLEST)
    floors = np.full(len(columns), _TINY)
    for place, column in enumerate(columns):
        ends = units.get(column.quantity, (("", _TINY),))
        floor = next(size for end, size in ends if column.metric.endswith(end))
        share = 0.0 if column.quantity in {Quantity.SUCCESS, Quantity.ERRORS} else _SMALLEST_SHARE
        floors[place] = np.fmax(floor, share * abs(centre[place]))
    return floors


def _hours(times: Array) -> np.ndarray:
    return (times // 3600 + _EPOCH_HOUR).astype(int) % HOURS_IN_A_WEEK


def _spread(values: Array) -> Array:
    """The robust standard deviation of each column of (n, m): the interquartile range over a normal one's, 1.349."""
    low, high = quantiles(values, (0.25, 0.75))
    return np.asarray((high - low) / 1.349, dtype=np.float64)


def _season(history: Frame, centre: Array) -> Array | None:
    times = history.times
    if len(times) == 0 or times[-1] - times[0] < _SEASONAL_FROM:
        return None
    hours = _hours(times)
    season = np.zeros((HOURS_IN_A_WEEK, len(history.columns)))
    for hour in range(HOURS_IN_A_WEEK):
        rows = history.values[hours == hour]
        known = np.isfinite(rows).sum(axis=0) > 1
        season[hour, known] = quantiles(rows[:, known], (0.5,))[0] - centre[known]
    known = np.isfinite(history.values).any(axis=0)
    worth = np.full(known.shape, fill_value=False)
    with_it, without = history.values[:, known] - season[hours][:, known], history.values[:, known]
    worth[known] = _spread(with_it) <= _WORTH * _spread(without)
    season[:, ~worth] = 0
    return season if worth.any() else None


def _loads(history: Frame, rest: Array) -> tuple[Array, np.ndarray, Array]:
    """Slope, place of the traffic, and its median and maximum, for each column."""
    columns = history.columns
    carriers = {each.service: place for place, each in enumerate(columns) if each.quantity is Quantity.TRAFFIC}
    slope, load = np.zeros(len(columns)), np.zeros((2, len(columns)))
    traffic = np.array([carriers.get(each.service, -1) for each in columns], dtype=int)
    for place, column in enumerate(columns):
        if column.quantity not in {Quantity.CPU, Quantity.LATENCY} or traffic[place] < 0:
            continue
        carried = history.values[:, traffic[place]]
        both = np.isfinite(rest[:, place]) & np.isfinite(carried)
        if both.sum() >= _PAIRS:
            slope[place] = _slope(carried[both], rest[both, place])
            load[:, place] = np.median(carried[both]), carried[both].max()
    return slope, traffic, load


def _slope(load: Array, values: Array) -> float:
    """What one more of `load` adds to `values`, both (n,); 0 where that explains little, or less comes with more."""
    low, high = quantiles(np.column_stack([load, values]), (0.01, 0.99))
    load, values = np.clip(load, low[0], high[0]), np.clip(values, low[1], high[1])
    off_load, off_values = load - load.mean(), values - values.mean()
    varies, together = off_load @ off_load, off_load @ off_values
    if together <= _CORRELATED * np.sqrt(varies * (off_values @ off_values)):
        return 0.0
    slope = float(together / varies)
    before, after = _spread(np.column_stack([values, values - slope * load]))
    return slope if after <= _WORTH * before else 0.0
