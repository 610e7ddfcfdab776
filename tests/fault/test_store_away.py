"""A store that cannot be written when the incident closes: nothing is lost, and nobody waits for it."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from incident.recovery import Classification
from incident.snapshot import Outcome
from tests.fault.boundary import before
from tests.fault.conftest import Verdict
from tests.fault.fuse import Deed
from tests.fault.world import PATIENCE, World, until
from workflows.names import late_record_id

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_store_away_when_the_incident_closes(world: World, ends_well: Verdict) -> None:
    world.fuse.arm(before("record.save"), Deed.STOP)
    incident = await world.incident()
    await world.until_frozen()
    bring_back = _take_away(world)
    try:
        world.signal("worker", signal.SIGCONT)
        snapshot = await world.closed(incident)
        late = world.stack.client.get_workflow_handle(late_record_id(incident.incident_id))

        async def _failed() -> bool:
            description = await late.describe()
            return any(each.HasField("last_failure") for each in description.raw_description.pending_activities)

        await until(_failed, "the late record fails while the store is away")
    finally:
        bring_back()
    assert (snapshot.outcome, snapshot.health_status) == (Outcome.RECOVERED, Classification.FULLY_RECOVERED)
    async with asyncio.timeout(PATIENCE.total_seconds()):
        await late.result()
    await ends_well(incident)


def _take_away(world: World) -> Callable[[], None]:
    """Puts a regular file where the store's directory was; the answer puts it back. Permissions do not stop root."""
    directory, aside = world.store_directory, world.directory / "aside"
    directory.rename(aside)
    directory.write_text("no directory")

    def _bring_back() -> None:
        directory.unlink()
        aside.rename(directory)

    return _bring_back
