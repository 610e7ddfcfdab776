"""However much the sources answer, what is kept of it stays far below what Temporal takes in one payload."""

from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from activities.observation import Observer
from incident.ports import AlertSource, LogSource
from incident.services import AlertmanagerEndpoint, LokiEndpoint
from integrations.alertmanager import AlertmanagerAlerts
from integrations.http import HttpSettings, build_client
from integrations.log_lines import nanoseconds_of
from integrations.loki import LokiLogs
from integrations.mock_service import MockPaymentApi
from tests import builders
from tests.fakes import FakeRollback, FakeService, FakeServices

TEMPORAL_TAKES = 2 * 1024 * 1024
"""Bytes of one payload; a larger one fails what it is the result of (facts: Temporal's own limits)."""
ITEMS, TEXT = 150, "\U00010348" * 6000
"""More than is kept of anything, in characters of four bytes."""
AT = builders.NOW.isoformat()


def flood(request: httpx.Request) -> httpx.Response:
    """What Loki, Alertmanager and the mock service answer, each by its path."""
    newest = nanoseconds_of(builders.NOW)
    values = [[str(newest - number), f"ERROR {chr(0x4E00 + number) * 9} {TEXT}"] for number in range(1, ITEMS)]
    told = {"startsAt": AT, "endsAt": AT, "updatedAt": AT, "status": {"state": "active"}, "labels": {"alertname": TEXT}}
    fired = {"summary": TEXT, "severity": TEXT, "status": "triggered", "created_at": AT}
    line = {"timestamp": AT, "level": TEXT, "message": TEXT, "error": {"type": TEXT}}
    release = {"sha": TEXT, "message": TEXT, "timestamp": 1}
    bodies: dict[str, object] = {
        "/loki/api/v1/query_range": {
            "status": "success",
            "data": {"resultType": "streams", "result": [{"stream": {}, "values": values}]},
        },
        "/api/v2/alerts": [{**told, "fingerprint": f"{number:x}"} for number in range(ITEMS)],
        "/logs": {"logs": [line] * ITEMS},
        "/alerts": {"alerts": [{**fired, "incident_key": f"{number}{TEXT}"} for number in range(ITEMS)]},
        "/deployment/status": {
            "deploymentHistory": [
                {**release, "id": number, "status": "inactive" if number else "active"} for number in range(ITEMS)
            ]
        },
    }
    return httpx.Response(200, json=bodies[request.url.path])


@dataclass
class Flooded:
    """A service of which some sources answer with a flood."""

    logs: LogSource
    alerts: AlertSource
    deployments: MockPaymentApi
    metrics: FakeService
    rollback: FakeRollback


def flooded(kind: str) -> Flooded:
    client = build_client(HttpSettings(max_response_bytes=10**8), httpx.MockTransport(flood))
    service, api = FakeService(live=101), MockPaymentApi(client, "http://source.example")
    if kind == "mock":
        return Flooded(api, api, api, service, service.rollback)
    loki = LokiEndpoint(kind="loki", url="http://source.example", selector='{app="a"}')
    alertmanager = AlertmanagerEndpoint(kind="alertmanager", url="http://source.example", matchers=('service="a"',))
    return Flooded(
        LokiLogs(client, loki, clock=lambda: builders.NOW),
        AlertmanagerAlerts(client, alertmanager, clock=lambda: builders.NOW),
        api,
        service,
        service.rollback,
    )


@pytest.mark.parametrize("kind", ["mock", "loki-and-alertmanager"])
async def test_a_flood_in_every_source_leaves_far_less_than_temporal_takes(kind: str) -> None:
    observer = Observer(FakeServices(flooded(kind)), lambda: builders.NOW)
    seen = await observer.context(builders.ENVIRONMENT, builders.SERVICE, timedelta(seconds=30))
    assert seen.missing == ()
    assert len(seen.model_dump_json().encode()) < TEMPORAL_TAKES / 2
