"""One rollback, seen through to its end: begun, followed by durable timers, called off, undone once."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.detect import Detection
    from activities.remediate import Remediated
    from incident import wording
    from incident.decision import Decision
    from incident.dossier import Dossier, RemediationRecord, Stage
    from incident.identifiers import correlation_id
    from incident.ledger import NOTHING_DONE, RemediationKind, RollbackOrder, RollbackRun, RunState
    from workflows.chronicle import Chronicle
    from workflows.crew import Crew
    from workflows.people import People

_REVIEW_PAUSE = timedelta(minutes=30)
"""The longest pause between two looks at a run that waits for reviewers, so that a month of waiting fits a history."""
_BY_POLICY = "policy"


class Remedy:
    """Carries out what the gate allowed on behalf of one incident."""

    def __init__(
        self, dossier: Dossier, crew: Crew, people: People, chronicle: Chronicle, called_off: Callable[[], str]
    ) -> None:
        self._dossier = dossier
        self._crew = crew
        self._people = people
        self._chronicle = chronicle
        self._called_off = called_off
        """Why what has not begun is to be called off; empty: it is not."""
        self._nudged = False
        self.under_way = False
        """Whether something is being done, or has been."""

    def nudge(self) -> None:
        """Something is known to have happened to the run: look now."""
        self._nudged = True

    async def roll_back(self, seen: Detection, decision: Decision, target: int, authorised_by: str) -> bool:
        """Rolls back, once; `True` where what it rested on has changed, so that nothing was done.

        Args:
            seen: the evidence that it rests on.
            decision: the proposal that the gate judged.
            target: the deployment to make live.
            authorised_by: `policy`, or who approved.
        """
        order = self._order(seen, decision, target)
        begins = f"rollback to {order.target}, authorised by {authorised_by}"
        self._chronicle.enter(Stage.REMEDIATING, begins)
        self._people.chat.status(begins)
        self.under_way = True
        done = await self._crew.roll_back(seen, decision, order, approved=authorised_by != _BY_POLICY)
        record = RemediationRecord(
            order=order,
            authorised_by=authorised_by,
            run=done.run,
            refused=done.refused,
            void=done.void,
            findings=done.findings,
        )
        self._dossier.remediation = record
        if done.run is None:
            self.under_way = False
            self._chronicle.note(f"not rolled back: {'; '.join(done.refused)}")
            if not done.void:
                self._people.page(f"the rollback was refused: {'; '.join(done.refused)}")
            return done.void
        await self._see_through(record, done.run)
        return False

    async def undo(self) -> None:
        """Restores, once, what was live before the rollback, if its own gate allows it; a person is paged anyway."""
        undone, recovery = self._dossier.remediation, self._dossier.recovery
        if undone is None or undone.run is None or recovery is None:  # pragma: no cover - nothing to undo
            return
        order = undone.order.model_copy(
            update={
                "correlation_id": correlation_id(self._dossier.incident_id, RemediationKind.UNDO),
                "kind": RemediationKind.UNDO,
                "target": undone.order.expected_live,
                "target_revision": undone.order.expected_revision,
                "expected_live": undone.order.target,
                "expected_revision": undone.order.target_revision,
                "reason": f"worse since the rollback: {'; '.join(recovery.reasons)}"[:2000],
            }
        )
        self._chronicle.enter(Stage.REMEDIATING, f"undo: deployment {order.target} is restored")
        held = self._called_off()
        held_back = Remediated(refused=(held,)) if held else None
        done = held_back or await self._crew.undo(order, undone.order, undone.run, recovery)
        record = RemediationRecord(
            order=order, authorised_by=_BY_POLICY, run=done.run, refused=done.refused, findings=done.findings
        )
        self._dossier.undo = record
        worse = f"the rollback to deployment {undone.order.target} made it worse ({'; '.join(recovery.reasons)})"
        if done.run is None:
            self._chronicle.note(f"not undone: {'; '.join(done.refused)}")
            self._people.escalate(f"{worse}, and was not undone: {'; '.join(done.refused)}")
            return
        self._people.escalate(f"{worse}; deployment {order.target} is being restored")
        await self._see_through(record, done.run)

    def _order(self, seen: Detection, decision: Decision, target: int) -> RollbackOrder:
        history, round_ = seen.evidence.deployments, self._dossier.rounds
        wanted, live = history.find(target), history.live
        if live is None:  # pragma: no cover - the gate allows nothing where the live deployment is not known
            raise ValueError("nothing is known to be live")
        return RollbackOrder(
            correlation_id=correlation_id(self._dossier.incident_id, RemediationKind.ROLLBACK, round_),
            incident_id=self._dossier.incident_id,
            execution_id=self._dossier.trigger.execution_id,
            service=self._dossier.service,
            environment=self._dossier.environment,
            target=target,
            target_revision=wanted.revision if wanted else "",
            expected_live=live.deployment_id,
            expected_revision=live.revision,
            reason=decision.summary,
            confidence=decision.confidence,
        )

    def _keep(self, record: RemediationRecord, run: RollbackRun) -> RollbackRun:
        kept = record.model_copy(update={"run": run})
        if record.order.kind is RemediationKind.UNDO:
            self._dossier.undo = kept
        else:
            self._dossier.remediation = kept
        return run

    async def _see_through(self, record: RemediationRecord, run: RollbackRun) -> None:
        """Follows the run to its end, tells people what they must know, and keeps how it ended."""
        what = f"the {record.order.kind}"
        self._keep(record, run)
        if run.state is RunState.UNKNOWN:
            self._people.escalate(f"whether {what} was begun is not known: {run.detail}")
        run = self._keep(record, await self._followed(record, run))
        ended = f"{record.order.kind} {run.state} {run.detail} {run.url}".rstrip()
        self._chronicle.note(ended)
        self._people.chat.status(ended)
        if run.state is RunState.SUCCEEDED:
            self._people.changed(record.order, run)
        called_off = self._called_off() if run.state is RunState.CANCELLED else ""
        if run.state in NOTHING_DONE or called_off:
            self.under_way = record.order.kind is RemediationKind.UNDO
        if run.state is not RunState.SUCCEEDED and not (called_off and self._dossier.cancelled_by):
            ended = f"{what} is {run.state.value.replace('_', ' ')}: {called_off or run.detail}"
            self._people.escalate(f"{ended} {run.url}".rstrip(": "))

    async def _followed(self, record: RemediationRecord, run: RollbackRun) -> RollbackRun:
        """The run once it has ended, or as it is known when its time is over: then NEVER_STARTED or UNKNOWN."""
        course = _Course(self._dossier, workflow.now())
        while not run.state.ended:
            if run.state is RunState.WAITING and course.seen is not RunState.WAITING:
                self._tell_of_review(record, run)
            course.reached(run.state, workflow.now())
            if self._called_off() and run.state.may_be_cancelled and not course.called_off:
                run = self._keep(record, await self._call_off(record, run, course, self._called_off()))
                continue
            if course.stuck(workflow.now()) and not course.called_off:
                self._people.page(f"the {record.order.kind} has not begun: {run.detail} {run.url}".rstrip(": "))
                run = self._keep(record, await self._call_off(record, run, course, "it did not begin in time"))
                continue
            if course.over(workflow.now()):
                return _given_up(run, course)
            await self._wait(run, course)
            run = self._keep(record, await self._crew.look_at_run(record.order, run))
        if run.state is RunState.CANCELLED and course.was_stuck:
            run = run.model_copy(update={"state": RunState.NEVER_STARTED, "detail": f"called off: {course.was_stuck}"})
        return run

    async def _wait(self, run: RollbackRun, course: "_Course") -> None:
        may_be_called_off = run.state.may_be_cancelled and not course.called_off
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._nudged or (may_be_called_off and bool(self._called_off())),
                timeout=course.pause(),
                timeout_summary="look at the rollback again",
            )
        self._nudged = False

    async def _call_off(self, record: RemediationRecord, run: RollbackRun, course: "_Course", why: str) -> RollbackRun:
        course.called_off = True
        self._chronicle.note(f"calling off the {record.order.kind}: {why}")
        return await self._crew.cancel_run(record.order, run)

    def _tell_of_review(self, record: RemediationRecord, run: RollbackRun) -> None:
        self._chronicle.note(f"{record.order.kind} waits for a review: {run.url}")
        self._people.chat.tell(wording.review(self._dossier.incident_id, record.order, run))
        self._people.escalate(f"the {record.order.kind} waits for a review: {run.url}")


class _Course:
    """How long a run has been in which state, and what that means under the policy."""

    def __init__(self, dossier: Dossier, now: datetime) -> None:
        self._policy = dossier.policy
        self._since = now
        self._looks = 0
        self.seen = RunState.UNKNOWN
        self.called_off = False
        """Whether it was asked to be called off already; once is enough."""
        self.was_stuck = ""

    def reached(self, state: RunState, now: datetime) -> None:
        """The run is in `state`; time spent waiting for reviewers counts for nothing else."""
        if state is not self.seen and RunState.WAITING in {state, self.seen}:
            self._since, self._looks = now, 0
        self.seen = state

    def stuck(self, now: datetime) -> bool:
        """Whether it should have begun by now."""
        limit = self._policy.start_within
        late = self.seen is RunState.PENDING and now >= self._since + limit
        if late and not self.was_stuck:
            self.was_stuck = f"it had not begun within {limit}"
        return late

    def over(self, now: datetime) -> bool:
        """Whether nobody waits for it any longer."""
        waiting = self.seen is RunState.WAITING
        return now >= self._since + (self._policy.review_within if waiting else self._policy.remediate_within)

    @property
    def limit(self) -> timedelta:
        """How long it was waited for."""
        return self._policy.review_within if self.seen is RunState.WAITING else self._policy.remediate_within

    def pause(self) -> timedelta:
        """Until the next look: the longer reviewers take, the longer."""
        every = self._policy.follow_every
        if self.seen is not RunState.WAITING:
            return every
        self._looks += 1
        return max(every, min(every * (1 << min(self._looks, 20)), _REVIEW_PAUSE))


def _given_up(run: RollbackRun, course: _Course) -> RollbackRun:
    unseen = run.state is RunState.PENDING and run.run_id is None
    state = RunState.NEVER_STARTED if unseen else RunState.UNKNOWN
    detail = f"did not end within {course.limit}; last: {run.state} {run.detail}".rstrip()
    return run.model_copy(update={"state": state, "detail": detail})
