"""Remediate: one rollback, once, and only if the gate still allows it.

The order of steps makes it safe to run twice: look whether this very rollback exists, look at the service again, ask
the gate again, enter it in the ledger, start it.
"""

from collections.abc import Callable
from datetime import datetime

import structlog
from temporalio import activity

from activities.analyze import view_of
from activities.observation import Observer
from incident.anomalies import Assessment, Kind, assess
from incident.decision import Decision
from incident.errors import IntegrationError, TransientError
from incident.evidence import Evidence, SourceState
from incident.gate import Course, judge
from incident.ledger import Remediation, RollbackOrder, RollbackRun, RunState
from incident.model import Fact
from incident.policy import Policy
from incident.ports import Ledger, Services

_log = structlog.get_logger()


class RemediateInput(Fact):
    """The rollback, and everything that the gate judged it by."""

    incident_id: str
    order: RollbackOrder
    decision: Decision
    evidence: Evidence
    assessment: Assessment
    policy: Policy
    approved: bool
    """Whether a person approved it: what the policy would ask about then passes."""


class Remediated(Fact):
    """What became of the order: a run, or why it was refused."""

    run: RollbackRun | None = None
    refused: tuple[str, ...] = ()
    void: bool = False
    """Refused because what it rested on had changed meanwhile."""


class FollowInput(Fact):
    """A run to look at, and the order that it belongs to."""

    incident_id: str
    order: RollbackOrder
    run: RollbackRun


class Remediate:
    """Starts rollbacks and follows them."""

    def __init__(self, services: Services, observer: Observer, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._services = services
        self._observer = observer
        self._ledger = ledger
        self._clock = clock

    @activity.defn(name="remediate.rollback")
    async def rollback(self, task: RemediateInput) -> Remediated:
        """The run of `task.order`, started now or earlier; or the reasons why it was refused.

        Raises:
            TransientError: the rollback target or the deployment history could not be reached; nothing is known to
                have been started.
            PermanentError: the rollback target refuses such orders.
        """
        order = task.order
        target = self._services.connect(order.environment, order.service).rollback
        if run := await target.find(order.correlation_id):
            _log.info("rollback.found", correlation_id=order.correlation_id, state=run.state)
            return await self._kept(order, run)
        now = await self._observer.confirmation(order.environment, order.service, task.policy.source_timeout)
        if refusal := await self._refusal(task, now):
            _log.info("rollback.refused", reasons=refusal.refused, void=refusal.void)
            return refusal
        await self._enter(order)
        run = await target.start(order)
        _log.info("rollback.started", correlation_id=order.correlation_id, target=order.target, state=run.state)
        return await self._kept(order, run)

    @activity.defn(name="remediate.follow")
    async def follow(self, task: FollowInput) -> RollbackRun:
        """How far the run is now.

        Raises:
            TransientError: the rollback target could not be reached.
        """
        run = await self._services.connect(task.order.environment, task.order.service).rollback.look(task.run)
        await self._kept(task.order, run)
        return run

    async def _refusal(self, task: RemediateInput, now: Evidence) -> Remediated | None:
        history = now.deployments
        if history.state is SourceState.FAILED:
            raise TransientError(history.source, f"what is live could not be confirmed: {history.problem}")
        live = history.live.deployment_id if history.live else None
        if live != task.order.expected_live:
            was = task.order.expected_live
            reason = f"deployment {live or 'unknown'} is live now, deployment {was} was when it was decided"
            return Remediated(refused=(reason,), void=True)
        if _gone(task.assessment, assess(now, task.policy.thresholds)):
            return Remediated(refused=("the anomalies that opened the incident are gone",), void=True)
        seen = task.evidence.model_copy(update={"deployments": history})
        ledger = await view_of(self._ledger, task.order.environment, task.order.service)
        verdict = judge(task.decision, seen, task.assessment, ledger, task.policy)
        allowed = {Course.ACT, Course.ASK} if task.approved else {Course.ACT}
        if verdict.course in allowed and verdict.target == task.order.target:
            return None
        return Remediated(refused=verdict.refusals or ("the gate does not allow this target",))

    async def _kept(self, order: RollbackOrder, run: RollbackRun) -> Remediated:
        """Enters how `run` ended; a ledger that was away when it began gets the whole entry now."""
        if run.state.ended and await self._enter(order):
            try:
                await self._ledger.finish(run.correlation_id, run.state)
            except IntegrationError as error:
                _log.warning("ledger.unwritable", problem=error.problem)
        return Remediated(run=run)

    async def _enter(self, order: RollbackOrder) -> bool:
        """Whether the ledger holds the order now. A ledger that cannot be written holds up no rollback."""
        entry = Remediation(
            correlation_id=order.correlation_id,
            incident_id=order.incident_id,
            service=order.service,
            environment=order.environment,
            from_deployment=order.expected_live,
            to_deployment=order.target,
            state=RunState.PENDING,
            at=self._clock(),
        )
        try:
            await self._ledger.begin(entry)
        except IntegrationError as error:
            _log.warning("ledger.unwritable", problem=error.problem)
            return False
        return True


def _gone(opening: Assessment, now: Assessment) -> bool:
    """Whether every measured anomaly that opened the incident is measured to be gone; unreadable is not gone."""
    if any(anomaly.kind is Kind.UNREADABLE and anomaly.metric is None for anomaly in now.anomalies):
        return False
    still = {anomaly.metric for anomaly in now.anomalies}
    return not any(anomaly.metric in still for anomaly in opening.anomalies if anomaly.measured)
