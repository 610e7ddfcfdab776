"""The command line against a running stack, through the gateway and past it: a question, an answer, a recovery."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from commander.stack import EmbeddedStack, StackPlan, StackPorts
from commander.tokens import grant
from gateway.tokens import Scope
from incident.dossier import Stage
from incident.snapshot import Snapshot
from tests.e2e.conftest import commander
from workflows.desk import IncidentDesk, OpenIncident
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

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

Handle = WorkflowHandle[IncidentWorkflow, Snapshot]


@dataclass(frozen=True)
class Staff:
    """The stack, and what the commands of each person find in their environment."""

    stack: EmbeddedStack
    ada: Mapping[str, str]
    """She may do everything."""
    eve: Mapping[str, str]
    """Her token is good for reading only."""
    direct: Mapping[str, str]
    """Of whoever reaches Temporal and the store, and has no token."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def staff(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Staff]:
    directory = tmp_path_factory.mktemp("staff")
    (directory / "policy.toml").write_text(CAUTIOUS)
    shared = {"STORE__URL": f"sqlite:///{directory}/incidents.db", "POLICY_FILE": str(directory / "policy.toml")}
    tokens_file = directory / "tokens.toml"
    ada, eve = grant(tokens_file, "ada", Scope), grant(tokens_file, "eve", [Scope.READ])
    plan = StackPlan(
        directory=directory / "stack",
        ports=StackPorts.free(),
        mock={"MOCK_RAMP_SECONDS": "0", "MOCK_ALERT_AFTER_SECONDS": "1"},
        worker={**shared, "WORKER__DRAIN": "2s"},
        gateway={**shared, "GATEWAY__TOKENS_FILE": str(tokens_file)},
    )
    async with EmbeddedStack(plan) as stack:
        gateway = {"COMMANDER__URL": stack.gateway_url}
        yield Staff(
            stack,
            ada={**gateway, "COMMANDER__TOKEN": ada},
            eve={**gateway, "COMMANDER__TOKEN": eve},
            direct={
                "TEMPORAL__ADDRESS": stack.temporal.address,
                "SERVICES_FILE": str(stack.services_file),
                **shared,
                **gateway,
            },
        )


async def asking(desk: IncidentDesk) -> OpenIncident:
    """The open incident, once it asks a person."""
    async with asyncio.timeout(60):
        while True:
            for incident in await desk.all_open():
                if incident.stage == Stage.AWAITING_APPROVAL:
                    return incident
            await asyncio.sleep(0.1)


async def until_asked_anew(desk: IncidentDesk, handle: Handle, digest: str) -> None:
    """Returns once the incident asks another question than that one."""
    async with asyncio.timeout(60):
        while True:
            dossier = await desk.dossier(handle)
            asks = dossier.stage is Stage.AWAITING_APPROVAL and dossier.proposal
            if asks and asks.digest != digest:
                return
            await asyncio.sleep(0.1)


async def break_the_service(stack: EmbeddedStack) -> None:
    async with httpx.AsyncClient() as http:
        await http.post(f"{stack.mock_url}/demo/reset")
        async with asyncio.timeout(30):
            while (await http.get(f"{stack.mock_url}/alerts")).json()["total"]:
                pass  # an alert of before would date the new trouble back
        await http.post(f"{stack.mock_url}/demo/trigger-incident")
        async with asyncio.timeout(30):
            while (await http.get(f"{stack.mock_url}/health")).is_success:
                pass  # each look is a request, so this does not spin


async def test_a_person_is_asked_and_the_right_one_approves_by_token(staff: Staff, tmp_path: Path) -> None:
    await break_the_service(staff.stack)
    running = asyncio.create_task(commander(tmp_path, "run", "payment-api", "--json", environment=staff.ada))
    incident = await asking(IncidentDesk(staff.stack.client))
    following = asyncio.create_task(commander(tmp_path, "follow", incident.incident_id, environment=staff.eve))

    listed, shown, stranger, other = await asyncio.gather(
        commander(tmp_path, "incidents", environment=staff.eve),
        commander(tmp_path, "show", incident.incident_id, environment=staff.eve),
        commander(tmp_path, "approve", incident.incident_id, environment=staff.eve),
        commander(tmp_path, "approve", incident.incident_id, "--digest", "0000", environment=staff.ada),
    )
    assert incident.incident_id in listed.out
    assert Stage.AWAITING_APPROVAL in listed.out
    assert "roll back deployment 101 to 100?" in " ".join(shown.out.split())
    assert (stranger.status, stranger.err.count("\n")) == (2, 1)
    assert "the token lacks the scope approve" in stranger.err
    assert other.status == 2
    assert "the open proposal has the digest" in other.err

    right = await commander(tmp_path, "approve", incident.incident_id, "--note", "seen", environment=staff.ada)
    assert right.status == 0, right.err
    assert right.out.startswith("Approved by ada: ")
    ended, followed = await asyncio.gather(running, following)
    assert ended.status == 0, ended.err
    snapshot = json.loads(ended.out)
    assert snapshot["outcome"] == "RECOVERED"
    assert snapshot["trigger"]["by"] == "ada"
    assert snapshot["approval"]["approver"] == "ada"
    assert snapshot["remediation"]["authorised_by"] == "ada"
    assert followed.status == 0, followed.err
    for told in ("chat: report", "Outcome RECOVERED", "Approved by ada"):
        assert told in " ".join(followed.out.split())

    late = await commander(tmp_path, "deny", incident.incident_id, environment=staff.ada)
    assert (late.status, late.err.count("\n")) == (2, 1)


