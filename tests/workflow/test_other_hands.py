"""Somebody changes what is live while an incident is open: what was decided before is void, and decided anew."""

import asyncio
from collections.abc import Sequence

import pytest
from temporalio.client import WorkflowUpdateFailedError

from incident.dossier import Proposal, Stage
from incident.evidence import Source
from incident.gate import Course
from incident.identifiers import correlation_id
from incident.ledger import RollbackOrder, RollbackRun
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeRollback, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import P2, Handle, Shift, asked, at_stage, ended, noted, sick, until, until_true, why_paged
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s", "approve_within": "20h", "page_after": "30h"}
OFTEN = {**SOON, "recheck_every": "100ms"}
VOID = "the proposal is void; the evidence is read again"


class Hasty(FakeRollback):
    """Somebody deploys whenever a rollback is about to be asked for, as long as there is something to deploy."""

    def __init__(self, service: FakeService, deploys: Sequence[int]) -> None:
        super().__init__(service.releases)
        self._deploys = list(deploys)

    async def find(self, order: RollbackOrder, asked_at: object) -> RollbackRun | None:  # noqa: ARG002 - the port's
        if self._deploys:
            self._releases.activate(self._deploys.pop(0))
        return None


def hasty(*deploys: int, bad: Sequence[int] = ()) -> FakeService:
    """A service of which somebody deploys these, one right before each rollback; all but the good ones are bad."""
    service = FakeService(live=101, bad=bad or (101, *deploys))
    service.rollback = Hasty(service, deploys)
    return service


def unsure() -> FakeAnalyst:
    return FakeAnalyst(builders.decision(confidence=0.7))


async def asking(shift: Shift, **policy: object) -> tuple[Handle, Proposal]:
    """An incident that waits in real time for an answer, and what it asks."""
    handle = await shift.open({**OFTEN, **policy}, skipping=False)
    return handle, await proposal_from(handle, 101)


async def proposal_from(handle: Handle, live: int) -> Proposal:
    """What is proposed about that live deployment, once it is."""

    async def proposed() -> bool:
        dossier = await handle.query(IncidentWorkflow.dossier)
        return dossier.stage is Stage.AWAITING_APPROVAL and bool(
            dossier.proposal and dossier.proposal.expected_live == live
        )

    await until_true(proposed)
    proposal = (await handle.query(IncidentWorkflow.dossier)).proposal
    assert proposal
    return proposal


async def say(handle: Handle, proposal: Proposal, *, approved: bool = True) -> None:
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=approved)
    await handle.execute_update(IncidentWorkflow.answer, answer)


async def test_what_is_deployed_while_the_analyst_thinks_is_decided_anew(staff: Staff) -> None:
    gate = asyncio.Event()
    service, analyst = FakeService(live=101, bad=(101, 102)), FakeAnalyst(gate=gate)
    shift = await staff(service=service, analyst=analyst)
    handle = await shift.open(SOON, skipping=False)
    await until(lambda: len(analyst.cases) == 1)
    service.deploy(102)
    gate.set()
    snapshot = await ended(handle)
    (order,) = service.rollback.starts
    assert (order.target, order.expected_live) == (100, 102)
    assert order.correlation_id == correlation_id(snapshot.incident_id, "rollback", 2)
    assert len(analyst.cases) == 2
    assert [live.deployment_id for case in analyst.cases if (live := case.evidence.deployments.live)] == [101, 102]
    assert noted(snapshot, "not rolled back: deployment 102 is live now, deployment 101 was when it was decided")
    assert noted(snapshot, VOID)
    assert snapshot.remediation
    assert not snapshot.remediation.void
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []


async def test_what_is_deployed_while_a_person_is_asked_voids_the_question_and_another_is_asked(staff: Staff) -> None:
    service = FakeService(live=101, bad=(101, 102))
    shift = await staff(service=service, analyst=unsure())
    handle, old = await asking(shift)
    service.deploy(102)
    new = await proposal_from(handle, 102)
    assert new.digest != old.digest
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await say(handle, old)
    assert "its digest differs" in str(failure.value.cause)
    assert service.rollback.starts == []
    await say(handle, new)
    snapshot = await ended(handle)
    assert [(each.target, each.expected_live) for each in service.rollback.starts] == [(100, 102)]
    assert [message.kind for message in shift.chat.posted].count(ChatKind.QUESTION) == 2
    assert noted(snapshot, "somebody changed what is live: deployment 102")
    assert noted(snapshot, VOID)
    assert snapshot.outcome is Outcome.RECOVERED


