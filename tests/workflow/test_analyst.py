"""Who decides: the worker's analyst, the rules where it cannot, or somebody outside who may also stay silent."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from incident.dossier import Stage
from incident.errors import AnalystUnusableError, TransientError
from incident.gate import Course
from incident.severity import Severity
from incident.snapshot import Outcome
from tests import builders
from tests.fakes import FakeAnalyst, InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import UNREACHABLE, Handle, Shift, asked, at_stage, at_work, ended, noted, until
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, OutsideDecision

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s"}
PROPOSAL: dict[str, Any] = builders.decision().model_dump(mode="json")


async def awaiting(shift: Shift, **policy: object) -> Handle:
    """An incident that waits in real time for the decision of kestra."""
    handle = await shift.open({**SOON, **policy}, skipping=False, outside_analyst="kestra")
    await at_stage(handle, Stage.AWAITING_DECISION)
    return handle


async def refusal(handle: Handle, answer: OutsideDecision) -> ApplicationError:
    """Why `answer` is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(IncidentWorkflow.decide, answer)
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


async def test_an_unusable_analyst_is_not_asked_again_and_the_rules_decide(staff: Staff) -> None:
    analyst = FakeAnalyst(AnalystUnusableError("openai", "refused to answer"))
    shift = await staff(analyst=analyst)
    snapshot = await shift.handle()
    assert len(analyst.cases) == 1
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "rules"
    assert snapshot.analysis.because == "AnalystUnusableError: openai: refused to answer"
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_unreachable_analyst_is_tried_three_times_then_the_rules_decide(staff: Staff) -> None:
    analyst = FakeAnalyst(TransientError("openai", "overloaded"))
    shift = await staff(analyst=analyst)
    snapshot = await shift.handle()
    assert len(analyst.cases) == 3
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "rules"
    assert "overloaded" in snapshot.analysis.because
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_analyst_that_comes_back_in_time_decides(staff: Staff) -> None:
    analyst = FakeAnalyst(TransientError("openai", "overloaded"), builders.decision())
    shift = await staff(analyst=analyst)
    snapshot = await shift.handle()
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "fake"
    assert snapshot.analysis.because == ""


async def test_an_analyst_that_asks_for_more_patience_than_there_is_gives_way_to_the_rules(staff: Staff) -> None:
    analyst = FakeAnalyst(TransientError("openai", "rate-limited", retry_after=UNREACHABLE))
    shift = await staff(analyst=analyst)
    snapshot = await shift.handle()
    assert len(analyst.cases) == 1
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "rules"


@pytest.mark.parametrize("outside", ["", "kestra"])
async def test_the_record_keeps_the_ledger_as_the_gate_saw_it(staff: Staff, outside: str) -> None:
    store = InMemoryStore()
    past = builders.remediation()
    store.remediations[past.correlation_id] = past
    shift = await staff(store=store)
    if outside:
        handle = await awaiting(shift)
        await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
        snapshot = await ended(handle)
    else:
        snapshot = await shift.handle()
    assert snapshot.ledger
    assert snapshot.ledger.remediations == (past,)


async def test_where_not_even_the_rules_can_decide_a_person_is_paged(staff: Staff) -> None:
    store = InMemoryStore({"view": RuntimeError("the gate is broken")})
    shift = await staff(store=store)
    snapshot = await shift.handle()
    assert snapshot.analysis is None
    assert snapshot.verdict is None
    assert snapshot.severity is Severity.P0
    assert noted(snapshot, "nobody could decide: RuntimeError: the gate is broken")
    assert len(shift.pager.sent) == 1
    assert shift.service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_an_analyst_of_another_mind_flips_no_decision_that_is_recorded(server: WorkflowEnvironment) -> None:
    asking = FakeAnalyst(builders.decision(confidence=0.7))
    async with at_work(server, analyst=asking) as shift:
        handle = await shift.open(SOON, skipping=False)
        proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    other = FakeAnalyst(builders.decision(action="escalate", rollback_to=None))
    async with at_work(server, shift.name, analyst=other, service=shift.service):
        answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
        await handle.execute_update(IncidentWorkflow.answer, answer)
        snapshot = await ended(handle)
    assert (len(asking.cases), other.cases) == (1, [])
    assert [order.target for order in shift.service.rollback.begun] == [100]
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_analyst_that_invents_its_evidence_does_not_act_and_the_record_names_it(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(evidence_ids=("metric:error_rate", "log:404"))))
    snapshot = await shift.handle({"approvers": ()})
    assert snapshot.analysis
    assert snapshot.analysis.invented == ("log:404",)
    assert snapshot.analysis.decision.evidence_ids == ("metric:error_rate",)
    assert snapshot.confidence == pytest.approx(builders.decision().confidence / 2)
    assert shift.service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_decision_from_outside_that_invents_its_evidence_does_not_act_either(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst())
    handle = await awaiting(shift, approvers=())
    decision = {**PROPOSAL, "evidence_ids": ["log:404", "log:405"]}
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=decision))
    snapshot = await ended(handle)
    assert snapshot.analysis
    assert (snapshot.analysis.analyst, snapshot.analysis.invented) == ("kestra", ("log:404", "log:405"))
    assert (snapshot.confidence, shift.service.rollback.starts) == (0, [])