async def test_a_change_told_of_while_a_person_is_asked_stops_the_rollback_that_they_approve(
    staff: Staff, tmp_path: Path
) -> None:
    await break_the_service(staff.stack)
    running = asyncio.create_task(commander(tmp_path, "run", "payment-api", "--json", environment=staff.ada))
    desk = IncidentDesk(staff.stack.client)
    incident = await asking(desk)
    handle = staff.stack.client.get_workflow_handle_for(IncidentWorkflow.run, incident.workflow_id)
    dossier = await desk.dossier(handle)
    assert dossier.evidence
    assert dossier.proposal
    made = dossier.evidence.onset.isoformat()  # later than deployment 101 went live, and not too late to explain it
    change = ("change", "payment-api", "pool from 20 to 10", "--id", "pool", "--at", made)
    said = await commander(tmp_path, *change, environment=staff.ada)
    assert said.status == 0, said.err
    await desk.answer(handle, ApprovalAnswer(digest=dossier.proposal.digest, approver="ada", approved=True))
    await until_asked_anew(desk, handle, dossier.proposal.digest)
    await desk.cancel(handle, CancelRequest(by="ada"))

    snapshot = json.loads((await running).out)
    assert snapshot["outcome"] == "CANCELLED"
    done = snapshot["remediation"]
    assert (done["run"], done["void"]) == (None, True)
    assert done["refused"][0].startswith("change:pool, configuration change of payment-api at ")
    assert done["refused"][0].endswith(": pool from 20 to 10, was not known of when it was decided")
    assert snapshot["verdict"]["course"] == "ask"
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{staff.stack.mock_url}/deployment/status")).json()["currentDeployment"] == 101


async def test_where_the_gateway_is_dead_the_way_past_it_still_ends_an_incident(staff: Staff, tmp_path: Path) -> None:
    await break_the_service(staff.stack)
    running = asyncio.create_task(commander(tmp_path, "run", "payment-api", "--direct", environment=staff.direct))
    incident = await asking(IncidentDesk(staff.stack.client))
    await staff.stack.kill("gateway")

    dead, stranger = await asyncio.gather(
        commander(tmp_path, "cancel", incident.incident_id, environment=staff.ada),
        commander(tmp_path, "approve", incident.incident_id, "--direct", "--as", "eve", environment=staff.direct),
    )
    assert (dead.status, dead.err.count("\n")) == (2, 1)
    assert "gateway: cannot be reached" in dead.err
    assert "--direct goes past it" in dead.err
    assert stranger.status == 2
    assert "eve is not one of the policy's approvers" in stranger.err

    past = ("cancel", incident.incident_id, "--direct", "--as", "ada")
    cancelled = await commander(tmp_path, *past, environment=staff.direct)
    assert cancelled.status == 0, cancelled.err
    assert "nothing was done" in cancelled.out
    ended = await running
    assert ended.status == 1
    assert "CANCELLED" in ended.out

    await staff.stack.start_gateway()
    shown = await commander(tmp_path, "show", incident.incident_id, environment=staff.eve)
    assert "CANCELLED" in shown.out


async def test_doctor_finds_everything_working_on_a_running_stack(staff: Staff, tmp_path: Path) -> None:
    found = await commander(tmp_path, "doctor", environment={**staff.direct, **staff.ada})
    assert found.status == 0, found.out
    said = " ".join(found.out.split())
    assert "new incidents go to build" in said
    assert "of ada, good for: read, operate, approve" in said
    for not_configured in ("Slack is not configured", "PagerDuty is not configured"):
        assert not_configured in said


async def test_without_a_worker_the_command_says_so_on_one_line_and_the_doctor_what_to_start(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_text(REGISTRY)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")), dev_server_log_level="error"
    ) as bare:
        here = {"TEMPORAL__ADDRESS": bare.client.service_client.config.target_host, "COMMANDER__URL": "http://[::1]:9"}
        asked, found = await asyncio.gather(
            commander(tmp_path, "run", "payment-api", "--direct", environment=here),
            commander(tmp_path, "doctor", environment=here),
        )
    assert (asked.status, asked.err.count("\n")) == (2, 1)
    assert "no worker answered within 10 s" in asked.err
    said = " ".join(found.out.split())
    assert found.status == 1
    assert "temporal operator search-attribute create --name IncidentId" in said
    assert "start one: python -m worker" in said
    assert "gateway no cannot be reached" in said
