"""The command line against a running stack: a question, an answer, a recovery, a list."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from commander.stack import EmbeddedStack, StackPlan, StackPorts
from incident.dossier import Stage
from tests.e2e.conftest import commander
from workflows.desk import IncidentDesk, OpenIncident

pytestmark = pytest.mark.slow

REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
"""
CAUTIOUS = """
version = 1
min_confidence = 0.95
approvers = ["ada"]
settle = "1s"
look_every = "1s"
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    (tmp_path / "policy.toml").write_text(CAUTIOUS)
    plan = StackPlan(
        directory=tmp_path / "stack",
        ports=StackPorts.free(),
        mock={"MOCK_RAMP_SECONDS": "0", "MOCK_ALERT_AFTER_SECONDS": "1"},
        worker={"STORE__URL": f"sqlite:///{tmp_path}/incidents.db", "WORKER__DRAIN": "2s"},
    )
    async with EmbeddedStack(plan) as running:
        yield running


@pytest.fixture
def environment(stack: EmbeddedStack, tmp_path: Path) -> Mapping[str, str]:
    return {
        "TEMPORAL__ADDRESS": stack.temporal.address,
        "SERVICES_FILE": str(stack.services_file),
        "STORE__URL": f"sqlite:///{tmp_path}/incidents.db",
    }


async def asking(desk: IncidentDesk) -> OpenIncident:
    """The open incident, once it asks a person."""
    async with asyncio.timeout(60):
        while True:
            for incident in await desk.all_open():
                if incident.stage == Stage.AWAITING_APPROVAL:
                    return incident
            await asyncio.sleep(0.1)


async def break_the_service(stack: EmbeddedStack) -> None:
    async with httpx.AsyncClient() as http:
        await http.post(f"{stack.mock_url}/demo/trigger-incident")
        async with asyncio.timeout(30):
            while (await http.get(f"{stack.mock_url}/health")).is_success:
                pass  # each look is a request, so this does not spin


async def test_a_person_is_asked_and_the_right_one_approves(
    stack: EmbeddedStack, environment: Mapping[str, str], tmp_path: Path
) -> None:
    await break_the_service(stack)
    running = asyncio.create_task(commander(tmp_path, "run", "payment-api", "--json", environment=environment))
    incident = await asking(IncidentDesk(stack.client))

    listed = await commander(tmp_path, "incidents", environment=environment)
    assert incident.incident_id in listed.out
    assert Stage.AWAITING_APPROVAL in listed.out
    shown = await commander(tmp_path, "show", incident.incident_id, environment=environment)
    assert "roll back deployment 101 to 100?" in " ".join(shown.out.split())

    stranger = await commander(tmp_path, "approve", incident.incident_id, "--as", "eve", environment=environment)
    assert (stranger.status, stranger.err.count("\n")) == (2, 1)
    assert "eve is not one of the policy's approvers" in stranger.err
    other = await commander(
        tmp_path, "approve", incident.incident_id, "--as", "ada", "--digest", "0000", environment=environment
    )
    assert other.status == 2
    assert "the open proposal has the digest" in other.err

    right = await commander(
        tmp_path, "approve", incident.incident_id, "--as", "ada", "--note", "seen", environment=environment
    )
    assert right.status == 0, right.err
    ended = await running
    assert ended.status == 0, ended.err
    snapshot = json.loads(ended.out)
    assert snapshot["outcome"] == "RECOVERED"
    assert snapshot["approval"]["approver"] == "ada"
    assert snapshot["remediation"]["authorised_by"] == "ada"

    late = await commander(tmp_path, "deny", incident.incident_id, "--as", "ada", environment=environment)
    assert (late.status, late.err.count("\n")) == (2, 1)


async def test_cancelled_before_anything_was_done_closes_as_cancelled(
    stack: EmbeddedStack, environment: Mapping[str, str], tmp_path: Path
) -> None:
    await break_the_service(stack)
    running = asyncio.create_task(commander(tmp_path, "run", "payment-api", environment=environment))
    incident = await asking(IncidentDesk(stack.client))
    cancelled = await commander(tmp_path, "cancel", incident.incident_id, "--as", "ada", environment=environment)
    assert cancelled.status == 0, cancelled.err
    assert "nothing was done" in cancelled.out
    ended = await running
    assert ended.status == 1
    assert "CANCELLED" in ended.out


async def test_doctor_finds_everything_working_on_a_running_stack(
    stack: EmbeddedStack, environment: Mapping[str, str], tmp_path: Path
) -> None:
    del stack
    found = await commander(tmp_path, "doctor", environment=environment)
    assert found.status == 0, found.out
    assert "new incidents go to build" in " ".join(found.out.split())


async def test_without_a_worker_the_command_says_so_on_one_line_and_the_doctor_finds_it(
    stack: EmbeddedStack, environment: Mapping[str, str], tmp_path: Path
) -> None:
    await stack.kill("worker")
    asked = await commander(tmp_path, "run", "payment-api", environment=environment)
    assert (asked.status, asked.err.count("\n")) == (2, 1)
    assert "no worker answered within 10 s" in asked.err


async def test_doctor_says_how_to_get_a_worker_and_search_attributes(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_text(REGISTRY)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")), dev_server_log_level="error"
    ) as bare:
        found = await commander(
            tmp_path, "doctor", environment={"TEMPORAL__ADDRESS": bare.client.service_client.config.target_host}
        )
    said = " ".join(found.out.split())
    assert found.status == 1
    assert "temporal operator search-attribute create --name IncidentId" in said
    assert "start one: python -m worker" in said
