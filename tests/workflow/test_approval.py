"""A person is asked: what an answer is bound to, who may give it, and what voids it."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from incident.dossier import AlertNotice, Approval, Dossier, Proposal, Stage
from incident.evidence import Health, Source
from incident.gate import Course
from incident.ledger import RunState
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeChat, FakeService, InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import Handle, Shift, at_stage, ended, noted, until, well
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s"}


def unsure() -> FakeAnalyst:
    """Proposes the rollback with a confidence that makes the gate ask."""
    return FakeAnalyst(builders.decision(confidence=0.7))


async def asking(shift: Shift, **policy: object) -> tuple[Handle, Proposal]:
    """An incident that waits in real time for an answer, and what it asks."""
    handle = await shift.open({**SOON, **policy}, skipping=False)
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    return handle, proposal


async def say(handle: Handle, proposal: Proposal, *, approved: bool = True, approver: str = "ada") -> Approval:
    answer = ApprovalAnswer(digest=proposal.digest, approver=approver, approved=approved)
    return await handle.execute_update(IncidentWorkflow.answer, answer)


async def refusal(handle: Handle, answer: ApprovalAnswer) -> ApplicationError:
    """Why `answer` is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(IncidentWorkflow.answer, answer)
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


async def test_an_approved_rollback_is_made_in_the_name_of_who_approved(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    assert (proposal.target, proposal.expected_live) == (100, 101)
    assert proposal.deadline - proposal.proposed_at == timedelta(minutes=2)
    assert shift.service.rollback.starts == []
    await say(handle, proposal)
    snapshot = await ended(handle)
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.remediation
    assert snapshot.remediation.authorised_by == "ada"
    assert snapshot.approval
    assert snapshot.approval.approver == "ada"
    assert len(shift.service.rollback.begun) == 1
    assert shift.pager.sent == []
    kinds = [message.kind for message in shift.chat.posted]
    assert sorted(kinds[:2]) == [ChatKind.ALERT, ChatKind.QUESTION]
    assert kinds[2:] == [ChatKind.REPORT]


async def test_a_denied_rollback_is_not_made_and_the_service_still_verified(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    await say(handle, proposal, approved=False)
    snapshot = await ended(handle)
    assert shift.service.rollback.starts == []
    assert snapshot.remediation is None
    assert snapshot.approval
    assert not snapshot.approval.approved
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert noted(snapshot, "denied by ada")
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.action_taken is ActionTaken.ESCALATE


async def test_a_question_that_nobody_answers_becomes_a_page(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    snapshot = await shift.handle({"page_after": "1h"})
    assert noted(snapshot, "paging: nobody answered within 0:02:00")
    assert len(shift.pager.sent) == 1
    assert shift.service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_an_answer_to_another_proposal_is_refused_and_the_right_one_still_taken(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    error = await refusal(handle, ApprovalAnswer(digest="0" * 64, approver="ada", approved=True))
    assert error.type == "AnswerRefused"
    assert "its digest differs" in str(error)
    await say(handle, proposal)
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_a_stranger_may_not_approve(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    error = await refusal(handle, ApprovalAnswer(digest=proposal.digest, approver="mallory", approved=True))
    assert "mallory is not one of the policy's approvers" in str(error)
    assert shift.service.rollback.starts == []
    await say(handle, proposal, approved=False)
    await ended(handle)


async def test_an_answer_after_the_deadline_is_refused(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, settle="1h")
    await shift.skip(handle, timedelta(minutes=3))
    await at_stage(handle, Stage.SETTLING)
    error = await refusal(handle, ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True))
    assert error.type == "NotAwaited"
    snapshot = await shift.finish(handle)
    assert snapshot.approval is None
    assert shift.service.rollback.starts == []


async def test_the_first_answer_wins(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, settle="1h")
    await say(handle, proposal, approved=False)
    error = await refusal(handle, ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True))
    assert error.type in {"NotAwaited", "AnswerRefused"}
    snapshot = await shift.finish(handle)
    assert snapshot.approval
    assert not snapshot.approval.approved
    assert shift.service.rollback.starts == []


async def test_an_approval_is_void_if_another_deployment_went_live_meanwhile_and_somebody_is_asked_anew(
    staff: Staff,
) -> None:
    service = FakeService(live=101, bad=(101, 102))
    shift = await staff(service=service, analyst=unsure())
    handle, proposal = await asking(shift)
    service.deploy(102)
    await say(handle, proposal)
    await until(lambda: [message.kind for message in shift.chat.posted].count(ChatKind.QUESTION) == 2)
    dossier = await handle.query(IncidentWorkflow.dossier)
    assert dossier.remediation
    assert dossier.remediation.void
    assert dossier.remediation.refused == ("deployment 102 is live now, deployment 101 was when it was decided",)
    assert dossier.approval is None
    assert service.rollback.starts == []
    anew = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert anew
    assert (anew.target, anew.expected_live) == (100, 102)
    await say(handle, anew, approved=False)
    snapshot = await ended(handle)
    assert noted(snapshot, "not rolled back: deployment 102 is live now")
    assert service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_an_approval_is_void_if_the_anomalies_are_gone_and_nobody_is_paged(staff: Staff) -> None:
    service = FakeService(live=101)
    shift = await staff(service=service, analyst=unsure())
    handle, proposal = await asking(shift)
    service.answer(Source.METRICS, well(101))
    service.answer(Source.ALERTS, builders.alerts())
    await say(handle, proposal)
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert snapshot.remediation.void
    assert snapshot.remediation.refused == ("the anomalies that opened the incident are gone",)
    assert service.rollback.starts == []
    assert shift.pager.sent == []
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.MONITOR


async def test_noise_between_question_and_answer_voids_nothing(staff: Staff) -> None:
    service = FakeService(live=101)
    noisy = builders.metrics(
        {**builders.DEGRADED_METRICS, "error_rate": 11.9, "cpu_usage": 60.0}, health=Health.DEGRADED, deployment_id=101
    )
    shift = await staff(service=service, analyst=unsure())
    handle, proposal = await asking(shift)
    service.answer(Source.METRICS, noisy, well())
    service.answer(Source.LOGS, builders.logs(builders.log_line(7, "something new")))
    service.answer(Source.ALERTS, builders.alerts(builders.alert("another")), builders.alerts())
    await say(handle, proposal)
    snapshot = await ended(handle)
    assert len(service.rollback.begun) == 1
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_approval_does_not_reach_past_the_gate_at_the_head_of_the_remediation(staff: Staff) -> None:
    store = InMemoryStore()
    shift = await staff(analyst=unsure(), store=store)
    handle, proposal = await asking(shift)
    await store.begin(builders.remediation(from_deployment=100, state=RunState.SUCCEEDED), None)
    await say(handle, proposal)
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert not snapshot.remediation.void
    assert any("target_not_rolled_back" in reason for reason in snapshot.remediation.refused)
    assert shift.service.rollback.starts == []
    assert noted(snapshot, "paging: the rollback was refused")
    assert len(shift.pager.sent) == 1
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert snapshot.outcome is Outcome.ESCALATED


async def test_without_approvers_a_question_becomes_a_page(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    snapshot = await shift.handle({"approvers": ()})
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert snapshot.proposal is None
    assert len(shift.pager.sent) == 1


async def test_an_answer_that_nobody_asked_for_is_refused(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    error = await refusal(handle, ApprovalAnswer(digest="0" * 64, approver="ada", approved=True))
    assert error.type == "NotAwaited"
    assert "the incident is settling" in str(error)
    await shift.finish(handle)


async def test_a_proposal_is_shown_to_whoever_asks(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    dossier: Dossier = await handle.query(IncidentWorkflow.dossier)
    assert dossier.proposal == proposal
    assert "roll back deployment 101 to 100?" in proposal.question
    await say(handle, proposal, approved=False)
    await ended(handle)


async def test_a_question_is_asked_again_then_paged_then_closed_as_escalated(staff: Staff) -> None:
    shift = await staff(analyst=unsure(), chat=FakeChat(places=True))
    times = {"ask_again_after": "5m", "page_unanswered_after": "10m", "approve_within": "15m", "page_after": "1h"}
    snapshot = await shift.handle(times)
    asked = [each for each in shift.chat.posted if each.kind is ChatKind.QUESTION and not each.stands]
    assert [each.ask is not None for each in asked] == [True, True]
    assert len({each.key for each in asked}) == 2
    assert snapshot.proposal
    assert {each.ask.digest for each in asked if each.ask} == {snapshot.proposal.digest}
    after = {
        words: entry.at - snapshot.opened_at
        for entry in snapshot.timeline
        for words in ("asking again", "paging: no answer yet", "paging: nobody answered")
        if words in entry.text
    }
    assert [round(each.total_seconds() / 60) for each in after.values()] == [5, 10, 15]
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.approvals == ()


async def test_a_question_that_was_answered_or_is_asked_again_has_no_buttons_any_more(staff: Staff) -> None:
    shift = await staff(analyst=unsure(), chat=FakeChat(places=True))
    handle, proposal = await asking(shift, ask_again_after="1m", approve_within="10m")
    await shift.skip(handle, timedelta(minutes=2))
    await say(handle, proposal)
    await ended(handle)
    questions = [each for each in shift.chat.shown.values() if each.kind is ChatKind.QUESTION]
    assert [(each.ask, each.status) for each in questions] == [(None, "asked again below"), (None, "approved by ada")]


async def test_the_one_message_of_an_incident_goes_on_saying_where_it_stands(staff: Staff) -> None:
    shift = await staff(analyst=unsure(), chat=FakeChat(places=True))
    handle, proposal = await asking(shift)
    await until(lambda: any(each.status.startswith("asks a person") for each in shift.chat.posted))
    await say(handle, proposal)
    snapshot = await ended(handle)
    cards = [each for each in shift.chat.shown.values() if each.kind is ChatKind.ALERT]
    assert [each.status.split(":")[0] for each in cards] == ["FULLY_RECOVERED"]
    (place,) = [place for place, each in shift.chat.shown.items() if each.kind is ChatKind.ALERT]
    under = [each.kind for each in shift.chat.shown.values() if each.thread == place]
    assert under == [ChatKind.DETAILS, ChatKind.QUESTION, ChatKind.REPORT]
    kept = [each.kind for each in snapshot.notifications]
    assert kept.count(ChatKind.ALERT) == 1


async def test_the_same_answer_again_is_the_same_answer_also_once_it_is_acted_on(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, settle="1h")
    first = await say(handle, proposal)
    assert await say(handle, proposal) == first
    await at_stage(handle, Stage.SETTLING)
    assert await say(handle, proposal) == first
    snapshot = await shift.finish(handle)
    assert snapshot.approvals == (first,)
    assert len(shift.service.rollback.begun) == 1


async def test_an_answer_by_signal_is_taken_like_any_other(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, approvers=("ada",), known_as={"slack:T1/U1": "ada"})
    pressed = ApprovalAnswer(digest=proposal.digest, approver="slack:T1/U1", approved=True)
    for _ in range(3):
        await handle.signal(IncidentWorkflow.answered, pressed)
    snapshot = await ended(handle)
    assert [each.approver for each in snapshot.approvals] == ["slack:T1/U1"]
    assert snapshot.remediation
    assert snapshot.remediation.authorised_by == "slack:T1/U1"


async def test_a_signal_that_is_refused_is_answered_where_the_question_stands_ten_times_at_most(staff: Staff) -> None:
    shift = await staff(analyst=unsure(), chat=FakeChat(places=True))
    handle, proposal = await asking(shift)
    for number in range(15):
        stranger = ApprovalAnswer(digest=proposal.digest, approver=f"mallory-{number}", approved=True)
        await handle.signal(IncidentWorkflow.answered, stranger)
    old = ApprovalAnswer(digest="0" * 64, approver="ada", approved=True)
    await handle.signal(IncidentWorkflow.answered, old)
    await say(handle, proposal, approved=False)
    snapshot = await ended(handle)
    notes = [each.title for each in shift.chat.posted if each.kind is ChatKind.NOTE]
    assert len(notes) == 10
    assert notes[0] == "The answer of mallory-0 (approve) was not taken: mallory-0 is not one of the policy's approvers"
    assert noted(snapshot, "the answer of ada (approve) was not taken: this is not the proposal that is open")
    assert shift.service.rollback.starts == []
    assert [each.approver for each in snapshot.approvals] == ["ada"]


async def test_an_answer_by_signal_after_its_time_is_refused(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, settle="1h")
    await shift.skip(handle, timedelta(minutes=3))
    await at_stage(handle, Stage.SETTLING)
    late = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    await handle.signal(IncidentWorkflow.answered, late)
    snapshot = await shift.finish(handle)
    assert noted(snapshot, "was not taken: no answer is awaited: the incident is settling")
    assert snapshot.approvals == ()
    assert shift.service.rollback.starts == []


TWO: dict[str, object] = {
    "approvals_needed": 2,
    "approvers": ("ada", "grace", "linus"),
    "known_as": {"slack:T1/U1": "ada"},
}


async def test_two_people_must_approve_and_one_of_them_twice_is_one(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, **TWO)
    await say(handle, proposal)
    await say(handle, proposal, approver="slack:T1/U1")
    dossier = await handle.query(IncidentWorkflow.dossier)
    assert (dossier.stage, dossier.approval) == (Stage.AWAITING_APPROVAL, None)
    assert shift.service.rollback.starts == []
    await say(handle, proposal, approver="grace")
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert snapshot.remediation.authorised_by == "ada and grace"
    assert [each.approver for each in snapshot.approvals] == ["ada", "grace"]


async def test_one_denial_is_enough_also_by_who_had_approved(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift, **TWO)
    await say(handle, proposal)
    await say(handle, proposal, approved=False)
    snapshot = await ended(handle)
    assert snapshot.approval
    assert not snapshot.approval.approved
    assert shift.service.rollback.starts == []


async def test_who_asked_for_the_incident_is_neither_of_the_two(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle = await shift.open({**SOON, **TWO}, skipping=False, trigger={"source": "api", "by": "ada"})
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    error = await refusal(handle, ApprovalAnswer(digest=proposal.digest, approver="slack:T1/U1", approved=True))
    assert "asked for this incident, and two others must approve" in str(error)
    await say(handle, proposal, approver="linus")
    await say(handle, proposal, approver="grace")
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_what_alerts_say_is_noted_once_for_each_name_and_decides_nothing(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle, proposal = await asking(shift)
    for number in range(50):
        names = ("HighErrorRate", f"Alert{number % 30}")
        await handle.signal(IncidentWorkflow.alerted, AlertNotice(source="alertmanager", firing=names, left_out=number))
    await say(handle, proposal, approved=False)
    snapshot = await ended(handle)
    heard = snapshot.heard
    assert (heard.notices, len(heard.alerts), heard.left_out, heard.firing) == (50, 20, 49, True)
    assert heard.alerts[:2] == ("HighErrorRate", "Alert0")
    assert sum("says that this fires" in entry.text for entry in snapshot.timeline) == 19
    assert shift.service.rollback.starts == []
