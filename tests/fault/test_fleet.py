"""A fleet that is watched: whatever its worker does, each service that goes bad has one incident, and none before.

20 services, each checked for five seconds before they go bad, or FLEET_SIZE and FLEET_SECONDS.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from incident.identifiers import workflow_id
from incident.policy import Mode, Policy
from incident.severity import Severity
from incident.watching import WatchLimits
from tests.fault.gateway_world import ASKING, MANY, GatewayWorld
from tests.fault.world import ENVIRONMENT, until
from workflows import names
from workflows.lookout import Lookout
from workflows.messages import WatchRequest, WatchStage

pytest_plugins = ("tests.fault.gateway_fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.asyncio(loop_scope="session")]

FLEET = MANY[: int(os.environ.get("FLEET_SIZE", "20"))]
WELL_FOR = timedelta(seconds=float(os.environ.get("FLEET_SECONDS", "5")))
ALL_WITHIN = timedelta(minutes=5)
POLICY: Policy = ASKING.model_copy(
    update={
        "mode": Mode.SHADOW,
        "max_looks": 4,
        "page_after": timedelta(minutes=10),
        "watch": WatchLimits(every=timedelta(seconds=1), cool_down=timedelta(hours=1)),
    }
)
_KILOBYTES = 1024


async def test_each_service_of_a_watched_fleet_has_one_incident(
    gateway_world: GatewayWorld, record_property: Callable[[str, object], None]
) -> None:
    begun = datetime.now(UTC)
    await gateway_world.stack.kill("worker")
    first = await gateway_world.hire("worker")
    lookout = Lookout(gateway_world.stack.client)
    try:
        for name in FLEET:
            await lookout.watch(WatchRequest(service=name, environment=ENVIRONMENT, policy=POLICY))
        await _while_well(gateway_world, begun)
        first.send_signal(signal.SIGKILL)
        second = await gateway_world.hire("worker")
        await gateway_world.deploy_badly()
        await gateway_world.until_says(Severity.P0)
        clock = monotonic()
        opened = await _incidents(gateway_world, begun, len(FLEET))
        seen_after = monotonic() - clock
        await until(lambda: _all_stand(lookout, WatchStage.RESTING), "every watch rests", ALL_WITHIN)
        assert sorted(opened) == sorted(workflow_id(ENVIRONMENT, name) for name in FLEET)
        assert sorted(await _incidents(gateway_world, begun, len(FLEET))) == sorted(opened)
        events = [await _events(gateway_world, name) for name in FLEET]
        opened_after = f"{len(FLEET)} services, each with one incident {seen_after:.1f} s after they went bad"
        lengths = f"a watch: {median(events):g} events, at most {max(events)}"
        record_property("ended", f"{opened_after}; worker {_resident(second.pid)} MiB; {lengths}")
    finally:
        for name in FLEET:
            await lookout.stop(ENVIRONMENT, name)


async def _while_well(world: GatewayWorld, begun: datetime) -> None:
    """Returns once every watch has stood for a while, and none has opened anything."""
    lookout = Lookout(world.stack.client)
    await until(lambda: _all_stand(lookout, WatchStage.WATCHING), "every service is watched", ALL_WITHIN)
    over = asyncio.get_running_loop().time() + WELL_FOR.total_seconds()
    await until(lambda: asyncio.get_running_loop().time() >= over, "it has been watched", WELL_FOR * 2)
    assert await _incidents(world, begun, 0) == []


async def _all_stand(lookout: Lookout, stage: WatchStage) -> bool:
    watched = [each for each in await lookout.watched() if each.service in FLEET]
    return len(watched) == len(FLEET) and {each.stands for each in watched} == {stage}


async def _incidents(world: GatewayWorld, since: datetime, many: int) -> list[str]:
    """The workflow ids of the incidents since then, once there are so many."""
    query = f'WorkflowType = "{names.INCIDENT}" AND StartTime >= "{since.isoformat()}"'
    found: list[str] = []

    async def _listed() -> bool:
        found[:] = [each.id async for each in world.stack.client.list_workflows(query)]
        return len(found) >= many

    await until(_listed, f"{many} incidents are listed", ALL_WITHIN)
    return found


async def _events(world: GatewayWorld, name: str) -> int:
    handle = world.stack.client.get_workflow_handle(names.watch_id(ENVIRONMENT, name))
    return (await handle.describe()).history_length


def _resident(pid: int) -> int:
    """MiB of memory that the process holds."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) // _KILOBYTES
