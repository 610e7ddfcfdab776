"""kill -9 of the worker: around the rollback's POST to the mock service, and in the timers that wait for people.

Every boundary of every activity, and the other timers, are the crash matrix's.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from incident.policy import Policy
from tests.fault.boundary import ACTIVATE, accepted, before
from tests.fault.conftest import Verdict
from tests.fault.fuse import Deed
from tests.fault.world import BRISK, World

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("point", [before(ACTIVATE), accepted(ACTIVATE)])
async def test_worker_killed(world: World, ends_well: Verdict, point: str) -> None:
    world.fuse.arm(point, Deed.KILL)
    incident = await world.incident()
    await world.until_killed()
    await world.stack.start_worker()
    await ends_well(incident)


@dataclass(frozen=True)
class Wait:
    """A durable timer, told by its summary, and an incident that comes by it."""

    summary: str
    policy: Policy
    outside_analyst: str = ""


WAITS = {
    "decide_within": Wait(
        "wait for the decision of kestra",
        BRISK.model_copy(update={"decide_within": timedelta(seconds=3)}),
        outside_analyst="kestra",
    ),
    "approve_within": Wait(
        "wait for a person's answer", BRISK.model_copy(update={"min_confidence": 1, "approvers": ("ada",)})
    ),
}


@pytest.mark.parametrize("wait", WAITS)
async def test_worker_killed_in_the_timer(world: World, ends_well: Verdict, wait: str) -> None:
    case = WAITS[wait]
    incident = await world.incident(case.policy, case.outside_analyst)
    timer = await world.until_timer(incident, case.summary)
    await world.stack.kill("worker")
    killed_at = datetime.now(UTC)
    await world.stack.start_worker()
    if wait == "approve_within":
        await world.approve(incident, "ada")
    await ends_well(incident)
    assert await world.still_ran(incident, timer, killed_at)


@pytest.mark.parametrize("over", [False, True], ids=["back before its end", "dead beyond its end"])
async def test_worker_killed_in_the_timer_page_after(world: World, ends_well: Verdict, *, over: bool) -> None:
    soon = BRISK.model_copy(update={"decide_within": timedelta(seconds=1), "page_after": timedelta(seconds=3)})
    world.fuse.arm(before("analyze.decide"), Deed.STOP)
    incident = await world.incident(soon if over else BRISK)
    timer = await world.until_timer(incident, "page if nothing has been done")
    await world.until_frozen()
    await world.stack.kill("worker")
    killed_at = datetime.now(UTC)
    if over:
        await world.until_fired(incident, timer)
    await world.stack.start_worker()
    await ends_well(incident, paged=over)
    assert await world.still_ran(incident, timer, killed_at)
