"""A new build of the worker while incidents are open: which build did what, told by the histories themselves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import groupby
from typing import cast

import pytest
import pytest_asyncio
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import WorkflowHandle

from incident.dossier import Trigger
from incident.errors import PermanentError
from incident.snapshot import Outcome, Snapshot
from integrations.temporal import await_worker, make_current
from tests.fault.forked import Forked
from tests.fault.world import BRISK, ENVIRONMENT, PATIENCE, SERVICE, World, until
from worker.promote import promote
from worker.settings import Settings, WorkerSettings
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import IncidentRequest
from workflows.names import DEPLOYMENT, TASK_QUEUE

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ASKING = BRISK.model_copy(update={"min_confidence": 1, "approvers": ("ada",)})
NEIGHBOUR = "checkout"
WAITS = "wait for a person's answer"
PINNED, AUTO_UPGRADE = "pinned", "auto-upgrade"


def _services(mock_url: str) -> str:
    """Two services, so that two incidents can be open."""
    source = f'environment = "{ENVIRONMENT}"\nsource = {{ kind = "mock", url = "{mock_url}" }}\n'
    return "".join(f'[[service]]\nname = "{name}"\n{source}' for name in (SERVICE, NEIGHBOUR))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Its own worker is build `first`, pinned, and the current one."""
    own = {"WORKER__BUILD_ID": "first", "WORKER__VERSIONING": PINNED}
    async with World(tmp_path_factory.mktemp("versions"), _services, own) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def world(stack: World) -> World:
    await stack.put_right()
    await make_current(stack.stack.client, DEPLOYMENT, "first", PATIENCE)
    return stack


async def _roll_out(world: World, build_id: str, versioning: str) -> None:
    """One more worker beside those that run, and its build made the current one."""
    environment = {
        "TEMPORAL__ADDRESS": world.stack.temporal.address,
        "SERVICES_FILE": str(world.stack.services_file),
        "WORKER__HEALTH_BIND": "127.0.0.1:0",
        **world._plan.worker,
        "WORKER__BUILD_ID": build_id,
        "WORKER__VERSIONING": versioning,
    }
    worker = Forked(environment, world.directory / f"{build_id}.log")
    world.hired.append(cast("asyncio.subprocess.Process", worker))
    await make_current(world.stack.client, DEPLOYMENT, build_id, PATIENCE)


async def _open(world: World) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
    """An incident of the other service, which waits for a person too."""
    trigger = Trigger(source="fault test", trigger_id="versions")
    request = IncidentRequest(service=NEIGHBOUR, environment=ENVIRONMENT, policy=ASKING, trigger=trigger)
    joined, handle = await IncidentDesk(world.stack.client).open(request)
    assert joined.opened
    return handle


async def _builds(handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> list[str]:
    """The builds that completed its workflow tasks, each run of one build as one."""
    builds = [
        event.workflow_task_completed_event_attributes.deployment_version.build_id
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    return [build for build, _ in groupby(builds)]


async def _routing(world: World) -> tuple[str, str, float]:
    """The current build, the one that is ramped up, and to how many percent."""
    client = world.stack.client
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    answer = await client.workflow_service.describe_worker_deployment(request)
    routing = answer.worker_deployment_info.routing_config
    ramping = routing.ramping_deployment_version.build_id
    return routing.current_deployment_version.build_id, ramping, routing.ramping_version_percentage


async def test_a_pinned_incident_ends_on_the_build_that_it_began_on_and_new_ones_begin_on_the_new(world: World) -> None:
    old = await world.incident(ASKING)
    await world.until_timer(old, WAITS)
    await _roll_out(world, "second", PINNED)

    new = await _open(world)
    await until(lambda: _began(new), "the new incident has begun")
    assert await _builds(new) == ["second"]
    assert (await world.handle(old).describe()).close_time is None, "the old one was to be open still"

    await world.approve(old, "ada")
    assert (await world.closed(old)).outcome is Outcome.RECOVERED
    assert await _builds(world.handle(old)) == ["first"]


async def test_an_auto_upgraded_incident_is_taken_over_by_the_new_build_and_rolled_back_the_next_begins_on_the_old(
    world: World,
) -> None:
    await _roll_out(world, "third", AUTO_UPGRADE)
    incident = await world.incident(ASKING)
    await world.until_timer(incident, WAITS)
    await _roll_out(world, "fourth", AUTO_UPGRADE)
    await world.approve(incident, "ada")
    assert (await world.closed(incident)).outcome is Outcome.RECOVERED
    assert await _builds(world.handle(incident)) == ["third", "fourth"]

    await make_current(world.stack.client, DEPLOYMENT, "third", PATIENCE)
    after = await _open(world)
    await until(lambda: _began(after), "an incident begins after the roll-back")
    assert await _builds(after) == ["third"]


async def test_a_build_that_nobody_runs_is_not_promoted(world: World) -> None:
    with pytest.raises(PermanentError, match=r"did not take build nobody within 0.5 s; its last answer: .*nobody"):
        await make_current(world.stack.client, DEPLOYMENT, "nobody", timedelta(seconds=0.5))
    assert (await _routing(world))[0] == "first"


async def test_a_build_counts_as_running_only_while_its_worker_asks_for_work(world: World) -> None:
    client, at_once = world.stack.client, timedelta(seconds=0.5)
    await await_worker(client, TASK_QUEUE, "first", PATIENCE)
    for build_id, polled_within in (("nobody", PATIENCE), ("first", timedelta(0))):
        with pytest.raises(PermanentError, match=f"saw no worker of build {build_id} within 0.5 s"):
            await await_worker(client, TASK_QUEUE, build_id, at_once, polled_within)


async def test_a_build_is_ramped_up_beside_the_current_one_and_down_again(world: World) -> None:
    await _roll_out(world, "fifth", PINNED)
    await make_current(world.stack.client, DEPLOYMENT, "first", PATIENCE)
    settings = Settings(temporal=world.stack.temporal, worker=WorkerSettings(build_id="fifth"))
    assert await promote(settings, 25, PATIENCE) == f"25 % of new incidents go to build fifth of {DEPLOYMENT}"
    assert await _routing(world) == ("first", "fifth", 25)
    await promote(settings, 0, PATIENCE)
    assert (await _routing(world))[2] == 0
    assert await promote(settings, None, PATIENCE) == f"new incidents go to build fifth of {DEPLOYMENT}"
    assert (await _routing(world))[0] == "fifth"


async def _began(handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> bool:
    return bool(await _builds(handle))
