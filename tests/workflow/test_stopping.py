"""The kill switch, at every moment of an incident: nothing is begun after it, and a person hears whose switch it is."""

import asyncio
from datetime import timedelta

import pytest

from incident.dossier import Stage
from incident.gate import Course
from incident.ledger import Admission, Quota, Remediation, RollbackOrder, RollbackRun, RunState, Stop
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeRollback, FakeService, InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import (
    WORSE,
    ByDeployment,
    Handle,
    Shift,
    SlowRollback,
    at_stage,
    ended,
    noted,
    under_way,
    until,
    until_true,
    why_paged,
)
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer

pytestmark = pytest.mark.asyncio(loop_scope="session")

STOP = Stop(environment="production", by="grace", reason="the ledger of the bank is closed", at=builders.NOW)
RARELY = {"settle": "0s", "look_every": "0s", "follow_every": "5h", "start_within": "20h", "remediate_within": "20h"}
"""Nothing but what is done to the incident moves it on in real time."""


class StoppedByWhoBegins(InMemoryStore):
    """Its kill switch is pulled right before a remediation is entered."""

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        await self.stop(STOP)
        return await super().begin(remediation, quota)


class StoppedByWhoLooks(FakeRollback):
    """The kill switch is pulled while the remediation begins: the analyst and the first gate have spoken."""

    def __init__(self, service: FakeService, store: InMemoryStore) -> None:
        super().__init__(service.releases)
        self._store = store

    async def find(self, order: RollbackOrder, asked_at: object) -> RollbackRun | None:  # noqa: ARG002 - the port's
        await self._store.stop(STOP)
        return None


def unsure() -> FakeAnalyst:
    return FakeAnalyst(builders.decision(confidence=0.7))


async def stop(handle: Handle) -> None:
    await handle.signal(IncidentWorkflow.stop, STOP)


async def approve(handle: Handle) -> None:
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    await handle.execute_update(IncidentWorkflow.answer, answer)


def nothing_was_begun(shift: Shift) -> bool:
    return shift.service.rollback.starts == [] and shift.store.remediations == {}


async def test_a_worker_that_a_setting_stops_begins_nothing_and_pages(staff: Staff) -> None:
    shift = await staff(stopped="WORKER__STOPPED")
    snapshot = await shift.handle()
    assert nothing_was_begun(shift)
    assert "everything stopped by WORKER__STOPPED at " in why_paged(shift)
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert any("not_stopped: everything stopped by WORKER__STOPPED" in each for each in snapshot.verdict.refusals)
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_stop_before_the_analysis_begins_nothing_and_pages(staff: Staff) -> None:
    shift = await staff()
    await shift.store.stop(STOP)
    snapshot = await shift.handle()
    assert nothing_was_begun(shift)
    assert STOP.words in why_paged(shift)
    assert snapshot.verdict
    assert f"not_stopped: {STOP.words}" in snapshot.verdict.refusals
    assert snapshot.action_taken is ActionTaken.ESCALATE


@pytest.mark.parametrize("at", ["the second gate", "the ledger's entry"])
async def test_a_stop_between_analysis_and_rollback_refuses_the_rollback_and_pages(staff: Staff, at: str) -> None:
    service, store = FakeService(live=101), InMemoryStore()
    if at == "the second gate":
        service.rollback = StoppedByWhoLooks(service, store)
    else:
        store = StoppedByWhoBegins()
    shift = await staff(service=service, store=store)
    snapshot = await shift.handle()
    assert nothing_was_begun(shift)
    assert STOP.words in why_paged(shift)
    assert snapshot.remediation
    assert any(STOP.words in reason for reason in snapshot.remediation.refused)
    assert snapshot.action_taken is ActionTaken.ESCALATE