async def test_while_a_person_is_asked_it_is_looked_only_so_often(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle = await shift.open({"approve_within": "5m", "recheck_every": "1m", "page_after": "30h"})
    snapshot = await ended(handle)
    assert (await asked(handle))["detect.live"] == 5
    assert noted(snapshot, "nobody answered within 0:05:00")


async def test_what_is_deployed_between_approval_and_rollback_is_asked_about_anew(staff: Staff) -> None:
    service = hasty(102)
    shift = await staff(service=service, analyst=unsure())
    handle, old = await asking(shift)
    await say(handle, old)
    new = await proposal_from(handle, 102)
    assert service.rollback.starts == []
    await say(handle, new)
    snapshot = await ended(handle)
    assert [each.expected_live for each in service.rollback.starts] == [102]
    assert snapshot.approval
    assert snapshot.approval.digest == new.digest
    assert snapshot.outcome is Outcome.RECOVERED


async def test_what_is_deployed_while_a_watched_incident_settles_is_decided_anew(staff: Staff) -> None:
    service = FakeService(live=100, bad=(102,))
    service.answer(Source.METRICS, sick(P2))
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    service.deploy(102)
    service.restore(Source.METRICS)
    snapshot = await shift.finish(handle)
    assert [(each.target, each.expected_live) for each in service.rollback.starts] == [(100, 102)]
    assert noted(snapshot, "somebody changed what is live: deployment 102")
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK


@pytest.mark.parametrize("by", ["a rollback by hand", "a deployment that mends it"])
async def test_a_service_that_somebody_mended_while_a_person_is_asked_recovers_with_nothing_done(
    staff: Staff, by: str
) -> None:
    service = FakeService(live=101)
    shift = await staff(service=service, analyst=unsure())
    handle, _ = await asking(shift)
    service.deploy(100 if by == "a rollback by hand" else 102)
    snapshot = await ended(handle)
    assert noted(snapshot, "the service is well by now")
    assert service.rollback.starts == []
    assert snapshot.remediation is None
    assert snapshot.action_taken is ActionTaken.MONITOR
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []


async def test_a_service_that_somebody_mended_right_before_the_rollback_recovers_with_nothing_done(
    staff: Staff,
) -> None:
    service = hasty(102, bad=(101,))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert service.rollback.starts == []
    assert shift.store.remediations == {}
    assert noted(snapshot, "the service is well by now")
    assert snapshot.action_taken is ActionTaken.MONITOR
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []


async def test_what_changes_five_times_is_paged_and_left_to_a_person(staff: Staff) -> None:
    service = hasty(102, 103, 104, 105, 106)
    shift = await staff(service=service)
    snapshot = await shift.handle({"max_deployments_back": 9})
    assert service.rollback.starts == []
    assert len([entry for entry in snapshot.timeline if "not rolled back" in entry.text]) == 5
    assert why_paged(shift) == "what is live, or how the service is, changed 5 times while it was decided"
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert snapshot.outcome is Outcome.ESCALATED


async def test_the_fifth_decision_may_still_be_carried_out(staff: Staff) -> None:
    service = hasty(102, 103, 104, 105)
    shift = await staff(service=service)
    snapshot = await shift.handle({"max_deployments_back": 9})
    assert [each.expected_live for each in service.rollback.starts] == [105]
    assert snapshot.outcome is Outcome.RECOVERED


async def test_somebody_who_deploys_after_the_rollback_is_noted_and_nothing_is_undone(staff: Staff) -> None:
    service = FakeService(live=101)
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    service.deploy(102)
    snapshot = await shift.finish(handle)
    assert noted(snapshot, "somebody changed what is live: deployment 102")
    assert len(service.rollback.starts) == 1
    assert snapshot.undo is None
    assert service.releases.live == 102
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_incident_that_is_ended_while_the_evidence_is_read_again_closes(staff: Staff) -> None:
    service = FakeService(live=101, bad=(101, 102))
    shift = await staff(service=service, analyst=unsure())
    handle, _ = await asking(shift, source_timeout="20s")
    gate = service.hang(Source.METRICS)
    reads = service.reads[Source.METRICS]
    service.deploy(102)
    await until(lambda: service.reads[Source.METRICS] > reads)
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada"))
    snapshot = await ended(handle)
    gate.set()
    assert snapshot.outcome is Outcome.CANCELLED
    assert service.rollback.starts == []


async def test_where_nobody_can_decide_anew_the_old_decision_does_not_stay_on_record(staff: Staff) -> None:
    service = hasty(102)
    shift = await staff(service=service, analyst=unsure())
    handle, proposal = await asking(shift, recheck_every="10h")
    shift.store.errors["view"] = RuntimeError("the gate is broken")
    await say(handle, proposal)
    await until_true(lambda: _decided_twice(handle))
    snapshot = await ended(handle)
    assert snapshot.verdict is None
    assert snapshot.analysis is None
    assert noted(snapshot, "paging: nobody could decide")
    assert [message.kind for message in shift.chat.posted].count(ChatKind.ALERT) == 1
    assert snapshot.outcome is Outcome.ESCALATED


async def _decided_twice(handle: Handle) -> bool:
    return (await handle.query(IncidentWorkflow.dossier)).rounds == 2


async def test_where_what_is_live_cannot_be_told_the_question_stays_open(staff: Staff) -> None:
    service = FakeService(live=101)
    shift = await staff(service=service, analyst=unsure())
    handle, proposal = await asking(shift)
    reads = service.reads[Source.DEPLOYMENTS]
    service.answer(Source.DEPLOYMENTS, builders.deployments(state="failed", source="github", problem="no answer"))
    await until(lambda: service.reads[Source.DEPLOYMENTS] > reads)
    service.restore(Source.DEPLOYMENTS)
    await say(handle, proposal)
    snapshot = await ended(handle)
    assert not noted(snapshot, VOID)
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.ASK
    assert snapshot.outcome is Outcome.RECOVERED
