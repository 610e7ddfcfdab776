import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from mock_service.app import create_app
from mock_service.settings import MockServiceSettings, Profile

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
CONTROLS = (
    "/deployment/100/activate",
    "/demo/trigger-incident",
    "/demo/reset",
    "/chaos/latency",
    "/chaos/errors",
    "/chaos/cpu",
)
LATENCY = {"latency_ms": 600, "duration_seconds": 30}


class Service:
    """One app on a clock that the test moves; delays are recorded, not waited for."""

    def __init__(self, client: httpx.AsyncClient, move: Callable[[float], None], waited: list[timedelta]) -> None:
        self.client = client
        self.move = move
        self.waited = waited

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON, whose shape is the test's point
        return (await self.client.get(path)).json()

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.client.post(path, json={} if body is None else body)

    async def deployment(self, deployment_id: int) -> Any:  # noqa: ANN401 - JSON, whose shape is the test's point
        history = (await self.get("/deployment/status"))["deploymentHistory"]
        return next(each for each in history if each["id"] == deployment_id)


@asynccontextmanager
async def serve(profile: Profile, *, passing: bool = False) -> AsyncIterator[Service]:
    """A service of that profile; with `passing`, a delay moves the clock as well."""
    now = [START]
    waited: list[timedelta] = []

    async def sleep(duration: timedelta) -> None:
        waited.append(duration)
        if passing:
            now[0] += duration

    def move(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    settings = MockServiceSettings(profile=profile, seed=3, ramp_seconds=4, alert_after_seconds=3)
    app = create_app(settings, clock=lambda: now[0], sleep=sleep)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://payment-api.test") as client:
        yield Service(client, move, waited)


@pytest.fixture
async def live() -> AsyncIterator[Service]:
    async with serve(Profile.LIVE) as service:
        yield service


@pytest.fixture
async def steady() -> AsyncIterator[Service]:
    async with serve(Profile.STEADY) as service:
        yield service


@pytest.fixture(params=list(Profile), ids=lambda profile: profile.value)
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    async with serve(request.param) as service:
        yield service


def gauge(exposition: str, name: str) -> float:
    found = re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", exposition, re.MULTILINE)
    assert len(found) == 1, name
    return float(found[0])


async def trigger(service: Service) -> None:
    await service.post("/demo/trigger-incident")


async def slow(service: Service) -> None:
    await service.post("/chaos/latency", LATENCY)


async def fail(service: Service) -> None:
    await service.post("/chaos/errors", {"error_rate_percent": 15, "duration_seconds": 30})


async def burn(service: Service) -> None:
    await service.post("/chaos/cpu", {"cpu_percent": 95, "duration_seconds": 30})


async def nothing(_: Service) -> None: ...


@pytest.mark.parametrize("harm", [nothing, trigger, slow, fail, burn])
@pytest.mark.parametrize("seconds", [0, 1.3, 2.6, 9])
async def test_every_endpoint_tells_the_same_story_at_one_instant(
    live: Service, harm: Callable[[Service], Awaitable[None]], seconds: float
) -> None:
    await harm(live)
    live.move(seconds)
    document = await live.get("/metrics/json")
    figures, healthy = document["metrics"], document["health_status"] == "healthy"
    assert (await live.get("/metrics/json")) == document

    scraped = (await live.client.get("/metrics")).text
    assert gauge(scraped, "deployment_health_status") == float(healthy)
    assert gauge(scraped, "http_request_error_rate_percent") == figures["error_rate_percent"]
    assert gauge(scraped, "http_request_duration_p99_milliseconds") == figures["p99_latency_ms"]
    assert gauge(scraped, "http_requests_per_second") == figures["requests_per_second"]
    assert gauge(scraped, "process_cpu_usage_percent") == figures["cpu_usage_percent"]

    dashboard, status, alerts = [await live.get(path) for path in ("/dashboard", "/deployment/status", "/alerts")]
    assert dashboard["health_summary"] == {
        "error_rate": f"{figures['error_rate_percent']}%",
        "p99_latency": f"{figures['p99_latency_ms']}ms",
        "cpu": f"{figures['cpu_usage_percent']}%",
        "active_alerts": alerts["total"],
    }
    assert ("HEALTHY" in dashboard["status"]) == healthy == status["isHealthy"]
    health = await live.client.get("/health")
    serving = figures["error_rate_percent"] <= 5 and figures["p99_latency_ms"] <= 800
    assert (health.status_code, health.json()["ok"]) == ((200, True) if serving else (503, False))
    live_ids = {document["deployment_id"], dashboard["current_deployment"], status["currentDeployment"]}
    assert live_ids == {health.json()["deployment"]}


async def test_payments_fail_as_often_as_the_error_rate_says(live: Service) -> None:
    await trigger(live)
    live.move(10)
    answers = [(await live.post("/api/payment")).status_code for _ in range(1000)]
    assert 110 <= answers.count(500) <= 200


async def test_an_incident_is_seen_alerted_and_recovered_from(live: Service) -> None:
    await trigger(live)
    live.move(2)
    assert (await live.get("/alerts"))["total"] == 0
    live.move(8)
    alerts = (await live.get("/alerts"))["alerts"]
    assert [each["id"] for each in alerts] == ["PDALERT-001", "PDALERT-002", "PDALERT-003"]
    assert START < datetime.fromisoformat(alerts[0]["created_at"]) < START + timedelta(seconds=8)
    await live.post("/deployment/100/activate", {"reason": "worse", "confidence": 92, "rollback_to": 100})
    live.move(10)
    assert (await live.get("/alerts"))["alerts"] == []
    metrics = (await live.get("/metrics/json"))["metrics"]
    assert metrics["error_rate_percent"] < 1
    assert metrics["p99_latency_ms"] < 200


async def test_logs_speak_of_the_live_deployment_and_what_happened_to_it(live: Service) -> None:
    await trigger(live)
    live.move(10)
    logs = (await live.get("/logs"))["logs"]
    written = {(each["deployment_id"], each["message"].split(":")[0]) for each in logs}
    assert (101, "deployment 101 activated") in written
    assert (101, "database connection failed") in written
    assert not any(each["deployment_id"] == 100 and each["level"] == "ERROR" for each in logs)
    assert [each["timestamp"] for each in logs] == sorted(each["timestamp"] for each in logs)
    assert len((await live.get("/metrics/json"))["recent_errors"]) == 3


async def test_logs_tell_of_timeouts_under_latency_chaos(live: Service) -> None:
    await slow(live)
    live.move(10)
    logs = (await live.get("/logs"))["logs"]
    assert any(each.get("error", {}).get("type") == "TimeoutError" and each["deployment_id"] == 100 for each in logs)


async def test_a_log_never_grows_without_bounds(live: Service) -> None:
    for number in range(200):
        await live.post(f"/deployment/{99 + number % 3}/activate")
        live.move(10)
    assert (await live.get("/logs"))["total_count"] <= 120


async def test_a_fresh_service_has_run_deployment_100_since_yesterday(live: Service) -> None:
    older, good, bad = (await live.get("/deployment/status"))["deploymentHistory"]
    assert (older["id"], good["id"], bad["id"]) == (99, 100, 101)
    assert older["activatedAt"] == "2026-01-02T07:30:00.000Z"
    assert good["activatedAt"] == older["lastHealthyAt"] == "2026-01-04T07:30:00.000Z"
    assert good["lastHealthyAt"] == "2026-01-05T09:30:00.000Z"
    assert (bad["activatedAt"], bad["lastHealthyAt"]) == (None, None)
    assert bad["timestamp"] == int((START - timedelta(minutes=30)).timestamp() * 1000)
    assert {each["rolledBackFromAt"] for each in (older, good, bad)} == {None}


async def test_a_rollback_marks_the_deployment_that_it_replaced(live: Service) -> None:
    await trigger(live)
    live.move(60)
    reply = (await live.post("/deployment/100/activate", {"reason": "worse", "confidence": 92})).json()
    assert reply["rollback_info"]["from"] == 101
    bad, good = await live.deployment(101), await live.deployment(100)
    assert bad["rolledBackFromAt"] == good["activatedAt"] == good["rolledBackAt"] == "2026-01-05T09:31:00.000Z"
    assert good["rollbackReason"] == "worse"
    assert bad["lastHealthyAt"] is None
    assert "rolledBackAt" not in bad
    assert good["rolledBackFromAt"] is None


async def test_going_forward_marks_no_rollback(live: Service) -> None:
    await live.post("/deployment/101/activate")
    assert (await live.deployment(100))["rolledBackFromAt"] is None


async def test_a_deployment_counts_as_healthy_only_once_its_ramp_is_over(live: Service) -> None:
    await trigger(live)
    live.move(0.1)
    bad = await live.deployment(101)
    assert (await live.get("/deployment/status"))["isHealthy"]
    assert bad["lastHealthyAt"] is None


async def test_activating_the_live_deployment_again_moves_no_times(live: Service) -> None:
    before = await live.deployment(100)
    live.move(100)
    await live.post("/demo/reset")
    await live.post("/deployment/100/activate")
    assert (await live.deployment(100))["activatedAt"] == before["activatedAt"]


@pytest.mark.parametrize("deployment", ["102", "abc", "100abc", "0100", "-100", "1e2", "%20100", "٣"])
async def test_an_unknown_deployment_is_not_found_and_changes_nothing(either: Service, deployment: str) -> None:
    before = await either.get("/deployment/status")
    reply = await either.post(f"/deployment/{deployment}/activate")
    assert reply.status_code == 404
    assert await either.get("/deployment/status") == before
    assert (await either.get("/demo/journal"))["entries"][-1]["applied"] is False


async def test_a_repeated_correlation_id_gets_the_same_body_and_does_nothing(either: Service) -> None:
    await trigger(either)
    call = {"reason": "worse", "correlation_id": "incident-1", "expected_live": 101}
    first = await either.post("/deployment/100/activate", call)
    either.move(5)
    await trigger(either)
    again = await either.post("/deployment/100/activate", call)
    assert (again.status_code, again.content) == (200, first.content)
    assert (await either.get("/deployment/status"))["currentDeployment"] == 101
    calls = (await either.get("/demo/journal?correlation_id=incident-1"))["entries"]
    assert [each["applied"] for each in calls] == [True, False]


async def test_a_correlation_id_in_the_header_counts_as_well(either: Service) -> None:
    headers = {"X-Correlation-ID": "incident-2"}
    first = await either.client.post("/deployment/101/activate", headers=headers)
    again = await either.client.post("/deployment/101/activate", headers=headers)
    assert first.content == again.content
    assert (await either.get("/demo/journal?correlation_id=incident-2"))["total"] == 2


async def test_a_correlation_id_serves_one_deployment_only(either: Service) -> None:
    await either.post("/deployment/101/activate", {"correlation_id": "incident-3"})
    other = await either.post("/deployment/100/activate", {"correlation_id": "incident-3"})
    assert (other.status_code, other.json()["deployment_id"]) == (409, 101)
    assert (await either.get("/deployment/status"))["currentDeployment"] == 101


async def test_a_refused_activation_may_be_tried_again_under_its_correlation_id(either: Service) -> None:
    call = {"correlation_id": "incident-4", "expected_live": 101}
    assert (await either.post("/deployment/100/activate", call)).status_code == 409
    await trigger(either)
    assert (await either.post("/deployment/100/activate", call)).status_code == 200


async def test_an_activation_over_another_live_deployment_than_expected_is_refused(either: Service) -> None:
    before = await either.get("/deployment/status")
    reply = await either.post("/deployment/101/activate", {"expected_live": 99})
    assert reply.status_code == 409
    assert reply.json()["live"] == 100
    assert await either.get("/deployment/status") == before


async def test_live_chaos_slows_users_and_never_a_control_or_health_call(live: Service) -> None:
    await slow(live)
    live.move(5)
    for path in ("/health", "/metrics", "/metrics/json", "/alerts", "/logs", "/deployment/status", "/demo/journal"):
        await live.client.get(path)
    for path in ("/deployment/100/activate", "/chaos/cpu", "/ui"):
        await live.post(path)
    assert live.waited == []
    await live.client.get("/dashboard")
    await live.client.get("/api/user/profile")
    assert live.waited == [timedelta(milliseconds=600)] * 2


async def test_the_delay_of_chaos_is_timed_with_the_request() -> None:
    async with serve(Profile.LIVE, passing=True) as service:
        await slow(service)
        service.move(5)
        await service.client.get("/dashboard")
        await service.client.get("/health")
        text = (await service.client.get("/metrics")).text
    took = dict(re.findall(r'_duration_seconds_sum\{method="GET",route="([^"]*)",status_code="\d+"\} (\S+)', text))
    assert (float(took["/dashboard"]), float(took["/health"])) == (0.6, 0)


async def test_steady_chaos_slows_everything_but_its_own_switch(steady: Service) -> None:
    await slow(steady)
    for path in ("/health", "/metrics", "/no/such/route"):
        await steady.client.get(path)
    await steady.post("/demo/reset")
    assert steady.waited == [timedelta(milliseconds=600)] * 4
    await steady.client.get("/health")
    assert len(steady.waited) == 4


async def test_latency_of_600_ms_on_a_healthy_service_shows_as_about_780(live: Service) -> None:
    await slow(live)
    live.move(5)
    document = await live.get("/metrics/json")
    assert 750 <= document["metrics"]["p99_latency_ms"] <= 800
    assert (document["chaos_active"], document["chaos_latency_ms"]) == (True, 600)
    live.move(40)
    document = await live.get("/metrics/json")
    assert (document["chaos_active"], document["chaos_latency_ms"]) == (False, 0)
    assert document["metrics"]["p99_latency_ms"] < 200


async def test_a_reset_ends_all_chaos_and_its_timers(either: Service) -> None:
    await either.post("/chaos/latency", {"latency_ms": 100, "duration_seconds": 8})
    await either.post("/demo/reset")
    either.move(5)
    assert not (await either.get("/metrics/json"))["chaos_active"]
    await either.post("/chaos/latency", {"latency_ms": 200, "duration_seconds": 60})
    either.move(10)
    assert (await either.get("/metrics/json"))["chaos_latency_ms"] == 200


async def test_chaos_answers_what_it_began(live: Service) -> None:
    errors = {"error_rate_percent": 15, "duration_seconds": 30, "reason": "drill", "latency_ms": 0}
    assert (await live.post("/chaos/errors", errors)).json() == {
        "status": "ok",
        "error_rate_injected": 15,
        "duration_seconds": 30,
        "reason": "drill",
    }
    cpu = (await live.post("/chaos/cpu", {"cpu_percent": 95.5, "duration_seconds": 1.5})).json()
    assert cpu == {"status": "ok", "cpu_injected": 95.5, "duration_seconds": 1.5}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/chaos/latency", {"latency_ms": "100", "duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"latency_ms": True, "duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"latency_ms": None, "duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"latency_ms": -1, "duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"latency_ms": 60_001, "duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"duration_seconds": 3}, "latency_ms"),
        ("/chaos/latency", {"latency_ms": 1}, "duration_seconds"),
        ("/chaos/latency", {"latency_ms": 1, "duration_seconds": "60s"}, "duration_seconds"),
        ("/chaos/latency", {"latency_ms": 1, "duration_seconds": 0}, "duration_seconds"),
        ("/chaos/latency", {"latency_ms": 1, "duration_seconds": 86_401}, "duration_seconds"),
        ("/chaos/latency", {"latency_ms": 1, "duration_seconds": 3, "reason": 5}, "reason"),
        ("/chaos/errors", {"error_rate_percent": 101, "duration_seconds": 3}, "error_rate_percent"),
        ("/chaos/cpu", {"cpu_percent": -0.1, "duration_seconds": 3}, "cpu_percent"),
        ("/deployment/101/activate", {"confidence": "92"}, "confidence"),
        ("/deployment/101/activate", {"confidence": 101}, "confidence"),
        ("/deployment/101/activate", {"rollback_to": "100"}, "rollback_to"),
        ("/deployment/101/activate", {"rollback_to": 1.5}, "rollback_to"),
        ("/deployment/101/activate", {"expected_live": "100"}, "expected_live"),
        ("/deployment/101/activate", {"correlation_id": 7}, "correlation_id"),
        ("/deployment/101/activate", {"correlation_id": ""}, "correlation_id"),
        ("/deployment/101/activate", {"reason": "x" * 4001}, "reason"),
        ("/demo/trigger-incident", {"correlation_id": 7}, "correlation_id"),
        *[(path, [1], "body") for path in CONTROLS],
        *[(path, "text", "body") for path in CONTROLS],
    ],
)
async def test_a_call_that_makes_no_sense_is_refused_by_field_and_changes_nothing(
    live: Service, path: str, body: object, field: str
) -> None:
    before = await live.get("/deployment/status"), await live.get("/metrics/json")
    reply = await live.post(path, body)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert field in [fault["field"] for fault in reply.json()["detail"]]
    assert (await live.get("/deployment/status"), await live.get("/metrics/json")) == before
    entry = (await live.get("/demo/journal"))["entries"][-1]
    assert (entry["path"], entry["applied"], entry["status"]) == (path, False, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'latency_ms': 1}",
        b"null",
        b"\xff\xfe",
        b'{"latency_ms": NaN, "duration_seconds": 3}',
        b'{"latency_ms": 1, "duration_seconds": Infinity}',
        b'{"latency_ms": 1e999, "duration_seconds": 3}',
        b'{"latency_ms": ' + b"9" * 5000 + b', "duration_seconds": 3}',
        b'{"latency_ms": 1, "duration_seconds": 3, "reason": "\\ud800"}',
        b"[" * 50_000,
    ],
)
async def test_malformed_json_is_refused_without_a_stack_trace(either: Service, body: bytes) -> None:
    reply = await either.client.post("/chaos/latency", content=body)
    assert reply.status_code == 422
    assert "Traceback" not in reply.text
    assert not (await either.get("/metrics/json"))["chaos_active"]


