"""Verify: how the service is now, compared with when the incident opened."""

from datetime import timedelta

from temporalio import activity

from activities.observation import Observer
from incident.anomalies import Kind, Thresholds, assess
from incident.cause import Climb
from incident.evidence import BurnReport, Evidence, Metric, Normal
from incident.model import Fact
from incident.recovery import Look, Recovery, classify, look_at
from incident.severity import Severity
from incident.verifying import RecoveryLimits


class VerifyInput(Fact):
    """What to compare with, and by which limits."""

    incident_id: str
    environment: str
    service: str
    before: Look
    looks: tuple[Look, ...]
    """Those of this verification so far, as far back as recovery needs; not needed where `so_far` is known."""
    so_far: Recovery | None = None
    """How the service was judged after the last of them; `None`: nobody has looked, or what was seen was not kept."""
    times: int = 1
    """How often to look at the most: more than once where there is no pause between two looks."""
    thresholds: Thresholds
    limits: RecoveryLimits
    source_timeout: timedelta
    normals: tuple[Normal, ...] = ()
    """What is normal of the service by its history, as it was known when the incident opened."""
    climb: Climb | None = None
    """What had climbed when the incident opened, and explains it."""
    burn: BurnReport | None = None
    """How fast the service burned what its objective allows when the incident opened; `None`: it has no objective."""
    ask_live: bool = False
    """Whether to ask the deployment history what is live."""


class Verified(Fact):
    """The new looks, oldest first, and how the service is judged with them."""

    looks: tuple[Look, ...]
    recovery: Recovery
    severity: Severity = Severity.P3
    """What the newest look speaks for."""
    live: int | None = None
    """The deployment that is live, where that was asked and could be told."""


class Verify:
    """Looks again."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @activity.defn(name="verify.look")
    async def look(self, order: VerifyInput) -> Verified:
        """The new looks, and the classification that follows from all; no more than it takes to settle that.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        looks: tuple[Look, ...] = ()
        severity = Severity.P3
        live: int | None = None
        limits = order.limits.beside(order.normals)
        recovery = order.so_far or classify(order.before, order.looks, limits)
        while len(looks) < order.times and not _over(recovery):
            asked = order.ask_live and not looks
            evidence = await self._observer.verification(
                order.environment, order.service, order.source_timeout, deployments=asked
            )
            if asked and evidence.deployments.live:
                live = evidence.deployments.live.deployment_id
            judged = evidence.with_normals(order.normals, order.climb).with_burn(_burn(order, evidence))
            assessment = assess(judged, order.thresholds)
            severity = assessment.severity
            look = look_at(evidence, assessment)
            looks = (*looks, look)
            recovery = classify(order.before, (look,), limits, recovery.samples)
        return Verified(looks=looks, recovery=recovery, severity=severity, live=live)


def _burn(order: VerifyInput, now: Evidence) -> BurnReport | None:
    """The burn that keeps the service from counting as recovered, while its errors of `now` spend as fast; or none.

    Windows of hours cannot be over within a verification, so nothing is counted anew: that a page's burn goes on is
    said by the errors of each look. A ticket's keeps nothing open. Nor do errors that the service always has, where
    anything but the burn opened the incident: a rollback that brought them back to that has helped.
    """
    if order.burn is None:
        return None
    errors = now.metrics.value(Metric.ERROR_RATE)
    usual = next((each for each in order.normals if each.metric is Metric.ERROR_RATE), None)
    beside = any(each.kind is not Kind.BURN_RATE for each in order.before.anomalies)
    as_ever = usual is not None and errors is not None and usual.holds(errors)
    return None if beside and as_ever else order.burn.paging()


def _over(recovery: Recovery) -> bool:
    """Whether further looks would change nothing."""
    return recovery.settled and recovery.stable
