"""A service's own history → what is normal, when it left that, and who around it moved. Arrays in, plain data out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from incident.anomalies import Thresholds, critical_soon
from incident.baselines import Baseline, learn_baseline
from incident.cause import MEMORY, Change, Climb, Suspect
from incident.detection import Detector, State
from incident.evidence import Metric, Normal
from incident.history import History
from incident.leaks import find_rise
from incident.sensitivity import Sensitivity
from incident.series import Column, Frame, Quantity
from incident.suspects import Scene, find_cause

RECENT = 3 * 3600.0
"""Seconds up to now that may hold the trouble itself: they teach nothing of what is normal."""
_MINUTE, _HOUR = 60.0, 3600.0
_AHEAD = timedelta(minutes=15)
"""How long before the trouble a climb must have begun to be its cause: what begins with it may be one of its signs."""
_HELD = {"memory_ratio": MEMORY, "connections": "connections"}
"""What a service holds, and gives back only where it does not leak."""
_COLUMNS = {
    Metric.ERROR_RATE: ("error_ratio", Quantity.ERRORS),
    Metric.P50_LATENCY: ("p50_latency_ms", Quantity.LATENCY),
    Metric.P95_LATENCY: ("p95_latency_ms", Quantity.LATENCY),
    Metric.P99_LATENCY: ("p99_latency_ms", Quantity.LATENCY),
    Metric.REQUESTS_PER_SECOND: ("requests", Quantity.TRAFFIC),
    Metric.CPU_USAGE: ("cpu_ratio", Quantity.CPU),
    Metric.MEMORY_USAGE: ("memory_ratio", Quantity.MEMORY),
    Metric.ACTIVE_CONNECTIONS: ("connections", Quantity.OTHER),
}
"""How the metrics are called where their units stand in their names."""
_METRICS = {name: metric for metric, (name, _) in _COLUMNS.items()}


@dataclass(frozen=True)
class Norms:
    """What the histories of a service, and of those around it, come to."""

    normals: tuple[Normal, ...]
    onset: datetime | None
    """Since when the service is not as usual; `None`: it is, or that is not known."""
    suspects: tuple[Suspect, ...]
    climb: Climb | None = None
    """What climbs and explains the trouble; its onset is then the beginning of the climb."""
    rising: Climb | None = None
    """What climbs, whether there is any trouble or not."""


def frame_of(histories: Mapping[str, History]) -> Frame:
    """The histories of several services as one frame, at all their times."""
    times = np.unique(np.concatenate([np.array(each.times, dtype=np.float64) for each in histories.values()]))
    columns = [
        (service, metric, history)
        for service, history in histories.items()
        for metric in Metric
        if metric in history.values and metric in _COLUMNS
    ]
    values = np.full((len(times), len(columns)), np.nan)
    for place, (_, metric, history) in enumerate(columns):
        rows = np.searchsorted(times, np.array(history.times, dtype=np.float64))
        values[rows, place] = np.array(history.values[metric], dtype=np.float64)
    named = tuple(Column(service, *_COLUMNS[metric]) for service, metric, _ in columns)
    return Frame(times, named, values)


def with_now(frame: Frame, service: str, at: float, readings: Mapping[Metric, float | None]) -> Frame:
    """`frame` with one more row, of what is measured of `service` now; `at`: unix seconds.

    What the frame has of that time or later gives way to it.
    """
    before = frame.between(-np.inf, at)
    row = np.full((1, len(frame.columns)), np.nan)
    for place, column in enumerate(frame.columns):
        value = readings.get(_METRICS[column.metric]) if column.service == service else None
        row[0, place] = np.nan if value is None else value
    return Frame(np.append(before.times, at), frame.columns, np.concatenate([before.values, row]))


def norms_of(
    service: str,
    frame: Frame,
    graph: Sequence[tuple[str, str]],
    changes: Sequence[Change],
    sensitivity: Sensitivity,
    changed: Sequence[datetime] = (),
) -> Norms:
    """What is normal of `service`, and what is behind it where it is not.

    Args:
        service: whose incident it may be.
        frame: its metrics and those of the services around it, up to now; all but the last hours counts as healthy.
        graph: (caller, callee).
        changes: what is known to have been changed.
        sensitivity: how readily something is extreme.
        changed: when the service itself was deployed or otherwise changed.
    """
    own = [column for column in frame.columns if column.service == service]
    if not len(frame) or not own:
        return Norms((), None, ())
    now = float(frame.times[-1])
    healthy, recent = frame.between(-np.inf, now - RECENT), frame.between(now - RECENT, np.inf)
    interval = float(np.median(np.diff(frame.times))) if len(frame) > 1 else _MINUTE
    baseline = learn_baseline(healthy.only(own), service, sensitivity)
    normals = _normals(baseline, healthy.only(own), now)
    onset = _onset(Detector(baseline, interval, sensitivity, service), recent.only(own))
    climb = climb_of(service, frame)
    if onset is None:
        return Norms(normals, None, (), rising=climb)
    scene = Scene(
        history=healthy,
        recent=recent,
        onset=onset,
        entry="",
        graph=tuple(graph),
        changes=tuple(changes),
        interval=interval,
    )
    begun = datetime.fromtimestamp(onset, UTC)
    if climb is None or climb.since > begun - _AHEAD:
        return Norms(normals, begun, find_cause(scene).suspects, rising=climb)
    return Norms(normals, climb.beginning(changed), find_cause(scene).suspects, climb, climb)


def foreseen(norms: Norms, memory: float | None, thresholds: Thresholds, changed: Sequence[datetime]) -> Norms:
    """The same; but where all is as usual, and memory climbs and will soon be critical, that is the trouble.

    Args:
        norms: what the histories come to.
        memory: what the service holds now, a ratio; `None`: not known.
        thresholds: what is critical, and how soon is soon.
        changed: when the service itself was deployed or otherwise changed.
    """
    rising = norms.rising
    if norms.onset or rising is None or critical_soon(rising, memory, thresholds) is None:
        return norms
    return replace(norms, onset=rising.beginning(changed), climb=rising)


def climb_of(service: str, frame: Frame) -> Climb | None:
    """What `service` has held more and more of until the end of `frame`, the earliest; `None`: nothing."""
    load = frame.only([Column(service, "requests", Quantity.TRAFFIC)]).values[:, 0]
    found = []
    for place, column in enumerate(frame.columns):
        if column.service == service and column.metric in _HELD:
            rise = find_rise(frame.times, frame.values[:, place], load)
            found += [(rise.since, _HELD[column.metric], rise)] if rise else []
    if not found:
        return None
    since, what, rise = min(found, key=lambda each: each[:2])
    return Climb(
        what=what,
        since=datetime.fromtimestamp(since, UTC),
        within=timedelta(seconds=round(rise.within)),
        pace=rise.pace * _HOUR,
        midway=rise.midway,
    )


def _normals(baseline: Baseline, healthy: Frame, now: float) -> tuple[Normal, ...]:
    typical, reach = baseline.usual(now)
    samples = np.isfinite(healthy.values).sum(axis=0)
    return tuple(
        Normal(
            id=f"normal:{_METRICS[column.metric]}",
            metric=_METRICS[column.metric],
            typical=round(float(typical[place]), 6),
            low=round(float(typical[place] - reach[place]), 6) if baseline.sign[place] < 0 else None,
            high=round(float(typical[place] + reach[place]), 6) if baseline.sign[place] > 0 else None,
            samples=int(samples[place]),
        )
        for place, column in enumerate(baseline.columns)
        if np.isfinite(baseline.sign[place])
    )


def _onset(detector: Detector, recent: Frame) -> float | None:
    """Since when the incident that is open at the end of `recent` lasts; one row alone is the onset of itself."""
    *_, newest = detector.look(recent.times, recent.values)
    if newest.state in {State.OPENED, State.OPEN}:
        return newest.onset
    last = detector.baseline.deviations(recent.times[-1:], recent.values[-1:])
    return float(recent.times[-1]) if (last >= detector.baseline.limit).any() else None