async def test_a_stop_holds_against_an_approval(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle = await shift.open(RARELY, skipping=False)
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    await shift.store.stop(STOP)
    await approve(handle)
    snapshot = await ended(handle)
    assert nothing_was_begun(shift)
    assert STOP.words in why_paged(shift)
    assert snapshot.remediation
    assert any(STOP.words in reason for reason in snapshot.remediation.refused)
    assert snapshot.outcome is Outcome.ESCALATED


async def test_the_signal_while_the_analyst_thinks_begins_nothing_and_pages(staff: Staff) -> None:
    gate = asyncio.Event()
    analyst = FakeAnalyst(gate=gate)
    shift = await staff(analyst=analyst)
    handle = await shift.open(RARELY, skipping=False)
    await until(lambda: len(analyst.cases) == 1)
    await stop(handle)
    gate.set()
    snapshot = await ended(handle)
    assert nothing_was_begun(shift)
    assert why_paged(shift) == f"nothing was rolled back: {STOP.words}"
    assert snapshot.stopped == STOP
    assert snapshot.outcome is Outcome.ESCALATED


async def test_the_signal_while_a_person_is_asked_ends_the_question_and_pages(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle = await shift.open({**RARELY, "settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    await stop(handle)
    await at_stage(handle, Stage.SETTLING)
    snapshot = await shift.finish(handle)
    assert nothing_was_begun(shift)
    assert why_paged(shift) == STOP.words
    assert snapshot.approval is None
    assert snapshot.stopped == STOP
    assert snapshot.outcome is Outcome.ESCALATED


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.WAITING])
async def test_the_signal_calls_off_a_run_that_has_not_begun_and_pages(staff: Staff, state: RunState) -> None:
    service = FakeService(live=101, states=(state,))
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await stop(handle)
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.CANCELLED
    assert len(service.rollback.cancels) == 1
    assert service.releases.live == 101
    kind = "escalating" if state is RunState.WAITING else "paging"
    assert noted(snapshot, f"{kind}: the rollback is cancelled: {STOP.words}")
    assert len(shift.pager.sent) == 1
    assert state is RunState.WAITING or STOP.words in why_paged(shift)
    assert snapshot.stopped == STOP
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED


async def test_the_signal_while_the_run_is_being_asked_for_calls_it_off(staff: Staff) -> None:
    gate = asyncio.Event()
    service = FakeService(live=101)
    service.rollback = SlowRollback(service.releases, (RunState.PENDING, RunState.SUCCEEDED), gate=gate)
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await until(lambda: len(shift.store.remediations) == 1)
    await stop(handle)
    gate.set()
    await ended(handle)
    assert service.releases.live == 101
    assert STOP.words in why_paged(shift)


async def test_the_signal_lets_a_run_that_has_begun_go_on(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED))
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await stop(handle)
    snapshot = await shift.finish(handle)
    assert service.rollback.cancels == []
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert snapshot.stopped == STOP
    assert noted(snapshot, STOP.words)


async def test_the_signal_after_the_rollback_leaves_it_to_be_verified(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await stop(handle)
    snapshot = await shift.finish(handle)
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.stopped == STOP
    assert len(shift.service.rollback.starts) == 1


@pytest.mark.parametrize("told_by", ["signal", "ledger"])
async def test_a_stop_after_the_rollback_undoes_nothing_and_pages(staff: Staff, told_by: str) -> None:
    service = ByDeployment({101: builders.DEGRADED_METRICS, 100: WORSE})
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    if told_by == "signal":
        await stop(handle)
    else:
        await shift.store.stop(STOP)
    snapshot = await shift.finish(handle)
    assert len(service.rollback.starts) == 1
    assert service.releases.live == 100
    assert "made it worse" in why_paged(shift)
    assert f"was not undone: {'' if told_by == 'signal' else 'not_stopped: '}{STOP.words}" in why_paged(shift)
    assert snapshot.undo
    assert snapshot.undo.run is None
    assert snapshot.outcome is Outcome.ESCALATED


async def test_the_first_stop_is_remembered_and_every_one_is_noted(staff: Staff) -> None:
    later = STOP.model_copy(update={"by": "ada", "at": STOP.at + timedelta(minutes=1)})
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await stop(handle)
    await handle.signal(IncidentWorkflow.stop, later)
    snapshot = await shift.finish(handle)
    assert snapshot.stopped == STOP
    assert noted(snapshot, later.words)


async def test_a_stop_is_told_to_every_open_incident_that_it_covers(staff: Staff) -> None:
    shift = await staff(analyst=unsure())
    handle = await shift.open(RARELY, skipping=False)
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    desk = IncidentDesk(shift.environment.client, task_queue=shift.name)
    incident_id = (await handle.query(IncidentWorkflow.dossier)).incident_id

    async def told() -> bool:
        return incident_id in await desk.stop(STOP)

    assert await desk.stop(STOP.model_copy(update={"environment": "staging"})) == ()
    await until_true(told)
    snapshot = await ended(handle)
    assert snapshot.stopped == STOP
    assert ChatKind.QUESTION in [message.kind for message in shift.chat.posted]
