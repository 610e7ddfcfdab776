"""What the history of the metrics tells of a made-up incident, as the commander would read it."""

from evaluation.sightings import Sighting, moment
from incident.cause import Change, ChangeKind
from incident.evidence import Background, SourceState
from incident.norms import norms_of
from incident.sensitivity import Sensitivity


def background(sighting: Sighting, service: int, sensitivity: Sensitivity) -> Background:
    """What the histories of that service and of those around it tell: of what it needs, and of what calls it."""
    names = sighting.scene.case.world.services
    graph = _calls_around(sighting, service)
    around = sorted({each for call in graph for each in call} - {service})
    frame = sighting.frame_of({service, *around})
    changes = tuple(_change(sighting, each) for each in around)
    calls = tuple((names[caller], names[callee]) for caller, callee in graph)
    changed = [moment(each.row) for each in sighting.deployed(service)]
    norms = norms_of(names[service], frame, calls, changes, sensitivity, changed)
    return Background(
        source="simulator",
        state=SourceState.OK if norms.normals else SourceState.EMPTY,
        since=moment(0),
        normals=norms.normals,
        onset=norms.onset,
        climb=norms.climb,
        suspects=norms.suspects,
        seen=tuple(names[each] for each in around),
        changes=changes,
    )


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
