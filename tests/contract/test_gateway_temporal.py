"""The gateway on a real Temporal server: what it accepts is kept, and what is not kept it does not accept."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from gateway.tokens import Scope, entry_of, mint
from incident.policy import PolicyBook
from incident.services import parse_registry
from incident.snapshot import Snapshot
from tests import builders
from tests.contract.gateway_desk import KEYS, Gate
from tests.fakes import FakeAnalyst, FakeService, FakeServices
from tests.workflow import shift as shifts
from tests.workflow.shift import Shift, at_work, until_true
from worker.settings import child_environment
from workflows import names
from workflows.desk import IncidentDesk

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

AT_ONCE = {"settle": "0s", "look_every": "0s"}
ALERTMANAGER = {"Authorization": f"Bearer {KEYS['alertmanager_secret']}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with shifts.environment() as started:
        yield started


@dataclass
class Watch:
    """A worker for services of names of their own, and gateways over it."""

    shift: Shift
    names: list[str]
    policy: dict[str, object]

    def gate(self, client: Client | None = None) -> Gate:
        """Another gateway; it shares nothing with the ones before but Temporal and the store."""
        desk = IncidentDesk(client or self.shift.environment.client, task_queue=self.shift.name)
        text = "".join(
            f'[[service]]\nname = "{name}"\nsource = {{ kind = "mock", url = "http://127.0.0.1:9" }}\n'
            for name in self.names
        )
        policies = PolicyBook(default=builders.policy(**{**AT_ONCE, **self.policy}))
        return Gate(desk, store=self.shift.store, registry=parse_registry(text, "services.toml"), policies=policies)


@asynccontextmanager
async def _on_watch(
    server: WorkflowEnvironment, services: int = 1, analyst: FakeAnalyst | None = None, **policy: object
) -> AsyncIterator[Watch]:
    """Time is real until it is skipped on purpose."""
    watched = [f"api-{shifts.unique()}" for _ in range(services)]
    known = FakeServices(FakeService(live=101), name=watched[0])
    for name in watched[1:]:
        known.add(FakeService(live=101), builders.ENVIRONMENT, name)
    with server.with_time_skipping_disabled():
        async with at_work(server, services=known, analyst=analyst or FakeAnalyst()) as shift:
            yield Watch(shift, watched, policy)


def _alert(*services: str, name: str = "HighErrorRate", status: str = "firing") -> dict[str, Any]:
    labels = [{"alertname": name, "service": each} for each in services]
    return {"version": "4", "status": status, "alerts": [{"status": status, "labels": each} for each in labels]}


async def _staged(api: httpx.AsyncClient, incident_id: str, stage: str) -> dict[str, Any]:
    """What is known of the incident once it is at that stage: by long polls, as a program would."""
    known = "reporting"  # nobody waits at this one, so the first answer comes at once
    async with asyncio.timeout(shifts.PATIENCE.total_seconds()):
        while True:
            asked = await api.get(f"/incidents/{incident_id}", params={"wait": 10, "stage": known})
            view: dict[str, Any] = asked.json()
            if view["stage"] == stage:
                return view
            known = view["stage"]


async def test_an_incident_is_opened_joined_approved_by_any_gateway_and_its_record_read(
    server: WorkflowEnvironment,
) -> None:
    async with _on_watch(server, mode="ask", approve_within="1h") as watch:
        first, second = watch.gate(), watch.gate()
        second.people = first.people
        async with first.client() as ada, second.client() as elsewhere:
            asked = {"service": watch.names[0], "reason": "they call us"}
            opened, joined = await ada.post("/incidents", json=asked), await elsewhere.post("/incidents", json=asked)
            assert (opened.status_code, joined.status_code) == (201, 200)
            incident_id = opened.json()["incident_id"]
            assert joined.json()["incident_id"] == incident_id

            view = await _staged(elsewhere, incident_id, "awaiting-approval")
            path, digest = f"/incidents/{incident_id}/approval", view["proposal"]["digest"]
            other = await ada.post(path, json={"digest": "0" * 64, "approved": True})
            assert (other.status_code, other.json()["detail"]) == (
                409,
                "this is not the proposal that is open: its digest differs",
            )
            answers = await asyncio.gather(
                ada.post(path, json={"digest": digest, "approved": True}),
                elsewhere.post(path, json={"digest": digest, "approved": True}),
            )
            assert [each.status_code for each in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()

            closed = await _staged(ada, incident_id, "closed")
            assert closed["outcome"] == "RECOVERED"
            record = Snapshot.model_validate((await ada.get(f"/incidents/{incident_id}/snapshot")).json())
            assert record.trigger.by == "ada"
            assert record.remediation
            assert record.remediation.authorised_by == "ada"
            late = await elsewhere.post(path, json={"digest": digest, "approved": False})
            assert (late.status_code, late.json()["detail"]) == (409, "the incident has closed")


async def test_an_outside_analyst_waits_for_evidence_reads_every_error_and_decides(
    server: WorkflowEnvironment,
) -> None:
    async with _on_watch(server, mode="auto") as watch, watch.gate().client() as kestra:
        asked = {"service": watch.names[0], "outside_analyst": "kestra"}
        incident_id = (await kestra.post("/incidents", json=asked)).json()["incident_id"]
        path = f"/incidents/{incident_id}"
        offer = (await kestra.get(f"{path}/evidence?wait=20")).json()
        assert offer["evidence"]["metrics"]["deployment_id"] == 101
        await _staged(kestra, incident_id, "awaiting-decision")
        decision = builders.decision().model_dump(mode="json")
        wrong = await kestra.post(f"{path}/decision", json={"decision": {**decision, "confidence": "high"}})
        assert (wrong.status_code, len(wrong.json()["errors"])) == (422, 1)
        assert (await kestra.post(f"{path}/decision", json={"decision": decision})).status_code == 202
        again = await kestra.post(f"{path}/decision", json={"decision": decision})
        assert again.status_code == 409
        assert (await _staged(kestra, incident_id, "closed"))["outcome"] == "RECOVERED"


async def test_an_incident_is_cancelled_by_the_tokens_holder(server: WorkflowEnvironment) -> None:
    async with _on_watch(server, mode="ask", approve_within="1h") as watch, watch.gate().client() as ada:
        incident_id = (await ada.post("/incidents", json={"service": watch.names[0]})).json()["incident_id"]
        await _staged(ada, incident_id, "awaiting-approval")
        receipt = await ada.post(f"/incidents/{incident_id}/cancel", json={"reason": "a drill"})
        assert receipt.json() == {"incident_id": incident_id, "acted": False}
        assert (await _staged(ada, incident_id, "closed"))["outcome"] == "CANCELLED"
        assert watch.shift.store.snapshots[incident_id].cancelled_by == "ada"


async def test_a_storm_of_alerts_is_one_incident_that_heard_every_one(server: WorkflowEnvironment) -> None:
    async with _on_watch(server, mode="ask", approve_within="1h") as watch:
        gates = [watch.gate(), watch.gate()]
        clients = [gate.client(None, **ALERTMANAGER) for gate in gates]
        sent = [
            clients[number % 2].post("/webhooks/alertmanager", json=_alert(watch.names[0], name=f"Alert{number % 7}"))
            for number in range(100)
        ]
        assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}
        async with gates[0].client() as ada:
            handle = watch.shift.environment.client.get_workflow_handle(f"incident-production-{watch.names[0]}")
            incident_id = (await handle.query("dossier"))["incident_id"]
            view = await _staged(ada, incident_id, "awaiting-approval")

            async def all_heard() -> bool:
                known = (await ada.get(f"/incidents/{incident_id}")).json()["dossier"]["heard"]
                return bool(known["notices"] == 100 and len(known["alerts"]) == 7)

            await until_true(all_heard)
            assert view["dossier"]["trigger"]["source"] == "alertmanager"
        for client in clients:
            await client.aclose()


async def test_one_message_about_many_services_opens_an_incident_for_each(server: WorkflowEnvironment) -> None:
    async with _on_watch(server, services=6, mode="ask", approve_within="1h") as watch:
        gate = watch.gate()
        async with gate.client() as ada:
            answer = await ada.post("/webhooks/alertmanager", json=_alert(*watch.names), headers=ALERTMANAGER)
            assert len(answer.json()["accepted"]) == 6

            async def all_ask() -> bool:
                listed = (await ada.get("/incidents", params={"open": "true"})).json()["incidents"]
                asking = {each["service"] for each in listed if each["stage"] == "awaiting-approval"}
                return asking >= set(watch.names)

            await until_true(all_ask)


class Line:
    """A line to Temporal that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def mend(self) -> None:
        """Lets connections through."""
        self._listening = await asyncio.start_server(self._through, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Ends every connection, and takes no other."""
        if self._listening is not None:
            self._listening.close()
        for each in self._open:
            each.transport.abort()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
        self._open -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_while_temporal_is_gone_nothing_is_accepted_and_sent_again_nothing_is_lost(
    server: WorkflowEnvironment,
) -> None:
    host, _, port = server.client.service_client.config.target_host.rpartition(":")
    line = Line(host, int(port))
    await line.mend()
    async with _on_watch(server, mode="ask", approve_within="1h") as watch:
        client = await Client.connect(
            f"127.0.0.1:{line.port}", namespace=server.client.namespace, data_converter=pydantic_data_converter
        )
        gate = watch.gate(client)
        async with gate.client() as ada:
            message = _alert(watch.names[0])
            assert (await ada.post("/webhooks/alertmanager", json=message, headers=ALERTMANAGER)).status_code == 200
            await line.cut()
            sent, asked, listed = await asyncio.gather(
                ada.post("/webhooks/alertmanager", json=_alert(watch.names[0], name="Lost"), headers=ALERTMANAGER),
                ada.post("/incidents", json={"service": watch.names[0]}),
                ada.get("/incidents"),
            )
            assert (sent.status_code, asked.status_code) == (503, 503)
            assert "retry-after" in sent.headers
            assert listed.json()["open_known"] is False
            await line.mend()

            async def taken() -> bool:
                again = _alert(watch.names[0], name="Lost")
                answer = await ada.post("/webhooks/alertmanager", json=again, headers=ALERTMANAGER)
                return answer.status_code == 200

            await until_true(taken)
            (incident,) = [
                each
                for each in (await ada.get("/incidents?open=true")).json()["incidents"]
                if each["service"] == watch.names[0]
            ]

            async def heard() -> bool:
                view = (await ada.get(f"/incidents/{incident['incident_id']}")).json()
                return set(view["dossier"]["heard"]["alerts"]) == {"HighErrorRate", "Lost"}

            await until_true(heard)
    await line.cut()


@dataclass
class Process:
    """`python -m gateway`, and what it says."""

    process: asyncio.subprocess.Process
    address: str
    said: list[str]

    async def end(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(shifts.PATIENCE.total_seconds()):
            assert self.process.stderr
            self.said += [line.decode() async for line in self.process.stderr]
            return await self.process.wait()


REGISTRY = '[[service]]\nname = "payment-api"\nsource = { kind = "mock", url = "http://127.0.0.1:9" }\n'


async def _spawn(directory: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    (directory / "services.toml").write_text(REGISTRY)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        cwd=directory,
        env=child_environment(PYTHONPATH=str(Path.cwd()), **{"GATEWAY__BIND": "127.0.0.1:0", **environment}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def _process(directory: Path, server: WorkflowEnvironment, **environment: str) -> AsyncIterator[Process]:
    known = {
        "TEMPORAL__ADDRESS": server.client.service_client.config.target_host,
        "TEMPORAL__NAMESPACE": server.client.namespace,
        **environment,
    }
    process = await _spawn(directory, known)
    said: list[str] = []
    try:
        assert process.stderr
        async with asyncio.timeout(shifts.PATIENCE.total_seconds()):
            async for line in process.stderr:
                said.append(line.decode())
                if '"gateway.started"' in said[-1]:
                    break
        assert said, "it ended before it had started"
        yield Process(process, f"http://{json.loads(said[-1])['address']}", said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_process_serves_finishes_what_is_under_way_and_logs_no_secret(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    token, sha256 = mint()
    (tmp_path / "tokens.toml").write_text(entry_of("ada", sha256, [Scope.READ, Scope.OPERATE]))
    (tmp_path / "policy.toml").write_text('approvers = ["ada"]\n')
    secrets = {f"GATEWAY__{name.upper()}": value for name, value in KEYS.items()}
    async with (
        at_work(server, names.TASK_QUEUE, service=FakeService(live=101), analyst=FakeAnalyst()),
        _process(tmp_path, server, **secrets) as running,
        httpx.AsyncClient(base_url=running.address, headers={"Authorization": f"Bearer {token}"}) as api,
    ):
        assert (await api.get("/readyz")).json() == {"status": "ready", "missing": []}
        alert = await api.post("/webhooks/alertmanager", json=_alert("payment-api"), headers=ALERTMANAGER)
        assert alert.json()["accepted"] == ["production/payment-api"]
        joined = await api.post("/incidents", json={"service": "payment-api"})
        assert joined.status_code == 200
        assert "server" not in joined.headers
        incident_id = joined.json()["incident_id"]
        await _staged(api, incident_id, "awaiting-approval")

        reader, writer = await _asked(running.address, f"/incidents/{incident_id}?wait=2", token)
        async with httpx.AsyncClient(base_url=running.address) as later:
            assert (await later.get("/healthz")).status_code == 200  # it came later, so the poll is under way
        assert await running.end() == 0
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        await server.client.get_workflow_handle("incident-production-payment-api").terminate()
    text = "".join(running.said)
    assert '"gateway.stopped"' in text
    for hidden in (token, sha256, *KEYS.values()):
        assert hidden not in text


async def _asked(address: str, path: str, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The line for the answer to a request that has been written, all of it, when this returns."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"TEMPORAL__ADDRESS": "127.0.0.1:9"},
            "temporal: cannot be reached at 127.0.0.1:9 (setting TEMPORAL__ADDRESS)",
        ),
        (
            {"GATEWAY__SESSION_KEY": "short", "GATEWAY__GRAFANA_SECRET": "short"},
            "GATEWAY__GRAFANA_SECRET: expected at least 16 bytes\nGATEWAY__SESSION_KEY: expected at least 32 bytes",
        ),
    ],
)
async def test_what_cannot_be_used_is_a_line_each_and_exit_two(
    environment: Mapping[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "tokens.toml").write_text("")
    process = await _spawn(tmp_path, environment)
    async with asyncio.timeout(shifts.PATIENCE.total_seconds() * 3):
        _, err = await process.communicate()
    lines = [line for line in err.decode().splitlines() if not line.startswith("{")]
    assert process.returncode == 2
    assert "\n".join(lines) == said