async def test_an_oversized_body_is_refused_and_journaled(either: Service) -> None:
    reply = await either.client.post("/demo/trigger-incident", content=b" " * 70_000)
    assert reply.status_code == 413
    assert (await either.get("/deployment/status"))["currentDeployment"] == 100
    assert (await either.get("/demo/journal"))["entries"][-1]["status"] == 413


async def test_a_correlation_header_that_is_too_long_is_refused_and_not_forgotten(either: Service) -> None:
    reply = await either.client.post("/deployment/101/activate", headers={"X-Correlation-ID": "x" * 201})
    assert reply.status_code == 422
    assert (await either.get("/deployment/status"))["currentDeployment"] == 100


@pytest.mark.parametrize(("method", "path"), [("GET", "/nope"), ("DELETE", "/health"), ("GET", "/demo/reset")])
async def test_an_unknown_route_or_method_is_not_found_in_json(either: Service, method: str, path: str) -> None:
    reply = await either.client.request(method, path)
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/json; charset=utf-8")


async def test_the_journal_lists_every_control_call_with_its_correlation_id(live: Service) -> None:
    await live.post("/demo/bad-deployment", {"correlation_id": "drill"})
    await live.client.post("/chaos/latency", json=LATENCY, headers={"X-Correlation-ID": "from-header"})
    await live.post("/demo/unheard-of")
    await live.post("/deployment/100/activate", {"correlation_id": "drill"})
    await live.post("/api/payment")
    page = await live.get("/demo/journal")
    listed = [
        (each["action"], each["deployment_id"], each["correlation_id"], each["applied"], each["status"])
        for each in page["entries"]
    ]
    assert listed == [
        ("bad-deployment", 101, "drill", True, 200),
        ("chaos-latency", None, "from-header", True, 200),
        ("unknown", None, None, False, 404),
        ("activate", 100, "drill", True, 200),
    ]
    assert page["total"] == 4


