"""The real Alertmanager: what it tells of alerts that fire, are silenced, inhibited or over, and what it sends."""

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.alerts import AlertMessage, Tidings, sort
from gateway.settings import GatewaySettings
from incident.errors import PermanentError
from incident.evidence import AlertsReport, AlertState, SourceState
from incident.services import AlertmanagerEndpoint
from integrations.alertmanager import AlertmanagerAlerts
from integrations.http import HttpSettings, build_client
from tests.standins.github.processes import free_port
from tests.standins.prometheus import running, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

_WITHIN = 20.0
_CONFIG = """
route:
  receiver: everything
  group_by: [service]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
- name: everything
  webhook_configs:
  - url: {url}
    max_alerts: 2
inhibit_rules:
- source_matchers: [alertname="RegionDown"]
  target_matchers: [severity="warning"]
  equal: [service]
"""


class _Sink(ThreadingHTTPServer):
    """Keeps what Alertmanager sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()

    def next_of(self, service: str, wanted: Callable[[AlertMessage], bool]) -> Tidings:
        """The next message of that service that is wanted, as the gateway reads it."""
        while True:
            message = AlertMessage.model_validate(self.told.get(timeout=_WITHIN))
            (tidings,) = sort(message, "alertmanager", GatewaySettings())
            if tidings.service == service and wanted(message):
                return tidings


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Sink)
        self.server.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Says nothing."""


@pytest.fixture(scope="module")
def sink() -> Iterator[_Sink]:
    with _Sink() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, sink: _Sink) -> Iterator[tuple[str, str]]:
    """Two Alertmanagers that do not know of each other; the first one sends what it hears."""
    place = tmp_path_factory.mktemp("alertmanager")
    sending, silent = place / "sending.yml", place / "silent.yml"
    sending.write_text(_CONFIG.format(url=f"http://127.0.0.1:{sink.server_port}/"))
    silent.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with (
        running("alertmanager", place / "one", sending, free_port()) as one,
        running("alertmanager", place / "two", silent, free_port()) as two,
    ):
        yield one, two


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(HttpSettings()) as opened:
        yield opened


def _now() -> datetime:
    return datetime.now(UTC)


def _alert(service: str, name: str = "HighErrorRate", severity: str = "critical", **changes: object) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "service": service, "severity": severity},
        "annotations": {"summary": "15 % of the requests fail"},
        "startsAt": (_now() - timedelta(minutes=2)).isoformat(),
        **changes,
    }


def _post(url: str, *alerts: object) -> None:
    httpx.post(f"{url}/api/v2/alerts", json=alerts, trust_env=False).raise_for_status()


def _silence(url: str, service: str) -> None:
    silence = {
        "matchers": [{"name": "service", "value": service, "isRegex": False, "isEqual": True}],
        "startsAt": _now().isoformat(),
        "endsAt": (_now() + timedelta(minutes=5)).isoformat(),
        "createdBy": "ada",
        "comment": "known",
    }
    httpx.post(f"{url}/api/v2/silences", json=silence, trust_env=False).raise_for_status()


def _source(client: httpx.AsyncClient, service: str, url: str, *peers: str) -> AlertmanagerAlerts:
    escaped = service.replace("\\", "\\\\").replace('"', '\\"')
    matchers = (f'service="{escaped}"',)
    return AlertmanagerAlerts(
        client, AlertmanagerEndpoint(kind="alertmanager", url=url, peers=peers, matchers=matchers)
    )


async def _until(source: AlertmanagerAlerts, wanted: Callable[[AlertsReport], bool]) -> AlertsReport:
    async with asyncio.timeout(_WITHIN):
        while not wanted(report := await source.read_alerts()):  # noqa: ASYNC110 - Alertmanager has no event for it
            await asyncio.sleep(0.05)
    return report


def _states(report: AlertsReport) -> dict[str, AlertState]:
    return {each.summary.partition(":")[0]: each.state for each in report.alerts}


