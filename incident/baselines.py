"""A baseline: what is extreme for each metric of a system, learnt from history that is known to be healthy.

No label teaches it. A column's limit is the worst that its own healthy history held, times how far a part of that
history went beyond the rest of it (for columns of the same metric together: metrics that are wild on one service are
trusted on none), times a margin for the time that the history is too short to have seen.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from incident.expectations import Expectation, learn
from incident.recent import Recent
from incident.sensitivity import Sensitivity
from incident.series import Array, Column, Frame

LEAST_ROWS = 12
"""Samples of a column without which nothing is known of it: three quarters of an hour, looked at every few minutes."""
_LEAST_SHARE = 0.25
"""A column with fewer values than this share of the rows is silent by habit: what it says when it speaks is no norm."""
_PARTITIONS = (4, 6)
"""Ways to cut the history into parts that judge each other: two, so that no boundary halves its worst spell in both."""
_LEAST_PART = 6
"""Rows of a part: with fewer there is nothing to last."""
_ALIKE = 90
"""Percentile over the columns of one metric that each of them is held to; its own worst counts whatever it is."""
_TAIL = 0.3
"""Shape of the tail by which the worst grows with time: n times the time, n ** 0.3 times the distance. Return levels of
a generalised Pareto tail with the shape 0.3, in the middle of what latencies show (0.1 to 0.5)."""
_LEAST_MARGIN = 1.25
"""However long the history is."""


@dataclass(frozen=True)
class Baseline:
    """What is usual and what is extreme for m columns."""

    columns: tuple[Column, ...]
    expectation: Expectation
    sign: Array
    """Shape (m,): 1 where more is worse, -1 where less is, NaN where neither is or too little is known."""
    limit: Array
    """Shape (m,), in deviations: what lasts at this distance is extreme; infinite where `sign` is NaN."""

    @property
    def knows(self) -> int:
        """How many columns it can judge."""
        return int(np.isfinite(self.sign).sum())

    def usual(self, time: float) -> tuple[Array, Array]:
        """The usual values at `time`, unix seconds, and how far from them extreme begins; each of shape (m,)."""
        usual = np.broadcast_to(self.expectation.usual(np.array([time])), (1, len(self.columns)))[0]
        return usual, self.limit * self.expectation.spread

    def deviations(self, times: Array, values: Array) -> Array:
        """How bad `values`, shape (n, m), are at `times`, (n,): deviations from usual, NaN where that is not known.

        Deviations are robust standard deviations in the direction that is bad.
        """
        return np.asarray(self.expectation.distances(times, values) * self.sign, dtype=np.float64)


def learn_baseline(history: Frame, entry: str, sensitivity: Sensitivity) -> Baseline:
    """The baseline of `history`, all of it healthy; of an empty one, a baseline that knows no column.

    Args:
        history: the longer the better; two weeks or more show the hours of the week, too.
        entry: the service that users meet, whose metrics are a kind of their own.
        sensitivity: how readily something is extreme.
    """
    baseline = _plain(history, sensitivity)
    if not baseline.knows:
        return baseline
    beyond = np.ones(len(history.columns))
    for parts in _PARTITIONS:
        beyond = np.fmax(beyond, _beyond_the_rest(history, parts, sensitivity))
    kinds = defaultdict(list)
    for place, column in enumerate(history.columns):
        if np.isfinite(baseline.sign[place]):
            kinds[column.metric, column.service == entry].append(place)
    for places in kinds.values():
        beyond[places] = np.fmax(beyond[places], np.percentile(beyond[places], _ALIKE))
    hours = len(history) * interval_of(history) / 3600
    unseen = sensitivity.false_opening_every.total_seconds() / 3600 / hours
    margin = max(_LEAST_MARGIN, unseen**_TAIL)
    return Baseline(history.columns, baseline.expectation, baseline.sign, baseline.limit * beyond * margin)


def interval_of(frame: Frame) -> float:
    """Seconds between two rows, as a rule; NaN where there are fewer than two."""
    return float(np.median(np.diff(frame.times))) if len(frame) > 1 else float("nan")


def lasting(rows: Array, needed: int) -> Array:
    """What `needed` of the rows, shape (k, m), reach at least, by column; minus infinity where fewer have a value.

    k is at least `needed`.
    """
    known = np.where(np.isnan(rows), -np.inf, rows)
    return known.min(axis=0) if len(rows) == needed else np.asarray(np.partition(known, -needed, axis=0)[-needed])


def news(row: Array, reference: Array | None) -> Array:
    """The part of the deviations `row`, shape (m,) or (k, m), that the reference did not have already.

    Without a reference nothing is news: it may have been so for long.
    """
    if reference is None:
        return np.full_like(row, -np.inf)
    return row - np.fmax(reference, 0)


def _plain(history: Frame, sensitivity: Sensitivity) -> Baseline:
    """Limits at the worst that lasted in `history`."""
    sign = np.array([float(column.quantity.badness) for column in history.columns])
    count = np.isfinite(history.values).sum(axis=0)
    sign[(sign == 0) | (count < max(LEAST_ROWS, _LEAST_SHARE * len(history)))] = np.nan
    baseline = Baseline(history.columns, learn(history), sign, np.where(np.isnan(sign), np.inf, 0.0))
    lasted = _lasted(history, baseline.deviations(history.times, history.values), sensitivity)
    worst = lasted.max(axis=0, initial=sensitivity.least_deviations)
    return Baseline(history.columns, baseline.expectation, sign, baseline.limit + worst)


def _lasted(history: Frame, deviations: Array, sensitivity: Sensitivity) -> Array:
    """Shape (k, m): what `rows_needed` of each `rows_within` rows in a row, without a gap, reached at least."""
    within, needed = sensitivity.rows_within, sensitivity.rows_needed
    if len(history) < max(within, 2):
        return np.empty((0, deviations.shape[1]))
    known = np.where(np.isnan(deviations), -np.inf, deviations)
    windows = np.lib.stride_tricks.sliding_window_view(known, within, axis=0)
    unbroken = history.times[within - 1 :] - history.times[: len(history) - within + 1]
    together = unbroken < (within - 0.5) * interval_of(history)
    return np.asarray(np.partition(windows[together], within - needed, axis=2)[:, :, within - needed])


def _beyond_the_rest(history: Frame, parts: int, sensitivity: Sensitivity) -> Array:
    """Shape (m,): the worst of any part, in limits learnt from all others; 0 where no part is long enough."""
    worst = np.zeros(len(history.columns))
    places = np.arange(len(history))
    for part in np.array_split(places, parts):
        if len(part) < _LEAST_PART:
            continue
        others = np.setdiff1d(places, part)
        rest = _plain(Frame(history.times[others], history.columns, history.values[others]), sensitivity)
        reached = _replay(rest, history.times[part], history.values[part], sensitivity)
        worst = np.fmax(worst, reached / rest.limit)
    return worst


def _replay(baseline: Baseline, times: Array, values: Array, sensitivity: Sensitivity) -> Array:
    """Shape (m,): the most that lasted and was news, in deviations, had a detector watched these rows.

    0 where nothing reached the baseline's limit: only what did is looked at closely.
    """
    deviations = baseline.deviations(times, values)
    within, needed = sensitivity.rows_within, sensitivity.rows_needed
    recent = Recent(sensitivity.recent.total_seconds(), within)
    beyond = np.flatnonzero((deviations > baseline.limit).any(axis=1))
    worst = np.zeros(deviations.shape[1])
    for end in range(1, len(times) + 1):
        recent.add(times[end - 1], deviations[end - 1])
        if end >= within and ((beyond >= end - within) & (beyond < end)).any():
            worst = np.maximum(worst, lasting(news(deviations[end - within : end], recent.reference()), needed))
    return worst
