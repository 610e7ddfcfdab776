"""The cause of a trouble as far as its metrics tell: suspects in order, and the verdict on every change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from incident.accusation import judge, place_among
from incident.cause import Cause, Change, Suspect
from incident.couplings import couplings, mirror
from incident.movements import Movements, movements
from incident.series import Column, Frame
from incident.signs import is_shared, signs, telling
from incident.suspicion import suspicion

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
    new_templates: Mapping[str, int] = field(default_factory=dict)
    """By service, the grave log templates that are new since the onset."""
    window: float = 7200
    """Seconds before the onset within which a change may explain it."""


def find_cause(scene: Scene) -> Cause:
    """Suspects in order, and the verdict on every change."""
    moved = movements(scene.history, scene.recent, scene.onset)
    scores = _scores(scene, moved)
    ranked = sorted((name for name in scores if scores[name] > 0), key=lambda name: (-scores[name], name))
    suspects = tuple(_suspect(name, scores[name], scene.recent.columns, moved) for name in ranked[:MOST])
    seen = {
        column.service
        for column, far in zip(scene.recent.columns, moved.far, strict=True)
        if np.isfinite(far) and not is_shared(column)
    }
    return Cause(
        onset=_moment(scene.onset),
        suspects=suspects,
        changes=judge(
            scene.changes,
            _moment(scene.onset),
            lambda service: place_among(
                service, suspects, telling(scene.recent.columns, moved, service), seen=service in seen
            ),
            timedelta(seconds=scene.window),
            timedelta(seconds=scene.interval),
        ),
    )


def _scores(scene: Scene, moved: Movements) -> Mapping[str, float]:
    """Without a call graph, what users meet may stand under a name of its own: the service in front shows it."""
    calls = couplings(scene.history, scene.recent, scene.onset, scene.graph)
    front = None if scene.graph else mirror(scene.history, scene.entry)
    columns = scene.recent.columns
    if front is not None:
        columns = tuple(replace(each, service=front) if each.service == scene.entry else each for each in columns)
    return suspicion(
        signs(columns, moved, scene.new_templates), calls, graph=bool(scene.graph), entry=scene.entry, front=front
    )


def _suspect(service: str, score: float, columns: Sequence[Column], moved: Movements) -> Suspect:
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
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
