"""The cause of a trouble as far as its metrics tell: suspects in order, and the verdict on every change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from incident.accusation import Place, judge, place_among
from incident.cause import Cause, Change, Suspect
from incident.couplings import couplings, mirror
from incident.movements import AFTER, Movements, movements, quantiles
from incident.series import Column, Frame, Quantity
from incident.signs import is_shared, signs, telling
from incident.suspicion import suspicion

HOUR = 3600.0
"""Seconds before the onset that tell how much a service was asked; load by the hour of the day moves little in one."""

SMALLEST = 0.001
"""Score below which a service is not named at all; scores are told to so many digits."""

MOST = 10
"""Suspects that are named."""


@dataclass(frozen=True)
class Scene:
    """All that is known when the cause is asked for."""

    history: Frame
    """Known-healthy samples; may be empty, months apart, or under another load."""
    recent: Frame
    """The last hours up to now."""
    onset: float
    """When it began, as estimated; unix seconds."""
    entry: str
    """The service that users meet; empty: not known."""
    graph: tuple[tuple[str, str], ...]
    """(caller, callee); may be empty."""
    changes: tuple[Change, ...]
    """Those that are known by now."""
    interval: float
    """Seconds between two rows; a row that is named by its start is complete so much later."""
    new_templates: Mapping[str, float] = field(default_factory=dict)
    """By service, the grave log templates that are new since the onset, each counted by how sure that is."""
    window: float = 7200
    """Seconds before the onset within which a change may explain it."""


def find_cause(scene: Scene) -> Cause:
    """Suspects in order, and the verdict on every change."""
    moved = movements(scene.history, scene.recent, scene.onset)
    calls = couplings(scene.history, scene.recent, scene.onset, scene.graph)
    front = None if scene.graph else mirror(scene.history, scene.entry)
    columns = scene.recent.columns
    if front is not None:
        columns = tuple(replace(each, service=front) if each.service == scene.entry else each for each in columns)
    asked = _asked(scene.recent, scene.onset)
    shown = signs(columns, moved, scene.new_templates)
    scores = suspicion(shown, calls, graph=bool(scene.graph), entry=scene.entry, front=front)
    ranked = sorted((name for name in scores if scores[name] >= SMALLEST), key=lambda name: (-scores[name], name))
    suspects = tuple(_suspect(name, scores[name], columns, moved, asked.get(name)) for name in ranked[:MOST])

    def place(service: str) -> Place:
        return place_among(service, suspects, telling(columns, moved, service), seen=service in shown)

    onset, window = _moment(scene.onset), timedelta(seconds=scene.window)
    return Cause(
        onset=onset,
        suspects=suspects,
        changes=judge(scene.changes, onset, place, window, timedelta(seconds=scene.interval)),
    )


def _asked(recent: Frame, onset: float) -> Mapping[str, float]:
    """By service, its requests now as a multiple of those in the hour before the onset."""
    traffic = [column for column in recent.columns if column.quantity is Quantity.TRAFFIC]
    now = recent.between(onset, np.inf).only(traffic).values[-AFTER:]
    before = recent.between(onset - HOUR, onset).only(traffic).values
    levels = zip(traffic, quantiles(now, (0.5,))[0], quantiles(before, (0.5,))[0], strict=True)
    return {column.service: float(later / earlier) for column, later, earlier in levels if later >= 0 and earlier > 0}


def _suspect(service: str, score: float, columns: Sequence[Column], moved: Movements, asked: float | None) -> Suspect:
    firsts = [
        first
        for column, first in zip(columns, moved.first, strict=True)
        if column.service == service and np.isfinite(first) and not is_shared(column)
    ]
    return Suspect(
        service=service,
        score=round(score, 3),
        moved=telling(columns, moved, service),
        since=_moment(min(firsts)) if firsts else None,
        asked=None if asked is None else round(asked, 2),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
