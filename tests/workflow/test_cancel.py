"""An incident that a person ends: before anything was done it closes, afterwards it is still seen through."""

import asyncio

import pytest

from incident.dossier import Stage
from incident.evidence import Source
from incident.ledger import RunState
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import P1, Handle, Shift, SlowRollback, asked, at_stage, ended, noted, sick, until
from workflows.incident import IncidentWorkflow
from workflows.messages import CancelReceipt, CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s"}


async def cancel(handle: Handle) -> CancelReceipt:
    return await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada", reason="a drill"))


def nothing_was_done(shift: Shift, snapshot: Snapshot) -> bool:
    """Whether `snapshot` says so, and it is true."""
    return (
        snapshot.outcome is Outcome.CANCELLED
        and snapshot.remediation is None
        and snapshot.action_taken in {ActionTaken.NONE, ActionTaken.ESCALATE}
        and shift.service.rollback.starts == []
        and shift.store.snapshots == {snapshot.incident_id: snapshot}
    )


async def end(handle: Handle, by: str) -> None:
    """Ends the incident as a person does, or by Temporal's own means."""
    if by == "ada":
        assert not (await cancel(handle)).acted
    else:
        await handle.cancel()


@pytest.mark.parametrize("by", ["ada", "Temporal"])
async def test_cancelled_while_it_looks_it_closes_without_a_verdict(staff: Staff, by: str) -> None:
    service = FakeService(live=101)
    gate = service.hang(Source.METRICS)
    shift = await staff(service=service)
    handle = await shift.open({"source_timeout": "20s"}, skipping=False)
    await until(lambda: service.reads[Source.METRICS] == 1)
    await end(handle, by)
    snapshot = await ended(handle)
    gate.set()
    assert nothing_was_done(shift, snapshot)
    assert snapshot.cancelled_by == by
    assert snapshot.evidence is None
    assert noted(snapshot, f"ended by {by} before anything was done")
    assert await asked(handle) == {"detect.collect": 1, "record.save": 1}


@pytest.mark.parametrize("by", ["ada", "Temporal"])
async def test_cancelled_while_the_analyst_thinks_nobody_else_is_asked(staff: Staff, by: str) -> None:
    gate = asyncio.Event()
    analyst = FakeAnalyst(gate=gate)
    shift = await staff(analyst=analyst)
    handle = await shift.open(SOON, skipping=False)
    await until(lambda: len(analyst.cases) == 1)
    await end(handle, by)
    snapshot = await ended(handle)
    gate.set()
    assert nothing_was_done(shift, snapshot)
    assert snapshot.evidence
    assert snapshot.analysis is None
    assert (await asked(handle))["analyze.decide"] == 1
    assert shift.chat.posted == []
    assert shift.pager.sent == []


async def test_cancelled_while_an_outside_analyst_is_awaited_it_closes(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open(SOON, skipping=False, outside_analyst="kestra")
    await at_stage(handle, Stage.AWAITING_DECISION)
    await cancel(handle)
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert (await asked(handle))["analyze.decide"] == 0


@pytest.mark.parametrize("by", ["ada", "Temporal"])
async def test_cancelled_while_a_person_is_asked_it_closes(staff: Staff, by: str) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open(SOON, skipping=False)
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    await end(handle, by)
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert snapshot.approval is None
    assert shift.pager.sent == []


async def test_cancelled_while_a_p1_is_watched_it_closes(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1))
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    receipt = await cancel(handle)
    assert not receipt.acted
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert snapshot.looks == ()


@pytest.mark.parametrize("stage", [Stage.AWAITING_DECISION, Stage.SETTLING])
async def test_temporals_own_cancellation_counts_as_a_persons(staff: Staff, stage: Stage) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1))
    shift = await staff(service=service)
    outside = "kestra" if stage is Stage.AWAITING_DECISION else ""
    handle = await shift.open({"settle": "1h"}, skipping=False, outside_analyst=outside)
    await at_stage(handle, stage)
    await handle.cancel()
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert snapshot.cancelled_by == "Temporal"


async def test_cancelled_while_it_acts_the_rollback_is_seen_through(staff: Staff) -> None:
    gate = asyncio.Event()
    service = FakeService(live=101)
    service.rollback = SlowRollback(service.releases, gate=gate)
    shift = await staff(service=service)
    handle = await shift.open(SOON, skipping=False)
    await at_stage(handle, Stage.REMEDIATING)
    receipt = await cancel(handle)
    assert receipt.acted
    await handle.cancel()
    gate.set()
    snapshot = await ended(handle)
    assert snapshot.cancelled_by == "ada"
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert len(service.rollback.begun) == 1
    assert len(snapshot.looks) == 2
    assert [message.kind for message in shift.chat.posted] == [ChatKind.ALERT, ChatKind.REPORT]
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}


async def test_cancelled_while_the_rollback_is_followed_it_is_followed_to_its_end(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED))
    shift = await staff(service=service)
    handle = await shift.open({**SOON, "follow_every": "30m", "remediate_within": "2h"}, skipping=False)
    await until(lambda: len(service.rollback.begun) == 1)
    assert (await cancel(handle)).acted
    snapshot = await shift.finish(handle)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED


async def test_cancelled_after_the_action_it_is_still_verified_and_recorded(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    assert (await cancel(handle)).acted
    snapshot = await shift.finish(handle)
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.closed_at - snapshot.opened_at >= snapshot.policy.settle
    assert snapshot.cancelled_by == "ada"
    assert noted(snapshot, "cancelled by ada: a drill")


async def test_temporals_own_cancellation_after_the_action_is_seen_through_too(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await handle.cancel()
    snapshot = await shift.finish(handle)
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.cancelled_by == "Temporal"


async def test_cancelled_after_a_void_remediation_it_closes_with_nothing_done(staff: Staff) -> None:
    service = FakeService(live=101)
    stale = builders.deployments(*service.releases.history())
    service.answer(Source.DEPLOYMENTS, stale, builders.deployments(builders.bad_deployment(live=False)))
    shift = await staff(service=service)
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    receipt = await cancel(handle)
    assert not receipt.acted
    snapshot = await ended(handle)
    assert snapshot.outcome is Outcome.CANCELLED
    assert snapshot.remediation
    assert snapshot.remediation.void
    assert service.rollback.starts == []


async def test_who_cancels_first_is_remembered(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await cancel(handle)
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="grace"))
    snapshot = await shift.finish(handle)
    assert snapshot.cancelled_by == "ada"
