"""What the commander's watcher sees of a leak before anything alerts, and when a person is paged because of it.

Of other faults, and of services that do not leak, it sees nothing here: a climb that is none would page in vain.
"""

import math
from collections.abc import Callable

from evaluation.arms import Scene
from evaluation.histories import usual
from evaluation.sightings import Sighting
from incident.anomalies import assess
from incident.gate import Course, Verdict
from incident.policy import Policy
from incident.ports import Usual

_FRESH = 60
"""Minutes for which the watcher takes for known what is normal, and what climbs."""
_DECIDED_AGAIN = 20
"""Minutes from an incident that needs nobody to the next one: it is looked at for ten, then the watcher rests."""


def paged_before(seen: Sighting, policy: Policy, decide: Callable[[Sighting, int], Verdict]) -> int | None:
    """The minute in which somebody is paged, counted from the decision and below 0; `None`: nobody is, by then.

    Args:
        seen: the incident when it is decided about.
        policy: what the team allows, and how its services are watched.
        decide: the commander's verdict on a service.
    """
    fault = seen.scene.case.fault
    if fault.leaking is None:
        return None
    bad: list[bool] = []
    lately, learnt, rests = Usual(), -math.inf, -math.inf
    for minute in range(fault.leaks_since - seen.scene.decided, 0):
        then = seen.later(minute)
        if minute >= learnt + _FRESH:
            lately, learnt = usual(then, fault.leaking, policy), minute
        looked = then.evidence(fault.leaking).with_normals(lately.normals, lately.climb)
        bad.append(not assess(looked, policy.thresholds).healthy)
        if minute < rests or not policy.watch.holds(bad):
            continue
        if decide(then, fault.leaking).course is not Course.WATCH:
            return minute
        rests = minute + _DECIDED_AGAIN
    return None


def mended_before(at: Scene, paged: int | None) -> bool:
    """Whether whoever is paged in that minute has repaired it before anything alerts."""
    return paged is not None and paged + max(1, round(at.case.fates.repair)) <= 0