async def test_of_a_service_without_alerts_there_is_nothing(
    client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    report = await _source(client, "quiet", members[0]).read_alerts()
    assert (report.state, report.source, report.problem) == (SourceState.EMPTY, "alertmanager", "")


async def test_an_alert_that_fires_is_told_and_one_of_another_service_is_not(
    client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    _post(members[0], _alert("payment-api"), _alert("checkout"))
    (found,) = (await _source(client, "payment-api", members[0]).read_alerts()).firing
    assert found.summary == "HighErrorRate: 15 % of the requests fail"
    assert found.severity == "critical"
    assert timedelta(minutes=1) < _now() - found.started_at < timedelta(minutes=4)


async def test_a_silenced_alert_does_not_count_as_firing(client: httpx.AsyncClient, members: tuple[str, str]) -> None:
    _silence(members[0], "silenced")
    _post(members[0], _alert("silenced"))
    report = await _until(_source(client, "silenced", members[0]), lambda seen: bool(seen.alerts) and not seen.firing)
    assert _states(report) == {"HighErrorRate": AlertState.SUPPRESSED}


async def test_an_inhibited_alert_does_not_count_and_what_inhibits_it_does(
    client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    _post(members[0], _alert("region", "RegionDown"), _alert("region", "HighLatency", "warning"))
    report = await _until(_source(client, "region", members[0]), lambda seen: len(seen.firing) == 1)
    assert _states(report) == {"RegionDown": AlertState.FIRING, "HighLatency": AlertState.SUPPRESSED}


async def test_an_alert_that_is_over_is_gone(client: httpx.AsyncClient, members: tuple[str, str]) -> None:
    alert = _alert("over")
    _post(members[0], alert)
    source = _source(client, "over", members[0])
    assert (await source.read_alerts()).firing
    _post(members[0], {**alert, "endsAt": (_now() - timedelta(seconds=1)).isoformat()})
    assert (await _until(source, lambda seen: not seen.alerts)).state is SourceState.EMPTY


async def test_what_both_members_hear_counts_once_and_one_may_be_away(
    client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    shared, own = _alert("shared"), _alert("shared", "HighLatency")
    _post(members[0], shared)
    _post(members[1], shared, own)
    report = await _source(client, "shared", *members).read_alerts()
    assert _states(report) == {"HighErrorRate": AlertState.FIRING, "HighLatency": AlertState.FIRING}
    half = await _source(client, "shared", f"http://127.0.0.1:{free_port()}", members[1]).read_alerts()
    assert len(half.firing) == 2
    assert half.problem == "1 of 2 members did not answer: cannot be reached"


@pytest.mark.parametrize("name", ['quo"ted', "back\\slash", 'x",alertname="y', "{}=~!"])
async def test_a_value_of_any_marks_is_matched_as_it_is(
    name: str, client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    _post(members[1], _alert(name))
    assert len((await _source(client, name, members[1]).read_alerts()).firing) == 1


async def test_a_matcher_that_it_refuses_is_said_to_be_wrong(
    client: httpx.AsyncClient, members: tuple[str, str]
) -> None:
    endpoint = AlertmanagerEndpoint(kind="alertmanager", url=members[0], matchers=('service=~"(pay"',))
    with pytest.raises(PermanentError, match=r"^alertmanager: refuses the question: a matcher is wrong \(HTTP 400\)$"):
        await AlertmanagerAlerts(client, endpoint).read_alerts()


async def test_an_address_that_goes_too_far_is_said_to(client: httpx.AsyncClient, members: tuple[str, str]) -> None:
    with pytest.raises(PermanentError, match="the url ends before /api"):
        await _source(client, "x", f"{members[0]}/api/v2").read_alerts()


def test_the_gateway_reads_what_it_sends_when_alerts_fire_are_left_out_and_are_over(
    members: tuple[str, str], sink: _Sink
) -> None:
    alerts = [_alert("sent", f"Alert{number}") for number in range(5)]
    _post(members[0], *alerts, alerts[0])
    firing = sink.next_of("sent", lambda message: message.truncatedAlerts > 0).notice
    assert (len(firing.firing), firing.resolved, firing.left_out) == (2, (), 3)

    _post(members[0], *({**each, "endsAt": (_now() - timedelta(seconds=1)).isoformat()} for each in alerts))
    over = sink.next_of("sent", lambda message: message.status == "resolved").notice
    assert (over.firing, len(over.resolved), over.left_out) == ((), 2, 3)
