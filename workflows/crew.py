"""What each activity is asked, under which options, and what stands in for an answer that does not come."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.analyze import AnalystChoice, Analyze, Analyzed, AnalyzeInput, JudgeInput
    from activities.detect import Detect, DetectInput, Detection, LiveInput
    from activities.record import Record
    from activities.remediate import FollowInput, Remediate, Remediated, RemediateInput, UndoInput
    from activities.verify import Verified, Verify, VerifyInput
    from incident.analysis import Analysis
    from incident.anomalies import assess
    from incident.decision import Decision
    from incident.dossier import Dossier
    from incident.evidence import unseen
    from incident.ledger import RollbackOrder, RollbackRun, RunState
    from incident.recovery import Classification, Look, Recovery
    from incident.snapshot import Snapshot
    from workflows import names, options


class Crew:
    """Asks the activities on behalf of one incident."""

    def __init__(self, dossier: Dossier) -> None:
        self._dossier = dossier
        self._so_far: Recovery | None = None
        """How the verification that is under way judged the service last; `None`: it has not looked yet."""

    def _within(self, kind: options.Options) -> options.Options:
        return options.noticed_within(kind, self._dossier.policy.worker_lost_after)

    async def collect(self) -> Detection:
        """The context and what the numbers say; where nobody could look, evidence of which every source failed.

        Raises:
            ApplicationError: the registry has no such service, which no retry and no page can mend.
        """
        policy = self._dossier.policy
        order = DetectInput(
            incident_id=self._dossier.incident_id,
            environment=self._dossier.environment,
            service=self._dossier.service,
            thresholds=policy.thresholds,
            source_timeout=policy.source_timeout,
            sensitivity=policy.sensitivity,
            explains_within=policy.deployment_explains_within,
            objective=policy.objective,
        )
        try:
            return await workflow.execute_activity_method(
                Detect.collect, order, summary="metrics, logs, alerts, deployments", **self._within(options.READ)
            )
        except ActivityError as error:
            stop_if_cancelled(error)
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == "UnknownServiceError":
                raise ApplicationError(why(error), type=cause.type, non_retryable=True) from error
            evidence = unseen(order.service, order.environment, workflow.now(), why(error))
            return Detection(evidence=evidence, assessment=assess(evidence, policy.thresholds))

    async def analyze(self, seen: Detection, because: str) -> Analyzed:
        """The worker's analyst and the gate; the rules, where that analyst cannot.

        Args:
            seen: the case.
            because: why the worker's own analyst decides, where another had been asked.

        Raises:
            ActivityError: not even the rules could be asked.
        """
        order = AnalyzeInput(
            incident_id=self._dossier.incident_id,
            evidence=seen.evidence,
            assessment=seen.assessment,
            policy=self._dossier.policy,
            because=because,
        )
        try:
            return await workflow.execute_activity_method(
                Analyze.decide,
                order,
                summary=f"analyst and gate: {seen.assessment.severity}",
                **self._within(options.THINK),
            )
        except ActivityError as error:
            stop_if_cancelled(error)
            rules = order.model_copy(update={"analyst": AnalystChoice.RULES, "because": why(error)})
            return await workflow.execute_activity_method(
                Analyze.decide,
                rules,
                summary="rules and gate, since the analyst could not",
                **self._within(options.THINK),
            )

    async def judge(self, seen: Detection, decision: Decision, analyst: str) -> Analyzed:
        """A decision that was made outside, held to the evidence, and the gate's verdict on it.

        Raises:
            ActivityError: the gate could not be asked.
        """
        analysis = Analysis(decision=decision, analyst=analyst).held_to(seen.evidence.ids)
        order = JudgeInput(
            incident_id=self._dossier.incident_id,
            evidence=seen.evidence,
            assessment=seen.assessment,
            policy=self._dossier.policy,
            decision=analysis.decision,
        )
        judged = await workflow.execute_activity_method(
            Analyze.judge, order, summary=f"gate: {analyst} proposes {decision.action}", **self._within(options.READ)
        )
        return Analyzed(analysis=analysis, verdict=judged.verdict, ledger=judged.ledger)

    async def roll_back(
        self, seen: Detection, decision: Decision, order: RollbackOrder, *, approved: bool
    ) -> Remediated:
        """What became of `order`; a run of state UNKNOWN, where nobody can say."""
        task = RemediateInput(
            incident_id=self._dossier.incident_id,
            order=order,
            decision=decision,
            evidence=seen.evidence,
            assessment=seen.assessment,
            policy=self._dossier.policy,
            approved=approved,
        )
        summary = f"gate again, then deployment {order.expected_live} → {order.target}"
        try:
            return await workflow.execute_activity_method(
                Remediate.rollback, task, task_queue=_act_queue(), summary=summary, **self._within(options.ACT)
            )
        except ActivityError as error:
            run = RollbackRun(correlation_id=order.correlation_id, state=RunState.UNKNOWN, detail=why(error))
            return Remediated(run=run)

    async def undo(
        self, order: RollbackOrder, undone: RollbackOrder, run: RollbackRun, recovery: Recovery
    ) -> Remediated:
        """What became of `order`, which undoes `undone`; a run of state UNKNOWN, where nobody can say."""
        task = UndoInput(
            incident_id=self._dossier.incident_id,
            order=order,
            undone=undone,
            run=run,
            recovery=recovery,
            policy=self._dossier.policy,
        )
        summary = f"the gate of undoing, then deployment {order.expected_live} → {order.target}"
        try:
            return await workflow.execute_activity_method(
                Remediate.undo, task, task_queue=_act_queue(), summary=summary, **self._within(options.ACT)
            )
        except ActivityError as error:
            return Remediated(
                run=RollbackRun(correlation_id=order.correlation_id, state=RunState.UNKNOWN, detail=why(error))
            )

    async def cancel_run(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """How far `run` is once it was called off; as it was, where nobody can say."""
        task = FollowInput(incident_id=self._dossier.incident_id, order=order, run=run)
        try:
            return await workflow.execute_activity_method(
                Remediate.cancel,
                task,
                task_queue=_act_queue(),
                summary=f"call off the {order.kind}",
                **self._within(options.READ),
            )
        except ActivityError as error:
            return run.model_copy(update={"detail": why(error)})

    async def live(self) -> int | None:
        """The deployment that is live; `None` where nobody can say."""
        order = LiveInput(
            incident_id=self._dossier.incident_id,
            environment=self._dossier.environment,
            service=self._dossier.service,
            source_timeout=self._dossier.policy.source_timeout,
        )
        try:
            answer = await workflow.execute_activity_method(
                Detect.live, order, summary="what is live now", **self._within(options.READ)
            )
        except ActivityError as error:
            stop_if_cancelled(error)
            return None
        return answer.deployment_id

    async def look_at_run(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """How far `run` is; as it was, where nobody can say."""
        task = FollowInput(incident_id=self._dossier.incident_id, order=order, run=run)
        try:
            return await workflow.execute_activity_method(
                Remediate.follow,
                task,
                task_queue=_act_queue(),
                summary=f"the rollback was {run.state}",
                **self._within(options.READ),
            )
        except ActivityError as error:
            return run.model_copy(update={"detail": why(error)})

    async def look(self, before: Look, taken: int, *, ask_live: bool) -> Verified | None:
        """One more look at the service, or as many as settle it where no pause is between them and it is not worse.

        `None` where nobody could look.

        Args:
            before: what to compare with.
            taken: how many looks of the policy's `max_looks` this verification has used up.
            ask_live: whether to ask what is live as well.
        """
        policy, recovery = self._dossier.policy, self._dossier.recovery
        worse = recovery is not None and recovery.classification is Classification.DEGRADED
        self._so_far = self._so_far if taken else None
        counted = self._so_far if self._so_far and self._so_far.samples else None
        several = not policy.look_every and not worse  # what is worse is counted look by look
        order = VerifyInput(
            incident_id=self._dossier.incident_id,
            environment=self._dossier.environment,
            service=self._dossier.service,
            before=before,
            looks=tuple(self._dossier.looks[-policy.recovery.stable_looks :]) if self._so_far and not counted else (),
            so_far=counted,
            times=max(1, min(policy.recovery.stable_looks, policy.max_looks - taken)) if several else 1,
            thresholds=policy.thresholds,
            limits=policy.recovery,
            source_timeout=policy.source_timeout,
            normals=self._dossier.evidence.normals if self._dossier.evidence else (),
            climb=self._dossier.evidence.climb if self._dossier.evidence else None,
            burn=self._dossier.evidence.burn if self._dossier.evidence else None,
            ask_live=ask_live,
        )
        try:
            verified = await workflow.execute_activity_method(
                Verify.look,
                order,
                summary=f"look {taken + 1} of at most {policy.max_looks}",
                **self._within(options.READ),
            )
        except ActivityError:
            return None
        self._so_far = verified.recovery
        return verified

    async def keep(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot was written."""
        try:
            await workflow.execute_local_activity_method(
                Record.save, snapshot, summary=f"snapshot: {snapshot.outcome}", **options.KEEP
            )
        except FailureError:  # a local activity's failure comes without ActivityError around it
            return False
        return True


def _act_queue() -> str:
    return names.act_queue(workflow.info().task_queue)


def why(error: ActivityError) -> str:
    """What failed an activity, in words."""
    return str(error.cause or error)


def stop_if_cancelled(error: ActivityError) -> None:
    """Nothing stands in for an answer that is not waited for any more.

    Raises:
        CancelledError: the activity was cancelled together with who asked for it, which Temporal reports as a failure.
    """
    if is_cancelled_exception(error):
        raise asyncio.CancelledError from error
