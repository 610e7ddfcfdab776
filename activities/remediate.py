"""Remediate: one rollback, once, and only if the gate still allows it.

The order of steps makes it safe to run twice: has an earlier attempt entered it in the ledger, then find its run;
look at the service again, and at what was told of meanwhile; ask the gate again; enter it in the ledger, where the kill
switch and the quota are looked at in the same transaction; start it, or not at all if that took so long that another
worker may have taken over.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from time import monotonic

import structlog
from temporalio import activity

from activities.changes import Tidings
from activities.memory import Memory
from activities.observation import Observer
from incident.anomalies import Assessment, assess
from incident.cause import Change
from incident.causes import news, with_changes
from incident.decision import Decision
from incident.errors import PermanentError, TransientError
from incident.evidence import Evidence, SourceState
from incident.gate import Course, Finding, Verdict, judge, refusals
from incident.ledger import Remediation, RollbackOrder, RollbackRun, RunState
from incident.model import Fact
from incident.policy import Policy
from incident.ports import RollbackTarget, Services
from incident.recovery import Recovery
from incident.undo import Regret, judge_undo

_log = structlog.get_logger()
_LEASE = 0.8
"""The share of the time in which a silent worker counts as alive: an action leaves within it or not at all."""


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


class UndoInput(Fact):
    """The undoing of a rollback, and what it rests on."""

    incident_id: str
    order: RollbackOrder
    """The undoing itself."""
    undone: RollbackOrder
    """The rollback that is undone."""
    run: RollbackRun
    """How that ended."""
    recovery: Recovery
    policy: Policy


class Remediated(Fact):
    """What became of the order: a run, or why it was refused."""

    run: RollbackRun | None = None
    refused: tuple[str, ...] = ()
    void: bool = False
    """Refused because what it rested on had changed meanwhile."""
    findings: tuple[Finding, ...] = ()
    """What the gate found right before."""


class FollowInput(Fact):
    """A run to look at, and the order that it belongs to."""

    incident_id: str
    order: RollbackOrder
    run: RollbackRun


class Remediate:
    """Starts rollbacks, follows them, calls them off, and undoes them. Without `tidings` nobody tells of a change."""

    def __init__(
        self,
        services: Services,
        observer: Observer,
        memory: Memory,
        clock: Callable[[], datetime],
        tidings: Tidings | None = None,
    ) -> None:
        self._services = services
        self._observer = observer
        self._memory = memory
        self._clock = clock
        self._tidings = tidings

    @activity.defn(name="remediate.rollback")
    async def rollback(self, task: RemediateInput) -> Remediated:
        """The run of `task.order`, started now or earlier; or the reasons why it was refused.

        Raises:
            TransientError: the rollback target, the ledger or the deployment history could not be reached; whether
                something was started is what the next attempt finds out.
            PermanentError: an earlier attempt may have started it, and the target does not say.
        """
        order = task.order
        known = await self._memory.ledger.entry(order.correlation_id)
        if earlier := await self._found(order, known):
            return earlier
        now, told = await asyncio.gather(
            self._observer.confirmation(order.environment, order.service, task.policy.source_timeout),
            self._told(task),
        )
        refusal, findings = await self._refusal(task, now, told)
        if refusal:
            _log.info("rollback.refused", reasons=refusal.refused, void=refusal.void)
            live = now.deployments.live
            if live is None or live.deployment_id != order.target:
                await self._never_started(known)
            # Else an earlier attempt may well have made it live, in a run that is not listed yet: it stays counted.
            return refusal
        done = await self._begun(order, known, task.policy, approved=task.approved)
        return done.model_copy(update={"findings": findings})

    @activity.defn(name="remediate.undo")
    async def undo(self, task: UndoInput) -> Remediated:
        """The run that restores the former deployment, started now or earlier; or the reasons why it was refused.

        Raises:
            TransientError: as `rollback`.
            PermanentError: as `rollback`.
        """
        order = task.order
        known = await self._memory.ledger.entry(order.correlation_id)
        if earlier := await self._found(order, known):
            return earlier
        history = await self._observer.releases(order.environment, order.service, task.policy.source_timeout)
        if history.state is SourceState.FAILED:
            raise TransientError(history.source, f"what is live could not be confirmed: {history.problem}")
        ledger = await self._memory.view(order.environment, order.service, self._clock())
        if ledger.state is SourceState.FAILED:
            raise TransientError("ledger", ledger.problem)
        others = [past for past in ledger.remediations if past.correlation_id != order.correlation_id]
        regret = Regret(
            order=task.undone,
            run=task.run,
            recovery=task.recovery,
            history=history,
            ledger=ledger.model_copy(update={"remediations": tuple(others)}),
            policy=task.policy,
        )
        findings = judge_undo(regret)
        if refused := refusals(findings):
            _log.info("undo.refused", reasons=refused)
            await self._never_started(known)
            return Remediated(refused=refused, findings=findings)
        done = await self._begun(order, known, task.policy, approved=False)
        return done.model_copy(update={"findings": findings})

    @activity.defn(name="remediate.follow")
    async def follow(self, task: FollowInput) -> RollbackRun:
        """How far the run is now.

        Raises:
            TransientError: the rollback target could not be reached.
            PermanentError: the rollback target does not say.
        """
        run = await self._target(task.order).look(task.order, task.run)
        await self._kept(run)
        return run

    @activity.defn(name="remediate.cancel")
    async def cancel(self, task: FollowInput) -> RollbackRun:
        """Calls the run off if it has not begun, and how far it is then.

        Raises:
            TransientError: the rollback target could not be reached.
            PermanentError: the rollback target does not let it be called off.
        """
        run = await self._target(task.order).cancel(task.order, task.run)
        _log.info("rollback.called_off", correlation_id=task.order.correlation_id, state=run.state)
        await self._kept(run)
        return run

    def _target(self, order: RollbackOrder) -> RollbackTarget:
        return self._services.connect(order.environment, order.service).rollback

    async def _found(self, order: RollbackOrder, known: Remediation | None) -> Remediated | None:
        """The run that an earlier attempt has started, if there is one."""
        try:
            run = await self._target(order).find(order, known.at if known else None)
        except PermanentError as error:
            if known:
                raise
            # Nobody has asked for it yet, and a target that does not say what runs there is not asked to run anything.
            detail = error.problem
            return Remediated(
                run=RollbackRun(correlation_id=order.correlation_id, state=RunState.REFUSED, detail=detail)
            )
        if run is None:
            return None
        _log.info("rollback.found", correlation_id=order.correlation_id, state=run.state)
        await self._kept(run)
        return Remediated(run=run)

    async def _begun(
        self, order: RollbackOrder, known: Remediation | None, policy: Policy, *, approved: bool
    ) -> Remediated:
        not_after = monotonic() + policy.worker_lost_after.total_seconds() * _LEASE
        entry = Remediation(
            correlation_id=order.correlation_id,
            incident_id=order.incident_id,
            service=order.service,
            environment=order.environment,
            kind=order.kind,
            from_deployment=order.expected_live,
            to_deployment=order.target,
            state=RunState.PENDING,
            at=self._clock(),
        )
        admission = await self._memory.begin(entry, None if approved else policy.quota)
        if admission.refused:
            _log.info("rollback.refused", reasons=admission.refused)
            await self._never_started(known)
            return Remediated(refused=admission.refused)
        if admission.entered_before and not await self._claimed(known, entry):
            raise TransientError("ledger", "another attempt entered it meanwhile, and may have started it")
        run = await self._target(order).start(order, not_after)
        _log.info("rollback.started", correlation_id=order.correlation_id, target=order.target, state=run.state)
        await self._kept(run)
        return Remediated(run=run)

    async def _claimed(self, known: Remediation | None, entry: Remediation) -> bool:
        """Whether nobody has entered or claimed the order since it was seen as `known`; the patience counts anew."""
        return known is not None and await self._memory.ledger.claim(entry.correlation_id, known.at, entry.at)

    async def _told(self, task: RemediateInput) -> tuple[Change, ...] | str:
        """What was told of by now and may explain the onset; or why that is not known."""
        if self._tidings is None:
            return ()
        policy = task.policy
        return await self._tidings.explaining(task.evidence, policy.deployment_explains_within, policy.source_timeout)

    async def _refusal(
        self, task: RemediateInput, now: Evidence, told: tuple[Change, ...] | str
    ) -> tuple[Remediated | None, tuple[Finding, ...]]:
        history = now.deployments
        if history.state is SourceState.FAILED:
            raise TransientError(history.source, f"what is live could not be confirmed: {history.problem}")
        live = history.live.deployment_id if history.live else None
        if live != task.order.expected_live:
            was = task.order.expected_live
            reason = f"deployment {live or 'unknown'} is live now, deployment {was} was when it was decided"
            return Remediated(refused=(reason,), void=True), ()
        now = now.model_copy(update={"background": task.evidence.background})
        if task.assessment.gone_by(assess(now, task.policy.thresholds)):
            return Remediated(refused=("the anomalies that opened the incident are gone",), void=True), ()
        seen = task.evidence.model_copy(update={"deployments": history})
        order = task.order
        ledger = await self._memory.view_but(order.environment, order.service, order.incident_id, self._clock())
        known = seen if isinstance(told, str) else with_changes(seen, told)
        verdict = judge(task.decision, known, task.assessment, ledger, task.policy)
        before = judge(task.decision, seen, task.assessment, ledger, task.policy)
        if not _allows(verdict, task) or _guilty(verdict) != _guilty(before):  # nobody has approved that
            refused = verdict.refusals or ("the gate does not allow this target",)
            void = known != seen and _allows(before, task)
            if void:
                refused = (*news(seen, known, verdict.cause), *refused)
            return Remediated(refused=refused, void=void, findings=verdict.findings), verdict.findings
        if isinstance(told, str):
            return Remediated(refused=(told,), findings=verdict.findings), verdict.findings
        return None, verdict.findings

    async def _never_started(self, known: Remediation | None) -> None:
        """Enters that what an earlier attempt entered was looked for in vain, and is not started any more."""
        if known:
            await self._memory.finish(known.correlation_id, RunState.NEVER_STARTED)

    async def _kept(self, run: RollbackRun) -> None:
        """Enters how `run` ended; a ledger that is away by now holds up nothing."""
        if run.state.ended:
            await self._memory.finish(run.correlation_id, run.state)


def _guilty(verdict: Verdict) -> Change | None:
    return verdict.cause.guilty if verdict.cause else None


def _allows(verdict: Verdict, task: RemediateInput) -> bool:
    """Whether the verdict allows the order; what it would ask about passes where a person approved it."""
    allowed = {Course.ACT, Course.ASK} if task.approved else {Course.ACT}
    return verdict.course in allowed and verdict.target == task.order.target
