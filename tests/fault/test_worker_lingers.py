"""A worker that is asked to go, one that is taken for dead and is not, and a connection that breaks."""

import asyncio
import signal

import pytest

from tests.fault.boundary import ACTIVATE, accepted, before
from tests.fault.conftest import Verdict
from tests.fault.fuse import Deed
from tests.fault.world import PATIENCE, World, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_sigterm_in_the_middle_of_an_activity_drains(world: World, ends_well: Verdict) -> None:
    await world.stack.kill("worker")
    worker = await world.hire("worker")
    incident = await world.incident()
    await world.until_timer(incident, "let the service settle")
    world.signal("mock", signal.SIGSTOP)
    await world.until_under_way(incident, "verify.look")
    worker.terminate()
    await until(lambda: "worker.draining" in world.logs(), "the worker drains")
    world.signal("mock", signal.SIGCONT)
    async with asyncio.timeout(PATIENCE.total_seconds()):
        assert await worker.wait() == 0
    await world.stack.start_worker()
    await ends_well(incident)
    assert await world.attempts(incident, "verify.look") == {1}


async def test_worker_frozen_before_the_post_leaves_and_thawed_after_another_took_over(
    world: World, ends_well: Verdict
) -> None:
    world.fuse.arm(before(ACTIVATE), Deed.STOP)
    incident = await world.incident()
    await world.until_frozen()
    await world.hire()

    async def _posts(count: int) -> bool:
        return len(await world.activations(incident)) == count

    await until(lambda: _posts(1), "the other worker rolls back")
    world.signal("worker", signal.SIGCONT)
    await ends_well(incident)
    assert await _posts(1)


async def test_connection_cut_after_the_post_was_accepted(world: World, ends_well: Verdict) -> None:
    world.fuse.arm(accepted(ACTIVATE), Deed.CUT)
    incident = await world.incident()
    await until(lambda: world.fuse.burnt, "the connection is cut")
    await ends_well(incident)
