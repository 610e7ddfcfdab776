"""What the history of the metrics tells of a made-up incident, as the commander would read it."""

from math import isfinite

from evaluation.cases import Reconfiguration
from evaluation.sightings import Sighting, moment
from incident.cause import Change, ChangeKind
from incident.evidence import Background, Metric, SourceState
from incident.norms import foreseen, norms_of
from incident.policy import Policy
from incident.ports import Usual


def background(sighting: Sighting, service: int, policy: Policy) -> Background:
    """What the histories of that service and of those around it tell: of what it needs, and of what calls it."""
    names = sighting.scene.case.world.services
    graph = _calls_around(sighting, service)
    around = sorted({each for call in graph for each in call} - {service})
    frame = sighting.frame_of({service, *around})
    told = sighting.told({service, *around})
    changes = [*(_change(sighting, each) for each in around), *(_told(sighting, each, service) for each in told)]
    calls = tuple((names[caller], names[callee]) for caller, callee in graph)
    changed = [moment(each.row) for each in sighting.deployed(service)]
    changed += [moment(each.row) for each in told if each.service == service]
    norms = norms_of(names[service], frame, calls, changes, policy.sensitivity, changed)
    norms = foreseen(norms, known(sighting.reading(service, Metric.MEMORY_USAGE)), policy.thresholds, changed)
    return Background(
        source="simulator",
        state=SourceState.OK if norms.normals else SourceState.EMPTY,
        since=moment(0),
        normals=norms.normals,
        onset=norms.onset,
        climb=norms.climb,
        suspects=norms.suspects,
        seen=tuple(names[each] for each in around),
        changes=tuple(changes),
    )


def usual(sighting: Sighting, service: int, policy: Policy) -> Usual:
    """What its own history tells a watcher."""
    norms = norms_of(
        sighting.scene.case.world.services[service], sighting.frame_of({service}), (), (), policy.sensitivity
    )
    return Usual(norms.normals, norms.rising)


def known(value: float) -> float | None:
    """`value`, or `None` where there is none."""
    return value if isfinite(value) else None


def _calls_around(sighting: Sighting, service: int) -> tuple[tuple[int, int], ...]:
    """As a registry has them: what the service needs, directly or not, and who needs it directly."""
    world = sighting.scene.case.world
    inside = [(call.caller, call.callee) for call in world.calls if call.callee != world.outside]
    below = {service}
    for caller, callee in inside:  # sorted, and callers have the lower place
        if caller in below:
            below.add(callee)
    return tuple((caller, callee) for caller, callee in inside if callee == service or caller in below)


def _change(sighting: Sighting, service: int) -> Change:
    live = sighting.live(service)
    name = sighting.scene.case.world.services[service]
    return Change(id=f"{name}/deployment:{live.number}", service=name, kind=ChangeKind.DEPLOYMENT, at=moment(live.row))


def _told(sighting: Sighting, told: Reconfiguration, service: int) -> Change:
    name = sighting.scene.case.world.services[told.service]
    where = "" if told.service == service else f"{name}/"
    kind = ChangeKind.CONFIGURATION
    return Change(id=f"{where}change:{told.row}", service=name, kind=kind, at=moment(told.row))
