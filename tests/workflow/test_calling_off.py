"""An incident that a person ends while its rollback is asked for: what has not begun is called off, not the rest."""

import asyncio

import pytest

from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests.fakes import FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import Handle, Shift, SlowRollback, asked, ended, noted, under_way, until
from workflows.incident import IncidentWorkflow
from workflows.messages import CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

RARELY = {"settle": "0s", "look_every": "0s", "follow_every": "5h", "start_within": "20h", "remediate_within": "20h"}
"""Nothing but what is done to the incident moves it on in real time."""
BY = pytest.mark.parametrize("by", ["ada", "Temporal"])


async def end(handle: Handle, by: str) -> None:
    """Ends the incident as a person does, or by Temporal's own means."""
    if by == "ada":
        await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada", reason="a drill"))
    else:
        await handle.cancel()


def state_of(snapshot: Snapshot) -> RunState:
    assert snapshot.remediation
    assert snapshot.remediation.run
    return snapshot.remediation.run.state


def nothing_was_done(shift: Shift, snapshot: Snapshot) -> bool:
    """Whether `snapshot` says so, and it is true."""
    return (
        snapshot.outcome is Outcome.CANCELLED
        and shift.service.releases.live == 101
        and snapshot.looks == ()
        and [entry.state for entry in shift.store.remediations.values()] == [RunState.CANCELLED]
        and shift.store.snapshots == {snapshot.incident_id: snapshot}
    )


@BY
async def test_a_run_that_has_not_begun_is_called_off_and_nobody_is_paged(staff: Staff, by: str) -> None:
    service = FakeService(live=101, states=(RunState.PENDING,))
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await end(handle, by)
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert state_of(snapshot) is RunState.CANCELLED
    assert snapshot.action_taken is ActionTaken.NONE
    assert snapshot.cancelled_by == by
    assert noted(snapshot, f"calling off the rollback: cancelled by {by}")
    assert len(service.rollback.cancels) == 1
    assert shift.pager.sent == []


async def test_a_run_that_waits_for_a_review_is_called_off(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.WAITING,))
    shift = await staff(service=service)
    handle = await shift.open({**RARELY, "review_within": "90h"}, skipping=False)
    await until(lambda: len(shift.pager.sent) == 1)
    await end(handle, "ada")
    snapshot = await ended(handle)
    assert nothing_was_done(shift, snapshot)
    assert len(shift.pager.sent) == 1
    assert noted(snapshot, "ended by ada before anything was done")


@BY
async def test_a_run_that_has_begun_goes_on_and_is_verified(staff: Staff, by: str) -> None:
    service = FakeService(live=101, states=(RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED))
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await end(handle, by)
    snapshot = await shift.finish(handle)
    assert state_of(snapshot) is RunState.SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert snapshot.cancelled_by == by
    assert service.rollback.cancels == []


async def test_a_run_that_has_begun_is_looked_at_as_rarely_as_before(staff: Staff) -> None:
    service = FakeService(live=101, states=(*[RunState.RUNNING] * 4, RunState.SUCCEEDED))
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await end(handle, "ada")
    snapshot = await shift.finish(handle)
    assert (await asked(handle))["remediate.follow"] == 4
    assert (snapshot.closed_at - snapshot.opened_at).total_seconds() >= 4 * 5 * 3600


@BY
@pytest.mark.parametrize("first", [RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED])
async def test_ended_while_the_run_is_being_asked_for_it_is_called_off_if_it_can_be(
    staff: Staff, by: str, first: RunState
) -> None:
    gate = asyncio.Event()
    service = FakeService(live=101)
    service.rollback = SlowRollback(service.releases, (first, RunState.SUCCEEDED), gate=gate)
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await until(lambda: len(shift.store.remediations) == 1)
    await end(handle, by)
    gate.set()
    if first is RunState.RUNNING:
        await under_way(handle)
        await handle.signal(IncidentWorkflow.look_now)
    snapshot = await ended(handle)
    if first is RunState.PENDING:
        assert nothing_was_done(shift, snapshot)
    else:
        assert state_of(snapshot) is RunState.SUCCEEDED
        assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []
    assert len(service.rollback.begun) == 1


async def test_a_run_that_begins_before_it_can_be_called_off_goes_on(staff: Staff) -> None:
    service = FakeService(live=101)
    service.rollback = BeginsFirst(
        service.releases, (RunState.PENDING, RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED)
    )
    shift = await staff(service=service)
    handle = await shift.open(RARELY, skipping=False)
    await under_way(handle)
    await end(handle, "ada")
    await until(lambda: len(service.rollback.cancels) == 1)
    await handle.signal(IncidentWorkflow.look_now)
    snapshot = await ended(handle)
    assert state_of(snapshot) is RunState.SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED
    assert len(service.rollback.cancels) == 1


class BeginsFirst(SlowRollback):
    """Its run begins right before it would be called off."""

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        return await super().cancel(order, await super().look(order, run))
