"""The production detector, cause ranking and recovery over recorded streams, row by row and never ahead.

What is said at a row rests on the rows up to it and on the changes whose time had come: a stream cut after any row says
the same up to there. The cause is what could be told at the row that opened the incident; what comes later changes
nothing of it.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from evaluation.streams import LoggedLine, Stream, read_stream, stream_folders
from incident.baselines import Baseline, learn_baseline
from incident.cause import Cause
from incident.detection import Detector, Moved, Sighting, State
from incident.errors import ConfigurationError
from incident.log_templates import GRAVE
from incident.model import Fact
from incident.sensitivity import Sensitivity
from incident.series import Frame
from incident.severity import Severity
from incident.signs import newness
from incident.suspects import Scene, find_cause
from incident.units import UnitChange, Units
from integrations.drain import Line, group
from integrations.log_lines import level_of

_OWN_ROWS = 60
"""First rows of a stream that stand in for a history that it lacks: an hour of a row a minute."""
_BLOCK = 4096
"""Rows handed over at once."""
_NANOSECONDS = 1_000_000_000
"""In a second."""
_UNEVEN = 0.5
"""How much of an interval a row may come late before one is missing."""
_SHOWN_TO_CAUSE = 180
"""Rows that the cause is looked for in: three hours of a row a minute."""
_LOGS_OF = 3600.0
"""Seconds up to a row whose log lines are read for the cause."""
_MOST_LINES = 5_000
"""Log lines that are read for it, the newest: their templates take a second or two."""
_FAR = 3.0
"""So many limits away is far beyond what opens an incident."""


class Prediction(Fact):
    """One incident that was opened in a stream; without `opened_at`: it was watched, and nothing was opened."""

    stream: str
    opened_at: float | None = Field(description="unix seconds, of the row that opened it")
    onset_estimate: float | None = None
    severity: Severity | None = None
    services: tuple[str, ...] = Field(default=(), description="the most suspected first")
    suspected_change: str | None = None
    recovered_at: float | None = Field(default=None, description="unix seconds, of the row that showed it to be over")


@dataclass(frozen=True)
class Observation:
    """What was made of one stream."""

    stream: str
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    """What could not be judged, and why."""
    readable: bool = True


@dataclass
class _Incident:
    opened: Sighting
    cause: Cause
    recovered_at: float | None = None


@dataclass
class Observer:
    """Plays streams to the detector; baselines of a history that streams share are learnt once."""

    sensitivity: Sensitivity = field(default_factory=Sensitivity)
    find: Callable[[Scene], Cause] = find_cause
    _known: dict[str, Baseline] = field(default_factory=dict)

    def observe(self, stream: Stream) -> Observation:
        """Everything that is said of `stream`, in the order of its rows."""
        notes = list(stream.problems)
        history, begins = self._history(stream)
        if begins:
            notes.append(f"no history: judged against its own first {begins} rows, which are not judged themselves")
        baseline = self._baseline(history, stream.entry)
        notes += _unjudged(baseline, stream)
        play = _Play(stream, history, self.find)
        detector, units = Detector(baseline, stream.interval_s, self.sensitivity, stream.entry), Units(history)
        for since in range(begins, len(stream.frame), _BLOCK):
            rows = _rows(stream.frame, since, since + _BLOCK)
            restored, changes = units.restore(rows.values)
            notes += [_said(change, rows.times[place]) for place, change in changes]
            for sighting in detector.look(rows.times, restored):
                play.see(sighting)
        return Observation(stream.name, play.predictions(), tuple(notes))

    def _history(self, stream: Stream) -> tuple[Frame, int]:
        """What is known to be healthy, and how many of the stream's own rows were taken for it."""
        if len(stream.history) or len(stream.frame) == 0:
            return stream.history, 0
        own = min(_OWN_ROWS, len(stream.frame))
        return _rows(stream.frame, 0, own), own

    def _baseline(self, history: Frame, entry: str) -> Baseline:
        content = (history.times.tobytes(), history.values.tobytes(), repr(history.columns).encode(), entry.encode())
        key = hashlib.sha256(b"\0".join(content)).hexdigest()
        if key not in self._known:
            self._known[key] = learn_baseline(history, entry, self.sensitivity)
        return self._known[key]


def observe_all(directory: Path, observer: Observer) -> Iterator[Observation]:
    """What is made of every stream below `directory`; of one that cannot be read, nothing, and why.

    Raises:
        ConfigurationError: there is none.
    """
    return (_observed(folder, observer) for folder in stream_folders(directory))


def _observed(folder: Path, observer: Observer) -> Observation:
    try:
        stream = read_stream(folder)
    except ConfigurationError as error:
        return Observation(folder.name, (), (str(error),), readable=False)
    return observer.observe(stream)


