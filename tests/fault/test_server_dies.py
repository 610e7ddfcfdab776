"""kill -9 of the Temporal server, which keeps its data in a file; and of server and worker at once."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.fault.boundary import ACTIVATE, accepted, before
from tests.fault.conftest import Verdict
from tests.fault.fuse import Deed
from tests.fault.world import BRISK, World

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("point", [before("analyze.decide"), accepted(ACTIVATE)])
async def test_server_killed(world: World, ends_well: Verdict, point: str) -> None:
    world.fuse.arm(point, Deed.STOP)
    incident = await world.incident()
    await world.until_frozen()
    await world.stack.kill("temporal")
    world.signal("worker", signal.SIGCONT)
    await world.stack.start_temporal()
    await ends_well(incident)


async def test_server_killed_in_the_timer_settle(world: World, ends_well: Verdict) -> None:
    incident = await world.incident(BRISK.model_copy(update={"settle": timedelta(seconds=3)}))
    timer = await world.until_timer(incident, "let the service settle")
    await world.stack.kill("temporal")
    killed_at = datetime.now(UTC)
    await world.stack.start_temporal()
    await ends_well(incident)
    assert await world.still_ran(incident, timer, killed_at)


async def test_server_and_worker_killed_after_the_post_was_accepted(world: World, ends_well: Verdict) -> None:
    world.fuse.arm(accepted(ACTIVATE), Deed.STOP)
    incident = await world.incident()
    await world.until_frozen()
    await asyncio.gather(world.stack.kill("temporal"), world.stack.kill("worker"))
    await world.stack.start_temporal()
    await world.stack.start_worker()
    await ends_well(incident)
