"""Detect: what is wrong with a service, and how bad it is."""

from collections.abc import Awaitable
from datetime import timedelta

from pydantic import Field
from temporalio import activity

from activities.burning import BurnQuestion, ErrorBudgets
from activities.observation import Observer
from incident.anomalies import Assessment, Thresholds, assess
from incident.burn_rate import Objective
from incident.evidence import Evidence
from incident.model import Fact
from incident.ports import Historian, HistoryQuestion
from incident.sensitivity import Sensitivity


class DetectInput(Fact):
    """Which service to look at, and what counts as anomalous."""

    incident_id: str
    environment: str
    service: str
    thresholds: Thresholds
    source_timeout: timedelta
    sensitivity: Sensitivity = Sensitivity()
    explains_within: timedelta = Field(
        default=timedelta(hours=2), description="how long before the onset a change may lie and still explain it"
    )
    objective: Objective | None = None


class Detection(Fact):
    """What was seen, and what the numbers say of it."""

    evidence: Evidence
    assessment: Assessment


class LiveInput(Fact):
    """Which service's live deployment is asked for."""

    incident_id: str
    environment: str
    service: str
    source_timeout: timedelta


class LiveDeployment(Fact):
    """The one deployment that is live."""

    deployment_id: int | None = Field(default=None, description="null: it could not be told")
    problem: str = Field(default="", description="why it could not be told")


class Detect:
    """Collects the context and judges the numbers.

    Args:
        observer: collects it.
        historian: tells what is normal of a service; without one only limits do.
        budgets: tells how fast a service burns what its objective allows; without, no objective is judged.
    """

    def __init__(
        self, observer: Observer, historian: Historian | None = None, budgets: ErrorBudgets | None = None
    ) -> None:
        self._observer, self._historian, self._budgets = observer, historian, budgets

    @activity.defn(name="detect.collect")
    async def collect(self, order: DetectInput) -> Detection:
        """The evidence with its assessment.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        looking: Awaitable[Evidence] = self._observer.context(order.environment, order.service, order.source_timeout)
        if self._budgets and order.objective:
            question = BurnQuestion(order.environment, order.service, order.source_timeout, order.objective)
            looking = self._budgets.completed(looking, question)
        asked = HistoryQuestion(
            order.environment,
            order.service,
            order.source_timeout,
            order.sensitivity,
            order.explains_within,
            order.thresholds,
        )
        evidence = await (self._historian.completed(looking, asked) if self._historian else looking)
        return Detection(evidence=evidence, assessment=assess(evidence, order.thresholds))

    @activity.defn(name="detect.live")
    async def live(self, order: LiveInput) -> LiveDeployment:
        """What is live now: has somebody else changed it?

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        history = await self._observer.releases(order.environment, order.service, order.source_timeout)
        if history.live is None:
            return LiveDeployment(problem=history.problem or "the history names no single live deployment")
        return LiveDeployment(deployment_id=history.live.deployment_id)