class _Play:
    """The incidents of one stream as they unfold."""

    def __init__(self, stream: Stream, history: Frame, find: Callable[[Scene], Cause]) -> None:
        self._stream, self._history, self._find = stream, history, find
        self._logs = sorted(stream.logs, key=lambda line: line.at)
        self._incidents: list[_Incident] = []

    def see(self, sighting: Sighting) -> None:
        """Takes the next row's sighting."""
        if sighting.state is State.OPENED:
            self._incidents.append(_Incident(sighting, self._cause(sighting)))
        elif sighting.state is State.ENDED:
            self._incidents[sighting.incident - 1].recovered_at = sighting.at

    def predictions(self) -> tuple[Prediction, ...]:
        """A line for each incident, or the one that says that there was none."""
        lines = [self._prediction(each) for each in self._incidents]
        return tuple(lines) or (Prediction(stream=self._stream.name, opened_at=None),)

    def _prediction(self, incident: _Incident) -> Prediction:
        guilty = incident.cause.guilty
        return Prediction(
            stream=self._stream.name,
            opened_at=incident.opened.at,
            onset_estimate=incident.opened.onset,
            severity=severity_of(incident.opened.moved, self._stream.entry),
            services=tuple(each.service for each in incident.cause.suspects),
            suspected_change=guilty.id if guilty else None,
            recovered_at=incident.recovered_at,
        )

    def _cause(self, sighting: Sighting) -> Cause:
        stream, now = self._stream, sighting.at
        onset = now if sighting.onset is None else sighting.onset
        upto = int(np.searchsorted(stream.frame.times, now, side="right"))
        return self._find(
            Scene(
                history=self._history,
                recent=_rows(stream.frame, max(0, upto - _SHOWN_TO_CAUSE), upto),
                onset=onset,
                entry=stream.entry,
                graph=stream.graph,
                changes=tuple(each for each in stream.changes if each.at.timestamp() <= now),
                interval=stream.interval_s,
                # A row tells of what was since the one before it.
                new_templates=_new_templates(self._logged(now), onset - stream.interval_s, now),
            )
        )

    def _logged(self, now: float) -> list[LoggedLine]:
        """The log lines of the last hour, oldest first."""
        since = bisect_left(self._logs, now - _LOGS_OF, key=lambda line: line.at)
        until = bisect_right(self._logs, now, key=lambda line: line.at)
        return self._logs[max(since, until - _MOST_LINES) : until]


def severity_of(moved: tuple[Moved, ...], entry: str) -> Severity:
    """P0 or P1 where users feel it, P2 where they do not yet; P0 where it is far beyond what opens an incident."""
    felt = [each.extreme for each in moved if each.column.service == entry]
    if not felt:
        return Severity.P2
    return Severity.P0 if max(felt) >= _FAR else Severity.P1


def _new_templates(lines: list[LoggedLine], since: float, now: float) -> Mapping[str, float]:
    """By service, its grave log templates that are new since then, each by how sure that is; `lines`: oldest first."""
    grave: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if (level := level_of(line.level)) in GRAVE:
            grave[line.service].append(Line(int(line.at * _NANOSECONDS), level, line.message))
    read_for = now - lines[0].at if lines else 0.0
    return {
        service: sum(
            newness(len(form.lines), now - since, read_for)
            for form in group(of)
            if form.lines[0].nanoseconds >= since * _NANOSECONDS
        )
        for service, of in grave.items()
    }


def _unjudged(baseline: Baseline, stream: Stream) -> Iterator[str]:
    """What of the stream cannot be judged."""
    judgeable = sum(column.quantity.badness != 0 for column in baseline.columns)
    if not baseline.knows:
        yield "nothing can be judged: no metric has enough known-healthy rows"
    elif baseline.knows < judgeable:
        yield f"{judgeable - baseline.knows} of {judgeable} metrics have too few known-healthy values to be judged"
    missing = np.diff(stream.frame.times) / stream.interval_s - 1
    gaps = missing[missing >= 1 - _UNEVEN]
    if len(gaps):
        yield f"{len(gaps)} gaps in the rows: about {gaps.sum():.0f} rows are missing, which nothing is said of"


def _rows(frame: Frame, since: int, until: int) -> Frame:
    return Frame(frame.times[since:until], frame.columns, frame.values[since:until])


def _said(change: UnitChange, at: float) -> str:
    if change.factor == 1:
        return f"{change.service}: latencies are in their old unit again at {at:.0f}"
    return f"{change.service}: latencies changed their unit at {at:.0f}; taken times {change.factor:g}, not an incident"
