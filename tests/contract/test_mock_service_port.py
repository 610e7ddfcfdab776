"""How `MockPaymentApi` reads answers that are wrong, odd or missing: unknown is never zero, and garbage is an error."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import inf

import httpx
import pytest

from incident.errors import PermanentError, TransientError
from incident.evidence import AlertState, Health, Metric, SourceState
from incident.ledger import RollbackRun, RunState
from integrations.http import HttpSettings, build_client
from integrations.mock_service import MAX_ITEMS, MAX_LINES, MAX_MESSAGE, MockPaymentApi
from tests import builders

AT = "2026-11-24T14:00:00.000Z"
ORDER = builders.order(correlation_id="ic-1")
HEALTHY = {
    "error_rate_percent": 0.8,
    "p50_latency_ms": 85,
    "p95_latency_ms": 120,
    "p99_latency_ms": 180,
    "requests_per_second": 110,
    "cpu_usage_percent": 45,
    "memory_usage_percent": 52,
    "active_connections": 120,
}
READS: dict[str, Callable[[MockPaymentApi], Awaitable[object]]] = {
    "metrics": MockPaymentApi.read_metrics,
    "logs": MockPaymentApi.read_logs,
    "alerts": MockPaymentApi.read_alerts,
    "deployments": MockPaymentApi.read_deployments,
    "find": lambda api: api.find(ORDER, None),
}


def _api(handler: Callable[[httpx.Request], httpx.Response]) -> MockPaymentApi:
    return MockPaymentApi(build_client(HttpSettings(), httpx.MockTransport(handler)), "http://payment-api.example/")


def _answers(body: object, status: int = 200) -> MockPaymentApi:
    """One that gets `body` as JSON, whatever it asks."""
    return _api(lambda _: httpx.Response(status, content=json.dumps(body)))


def _metrics(**values: object) -> MockPaymentApi:
    return _answers({"metrics": {**HEALTHY, **values}, "health_status": "healthy", "deployment_id": 100})


async def test_percents_become_ratios_and_milliseconds_stay() -> None:
    report = await _metrics(error_rate_percent=15.5, cpu_usage_percent=92).read_metrics()

    assert {reading.metric: reading.value for reading in report.readings} == {
        Metric.ERROR_RATE: 0.155,
        Metric.P50_LATENCY: 85,
        Metric.P95_LATENCY: 120,
        Metric.P99_LATENCY: 180,
        Metric.REQUESTS_PER_SECOND: 110,
        Metric.CPU_USAGE: 0.92,
        Metric.MEMORY_USAGE: 0.52,
        Metric.ACTIVE_CONNECTIONS: 120,
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is null"),
        ("450100", "is not a number"),
        ("", "is not a number"),
        (True, "is not a number"),
        ([1], "is not a number"),
        ({}, "is not a number"),
        (-0.1, "is negative"),
        (float("nan"), "is not finite"),
        (float("inf"), "is not finite"),
        (10**400, "is not finite"),
    ],
)
@pytest.mark.parametrize("metric", [Metric.ERROR_RATE, Metric.P99_LATENCY])
async def test_a_value_that_is_no_measurement_is_unknown(metric: Metric, value: object, problem: str) -> None:
    name = {Metric.ERROR_RATE: "error_rate_percent", Metric.P99_LATENCY: "p99_latency_ms"}[metric]

    report = await _metrics(**{name: value}).read_metrics()

    reading = next(each for each in report.readings if each.metric is metric)
    assert (reading.value, reading.problem) == (None, f"{name} {problem}")
    assert report.value(Metric.MEMORY_USAGE) == 0.52


async def test_zero_is_a_measurement() -> None:
    assert (await _metrics(error_rate_percent=0).read_metrics()).value(Metric.ERROR_RATE) == 0


async def test_metrics_that_are_missing_are_unknown_one_by_one() -> None:
    report = await _answers({"metrics": {}}).read_metrics()

    assert report.state is SourceState.OK
    assert [reading.value for reading in report.readings] == [None] * (len(Metric) - 1)  # it does not tell of restarts
    assert all(reading.problem.endswith("is missing") for reading in report.readings)
    assert (report.health, report.deployment_id) == (Health.UNKNOWN, None)


@pytest.mark.parametrize("word", ["ok", "HEALTHY", "", None, 1, ["healthy"]])
async def test_an_unknown_word_for_health_is_unknown(word: object) -> None:
    report = await _answers({"metrics": HEALTHY, "health_status": word, "deployment_id": "100"}).read_metrics()

    assert (report.health, report.deployment_id) == (Health.UNKNOWN, None)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        "s3cret",
        7,
        {"metrics": "s3cret", "logs": "s3cret", "alerts": 1, "entries": [{"s3cret": 1}]},
        {"metrics": ["s3cret\ud800"], "deploymentHistory": [{"s3cret": 1}], "logs": {}},
    ],
)
async def test_an_answer_of_another_shape_is_an_error_that_repeats_none_of_it(
    read: Callable[[MockPaymentApi], Awaitable[object]], body: object
) -> None:
    with pytest.raises(PermanentError, match=r"^mock-service: GET /") as raised:
        await read(_answers(body))

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(200, html="<html>it works"), PermanentError),
        (httpx.Response(200, content=b"\xff\xfe"), PermanentError),
        (httpx.Response(200, content=b" " * 5_000_000), PermanentError),
        (httpx.Response(302, headers={"Location": "/login"}), PermanentError),
        (httpx.Response(401, json={}), PermanentError),
        (httpx.Response(500, html="<html>"), TransientError),
        (httpx.Response(503, json={}), TransientError),
        (httpx.ReadTimeout("late"), TransientError),
        (httpx.ConnectError("refused"), TransientError),
    ],
)
async def test_a_failing_service_is_one_of_our_errors(
    read: Callable[[MockPaymentApi], Awaitable[object]], response: httpx.Response | Exception, error: type[Exception]
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    with pytest.raises(error, match=r"^mock-service: "):
        await read(_api(handler))


def _entry(**changes: object) -> dict[str, object]:
    return {"timestamp": AT, "level": "ERROR", "message": "pool is empty", "deployment_id": 101, **changes}


async def test_the_newest_log_lines_are_kept_oldest_first_and_the_others_counted() -> None:
    entries = [
        _entry(timestamp=f"2026-11-24T14:{minute:02}:00Z", message=f"m{minute}") for minute in reversed(range(60))
    ]

    report = await _answers({"logs": entries, "total_count": 75}).read_logs()

    assert [line.message for line in report.lines] == [f"m{minute}" for minute in range(10, 60)]
    assert (report.lines[0].id, report.lines[-1].id) == ("log:1", f"log:{MAX_LINES}")
    assert report.omitted == 25


async def test_a_long_message_is_cut_and_its_error_named() -> None:
    error = {"type": "DatabaseConnectionError", "message": "no", "stack": "s"}

    (line,) = (await _answers({"logs": [_entry(message="x" * 9000, error=error)]}).read_logs()).lines

    assert (len(line.message), line.message[-1], line.error_type) == (MAX_MESSAGE, "…", "DatabaseConnectionError")
    assert (line.at, line.deployment_id) == (datetime(2026, 11, 24, 14, tzinfo=UTC), 101)


async def test_text_that_utf8_cannot_hold_is_left_out_and_what_steers_a_terminal() -> None:
    (line,) = (await _answers({"logs": [_entry(message="a\ud800b\n\tat c\x1b]0;\x07\u202ed")]}).read_logs()).lines

    assert line.message == "ab\n\tat c]0;d"


@pytest.mark.parametrize("broken", [None, "text", {}, _entry(timestamp="soon"), _entry(message=None), _entry(level=3)])
async def test_an_entry_that_is_no_log_line_is_counted_as_omitted(broken: object) -> None:
    report = await _answers({"logs": [broken, _entry()], "total_count": None}).read_logs()

    assert (len(report.lines), report.omitted) == (1, 1)
    with pytest.raises(PermanentError, match="GET /logs"):
        await _answers({"logs": [broken]}).read_logs()


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("triggered", AlertState.FIRING),
        ("acknowledged", AlertState.FIRING),
        ("snoozed", AlertState.FIRING),
        ("resolved", AlertState.RESOLVED),
    ],
)
async def test_only_a_resolved_alert_does_not_fire(status: str, state: AlertState) -> None:
    alert = {"incident_key": "payment-api/cpu", "summary": "busy", "severity": "warning", "created_at": AT}

    (found,) = (await _answers({"alerts": [{**alert, "status": status}]}).read_alerts()).alerts

    assert (found.id, found.state, found.severity) == ("alert:payment-api/cpu", state, "warning")


async def test_an_alert_that_cannot_be_read_is_not_dropped_in_silence() -> None:
    with pytest.raises(PermanentError, match=r"GET /alerts: alerts\.0\.summary"):
        await _answers(
            {"alerts": [{"incident_key": "k", "severity": "x", "status": "y", "created_at": AT}]}
        ).read_alerts()


def _release(number: int, status: str, **changes: object) -> dict[str, object]:
    built = 1_764_000_000_000 + number * 60_000
    return {"id": number, "status": status, "timestamp": built, "sha": f"abc{number}", "message": "m", **changes}


async def test_the_live_profile_says_when_a_deployment_was_live_healthy_and_rolled_back_from() -> None:
    times = {"activatedAt": AT, "lastHealthyAt": AT, "rolledBackFromAt": AT, "rolledBackAt": "2026-01-01T00:00:00Z"}
    history = [
        _release(99, "inactive", **times),
        _release(100, "active", activatedAt=AT, lastHealthyAt=None, rolledBackFromAt=None),
        _release(101, "inactive", activatedAt=None, lastHealthyAt=None, rolledBackFromAt=None),
    ]

    report = await _answers({"currentDeployment": 100, "deploymentHistory": history}).read_deployments()

    at = datetime(2026, 11, 24, 14, tzinfo=UTC)
    told = [(known.activated_at, known.once_healthy, known.rolled_back_from_at) for known in report.deployments]
    assert told == [(at, True, at), (at, False, None), (None, False, None)]


async def test_the_steady_profile_proves_only_what_came_before_the_live_one() -> None:
    history = [_release(99, "inactive"), _release(100, "active", rolledBackAt=AT), _release(101, "inactive")]

    report = await _answers({"currentDeployment": 100, "deploymentHistory": history}).read_deployments()

    assert [known.once_healthy for known in report.deployments] == [True, None, None]
    assert [known.rolled_back_from_at for known in report.deployments] == [None] * 3
    assert report.deployments[1].activated_at == datetime.fromtimestamp(1_764_000_000, UTC) + timedelta(minutes=100)


@pytest.mark.parametrize("statuses", [("inactive", "inactive"), ("active", "active")])
async def test_without_one_live_deployment_nothing_is_proven(statuses: tuple[str, str]) -> None:
    history = [_release(100, statuses[0]), _release(101, statuses[1])]

    report = await _answers({"deploymentHistory": history}).read_deployments()

    assert report.live is None
    assert [known.once_healthy for known in report.deployments] == [None, None]


async def test_an_empty_history_is_empty_and_not_invented() -> None:
    report = await _answers({"deploymentHistory": []}).read_deployments()

    assert (report.state, report.deployments) == (SourceState.EMPTY, ())


async def test_a_start_says_all_that_makes_it_safe() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"success": True, "currentDeployment": 100})

    order = builders.order(confidence=0.925, reason="x" * 9000)
    await _api(handler).start(order, inf)

    (request,) = asked
    assert (request.method, request.url.path) == ("POST", "/deployment/100/activate")
    assert json.loads(request.content) == {
        "reason": "x" * MAX_MESSAGE,
        "confidence": 92,
        "rollback_to": 100,
        "execution_id": order.execution_id,
        "correlation_id": order.correlation_id,
        "expected_live": 101,
    }


@pytest.mark.parametrize(
    ("response", "state"),
    [
        (httpx.Response(200, json={"success": True, "currentDeployment": 100}), RunState.SUCCEEDED),
        (httpx.Response(200, json={"success": True, "currentDeployment": 101}), RunState.UNKNOWN),
        (httpx.Response(200, json={"success": False, "currentDeployment": 100}), RunState.UNKNOWN),
        (httpx.Response(200, json={}), RunState.UNKNOWN),
        (httpx.Response(200, html="<html>"), RunState.UNKNOWN),
        (httpx.Response(404, html="<html>"), RunState.FAILED),
        (httpx.Response(409, json={"error": "another is live"}), RunState.FAILED),
    ],
)
async def test_only_an_answer_that_says_so_is_success(response: httpx.Response, state: RunState) -> None:
    api = _api(lambda _: httpx.Response(response.status_code, headers=response.headers, content=response.content))

    run = await api.start(builders.order(), inf)

    assert (run.state, bool(run.detail)) == (state, True)
    assert run.correlation_id == builders.order().correlation_id


@pytest.mark.parametrize(("status", "error"), [(500, TransientError), (429, TransientError), (422, PermanentError)])
async def test_a_start_that_is_not_taken_is_one_of_our_errors(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"HTTP {status}"):
        await _answers({}, status).start(builders.order(), inf)


def _call(**changes: object) -> dict[str, object]:
    values = {"at": AT, "method": "POST", "path": "/deployment/100/activate", "action": "activate"}
    return {**values, "deployment_id": 100, "correlation_id": "ic-1", "applied": True, "status": 200, **changes}


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ([], False),
        ([_call()], True),
        ([_call(applied=False, status=409), _call()], True),
        ([_call(applied=False)], False),
        ([_call(applied=False, status=409)], False),
        ([_call(status=500)], False),
        ([_call(correlation_id="ic-10")], False),
        ([_call(correlation_id=None)], False),
        ([_call(action="chaos-latency")], False),
    ],
)
async def test_only_an_applied_activation_of_that_very_id_is_found(
    calls: list[dict[str, object]], *, found: bool
) -> None:
    run = await _answers({"entries": calls, "total": len(calls)}).find(ORDER, None)

    assert (run is not None) is found
    assert run is None or run.state is RunState.SUCCEEDED


async def test_a_service_without_a_journal_knows_no_run() -> None:
    api = _api(lambda _: httpx.Response(404, html="<html>Cannot GET"))
    unknown = RollbackRun(correlation_id="ic-1", state=RunState.UNKNOWN)

    assert await api.find(ORDER, None) is None
    assert await api.look(ORDER, unknown) == unknown
    assert await api.cancel(ORDER, unknown) == unknown


async def test_a_run_keeps_when_it_was_asked_for() -> None:
    asked_at = datetime(2026, 11, 24, 14, tzinfo=UTC)

    found = await _answers({"entries": [_call()]}).find(ORDER, asked_at)
    started = await _answers({"success": True, "currentDeployment": 100}).start(ORDER, inf)

    assert found is not None
    assert found.asked_at == asked_at
    assert started.asked_at is not None


async def test_the_correlation_id_is_asked_for_as_one_value() -> None:
    asked: list[httpx.URL] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"entries": []})

    await _api(handler).find(builders.order(correlation_id="ic-1&correlation_id=#x"), None)

    assert dict(asked[0].params) == {"correlation_id": "ic-1&correlation_id=#x"}


async def test_a_flood_of_alerts_is_capped_and_the_firing_ones_stay() -> None:
    alert = {"incident_key": "k", "summary": "slow", "severity": "error", "created_at": AT}
    flood = [{**alert, "status": "resolved"}] * (MAX_ITEMS + 20) + [{**alert, "status": "triggered"}] * 3

    report = await _answers({"alerts": flood}).read_alerts()

    assert len(report.alerts) == MAX_ITEMS
    assert len(report.firing) == 3
