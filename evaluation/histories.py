"""What the history of the metrics tells of a made-up incident, as the commander would read it."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from evaluation.measuring import SHOWN
from evaluation.sightings import Sighting, moment
from evaluation.world import ENTRY, ROW
from incident.cause import Cause, ChangeKind
from incident.evidence import Background, Normal, SourceState
from incident.series import Array, Frame, Quantity
from incident.suspects import Scene, find_cause

RECENT = 120
"""Minutes that are looked at for what moved; all before is history."""
METRICS = {column: metric for metric, column, _ in SHOWN}
"""By the name of a column."""
_HEALTHY = 0.995
"""Quantile of the history up to which a value is normal, at least."""
_SPREADS = 5.0
"""Robust standard deviations up to which a value is normal, at least."""
_ROBUST = 1.4826
_GAP = 3
"""Minutes without anything unusual that do not end a trouble."""


@dataclass(frozen=True)
class Histories:
    """The history of every service of one incident, and what is made of it."""

    sighting: Sighting
    frame: Frame
    """The last hours, whole."""
    typical: Array
    """Shape (columns,): the median of each column while it was healthy."""
    highest: Array
    """Shape (columns,): up to where it is normal."""
    samples: Array
    """Shape (columns,): values that this was learnt from."""
    cause: Cause


def histories(sighting: Sighting, *, ranked: bool = True) -> Histories:
    """What the metrics of every service were, and what code makes of the cause.

    Args:
        sighting: what is seen.
        ranked: whether suspects are looked for; only where no deployment could be blamed do they make no difference.
    """
    frame = sighting.frame
    history = Frame(frame.times[:-RECENT], frame.columns, frame.values[:-RECENT])
    recent = Frame(frame.times[-RECENT:], frame.columns, frame.values[-RECENT:])
    typical = _quantile(history.values, 0.5)
    spread = _ROBUST * _quantile(np.abs(history.values - typical), 0.5)
    return Histories(
        sighting=sighting,
        frame=recent,
        typical=typical,
        highest=np.fmax(_quantile(history.values, _HEALTHY), typical + _SPREADS * spread),
        samples=np.isfinite(history.values).sum(axis=0).astype(float),
        cause=_cause(sighting, history, recent) if ranked else Cause(onset=moment(sighting.onset)),
    )


def _cause(sighting: Sighting, history: Frame, recent: Frame) -> Cause:
    world = sighting.scene.case.world
    return find_cause(
        Scene(
            history=history,
            recent=recent,
            onset=moment(sighting.onset).timestamp(),
            entry=world.services[ENTRY],
            graph=tuple((world.services[call.caller], world.services[call.callee]) for call in world.calls),
            changes=sighting.changes,
            interval=ROW,
            new_templates={world.services[each]: count for each, count in sighting.new_templates.items()},
        )
    )


def background(known: Histories, service: int) -> Background:
    """What the history tells of that service."""
    sighting = known.sighting
    name = sighting.scene.case.world.services[service]
    places = [
        place
        for place, column in enumerate(known.frame.columns)
        if column.service == name and column.quantity is not Quantity.TRAFFIC and known.samples[place]
    ]
    own = (each for each in sighting.changes if each.service == name and each.kind is ChangeKind.DEPLOYMENT)
    around = set(sighting.changes) - set(own)
    return Background(
        source="simulator",
        state=SourceState.OK,
        since=moment(0),
        normals=tuple(_normal(known, place) for place in places),
        onset=_onset(known, places),
        suspects=known.cause.suspects,
        changes=tuple(each for each in sighting.changes if each in around),
    )


def _normal(known: Histories, place: int) -> Normal:
    metric = METRICS[known.frame.columns[place].metric]
    return Normal(
        id=f"normal:{metric}",
        metric=metric,
        typical=float(known.typical[place]),
        high=float(known.highest[place]),
        samples=int(known.samples[place]),
    )


def _onset(known: Histories, places: list[int]) -> datetime | None:
    """Since when a metric of the service is not normal: where that began, if it lasts, short gaps left out."""
    with np.errstate(invalid="ignore"):
        off = np.asarray((known.frame.values[:, places] > known.highest[places]).any(axis=1))
    if not off[-_GAP:].any():
        return None
    row = int(np.flatnonzero(off)[-1])
    while off[max(row - _GAP, 0) : row].any():
        row = max(row - _GAP, 0) + int(np.argmax(off[max(row - _GAP, 0) : row]))
    return datetime.fromtimestamp(known.frame.times[row], UTC)


def _quantile(values: Array, share: float) -> Array:
    """Shape (m,) of the values, (n, m): that quantile of each column, values that are missing left out."""
    ordered = np.sort(values, axis=0)
    last = np.maximum(np.isfinite(values).sum(axis=0) - 1, 0)
    place = np.round(share * last).astype(int)
    return np.asarray(np.take_along_axis(ordered, place[None, :], axis=0)[0])
