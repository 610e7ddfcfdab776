"""The command line and Kestra are two ways into the same thing: one decision, one verdict, one rollback."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.conftest import commander
from tests.fault.world import SERVICE
from tests.kestra.world import Kestra, KestraWorld, LoneKestra
from tests.standins.kestra import State

pytestmark = [pytest.mark.slow, pytest.mark.needs_node, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def steady_stack(
    kestra_token: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KestraWorld]:
    """A stack whose patient always says the same, to the digit."""
    directory = tmp_path_factory.mktemp("steady-stack")
    async with KestraWorld(directory, kestra_token, {"MOCK_PROFILE": "steady"}) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def steady(alone: LoneKestra, steady_stack: KestraWorld) -> Kestra:
    await steady_stack.put_right()
    return Kestra(alone.engine, alone.model, steady_stack)


async def test_both_ways_in_lead_to_the_same_decision_verdict_and_rollback(steady: Kestra, tmp_path: Path) -> None:
    await steady.world.fall_ill()
    ended = await steady.play()
    assert ended.state is State.SUCCESS, ended.story
    by_kestra = await _told(steady, ended.outputs["incident_id"]), await steady.world.deeds("/deployment/")

    await steady.world.put_right()
    await steady.world.fall_ill()
    reached = {"COMMANDER__URL": steady.world.stack.gateway_url, "COMMANDER__TOKEN": steady.world.token}
    printed = await commander(tmp_path, "run", SERVICE, "--json", environment=reached)
    assert printed.status == 0, printed.err
    by_hand = await _told(steady, json.loads(printed.out)["incident_id"]), await steady.world.deeds("/deployment/")

    assert by_kestra == by_hand
    assert by_hand[1] == ["/deployment/100/activate"]


async def _told(kestra: Kestra, incident_id: object) -> dict[str, Any]:
    """What was decided, allowed and done. When it was seen, and what was done before, differ."""
    record = await kestra.world.store.load(str(incident_id))
    assert record
    assert record.analysis
    assert record.verdict
    return {
        "analyst": record.analysis.analyst,
        "decision": record.analysis.decision,
        "course": record.verdict.course,
        "rollback": record.verdict.rollback(),
        "findings": [(each.rule, each.passed) for each in record.verdict.findings],
        "measured": record.metrics,
        "classification": record.health_status,
        "outcome": record.outcome,
    }
