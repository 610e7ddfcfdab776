"""Which adapter stands behind a service's logs and alerts, what the doctor reads of them, and what callers are told."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from commander.doctor import seen_of
from gateway.registered import registered
from incident.errors import ConfigurationError
from incident.evidence import AlertState, SourceState
from incident.policy import Policy
from incident.services import ServiceRegistry, parse_registry
from integrations.alertmanager import AlertmanagerAlerts
from integrations.credentials import Credentials, SourceCredentials
from integrations.http import HttpSettings, build_client
from integrations.json_lines import JsonLines
from integrations.loki import LokiLogs
from integrations.mock_service import MockPaymentApi
from tests import builders
from worker.sources import ConfiguredServices

MOCK = '[[service]]\nname = "payment-api"\nsource = {kind = "mock", url = "http://127.0.0.1:9"}\n'
LOKI = 'logs = {kind = "loki", url = "http://loki/", selector = """{app="a"}"""}\n'
JSON_LINES = 'logs = {kind = "jsonlines", url = "http://logs/newest?n=5"}\n'
ALERTMANAGER = 'alerts = {kind = "alertmanager", url = "http://am", matchers = [\'service="a"\']}\n'


def _registry(text: str) -> ServiceRegistry:
    return parse_registry(text, "services.toml")


def _client(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return build_client(HttpSettings(), httpx.MockTransport(handler))


def _nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[])


@pytest.mark.parametrize(("line", "kind"), [(LOKI, LokiLogs), (JSON_LINES, JsonLines)], ids=["loki", "jsonlines"])
def test_logs_and_alerts_get_the_adapter_of_their_kind(line: str, kind: type) -> None:
    services = ConfiguredServices(_registry(MOCK + line + ALERTMANAGER), _client(_nothing))
    connected = services.connect("production", "payment-api")
    assert isinstance(connected.logs, kind)
    assert isinstance(connected.alerts, AlertmanagerAlerts)
    assert isinstance(connected.metrics, MockPaymentApi)


async def test_each_kind_of_source_is_shown_its_own_token() -> None:
    seen: dict[str, str] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("authorization", "")
        page: object = (
            [] if request.url.host == "am" else {"status": "success", "data": {"resultType": "streams", "result": []}}
        )
        return httpx.Response(200, json=page)

    credentials = SourceCredentials(
        loki=Credentials(token=SecretStr("for-loki")), alertmanager=Credentials(token=SecretStr("for-alertmanager"))
    )
    services = ConfiguredServices(_registry(MOCK + LOKI + ALERTMANAGER), _client(handler), credentials=credentials)
    connected = services.connect("production", "payment-api")
    await connected.logs.read_logs()
    await connected.alerts.read_alerts()
    assert seen == {"loki": "Bearer for-loki", "am": "Bearer for-alertmanager"}


def test_a_token_that_cannot_be_sent_is_named() -> None:
    credentials = SourceCredentials(loki=Credentials(token=SecretStr("two words")))
    with pytest.raises(ConfigurationError, match=r"^LOKI__TOKEN: expected one word") as raised:
        ConfiguredServices(_registry(MOCK), _client(_nothing), credentials=credentials)
    assert "two words" not in str(raised.value)


def test_callers_are_told_where_these_sources_are() -> None:
    (service,) = _registry(MOCK + LOKI + ALERTMANAGER).service
    told = registered(service, Policy())
    assert (told.logs_url, told.alerts_url) == ("http://loki", "http://am")
    assert (told.metrics_url, told.chaos_url) == ("http://127.0.0.1:9/metrics/json", "http://127.0.0.1:9")


def test_the_doctor_says_how_many_lines_and_templates_were_read() -> None:
    templates = (builders.log_template(1, new=True), builders.log_template(2, new=False))
    logs = builders.logs(
        builders.log_line(),
        templates=templates,
        more_templates=1,
        omitted=802,
        unreadable=3,
        capped=True,
        read_since=datetime(2026, 11, 24, 13, tzinfo=UTC),
    )
    assert seen_of(builders.evidence(logs=logs))["logs"] == (
        "mock-service: 800 lines since 2026-11-24 13:00:00Z, of more that there are, and 3 lines that cannot be read; "
        "3 templates, 1 of them new since the live deployment"
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (builders.logs(state=SourceState.EMPTY), "no lines"),
        (builders.logs(builders.log_line(), omitted=4), "5 lines"),
        (
            builders.logs(builders.log_line(), templates=(builders.log_template(),)),
            "1 line; 1 template, what is new is not known",
        ),
        (builders.logs(state=SourceState.FAILED, problem="cannot be reached"), "cannot be reached"),
    ],
    ids=["empty", "no templates", "new is not known", "failed"],
)
def test_the_doctor_tells_no_lines_from_none_seen(report: object, words: str) -> None:
    assert seen_of(builders.evidence(logs=report))["logs"].endswith(words)


def test_the_doctor_counts_alerts_by_their_state() -> None:
    fires, silenced = builders.alert("a"), builders.alert("b", state=AlertState.SUPPRESSED)
    told = {
        "none": builders.alerts(state=SourceState.EMPTY),
        "some": builders.alerts(fires, silenced, omitted=3),
        "one member": builders.alerts(fires, problem="1 of 2 members did not answer: cannot be reached"),
    }
    assert {name: seen_of(builders.evidence(alerts=report))["alerts"] for name, report in told.items()} == {
        "none": "mock-service: 0 firing",
        "some": "mock-service: 1 firing, 1 suppressed, 3 left out",
        "one member": "mock-service: 1 firing; 1 of 2 members did not answer: cannot be reached",
    }