async def test_a_decision_from_outside_is_judged_and_carried_out(staff: Staff) -> None:
    own = FakeAnalyst()
    shift = await staff(analyst=own)
    handle = await awaiting(shift)
    offer = await handle.query(IncidentWorkflow.evidence)
    assert offer.stage is Stage.AWAITING_DECISION
    assert offer.evidence
    assert offer.assessment
    assert offer.assessment.severity is Severity.P0
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
    snapshot = await ended(handle)
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "kestra"
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.ACT
    assert own.cases == []
    assert (await asked(handle))["analyze.judge"] == 1
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_decision_from_outside_passes_the_gate_or_not_like_any_other(staff: Staff) -> None:
    shift = await staff()
    handle = await awaiting(shift, approvers=())
    answer = OutsideDecision(decision={**PROPOSAL, "confidence": 0.5})
    await handle.execute_update(IncidentWorkflow.decide, answer)
    snapshot = await ended(handle)
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert shift.service.rollback.starts == []


async def test_an_invalid_decision_is_refused_with_every_fields_error_and_still_awaited(staff: Staff) -> None:
    shift = await staff()
    handle = await awaiting(shift)
    wrong = {**PROPOSAL, "severity": "P9", "confidence": "high", "surprise": 1}
    error = await refusal(handle, OutsideDecision(decision=wrong))
    assert error.type == "InvalidDecision"
    assert [str(line).split(":")[0] for line in error.details] == ["severity", "confidence", "surprise"]
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_an_answer_that_both_decides_and_declines_is_refused_and_a_decision_still_awaited(staff: Staff) -> None:
    shift = await staff()
    handle = await awaiting(shift)
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update("decide", {"decision": PROPOSAL, "declined": "out of tokens"})
    assert "expected either decision or declined" in str(failure.value.cause.__cause__ or failure.value.cause)
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_an_outside_analyst_that_declines_gives_way_to_the_own_one_at_once(staff: Staff) -> None:
    own = FakeAnalyst()
    shift = await staff(analyst=own)
    handle = await awaiting(shift, decide_within="1h", page_after="2h")
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(declined="out of tokens"))
    snapshot = await ended(handle)
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "fake"
    assert snapshot.analysis.because == "kestra declined: out of tokens"
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_silent_outside_analyst_gives_way_to_the_own_one_after_its_time(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst())
    snapshot = await shift.handle({"decide_within": "30s"}, outside_analyst="kestra")
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "fake"
    assert snapshot.analysis.because == "kestra did not decide within 0:00:30"
    waited = next(entry.at for entry in snapshot.timeline if "did not decide" in entry.text) - snapshot.opened_at
    assert 30 <= waited.total_seconds() < 40


async def test_a_decision_that_comes_too_late_is_refused(staff: Staff) -> None:
    shift = await staff()
    handle = await awaiting(shift, settle="1h")
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(declined="not my service"))
    await at_stage(handle, Stage.SETTLING)
    error = await refusal(handle, OutsideDecision(decision=PROPOSAL))
    assert error.type == "NotAwaited"
    assert "the incident is settling" in str(error)
    snapshot = await shift.finish(handle)
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "rules"


async def test_a_second_decision_is_refused(staff: Staff) -> None:
    shift = await staff()
    handle = await awaiting(shift, settle="1h")
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
    error = await refusal(handle, OutsideDecision(decision=PROPOSAL))
    assert error.type == "NotAwaited"
    await shift.finish(handle)


async def test_a_decision_that_nobody_asked_for_is_refused(staff: Staff) -> None:
    gate = asyncio.Event()
    analyst = FakeAnalyst(gate=gate)
    shift = await staff(analyst=analyst)
    handle = await shift.open(SOON, skipping=False)
    await until(lambda: len(analyst.cases) == 1)
    error = await refusal(handle, OutsideDecision(decision=PROPOSAL))
    assert error.type == "NotAwaited"
    gate.set()
    snapshot = await ended(handle)
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "fake"


async def test_the_gate_that_cannot_judge_a_decision_from_outside_pages(staff: Staff) -> None:
    store = InMemoryStore({"view": RuntimeError("the gate is broken")})
    shift = await staff(store=store)
    handle = await awaiting(shift)
    await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=PROPOSAL))
    snapshot = await shift.finish(handle)
    assert snapshot.analysis is None
    assert noted(snapshot, "nobody could decide")
    assert len(shift.pager.sent) == 1


async def test_a_ledger_that_cannot_be_read_allows_nothing_and_a_person_is_paged(staff: Staff) -> None:
    shift = await staff(store=InMemoryStore({"view": TransientError("store", "cannot be read")}))
    snapshot = await shift.handle()
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert "ledger_known: the ledger: cannot be read" in snapshot.verdict.refusals
    assert noted(snapshot, "paging: ledger_known: the ledger: cannot be read")
    assert len(shift.pager.sent) == 1
    assert shift.service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED
