"""The record: written before the incident closes, or by a workflow of its own once the store is back."""

import pytest

from incident.errors import TransientError
from incident.snapshot import Outcome, Snapshot
from tests.fakes import FakeService, InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import Shift, ended
from workflows.names import late_record_id

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def late_record(shift: Shift, snapshot: Snapshot) -> None:
    """Returns once the late record of `snapshot` is written."""
    await shift.environment.client.get_workflow_handle(late_record_id(snapshot.incident_id)).result()


@pytest.mark.parametrize(("live", "outcome"), [(101, Outcome.RECOVERED), (100, Outcome.NO_INCIDENT)])
async def test_a_store_that_is_down_holds_up_no_incident_and_gets_the_snapshot_once_it_is_back(
    staff: Staff, live: int, outcome: Outcome
) -> None:
    store = InMemoryStore({"save": TransientError("store", "cannot be written")})
    shift = await staff(service=FakeService(live=live), store=store)
    snapshot = await ended(await shift.open())
    assert snapshot.outcome is outcome
    assert store.snapshots == {}
    store.errors.clear()
    await late_record(shift, snapshot)
    assert store.snapshots == {snapshot.incident_id: snapshot}


async def test_a_store_that_stumbles_is_tried_again_and_needs_no_second_workflow(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=100), store=Stumbling())
    handle = await shift.open()
    snapshot = await ended(handle)
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}
    history = (await handle.fetch_history()).events
    assert not any(event.HasField("start_child_workflow_execution_initiated_event_attributes") for event in history)


class Stumbling(InMemoryStore):
    """Cannot be written the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._stumbles = 1

    async def save(self, snapshot: Snapshot) -> None:
        if self._stumbles:
            self._stumbles -= 1
            raise TransientError("store", "locked")
        await super().save(snapshot)