async def test_a_spoiled_deployment_is_worse_than_the_bad_one_whenever_it_is_live(live: Service) -> None:
    await live.post("/demo/trigger-incident")
    live.move(10)
    bad = (await live.get("/metrics/json"))["metrics"]
    reply = await live.post("/demo/spoil", {"deployment_id": 100, "degradation": 1.5})
    assert (reply.status_code, reply.json()) == (200, {"deployment_id": 100, "degradation": 1.5})
    assert (await live.get("/metrics/json"))["metrics"] == bad
    await live.post("/deployment/100/activate")
    live.move(10)
    spoiled = (await live.get("/metrics/json"))["metrics"]
    for name in ("error_rate_percent", "p99_latency_ms"):
        assert spoiled[name] > bad[name] * 1.2
    assert spoiled["requests_per_second"] >= 0
    await live.post("/demo/reset")
    live.move(10)
    assert (await live.get("/metrics/json"))["health_status"] == "healthy"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"deployment_id": 7, "degradation": 1}, 404), ({"deployment_id": 100, "degradation": 9}, 422), ({}, 422)],
)
async def test_spoiling_refuses_what_it_cannot_do(live: Service, body: dict[str, float], status: int) -> None:
    assert (await live.post("/demo/spoil", body)).status_code == status


async def test_the_seed_profile_lacks_what_the_contract_says_is_absent(steady: Service) -> None:
    for path in ("/chaos/errors", "/chaos/cpu", "/demo/bad-deployment", "/demo/spoil"):
        assert (await steady.post(path)).status_code == 404
    for path in ("/", "/ui", "/docs", "/openapi.json"):
        assert (await steady.client.get(path)).status_code == 404


