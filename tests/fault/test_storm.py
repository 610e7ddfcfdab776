"""A storm of alerts: one incident for a service however many come, and none lost where they are about many services."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import quantiles

import aiohttp
import pytest
import pytest_asyncio
from pydantic import JsonValue

from incident.identifiers import workflow_id
from incident.severity import Severity
from incident.snapshot import Outcome
from tests.fault.gateway_world import ALERTMANAGER_SECRET, MANY, GatewayWorld
from tests.fault.histories import Happening
from tests.fault.world import ENVIRONMENT, SERVICE, Incident, until
from workflows.desk import IncidentDesk
from workflows.names import INCIDENT

pytest_plugins = ("tests.fault.gateway_fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ALERTS, WITHIN = 1_000, timedelta(seconds=10)
"""How long any of them may take; how long all of them did is printed, since other tests share the machine."""
_AT_ONCE = 20
"""Connections: a few times what Alertmanager opens, which sends each group's messages one after the other."""
_NAMES = ("HighErrorRate", "HighLatency", "HighCpu")
_SETTLED = timedelta(minutes=3)


@pytest_asyncio.fixture(loop_scope="session")
async def staffed(gateway_world: GatewayWorld) -> GatewayWorld:
    """The stack with the worker as it is, without the fuses, which read what all of it has done before each step."""
    await gateway_world.stack.kill("worker")
    await gateway_world.hire("worker")
    return gateway_world


@dataclass(frozen=True)
class Answers:
    """What the gateway answered to a storm, and how long it took."""

    statuses: Sequence[int]
    seconds: Sequence[float]
    """Of each alert."""
    took: float

    def __str__(self) -> str:
        half, most = (quantiles(self.seconds, n=100)[at - 1] * 1000 for at in (50, 95))
        rate = len(self.statuses) / self.took
        count = f"{len(self.statuses)} alerts in {self.took:.1f} s"
        return f"{count}, {rate:.0f} a second, p50 {half:.0f} ms, p95 {most:.0f} ms"


async def test_a_thousand_alerts_of_one_service_are_one_incident_decided_once(
    staffed: GatewayWorld, record_property: Callable[[str, object], None]
) -> None:
    await staffed.deploy_badly()
    await staffed.until_says(Severity.P0)
    begun = datetime.now(UTC)
    answers = await _storm(staffed, [_alert(SERVICE, _NAMES[number % len(_NAMES)]) for number in range(ALERTS)])
    record_property("ended", str(answers))
    assert set(answers.statuses) == {200}
    assert max(answers.seconds) <= WITHIN.total_seconds()
    (only,) = await _started(staffed, begun, 1)
    assert only.workflow_id == workflow_id(ENVIRONMENT, SERVICE)
    dossier = await IncidentDesk(staffed.stack.client).dossier(staffed.handle(only))
    await staffed.asked(replace(only, incident_id=dossier.incident_id))
    history = await staffed.history(only)
    assert len(history.of(Happening.SCHEDULED, "analyze.decide")) == 1
    assert (dossier.heard.notices, sorted(dossier.heard.alerts)) == (ALERTS, sorted(_NAMES))
    assert len([each for each in staffed.slack.messages() if each.thread_ts is None]) == 1


async def test_an_alert_of_each_of_two_hundred_services_is_an_incident_of_each(
    staffed: GatewayWorld, record_property: Callable[[str, object], None]
) -> None:
    begun, clock = datetime.now(UTC), time.monotonic()
    answers = await _storm(staffed, [_alert(name, _NAMES[0]) for name in MANY])
    assert set(answers.statuses) == {200}
    found = await _started(staffed, begun, len(MANY))
    assert sorted(each.workflow_id for each in found) == [workflow_id(ENVIRONMENT, name) for name in MANY]
    async with asyncio.timeout(_SETTLED.total_seconds()):
        ended = await asyncio.gather(*(staffed.handle(each).result() for each in found))
    record_property("ended", f"{answers}; all of them looked into after {time.monotonic() - clock:.1f} s")
    assert {each.outcome for each in ended} == {Outcome.NO_INCIDENT}
    assert [each.heard.notices for each in ended] == [1] * len(MANY)


def _alert(service: str, name: str) -> JsonValue:
    labels: JsonValue = {"alertname": name, "service": service, "environment": ENVIRONMENT}
    alert: JsonValue = {"status": "firing", "labels": labels, "startsAt": "2026-11-27T12:00:00Z"}
    return {"version": "4", "groupKey": f"{{}}:{{{service}}}", "status": "firing", "alerts": [alert]}


async def _storm(world: GatewayWorld, alerts: Sequence[JsonValue]) -> Answers:
    waiting, statuses, seconds = list(alerts), list[int](), list[float]()
    headers = {"Authorization": f"Bearer {ALERTMANAGER_SECRET}"}

    async def _sender(client: aiohttp.ClientSession) -> None:
        while waiting:
            body, begun = waiting.pop(), time.perf_counter()
            async with client.post("/webhooks/alertmanager", json=body) as answer:
                statuses.append(answer.status)
            seconds.append(time.perf_counter() - begun)

    # httpx would take as much of the machine as the gateway.
    async with aiohttp.ClientSession(world.stack.gateway_url, headers=headers) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(_sender(client) for _ in range(_AT_ONCE)))
        return Answers(statuses, seconds, time.perf_counter() - begun)


async def _started(world: GatewayWorld, since: datetime, many: int) -> Sequence[Incident]:
    """The incidents that were opened since, once there are so many: what the server lists comes a little late."""
    query = f'WorkflowType = "{INCIDENT}" AND StartTime >= "{since.isoformat()}"'
    found: list[Incident] = []

    async def _listed() -> bool:
        listed = [each async for each in world.stack.client.list_workflows(query)]
        found[:] = [Incident("", each.id, each.run_id, 0) for each in listed]
        return len(found) >= many

    await until(_listed, f"{many} incidents are listed")
    return found
