"""Memory or connections that have climbed steadily until now: since when, and that they did not before. Arrays in.

A level with a slope from one moment on is fitted to medians, so that the teeth of a garbage collector and single odd
samples do not count; the moment is told with its uncertainty. What fits as well with load, with a daily habit, with the
filling of a cache or with a leak that is older than a restart is no climb.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes  # type: ignore[import-untyped] # scipy brings no types

from incident.movements import quantiles
from incident.series import Array

_SHORTEST = 3 * 3600.0
"""Seconds that are looked at first; twice as many while no climb is found in them, up to the whole history."""
_MEDIANS = 120
"""Medians that are made of what is looked at."""
_LEAST_AFTER = 12
"""Medians of a climb without which it is none: an hour and a half looked at in twelve steps shows a line."""
_LEAST_BEFORE = 8
"""Medians before it without which nobody knows that it did not climb before."""
_BEFORE_SHARE = 0.4
"""Of the climb's own duration: how long it must be known not to have climbed before."""
_LEAST_RISE = 0.1
"""Of the level before: a smaller rise explains no trouble."""
_CLEAR = 8.0
"""Standard errors of the slope from which on a climb is sure: residuals remember, and many moments are tried."""
_OVER_NOISE = 3.0
"""Residual standard deviations that it must have risen by."""
_STEADY = 0.5
"""Of the slope, what each half of the climb must have by itself: a cache that fills has less in its second one."""
_SHARE = 0.3
"""Of slope or rise, from which on what was before was a climb as well."""
_BEYOND = 0.25
"""Of the rise: by how much it must be higher than ever before."""
_LIKELY = 6.63
"""Chi-squared with one degree of freedom, 99 %: how much worse a moment may fit that may still be the one."""
_ROLL_OUT = 300.0
"""Seconds: the least uncertainty. Machines get a new version one after another, and it is live when the last has it."""
_VAGUE = 0.25
"""Of the climb's duration: a beginning that is less certain than this tells nothing."""
_VAGUEST = 3600.0
"""Seconds of uncertainty beyond which a beginning tells nothing, however long the climb: deployments are too many."""
_DAY = 24 * 3600.0
_TINY = 1e-12


@dataclass(frozen=True)
class Rise:
    """A steady climb that goes on."""

    since: float
    """When it begins, unix seconds."""
    within: float
    """Seconds by which it may have begun earlier or later: 99 % of the likelihood, and never less than a roll-out."""
    pace: float
    """How much it climbs in a second."""
    midway: float
    """The middle between where it began and where it is: below, it has been given back."""


@dataclass(frozen=True)
class _Medians:
    """Medians of equal spans, those without a value left out."""

    at: Array
    """Shape (k,), seconds from the first sample: the middle of each span."""
    level: Array
    load: Array
    """NaN: not known."""
    width: float

    def before(self, when: float) -> "_Medians":
        kept = self.at < when
        return _Medians(self.at[kept], self.level[kept], self.load[kept], self.width)

    def since(self, when: float) -> "_Medians":
        kept = self.at >= when
        return _Medians(self.at[kept], self.level[kept], self.load[kept], self.width)


@dataclass(frozen=True)
class _Line:
    """A level with a slope from one moment on."""

    since: float
    within: float
    slope: float
    rise: float
    now: float
    """Where the line ends."""
    noise: float
    """Standard deviation of the residuals."""
    sure: float
    """The slope in its standard errors."""


def find_rise(times: Array, values: Array, load: Array) -> Rise | None:
    """The steady climb that `values` are in at the end; `None`: there is none, or it cannot be told.

    Args:
        times: shape (n,), unix seconds, ascending.
        values: shape (n,), what never goes down without a reason, such as memory; NaN: not known.
        load: shape (n,), what the service was asked, in any unit; NaN: not known.
    """
    known = np.isfinite(values)
    if known.sum() < _LEAST_BEFORE + _LEAST_AFTER:
        return None
    times, values, load = times[known], values[known], load[known]
    seconds = times - times[0]
    interval, span = float(np.median(np.diff(seconds))), float(seconds[-1])
    window = min(_SHORTEST, span)
    while True:
        width = max(window / _MEDIANS, interval)
        if line := _climb(_medians(seconds, values, load, width), span - window, span):
            return Rise(float(times[0]) + line.since, line.within, line.slope, line.now - line.rise / 2)
        if window >= span:
            return None
        window = min(2 * window, span)


def _medians(seconds: Array, values: Array, load: Array, width: float) -> _Medians:
    """Those of spans of `width` seconds, of which the last one ends with the last sample."""
    spans = np.floor((seconds[-1] - seconds) / width).astype(int)
    starts = np.flatnonzero(np.diff(spans, prepend=spans[0] + 1))
    lengths = np.diff(starts, append=len(spans))
    inside = np.arange(len(spans)) - np.repeat(starts, lengths)
    both = np.full((2, int(lengths.max()), len(starts)), np.nan)
    both[:, inside, np.repeat(np.arange(len(starts)), lengths)] = values, load
    level, asked = (quantiles(each, (0.5,))[0] for each in both)
    return _Medians(seconds[-1] - (spans[starts] + 0.5) * width, level, asked, width)


