"""One incident of one service, from the first look to the record."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.detect import Detection
    from incident import messages as wording
    from incident.decision import Decision, InvalidDecisionError, parse_decision
    from incident.dossier import Approval, Dossier, Proposal, RemediationRecord, Stage, TimelineEntry, proposal_digest
    from incident.gate import Course, Verdict
    from incident.identifiers import correlation_id, mint_incident_id
    from incident.ledger import RollbackOrder, RollbackRun, RunState
    from incident.recovery import Classification, look_at
    from incident.severity import Severity
    from incident.snapshot import Outcome, Snapshot, close
    from workflows import names, showing
    from workflows.crew import Crew, stop_if_cancelled, why
    from workflows.messages import (
        ApprovalAnswer,
        CancelReceipt,
        CancelRequest,
        EvidenceOffer,
        IncidentRequest,
        Joined,
        JoinRequest,
        OutsideDecision,
    )
    from workflows.people import People
    from workflows.record import LateRecordWorkflow

_T = TypeVar("_T")
_URGENT = frozenset({Severity.P0, Severity.P1})


class _EndedByPersonError(Exception):
    """Somebody wants the incident ended, and nothing has been done yet."""


@workflow.defn(name=names.INCIDENT)
class IncidentWorkflow:
    """Detect, analyze, decide, remediate, verify, report: one open incident per service and environment."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        now = workflow.now()
        self._request = request
        self._dossier = Dossier(
            incident_id=mint_incident_id(request.environment, request.service, now, workflow.uuid4()),
            workflow_id=workflow.info().workflow_id,
            service=request.service,
            environment=request.environment,
            trigger=request.trigger,
            policy=request.policy,
            opened_at=now,
        )
        self._crew = Crew(self._dossier)
        self._people = People(self._dossier)
        self._outside: Decision | None = None
        self._declined = ""
        self._acting = False
        self._closing = False
        self._silences: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:  # noqa: ARG002 - __init__ took it
        """The incident's snapshot. A cancellation by Temporal's own means counts as a person's."""
        self._enter(Stage.DETECTING, f"asked by {self._dossier.trigger.source}")
        story = asyncio.create_task(self._story())
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                self._dossier.cancelled_by = self._dossier.cancelled_by or "Temporal"
        return story.result()

    async def _story(self) -> Snapshot:
        try:
            seen = await self._unless_ended(self._crew.collect())
            self._open(seen)
            if seen.assessment.healthy:
                return await self._close(Outcome.NO_INCIDENT)
            verdict = await self._handle(seen)
            while worse := await self._verify(seen, verdict):
                seen = worse
                self._open(seen)
                verdict = await self._handle(seen)
        except _EndedByPersonError:
            self._note(f"ended by {self._dossier.cancelled_by} before anything was done")
            return await self._close(Outcome.CANCELLED)
        self._closing = True
        await asyncio.gather(*self._silences)
        return await self._close(await self._conclude(seen, verdict))

    def _open(self, seen: Detection) -> None:
        self._dossier.evidence, self._dossier.assessment = seen.evidence, seen.assessment
        self._note(f"{seen.assessment.severity}: {seen.assessment.summary}")
        for missing in seen.evidence.missing:
            self._note(f"not seen: {missing}")

    async def _handle(self, seen: Detection) -> Verdict:
        self._silences.append(asyncio.create_task(self._page_if_nothing_is_done(seen)))
        verdict = await self._unless_ended(self._decide(seen))
        await self._respond(seen, verdict)
        return verdict

    async def _page_if_nothing_is_done(self, seen: Detection) -> None:
        """The page that waits for nobody: not for the analyst, not for an approval."""
        if seen.assessment.severity is not Severity.P0:
            return
        after = self._dossier.policy.page_after
        try:
            await workflow.wait_condition(
                lambda: self._dossier.acted or self._people.paging or self._closing,
                timeout=after,
                timeout_summary="page if nothing has been done",
            )
        except TimeoutError:
            self._page(seen, f"nothing was done within {after}")

    async def _decide(self, seen: Detection) -> Verdict:
        self._enter(Stage.ANALYZING)
        outside = await self._outside_decision() if self._request.outside_analyst else None
        try:
            if outside:
                analyzed = await self._crew.judge(seen, outside, self._request.outside_analyst)
            else:
                analyzed = await self._crew.analyze(seen, self._declined)
        except ActivityError as error:
            stop_if_cancelled(error)
            self._note(f"nobody could decide: {why(error)}")
            return Verdict(course=Course.PAGE, severity=seen.assessment.severity, findings=())
        self._dossier.analysis, self._dossier.verdict = analyzed.analysis, analyzed.verdict
        self._note(f"{analyzed.analysis.analyst} proposes {analyzed.analysis.decision.action}")
        self._note(f"{analyzed.verdict.severity}: {wording.intention(analyzed.verdict)}")
        return analyzed.verdict

    async def _outside_decision(self) -> Decision | None:
        self._outside, self._declined = None, ""
        name, within = self._request.outside_analyst, self._dossier.policy.decide_within
        self._enter(Stage.AWAITING_DECISION, f"{name} has {within}")
        try:
            await workflow.wait_condition(
                lambda: self._outside is not None or bool(self._declined),
                timeout=within,
                timeout_summary=f"wait for the decision of {name}",
            )
        except TimeoutError:
            self._declined = f"{name} did not decide within {within}"
        self._enter(Stage.ANALYZING, self._declined)
        return self._outside

    async def _respond(self, seen: Detection, verdict: Verdict) -> None:
        if self._dossier.analysis and verdict.course is not Course.WATCH:
            alert = wording.alert(
                self._dossier.incident_id, seen.evidence, seen.assessment, self._dossier.analysis, verdict
            )
            self._people.tell(alert)
        match verdict.course:
            case Course.ACT:
                await self._remediate(seen, verdict, "policy")
            case Course.ASK:
                if approver := await self._approved(seen, verdict):
                    await self._remediate(seen, verdict, approver)
            case Course.PAGE:
                self._page(seen, "; ".join(verdict.refusals) or "nobody could decide")
            case Course.WATCH:
                self._note("watching until it has settled")

    async def _approved(self, seen: Detection, verdict: Verdict) -> str:
        """Who approved; empty where nobody did."""
        target, expected_live = verdict.rollback()
        within = self._dossier.policy.approve_within
        deadline = workflow.now() + within
        digest = proposal_digest(self._dossier.incident_id, target, expected_live, seen.evidence)
        question = wording.question(
            self._dossier.incident_id, seen.evidence, verdict, digest, f"{deadline:%Y-%m-%d %H:%M:%SZ}"
        )
        self._dossier.proposal = Proposal(
            digest=digest,
            target=target,
            expected_live=expected_live,
            question=question.title,
            proposed_at=workflow.now(),
            deadline=deadline,
        )
        self._enter(Stage.AWAITING_APPROVAL, question.title)
        self._people.tell(question)
        try:
            await workflow.wait_condition(
                lambda: self._dossier.approval is not None or self._ended(),
                timeout=within,
                timeout_summary="wait for a person's answer",
            )
        except TimeoutError:
            self._page(seen, f"nobody answered within {within}: {question.title}")
        self._stop_if_ended()
        answer = self._dossier.approval
        return answer.approver if answer and answer.approved else ""

    async def _remediate(self, seen: Detection, verdict: Verdict, authorised_by: str) -> None:
        self._stop_if_ended()
        analysis = self._dossier.analysis
        if analysis is None:  # pragma: no cover - no verdict acts where nobody decided
            return
        self._acting = True
        order = self._order(verdict, analysis.decision)
        self._enter(Stage.REMEDIATING, f"rollback to {order.target}, authorised by {authorised_by}")
        approved = authorised_by != "policy"
        done = await self._crew.roll_back(seen, analysis.decision, order, approved=approved)
        record = RemediationRecord(
            order=order, authorised_by=authorised_by, run=done.run, refused=done.refused, void=done.void
        )
        self._dossier.remediation = record
        if done.run is None:
            self._acting = False
            self._note(f"not rolled back: {'; '.join(done.refused)}")
            if not done.void:
                self._page(seen, f"the rollback was refused: {'; '.join(done.refused)}")
            return
        if done.run.state is RunState.UNKNOWN:
            self._page(seen, f"whether the rollback was begun is not known: {done.run.detail}")
        run = await self._followed(record, done.run)
        self._note(f"rollback {run.state} {run.detail} {run.url}".rstrip())
        if run.state is not RunState.SUCCEEDED:
            self._page(seen, f"the rollback is {run.state}: {run.detail}")

    def _order(self, verdict: Verdict, decision: Decision) -> RollbackOrder:
        target, expected_live = verdict.rollback()
        return RollbackOrder(
            correlation_id=correlation_id(self._dossier.incident_id, "rollback"),
            incident_id=self._dossier.incident_id,
            execution_id=self._dossier.trigger.execution_id,
            service=self._dossier.service,
            environment=self._dossier.environment,
            target=target,
            expected_live=expected_live,
            reason=decision.summary,
            confidence=decision.confidence,
        )

    async def _followed(self, record: RemediationRecord, run: RollbackRun) -> RollbackRun:
        """The run once it has ended, or UNKNOWN if it did not end in time."""
        policy = self._dossier.policy
        deadline = workflow.now() + policy.remediate_within
        while not run.state.ended and workflow.now() < deadline:
            await self._pause(policy.follow_every, "look at the rollback again")
            run = await self._crew.look_at_run(record.order, run)
            self._dossier.remediation = record.model_copy(update={"run": run})
        if not run.state.ended:
            detail = f"did not end within {policy.remediate_within}; last: {run.state} {run.detail}".rstrip()
            run = run.model_copy(update={"state": RunState.UNKNOWN, "detail": detail})
            self._dossier.remediation = record.model_copy(update={"run": run})
        return run

    async def _verify(self, seen: Detection, verdict: Verdict) -> Detection | None:
        """Looks until it has settled; what is seen then, if it got worse before anything was done."""
        policy = self._dossier.policy
        before = look_at(seen.evidence, seen.assessment)
        if policy.settle:
            self._enter(Stage.SETTLING)
            await self._pause(policy.settle, "let the service settle")
        self._stop_if_ended()
        self._enter(Stage.VERIFYING)
        taken = 0
        while taken < policy.max_looks:
            if taken:
                await self._pause(policy.look_every, "until the next look")
            verified = await self._crew.look(before, taken)
            taken += len(verified.looks) if verified else 1
            if verified is None:
                self._note(f"look {taken}: nobody could look")
                continue
            self._dossier.looks += verified.looks
            self._dossier.recovery = verified.recovery
            workflow.set_current_details(showing.details(self._dossier))
            if verified.recovery.settled:
                break
            if verified.severity.rank < verdict.severity.rank and not self._acting:
                worse = await self._unless_ended(self._crew.collect())
                if worse.assessment.severity.rank < verdict.severity.rank:
                    return worse
        return None

    async def _conclude(self, seen: Detection, verdict: Verdict) -> Outcome:
        """How it ended; whoever should know is told, and where it is not over, somebody is paged."""
        recovery = self._dossier.recovery
        said = recovery.classification if recovery else Classification.INCONCLUSIVE
        recovered = said is Classification.FULLY_RECOVERED
        self._enter(Stage.REPORTING, said)
        if recovered:
            await self._people.resolve()
        elif verdict.severity in _URGENT:
            self._page(seen, f"{said} after {len(self._dossier.looks)} looks")
        if recovery and verdict.course is not Course.WATCH:
            before = look_at(seen.evidence, seen.assessment)
            await self._people.tell_last(
                wording.report(
                    self._dossier.incident_id, seen.evidence, before, self._dossier.looks, recovery, self._done()
                )
            )
        await self._people.all_told()
        if recovered:
            return Outcome.RECOVERED
        return Outcome.ESCALATED if self._dossier.paged else Outcome.UNRESOLVED

    def _done(self) -> str:
        record = self._dossier.remediation
        if record and record.run:
            order, run = record.order, record.run
            return f"rollback of deployment {order.expected_live} to {order.target}: {run.state} {run.url}".rstrip()
        return "a person was paged; nothing was rolled back" if self._people.paging else "nothing was rolled back"

    async def _close(self, outcome: Outcome) -> Snapshot:
        self._closing = True
        await self._people.all_told()
        self._dossier.stage = Stage.CLOSED
        self._note(outcome)
        workflow.upsert_search_attributes(showing.attributes(self._dossier, outcome))
        snapshot = close(self._dossier, outcome, workflow.now())
        if not await self._crew.keep(snapshot):
            await workflow.start_child_workflow(
                LateRecordWorkflow.run,
                snapshot,
                id=names.late_record_id(self._dossier.incident_id),
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"snapshot of {self._dossier.incident_id}",
            )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return snapshot

    # How it waits, and how it shows where it is.

    def _enter(self, stage: Stage, text: str = "") -> None:
        self._dossier.stage = stage
        workflow.upsert_search_attributes(showing.attributes(self._dossier))
        self._note(text)

    def _note(self, text: str) -> None:
        if text:
            entry = TimelineEntry(at=workflow.now(), stage=self._dossier.stage, text=text)
            self._dossier.timeline.append(entry)
        workflow.set_current_details(showing.details(self._dossier))

    def _page(self, seen: Detection, reason: str) -> None:
        severity = self._dossier.verdict.severity if self._dossier.verdict else seen.assessment.severity
        self._note(f"paging: {reason}")
        self._people.page(seen.evidence, severity, seen.assessment.summary, reason)

    def _ended(self) -> bool:
        """Whether a person ended the incident, and it may still be: nothing is being done or has been done."""
        return bool(self._dossier.cancelled_by) and not self._acting

    def _stop_if_ended(self) -> None:
        if self._ended():
            raise _EndedByPersonError

    async def _unless_ended(self, work: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.create_task(work)
        await workflow.wait_condition(lambda: task.done() or self._ended())
        if not task.done():
            task.cancel()
            raise _EndedByPersonError
        return task.result()

    async def _pause(self, duration: timedelta, summary: str) -> None:
        if duration:
            with suppress(TimeoutError):
                await workflow.wait_condition(self._ended, timeout=duration, timeout_summary=summary)
        self._stop_if_ended()

    # What others may ask and say.

    @workflow.query
    def dossier(self) -> Dossier:
        """All that is known so far."""
        return self._dossier

    @workflow.query
    def evidence(self) -> EvidenceOffer:
        """What an analyst outside decides on."""
        return EvidenceOffer(
            incident_id=self._dossier.incident_id,
            stage=self._dossier.stage,
            evidence=self._dossier.evidence,
            assessment=self._dossier.assessment,
        )

    @workflow.update
    def join(self, request: JoinRequest) -> Joined:
        """The open incident, for whoever triggers it again."""
        opened = bool(request.trigger_id) and request.trigger_id == self._dossier.trigger.trigger_id
        if not opened:
            self._note("joined by another trigger")
        return Joined(incident_id=self._dossier.incident_id, opened=opened)

    @workflow.update
    def decide(self, answer: OutsideDecision) -> None:
        """Takes the outside analyst's decision, or that it declines."""
        if answer.decision is None:
            self._declined = f"{self._request.outside_analyst} declined: {answer.declined}"
        else:
            self._outside = parse_decision(answer.decision)

    @decide.validator
    def _decidable(self, answer: OutsideDecision) -> None:
        if self._dossier.stage is not Stage.AWAITING_DECISION or self._outside is not None or self._declined:
            raise ApplicationError(f"no decision is awaited: the incident is {self._dossier.stage}", type="NotAwaited")
        if answer.decision is not None:
            try:
                parse_decision(answer.decision)
            except InvalidDecisionError as error:
                raise ApplicationError(str(error), *error.errors, type="InvalidDecision") from error

    @workflow.update
    def answer(self, answer: ApprovalAnswer) -> Approval:
        """Takes a person's answer to the open proposal."""
        approval = Approval(**answer.model_dump(), at=workflow.now())
        self._dossier.approval = approval
        self._note(f"{'approved' if approval.approved else 'denied'} by {approval.approver}")
        return approval

    @answer.validator
    def _answerable(self, answer: ApprovalAnswer) -> None:
        if self._dossier.stage is not Stage.AWAITING_APPROVAL:
            raise ApplicationError(f"no answer is awaited: the incident is {self._dossier.stage}", type="NotAwaited")
        if objection := self._dossier.objection(answer.digest, answer.approver, workflow.now()):
            raise ApplicationError(objection, type="AnswerRefused")

    @workflow.update
    def cancel(self, request: CancelRequest) -> CancelReceipt:
        """Ends the incident, if nothing has been done yet."""
        self._dossier.cancelled_by = self._dossier.cancelled_by or request.by
        self._note(f"cancelled by {request.by}: {request.reason}")
        return CancelReceipt(incident_id=self._dossier.incident_id, acted=self._acting)
