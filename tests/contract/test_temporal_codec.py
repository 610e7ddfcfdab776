"""What Temporal keeps, encrypted: nothing of it can be read there, and whoever has the keys reads it back."""

import asyncio
import base64
import binascii
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from commander.direct_line import DirectLine
from gateway.__main__ import GatewayServer
from incident.dossier import Dossier, Stage, Trigger
from incident.errors import PermanentError
from incident.evidence import Source
from integrations.temporal import TemporalSettings, connect
from tests import builders
from tests.contract.gateway_desk import Gate
from tests.contract.gateway_desk import settings as gateway_settings
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.shift import PATIENCE, Handle, Shift, at_stage, ended
from worker.bootstrap import build_worker
from worker.settings import Settings, WorkerSettings
from workflows.desk import IncidentDesk
from workflows.lookout import Lookout
from workflows.messages import CancelRequest, IncidentRequest
from workflows.names import SEARCH_ATTRIBUTES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

KEYS = {name: base64.b64encode(name.encode() * 8).decode() for name in ("old1", "new2", "evil")}
LOG, FAILURE, REASON, CANCELLED = "the-pool-is-empty", "no-such-channel", "customers-report-it", "we-look-ourselves"
"""What goes in as evidence, as an activity's failure, with the start, and with an update."""
TYPED = "password=hunter2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    started = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_log_level="error",
        dev_server_extra_args=["--dynamic-config-value", 'history.timerProcessorMaxTimeShift="5ms"'],
        search_attributes=list(SEARCH_ATTRIBUTES),
    )
    async with started:
        yield started


async def client(server: WorkflowEnvironment, *names: str) -> Client:
    keys = ",".join(f"{name}={KEYS[name]}" for name in names)
    address = server.client.service_client.config.target_host
    return await connect(TemporalSettings(address=address, codec_keys=SecretStr(keys) if keys else None))


@asynccontextmanager
async def waiting(server: WorkflowEnvironment, *keys: str) -> AsyncIterator[tuple[Shift, str, Handle]]:
    """An incident that waits for an answer, its worker and its desk with those keys; its id, and its handle."""
    service = FakeService(live=101)
    service.answer(Source.LOGS, builders.logs(builders.log_line(1, LOG)))
    shift = Shift(server, service=service, analyst=FakeAnalyst())
    shift.chat.error = PermanentError("slack", FAILURE)
    policy = builders.policy(mode="ask", approve_within="1h", settle="0s", look_every="0s")
    request = IncidentRequest(
        service=builders.SERVICE, policy=policy, trigger=Trigger(source="api", by="ada", reason=f"{REASON} {TYPED}")
    )
    settings, with_key = WorkerSettings(drain=timedelta(0)), await client(server, *keys)
    async with build_worker(with_key, shift.world, settings, task_queue=shift.name, versioned=False):
        joined, handle = await IncidentDesk(with_key, task_queue=shift.name).open(request)
        await at_stage(handle, Stage.AWAITING_APPROVAL)
        yield shift, joined.incident_id, handle


async def kept(server: WorkflowEnvironment, workflow_id: str) -> bytes:
    """All that the server keeps of that workflow."""
    handle = server.client.get_workflow_handle(workflow_id)
    described = (await handle.describe()).raw_description.SerializeToString()
    return b"".join([described, *(event.SerializeToString() for event in (await handle.fetch_history()).events)])


