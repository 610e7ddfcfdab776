"""When an incident begins and when it is quiet again: rows judged one by one, in the order of their time."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from incident.baselines import Baseline, lasting, news
from incident.recent import Recent
from incident.sensitivity import Sensitivity
from incident.series import Array, Column, Quantity

_LOOK_BACK = 12
"""Rows before the opening among which the onset is looked for."""
_JITTER = 0.1
"""How much of an interval a row may come early."""

_FELT = frozenset({Quantity.ERRORS, Quantity.SUCCESS, Quantity.LATENCY})
"""What those who call a service feel of it. A processor that is busy, or memory that is not given back, hurts nobody by
itself: it keeps an incident open only where it opened it, or is beyond a fixed limit."""


class State(StrEnum):
    """What a row meant."""

    QUIET = "quiet"
    OPENED = "opened"
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True)
class Moved:
    """A column that is extreme."""

    column: Column
    deviations: float
    """Robust standard deviations from usual, in the direction that is bad; infinite: over a fixed limit."""
    extreme: float
    """In limits of its own: 1 is what opens an incident."""


@dataclass(frozen=True)
class Sighting:
    """What a detector makes of one row."""

    at: float
    """Unix seconds, of the row."""
    state: State
    incident: int = 0
    """Which incident, counted from 1 for each detector; 0 where none is open."""
    moved: tuple[Moved, ...] = ()
    """What opened the incident, the most extreme first; empty where none is open."""
    onset: float | None = None
    """When it began, as far as the rows show; `None` where none is open."""
    silent: bool = False
    """Whether nothing that opened the incident has a value: it cannot be told whether it is over."""


@dataclass
class _Episode:
    sighting: Sighting
    moved: np.ndarray
    around: np.ndarray
    reference: Array
    loud_at: float
    ended: bool = False


@dataclass
class Detector:
    """Watches one system. Each row costs as much as it has columns, whatever came before."""

    baseline: Baseline
    interval: float
    """Seconds between two rows."""
    sensitivity: Sensitivity
    entry: str = ""
    """The service that users meet: an incident has not ended while it suffers."""
    limits: Mapping[Column, float] = field(default_factory=dict)
    """Fixed limits that a service's own policy states: beyond one for as long as it takes, an incident opens too."""

    def __post_init__(self) -> None:
        """Prepares to watch."""
        columns = self.baseline.columns
        self._services = np.array([column.service for column in columns], dtype=object)
        self._bounds = np.array([self.limits.get(column, np.nan) for column in columns])
        self._badness = np.array([column.quantity.badness or 1 for column in columns], dtype=np.float64)
        self._felt = np.isfinite(self._bounds) | [column.quantity in _FELT for column in columns]
        self._recent = Recent(self.sensitivity.recent.total_seconds(), self.sensitivity.rows_within)
        self._last: deque[tuple[float, Array, Array]] = deque(maxlen=max(self.sensitivity.rows_within, _LOOK_BACK))
        self._episodes: list[_Episode] = []
        self._left = np.zeros(len(columns))
        self._opened = 0

    def look(self, times: Array, rows: Array) -> Iterator[Sighting]:
        """What each of the next rows, shape (n, m), means, at `times`, (n,), unix seconds, each later than the last.

        A row without an open incident gives one sighting, any other row one for each incident. Nothing said of a row
        depends on a later one: rows may come one by one, or all at once and faster.
        """
        deviations, over = self.baseline.deviations(times, rows), self._over(rows)
        near = np.fmax.reduce(np.fmax(deviations / self.baseline.limit, over), axis=1, initial=-np.inf)
        for place, time in enumerate(times.tolist()):
            self._last.append((time, deviations[place], over[place]))
            if not self._episodes:
                self._recent.add(time, deviations[place])
            seen = [self._follow(each, time, deviations[place]) for each in self._episodes]
            self._leave(deviations[place])
            self._episodes = [each for each in self._episodes if not each.ended]
            if near[place] >= 1 and (opened := self._judge(time, deviations[place])):
                seen.append(opened)
            yield from seen or (Sighting(time, State.QUIET),)

    def _over(self, rows: Array) -> Array:
        """1 where a value is beyond a fixed limit, 0 where it is not, NaN where there is none."""
        if not self.limits:
            return np.broadcast_to(self._bounds, rows.shape)
        beyond = self._badness * rows >= self._badness * self._bounds
        return np.where(np.isnan(self._bounds), np.nan, beyond.astype(np.float64))

    def _judge(self, time: float, deviations: Array) -> Sighting | None:
        """The incident that opens with this row: elsewhere, and later than one that is open would spread."""
        apart = (self.sensitivity.apart_rows - _JITTER) * self.interval
        if any(time - each.sighting.at < apart for each in self._episodes):
            return None
        reference = self._recent.reference()
        if reference is not None:
            reference = np.fmax(reference, self._left)
        extreme = self._extreme(reference)
        for each in self._episodes:
            extreme[each.around] = 0
        return self._open(time, extreme, deviations, reference) if (extreme >= 1).any() else None

    def _leave(self, deviations: Array) -> None:
        """Keeps what an incident that ends with this row leaves behind and nobody feels: no news until it is gone."""
        self._left = np.fmin(self._left, deviations)
        for each in self._episodes:
            if each.ended:
                unfelt = each.around & ~self._felt
                self._left[unfelt] = np.fmax(self._left, deviations)[unfelt]

    def _extreme(self, reference: Array | None) -> Array:
        """Shape (m,): how extreme what lasts is, 1 opens; 0 where too few rows are known."""
        within, now = self.sensitivity.rows_within, self._last[-1][0]
        longest = (within + 0.5) * self.interval
        window = [each for each in list(self._last)[-within:] if now - each[0] < longest]
        if len(window) < self.sensitivity.rows_needed:
            return np.zeros(len(self.baseline.columns))
        fresh = lasting(news(np.array([row for _, row, _ in window]), reference), self.sensitivity.rows_needed)
        over = lasting(np.array([over for _, _, over in window]), self.sensitivity.rows_needed)
        return np.maximum(np.maximum(fresh, 0.0) / self.baseline.limit, over)

    def _open(self, time: float, extreme: Array, deviations: Array, reference: Array | None) -> Sighting:
        moved = extreme >= 1
        worst_first = [place for place in np.argsort(-extreme, kind="stable") if moved[place]]
        found = tuple(
            Moved(self.baseline.columns[place], float(deviations[place]), float(extreme[place]))
            for place in worst_first
        )
        known = np.zeros(len(moved)) if reference is None else reference
        self._opened += 1
        sighting = Sighting(time, State.OPENED, self._opened, found, self._onset(moved, known))
        around = np.isin(self._services, [*set(self._services[moved]), self.entry])
        self._episodes.append(_Episode(sighting, moved, around, known, time))
        return sighting

    def _onset(self, moved: np.ndarray, reference: Array) -> float:
        """The first of the rows up to now in which what opened the incident was not quiet."""
        onset = self._last[-1][0]
        for time, row, over in reversed(self._last):
            if self._worst(row, over, moved, reference) < self.sensitivity.quiet_below:
                break
            onset = time
        return onset

    def _worst(self, row: Array, over: Array, moved: np.ndarray, reference: Array) -> float:
        """How extreme one row is by itself, in what opened the incident; minus infinity where it has no value."""
        fresh = np.fmax(news(row, reference)[moved] / self.baseline.limit[moved], over[moved])
        return float(np.fmax.reduce(fresh, initial=-np.inf))

    def _follow(self, episode: _Episode, time: float, deviations: Array) -> Sighting:
        opened, over = episode.sighting, self._last[-1][2]
        extreme = self._extreme(episode.reference)
        lasts = (extreme[episode.moved] >= self.sensitivity.quiet_below).any()
        if lasts or (extreme[episode.around & self._felt] >= 1).any():
            episode.loud_at = time
        worst = self._worst(deviations, over, episode.moved, episode.reference)
        silent = worst == -np.inf
        if (
            not silent
            and worst < 1
            and time - episode.loud_at >= (self.sensitivity.stable_rows - _JITTER) * self.interval
        ):
            episode.ended = True
        return replace(opened, at=time, state=State.ENDED if episode.ended else State.OPEN, silent=silent)