def _climb(whole: _Medians, first: float, now: float) -> _Line | None:
    """The climb within what lies between those two, in seconds from the first sample."""
    seen = whole.since(first)
    if len(seen.at) < _LEAST_BEFORE + _LEAST_AFTER or now - seen.at[-1] > 2 * seen.width:
        return None
    earliest = seen.before(seen.at[0] + _BEFORE_SHARE / (1 + _BEFORE_SHARE) * (now - seen.at[0]))
    if np.median(seen.level[-3:]) <= np.max(_smooth(earliest.level), initial=-np.inf):
        return None
    line = _fitted(seen)
    if line.within > min(max(_VAGUE * (now - line.since), _ROLL_OUT), _VAGUEST):
        return None
    before, after = seen.before(line.since), seen.since(line.since)
    if line.since - seen.at[0] < _BEFORE_SHARE * (now - line.since):
        return None
    least = max(_OVER_NOISE * line.noise, _LEAST_RISE * abs(float(np.median(before.level))))
    if line.rise < least or line.sure < _CLEAR:
        return None
    fits = _is_steady(after, line) and not _climbed(before, line) and _is_highest(whole, line)
    return line if fits else None


def _fitted(seen: _Medians) -> _Line:
    """The line that fits best, without a step where it begins unless a step fits much better, as a restart does."""
    count = len(seen.at)
    middles = (seen.at[1:] + seen.at[:-1]) / 2
    moments = middles[_LEAST_BEFORE - 1 : count - _LEAST_AFTER]
    smooth, broken = _residuals(seen, moments, step=False), _residuals(seen, moments, step=True)
    worth = count * np.log(_squares(smooth).min() / _squares(broken).min())
    residuals = broken if worth > _LIKELY + np.log(count) else smooth
    squares = _squares(residuals)
    best = int(np.argmin(squares))
    since, left = float(moments[best]), residuals[best]
    memory = float(np.clip(np.sum(left[1:] * left[:-1]) / squares[best], 0, 0.95))
    share = (1 - memory) / (1 + memory)  # of the medians, how many independent ones would tell as much
    likely = moments[squares <= squares[best] * (1 + _LIKELY / max(count * share - 3, 1.0))]
    after = seen.since(since)
    slope = _slope(after)
    noise = float(np.sqrt(squares[best] / count))
    error = noise / (float(np.std(after.at)) * np.sqrt(max(len(after.at) * share, 1.0)))
    return _Line(
        since=since,
        within=max(float(np.max(np.abs(likely - since))) + seen.width / 2, _ROLL_OUT),
        slope=slope,
        rise=slope * (float(seen.at[-1]) - since),
        now=float(after.level[-1] - left[-1]),
        noise=noise,
        sure=slope / error,
    )


def _residuals(seen: _Medians, moments: Array, *, step: bool) -> Array:
    """Shape (m, k): what the best line through k medians leaves of them, for each of m moments."""
    scaled, begins = (each / seen.at[-1] for each in (seen.at, moments))
    later = np.maximum(scaled - begins[:, None], 0.0)
    parts = [np.ones_like(later), later, *([(later > 0).astype(np.float64)] if step else [])]
    shapes = np.stack(parts, axis=2)
    turned = np.swapaxes(shapes, 1, 2)
    fits = np.linalg.solve(turned @ shapes, (turned @ seen.level)[:, :, None])
    return np.asarray(seen.level - (shapes @ fits)[:, :, 0])


def _squares(residuals: Array) -> Array:
    return np.asarray(np.sum(residuals**2, axis=1) + _TINY)


def _slope(part: _Medians) -> float:
    """Theil and Sen's: the median of the slopes between all pairs."""
    return float(theilslopes(part.level, part.at).slope)


def _is_steady(after: _Medians, line: _Line) -> bool:
    """Whether it climbs in both halves, nothing was given back on the way, and it goes on."""
    middle = (line.since + float(after.at[-1])) / 2
    halves = (after.before(middle), after.since(middle))
    if min(len(each.at) for each in halves) < _LEAST_AFTER // 3:
        return False
    if min(_slope(each) for each in halves) < _STEADY * line.slope:
        return False
    fallen = line.now - float(np.median(after.level[-3:]))
    return len(_falls(after, line)) == 0 and fallen < _SHARE * line.rise


def _climbed(before: _Medians, line: _Line) -> bool:
    """Whether it climbed before as well: on the whole, or from one restart to the next."""
    if _slope(before) > _SHARE * line.slope:
        return True
    runs = np.split(np.arange(len(before.at)), _falls(before, line))
    return len(runs) > 1 and any(
        float(theilslopes(before.level[run], before.at[run]).slope) * float(before.at[run][-1] - before.at[run][0])
        > _SHARE * line.rise
        for run in runs
        if len(run) > 1
    )


def _falls(part: _Medians, line: _Line) -> Array:
    """The places at which it was given back: what follows lies far below what was before."""
    level = part.level
    if len(level) < 4:  # noqa: PLR2004 - two medians on either side
        return np.array([], dtype=np.int64)
    higher, lower = np.minimum(level[:-3], level[1:-2]), np.maximum(level[2:-1], level[3:])
    return np.asarray(np.flatnonzero(higher - lower > _SHARE * line.rise) + 2)


def _is_highest(whole: _Medians, line: _Line) -> bool:
    """Whether it is higher than ever before, by more than load would make it were it proportional to load."""
    before, after = whole.before(line.since), whole.since(line.since)
    highest = float(np.max(_smooth(before.level)))
    asked, most = after.load[-3:][np.isfinite(after.load[-3:])], _smooth(before.load[np.isfinite(before.load)])
    if len(asked) and len(most):
        highest *= max(float(np.median(asked)) / (float(np.max(most)) + _TINY), 1.0)
    elif line.since < _DAY:
        return False
    return line.now > highest + _BEYOND * line.rise


def _smooth(values: Array) -> Array:
    """Means of three in a row."""
    return np.convolve(values, np.full(3, 1 / 3), mode="valid") if len(values) >= 3 else values  # noqa: PLR2004 - of three