async def test_routes_are_counted_by_template_and_unknown_paths_under_one_label(live: Service) -> None:
    for path in ("/deployment/100/activate", "/deployment/abc/activate", "/a", "/b"):
        await live.post(path)
    await live.client.request("BREW", "/coffee")
    text = (await live.client.get("/metrics")).text
    routes = set(re.findall(r'http_requests_total\{method="(\w+)",route="([^"]*)",status_code="(\d+)"\}', text))
    assert routes == {
        ("POST", "/deployment/{deployment}/activate", "200"),
        ("POST", "/deployment/{deployment}/activate", "404"),
        ("POST", "unmatched", "404"),
        ("OTHER", "unmatched", "404"),
    }


async def test_two_services_in_one_process_count_apart() -> None:
    async with serve(Profile.LIVE) as one, serve(Profile.LIVE) as other:
        await one.client.get("/health")
        assert 'route="/health"' in (await one.client.get("/metrics")).text
        assert 'route="/health"' not in (await other.client.get("/metrics")).text


async def test_the_page_loads_nothing_from_elsewhere(live: Service) -> None:
    lead = await live.client.get("/")
    assert (lead.status_code, lead.headers["location"]) == (307, "/ui")
    page = await live.client.get("/ui")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|//[a-z]|src=|@import|url\(", page.text)
    assert 'lang="en"' in page.text
    assert 'name="viewport"' in page.text


async def test_every_button_of_the_page_does_something(live: Service) -> None:
    page = (await live.client.get("/ui")).text
    buttons = re.findall(r"<button type=\"button\" data-path=\"([^\"]+)\"(?: data-body='([^']+)')?>", page)
    assert len(buttons) == page.count("<button")
    for path, body in buttons:
        assert (await live.client.post(path, content=(body or "{}").encode())).status_code == 200