async def test_a_history_holds_nothing_that_can_be_read_and_every_door_reads_it_back(
    server: WorkflowEnvironment,
) -> None:
    async with waiting(server, "old1") as (shift, incident_id, handle):
        # The key was changed meanwhile: whoever has both goes on with what the old one encrypted.
        desk = IncidentDesk(await client(server, "new2", "old1"), task_queue=shift.name)
        async with Gate(desk, store=shift.store).client() as ada:
            view = (await ada.get(f"/incidents/{incident_id}")).json()
        assert view["proposal"]
        assert LOG in view["dossier"]["evidence"]["logs"]["lines"][0]["message"]
        assert view["dossier"]["trigger"]["reason"] == f"{REASON} password=[REDACTED:secret]"

        async def same_desk() -> IncidentDesk:
            return desk

        async def same_lookout() -> Lookout:
            return Lookout(await client(server, "new2", "old1"), task_queue=shift.name)

        line = DirectLine(Settings(), "ada", shift.store, same_desk, same_lookout)
        dossier = await line.look(incident_id)
        assert isinstance(dossier, Dossier)
        assert dossier.proposal
        assert FAILURE in str(dossier.notifications)

        same_key = IncidentDesk(await client(server, "old1"), task_queue=shift.name)
        await same_key.cancel(handle, CancelRequest(by="ada", reason=CANCELLED))
        record = await ended(handle)
        assert LOG in record.model_dump_json()
    raw = await kept(server, handle.id)
    for text in (LOG, FAILURE, REASON, CANCELLED, "error_rate", "Asked by"):
        assert text.encode() not in raw, text
    assert raw.count(b"binary/encrypted") > 20
    assert b"Encoded failure" in raw


async def test_without_keys_all_is_kept_as_it_is(server: WorkflowEnvironment) -> None:
    async with waiting(server) as (_, _, handle):
        await IncidentDesk(await client(server)).cancel(handle, CancelRequest(by="ada", reason=f"{CANCELLED} {TYPED}"))
        await ended(handle)
    raw = await kept(server, handle.id)
    for text in (LOG, FAILURE, REASON, CANCELLED, "error_rate", "Asked by"):
        assert text.encode() in raw, text
    assert b"hunter2" not in raw, "what people type is redacted before it is sent"


async def test_whoever_lacks_the_key_is_told_which(server: WorkflowEnvironment) -> None:
    async with waiting(server, "old1") as (shift, incident_id, handle):
        for name in ("new2", "evil"):
            desk = IncidentDesk(await client(server, name), task_queue=shift.name)
            found = await desk.find(incident_id)
            assert found, "ids are no payloads"
            with pytest.raises(PermanentError, match="what key old1 encrypted, which TEMPORAL__CODEC_KEYS lacks"):
                await desk.dossier(found)
        await handle.terminate()


async def test_temporals_own_command_line_reads_a_history_through_the_gateway_with_a_token(
    server: WorkflowEnvironment,
) -> None:
    async with waiting(server, "old1") as (shift, _, handle):
        temporal = TemporalSettings(codec_keys=SecretStr(f"old1={KEYS['old1']}"))
        desk = IncidentDesk(server.client, task_queue=shift.name)
        gate = Gate(desk, store=shift.store, settings=gateway_settings().model_copy(update={"temporal": temporal}))
        async with served(gate.app) as url:
            for token, told in ((gate.people.reader, True), ("ict_" + "A" * 43, False)):
                asked = ("--codec-endpoint", f"{url}/codec", "--codec-auth", f"Bearer {token}")
                said = await _shown(server, handle.id, *asked)
                assert (LOG.encode() in said, REASON.encode() in said) == (told, told)
        await handle.terminate()


async def _shown(server: WorkflowEnvironment, workflow_id: str, *more: str) -> bytes:
    """What `temporal workflow show` prints."""
    address = server.client.service_client.config.target_host
    command = ("workflow", "show", "--address", address, "--workflow-id", workflow_id, "--output", "json", *more)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("temporal")), *command, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE.total_seconds()):
        said, _ = await process.communicate()
    return b"".join(_decoded(json.loads(said))) if process.returncode == 0 else b""


def _decoded(shown: object) -> Iterator[bytes]:
    """Every text in it, and what stands in base64 as what it is."""
    match shown:
        case dict():
            for each in shown.values():
                yield from _decoded(each)
        case list():
            for each in shown:
                yield from _decoded(each)
        case str():
            yield shown.encode()
            with suppress(binascii.Error, ValueError):
                yield base64.b64decode(shown, validate=True)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """`app` on a free port, and its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    guest = GatewayServer(config)
    serving = asyncio.create_task(guest.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        guest.should_exit = True
        await serving
