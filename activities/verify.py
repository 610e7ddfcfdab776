"""Verify: how the service is now, compared with when the incident opened."""

from datetime import timedelta

from temporalio import activity

from activities.observation import Observer
from incident.anomalies import Thresholds, assess
from incident.model import Fact
from incident.policy import RecoveryLimits
from incident.recovery import Look, Recovery, classify, look_at


class VerifyInput(Fact):
    """What to compare with, and by which limits."""

    incident_id: str
    environment: str
    service: str
    before: Look
    looks: tuple[Look, ...]
    thresholds: Thresholds
    limits: RecoveryLimits
    source_timeout: timedelta


class Verified(Fact):
    """One more look, and how the service is judged with it."""

    look: Look
    recovery: Recovery


class Verify:
    """Looks again."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @activity.defn(name="verify.look")
    async def look(self, order: VerifyInput) -> Verified:
        """The new look, and the classification that follows from all of them.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        evidence = await self._observer.pulse(order.environment, order.service, order.source_timeout)
        look = look_at(evidence, assess(evidence, order.thresholds))
        return Verified(look=look, recovery=classify(order.before, (*order.looks, look), order.limits))
