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
    from activities.verify import Verified
    from incident import wording
    from incident.decision import Decision, InvalidDecisionError, parse_decision
    from incident.dossier import AlertNotice, Approval, Dossier, Proposal, Stage, proposal_digest
    from incident.gate import Course, Verdict
    from incident.identifiers import mint_incident_id
    from incident.ledger import RunState, Stop
    from incident.messages import Ask
    from incident.recovery import Classification, look_at
    from incident.severity import Severity
    from incident.snapshot import Outcome, Snapshot, close
    from workflows import names, showing
    from workflows.chronicle import Chronicle
    from workflows.crew import Crew, stop_if_cancelled, why
    from workflows.messages import (
        NOT_AWAITED,
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
    from workflows.remedy import Remedy

_T = TypeVar("_T")
_URGENT = frozenset({Severity.P0, Severity.P1})
_ROUNDS = 5
"""How often one incident is decided at the most: what changes that fast needs a person."""


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
        self._chronicle = Chronicle(self._dossier)
        self._crew = Crew(self._dossier)
        self._people = People(self._dossier, self._chronicle)
        self._remedy = Remedy(self._dossier, self._crew, self._people, self._chronicle, self._called_off)
        self._outside: Decision | None = None
        self._declined = ""
        self._alerted = False
        self._worse = 0
        self._asked = 0
        self._closing = False
        self._silences: list[asyncio.Task[None]] = []

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:  # noqa: ARG002 - __init__ took it
        """The incident's snapshot. A cancellation by Temporal's own means counts as a person's."""
        self._chronicle.enter(Stage.DETECTING, f"asked by {self._dossier.trigger.source}")
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
            seen, verdict = await self._handle(seen)
            while changed := await self._verify(seen, verdict):
                self._open(changed)
                seen, verdict = await self._handle(changed)
            if self._made_worse():
                await self._remedy.undo()
                await self._verify(seen, verdict)
        except _EndedByPersonError:
            self._chronicle.note(f"ended by {self._dossier.cancelled_by} before anything was done")
            return await self._close(Outcome.CANCELLED)
        self._closing = True
        await asyncio.gather(*self._silences)
        return await self._close(await self._conclude(seen, verdict))

    def _open(self, seen: Detection) -> None:
        self._dossier.evidence, self._dossier.assessment = seen.evidence, seen.assessment
        self._chronicle.note(f"{seen.assessment.severity}: {seen.assessment.summary}")
        for missing in seen.evidence.missing:
            self._chronicle.note(f"not seen: {missing}")

    async def _handle(self, seen: Detection) -> tuple[Detection, Verdict]:
        """Decides and responds; where somebody changed what is live meanwhile, on evidence that is read again."""
        while True:
            self._dossier.rounds += 1
            self._silences.append(asyncio.create_task(self._page_if_nothing_is_done(seen)))
            verdict = await self._unless_ended(self._decide(seen))
            if not await self._respond(seen, verdict):
                return seen, verdict
            if self._dossier.rounds >= _ROUNDS:
                self._people.escalate(
                    f"what is live, or how the service is, changed {_ROUNDS} times while it was decided"
                )
                return seen, verdict
            self._chronicle.enter(Stage.DETECTING, "the proposal is void; the evidence is read again")
            fresh = await self._unless_ended(self._crew.collect())
            if fresh.assessment.healthy:
                self._chronicle.note("the service is well by now")
                return seen, verdict
            seen = fresh
            self._open(seen)

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
            self._people.page(f"nothing was done within {after}")

    async def _decide(self, seen: Detection) -> Verdict:
        self._dossier.analysis = self._dossier.verdict = self._dossier.ledger = None
        self._chronicle.enter(Stage.ANALYZING)
        outside = await self._outside_decision() if self._request.outside_analyst else None
        try:
            if outside:
                analyzed = await self._crew.judge(seen, outside, self._request.outside_analyst)
            else:
                analyzed = await self._crew.analyze(seen, self._declined)
        except ActivityError as error:
            stop_if_cancelled(error)
            self._chronicle.note(f"nobody could decide: {why(error)}")
            return Verdict(course=Course.PAGE, severity=seen.assessment.severity, findings=())
        self._dossier.analysis, self._dossier.verdict = analyzed.analysis, analyzed.verdict
        self._dossier.ledger = analyzed.ledger
        self._chronicle.note(f"{analyzed.analysis.analyst} proposes {analyzed.analysis.decision.action}")
        self._chronicle.note(f"{analyzed.verdict.severity}: {wording.intention(analyzed.verdict)}")
        return analyzed.verdict

    async def _outside_decision(self) -> Decision | None:
        self._outside, self._declined = None, ""
        name, within = self._request.outside_analyst, self._dossier.policy.decide_within
        self._chronicle.enter(Stage.AWAITING_DECISION, f"{name} has {within}")
        try:
            await workflow.wait_condition(
                lambda: self._outside is not None or bool(self._declined),
                timeout=within,
                timeout_summary=f"wait for the decision of {name}",
            )
        except TimeoutError:
            self._declined = f"{name} did not decide within {within}"
        self._chronicle.enter(Stage.ANALYZING, self._declined)
        return self._outside

    async def _respond(self, seen: Detection, verdict: Verdict) -> bool:
        """Does what the verdict allows; `True` where what it rested on has changed, so that nothing was done."""
        analysis = self._dossier.analysis
        if analysis and verdict.course is not Course.WATCH:
            self._alerted = True
            incident_id, rounds = self._dossier.incident_id, self._dossier.rounds
            self._people.chat.alert(
                wording.alert(incident_id, seen.evidence, seen.assessment, analysis, verdict),
                wording.details(incident_id, seen.evidence, analysis, verdict, rounds),
            )
        match verdict.course:
            case Course.ACT:
                if self._dossier.policy.page_beside:
                    self._people.page(f"beside {wording.intention(verdict)}")
                return await self._remediate(seen, verdict, "policy")
            case Course.ASK:
                approver, void = await self._approved(seen, verdict)
                return void or (bool(approver) and await self._remediate(seen, verdict, approver))
            case Course.PAGE:
                self._people.page("; ".join(verdict.refusals) or "nobody could decide")
            case Course.WATCH:
                self._chronicle.note("watching until it has settled")
        return False

    async def _approved(self, seen: Detection, verdict: Verdict) -> tuple[str, bool]:
        """Who approved, empty where nobody did; and whether the proposal is void, since something else is live."""
        proposal = self._propose(seen, verdict)
        policy, asked_at = self._dossier.policy, workflow.now()
        reminders = {
            asked_at + policy.ask_again_after: lambda: self._ask(seen, verdict, proposal),
            asked_at + policy.page_unanswered_after: lambda: self._people.escalate(
                f"no answer yet: {proposal.question}"
            ),
        }
        while (now := workflow.now()) < proposal.deadline:
            for due in [at for at in reminders if at <= now]:
                reminders.pop(due)()
            try:
                await workflow.wait_condition(
                    lambda: self._dossier.approval is not None or self._ended() or self._dossier.stopped is not None,
                    timeout=min(proposal.deadline, now + policy.recheck_every, *reminders) - now,
                    timeout_summary="wait for a person's answer",
                )
                break
            except TimeoutError:
                live = await self._unless_ended(self._crew.live())
                if live not in {None, proposal.expected_live}:
                    self._chronicle.note(f"somebody changed what is live: deployment {live}")
                    self._people.chat.close_question(f"void: deployment {live} went live meanwhile")
                    return "", True
        self._stop_if_ended()
        return self._decided_by(proposal), False

    def _decided_by(self, proposal: Proposal) -> str:
        """Who approved; empty where nobody did, and then whoever must know is woken."""
        answer, stopped = self._dossier.approval, self._dossier.stopped
        if answer is None:
            unanswered = f"nobody answered within {self._dossier.policy.approve_within}: {proposal.question}"
            self._people.page(stopped.words if stopped else unanswered)
            self._say(f"not answered: {stopped.words if stopped else 'its time is over'}")
            return ""
        approvers = " and ".join(each.approver for each in self._dossier.approvals if each.digest == answer.digest)
        self._say(f"approved by {approvers}" if answer.approved else f"denied by {answer.approver}")
        return approvers if answer.approved else ""

    def _say(self, status: str) -> None:
        """The question, and the incident's one message, say from now on that it stands so."""
        self._people.chat.close_question(status)
        self._people.chat.status(status)

    def _propose(self, seen: Detection, verdict: Verdict) -> Proposal:
        target, expected_live = verdict.rollback()
        proposal = Proposal(
            digest=proposal_digest(self._dossier.incident_id, target, expected_live, seen.evidence),
            target=target,
            expected_live=expected_live,
            question=wording.to_ask(seen.evidence, verdict),
            proposed_at=workflow.now(),
            deadline=workflow.now() + self._dossier.policy.approve_within,
        )
        self._dossier.approval, self._dossier.proposal = None, proposal
        self._chronicle.enter(Stage.AWAITING_APPROVAL, proposal.question)
        self._people.chat.status(f"asks a person, until {proposal.deadline:%H:%M:%SZ}")
        self._ask(seen, verdict, proposal)
        return proposal

    def _ask(self, seen: Detection, verdict: Verdict, proposal: Proposal) -> None:
        self._asked += 1
        if proposal.proposed_at != workflow.now():
            self._chronicle.note(f"asking again: {proposal.question}")
        ask = Ask(digest=proposal.digest, deadline=proposal.deadline)
        self._people.chat.ask(wording.question(self._dossier.incident_id, seen.evidence, verdict, ask, self._asked))

    async def _remediate(self, seen: Detection, verdict: Verdict, authorised_by: str) -> bool:
        self._stop_if_ended()
        if self._dossier.stopped is not None:
            self._people.page(f"nothing was rolled back: {self._dossier.stopped.words}")
            return False
        analysis = self._dossier.analysis
        if analysis is None:  # pragma: no cover - no verdict acts where nobody decided
            return False
        target, _ = verdict.rollback()
        void = await self._remedy.roll_back(seen, analysis.decision, target, authorised_by)
        self._stop_if_ended()
        return void

    async def _verify(self, seen: Detection, verdict: Verdict) -> Detection | None:
        """Looks until it has settled; what is seen then, if it has to be decided anew since nothing was done yet."""
        policy = self._dossier.policy
        before = look_at(seen.evidence, seen.assessment)
        if policy.settle:
            self._chronicle.enter(Stage.SETTLING)
            await self._pause(policy.settle, "let the service settle")
        self._stop_if_ended()
        self._chronicle.enter(Stage.VERIFYING)
        taken = 0
        while taken < policy.max_looks or (self._page_waits() and taken < 2 * policy.max_looks):
            if taken:
                await self._pause(policy.look_every, "until the next look")
            verified = await self._crew.look(before, taken, ask_live=taken == 0)
            taken += len(verified.looks) if verified else 1
            if verified is None:
                self._chronicle.note(f"look {taken}: nobody could look")
                continue
            self._keep(verified)
            if (verified.recovery.settled and not self._page_waits()) or self._made_worse():
                break
            if await self._is_another_matter(seen, verdict, verified):
                changed = await self._unless_ended(self._crew.collect())
                if not changed.assessment.healthy and self._dossier.rounds < _ROUNDS:
                    return changed
        return None

    def _keep(self, verified: Verified) -> None:
        waited = self._page_waits()
        self._dossier.looks += verified.looks
        self._dossier.recovery = verified.recovery
        workflow.set_current_details(showing.details(self._dossier))
        self._count_worse(verified)
        if self._page_waits() and not waited:
            stable_for = self._dossier.policy.recovery.stable_for
            self._chronicle.note(f"recovered; the page closes once it has been so for {stable_for}")

    def _page_waits(self) -> bool:
        """Whether it has recovered, and a page stays open until it has been so for the whole stability window."""
        recovery = self._dossier.recovery
        return recovery is not None and not recovery.stable and self._people.paging

    async def _is_another_matter(self, seen: Detection, verdict: Verdict, verified: Verified) -> bool:
        """Whether it has to be decided anew: it is worse, or something else is live, and nothing was done yet."""
        others = self._changed_by_others(seen, verified.live)
        if others:
            self._chronicle.note(f"somebody changed what is live: deployment {verified.live}")
        return not self._remedy.under_way and (others or verified.severity.rank < verdict.severity.rank)

    def _changed_by_others(self, seen: Detection, live: int | None) -> bool:
        record = self._dossier.undo or self._dossier.remediation
        was = seen.evidence.deployments.live
        ours = {was.deployment_id} if was else set()
        if record and record.acted:
            ours = {record.order.target, record.order.expected_live}
        return bool(ours) and live is not None and live not in ours

    def _count_worse(self, verified: Verified) -> None:
        worse = verified.recovery.classification is Classification.DEGRADED
        self._worse = self._worse + 1 if worse else 0

    def _made_worse(self) -> bool:
        """Whether a rollback succeeded and the service is worse than before, look after look; asked once."""
        record = self._dossier.remediation
        rolled_back = record is not None and record.run is not None and record.run.state is RunState.SUCCEEDED
        return rolled_back and self._dossier.undo is None and self._worse >= self._dossier.policy.worse_looks

    async def _conclude(self, seen: Detection, verdict: Verdict) -> Outcome:
        """How it ended; whoever should know is told, and where it is not over, somebody is paged."""
        recovery = self._dossier.recovery
        said = recovery.classification if recovery else Classification.INCONCLUSIVE
        recovered = said is Classification.FULLY_RECOVERED
        self._chronicle.enter(Stage.REPORTING, said)
        if recovered and self._page_waits():
            self._chronicle.note("the page stays open: it has not been well for long enough to be closed")
        elif recovered:
            await self._people.resolve()
        elif said is Classification.DEGRADED:
            self._people.escalate(f"{said} after {len(self._dossier.looks)} looks")
        elif verdict.severity in _URGENT:
            self._people.page(f"{said} after {len(self._dossier.looks)} looks")
        if recovery and self._alerted:
            before = look_at(seen.evidence, seen.assessment)
            await self._people.chat.tell_last(
                wording.report(
                    self._dossier.incident_id, seen.evidence, before, self._dossier.looks, recovery, self._done()
                )
            )
        self._people.chat.status(f"{said}: {self._done()}")
        await self._people.all_told()
        if recovered:
            return Outcome.RECOVERED
        return Outcome.ESCALATED if self._dossier.paged else Outcome.UNRESOLVED

    def _done(self) -> str:
        done = [
            f"{each.order.kind} of deployment {each.order.expected_live} to {each.order.target}: "
            f"{each.run.state} {each.run.url}".rstrip()
            for each in (self._dossier.remediation, self._dossier.undo)
            if each and each.run
        ]
        if done:
            return "; ".join(done)
        return "a person was paged; nothing was rolled back" if self._people.paging else "nothing was rolled back"

    async def _close(self, outcome: Outcome) -> Snapshot:
        self._closing = True
        if outcome is Outcome.CANCELLED:
            self._people.over = True
            self._say(f"cancelled by {self._dossier.cancelled_by}")
        await self._people.all_told()
        self._dossier.stage = Stage.CLOSED
        self._chronicle.note(outcome)
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

    # How it waits.

    def _ended(self) -> bool:
        """Whether a person ended the incident, and it may still be: nothing is being done or has been done."""
        return bool(self._dossier.cancelled_by) and not self._remedy.under_way

    def _called_off(self) -> str:
        """Why a run that has not begun is to be called off; empty: it is not."""
        if self._dossier.cancelled_by:
            return f"cancelled by {self._dossier.cancelled_by}"
        return self._dossier.stopped.words if self._dossier.stopped else ""

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
            self._chronicle.note("joined by another trigger")
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
            raise ApplicationError(f"no decision is awaited: the incident is {self._dossier.stage}", type=NOT_AWAITED)
        if answer.decision is not None:
            try:
                parse_decision(answer.decision)
            except InvalidDecisionError as error:
                raise ApplicationError(str(error), *error.errors, type="InvalidDecision") from error

    @workflow.update
    def answer(self, answer: ApprovalAnswer) -> Approval:
        """Takes a person's answer to the open proposal; the same again is the same answer."""
        return self._given(answer) or self._take(answer)

    @answer.validator
    def _answerable(self, answer: ApprovalAnswer) -> None:
        if self._given(answer):
            return
        if not self._asks():
            raise ApplicationError(f"no answer is awaited: the incident is {self._dossier.stage}", type=NOT_AWAITED)
        if objection := self._dossier.objection(answer.digest, answer.approver, workflow.now()):
            raise ApplicationError(objection, type="AnswerRefused")

    @workflow.signal
    def answered(self, answer: ApprovalAnswer) -> None:
        """The same from where nobody waits for a reply: why it cannot be taken is said where the question stands."""
        if self._given(answer):
            return
        nobody_asks = "" if self._asks() else f"no answer is awaited: the incident is {self._dossier.stage}"
        objection = nobody_asks or self._dossier.objection(answer.digest, answer.approver, workflow.now())
        if objection:
            self._people.refuse(answer.approver, "approve" if answer.approved else "deny", objection)
        else:
            self._take(answer)

    def _given(self, answer: ApprovalAnswer) -> Approval | None:
        return self._dossier.given(answer.digest, answer.approver, approved=answer.approved)

    def _asks(self) -> bool:
        """Whether somebody is asked, or was and has answered."""
        return self._dossier.stage is Stage.AWAITING_APPROVAL or self._dossier.approval is not None

    def _take(self, answer: ApprovalAnswer) -> Approval:
        approval = Approval(**answer.model_dump(), at=workflow.now())
        self._dossier.take(approval)
        said = f"{'approved' if approval.approved else 'denied'} by {approval.approver}"
        self._chronicle.note(said if self._dossier.approval else f"{said}; one more must approve")
        return approval

    @workflow.signal
    def alerted(self, notice: AlertNotice) -> None:
        """What an alert says of the service: it is noted, once for each name, and decides nothing."""
        if new := self._dossier.hear(notice, workflow.now()):
            self._chronicle.note(f"{notice.source} says that this fires: {', '.join(new)}")

    @workflow.update
    def cancel(self, request: CancelRequest) -> CancelReceipt:
        """Ends the incident, if nothing has been done yet."""
        self._dossier.cancelled_by = self._dossier.cancelled_by or request.by
        self._chronicle.note(f"cancelled by {request.by}: {request.reason}")
        return CancelReceipt(incident_id=self._dossier.incident_id, acted=self._remedy.under_way)

    @workflow.signal
    def look_now(self) -> None:
        """Something is known to have happened to the rollback's run: the pause until the next look is cut."""
        self._remedy.nudge()

    @workflow.signal
    def stop(self, stop: Stop) -> None:
        """The kill switch: nothing that has not begun is begun, and what has not begun is called off."""
        self._dossier.stopped = self._dossier.stopped or stop
        self._chronicle.note(stop.words)
