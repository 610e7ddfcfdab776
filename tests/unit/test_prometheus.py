"""What is made of Prometheus's answers: only a fresh, finite, plausible number is a value, and nothing else is zero."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from incident.anomalies import Kind, Thresholds, Tier, assess
from incident.errors import ConfigurationError, PermanentError, TransientError
from incident.evidence import Evidence, Health, Metric, MetricsReport
from incident.prometheus import PrometheusEndpoint
from incident.recovery import Classification, classify, look_at
from incident.services import parse_registry
from incident.verifying import RecoveryLimits
from integrations.http import HttpSettings, build_client
from integrations.mock_service import MockPaymentApi
from integrations.prometheus import NO_QUERY, Prometheus, PrometheusMetrics, PrometheusSettings
from integrations.prometheus.queries import plan
from tests import builders
from worker.sources import ConfiguredServices

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
ASKED = NOW - timedelta(seconds=30)
FRESH = str(ASKED.timestamp() - 10)
URL = "http://prometheus.example/prefix"
OWN = {
    "error_rate": "errors",
    "p50_latency": "p50",
    "p95_latency": "p95",
    "p99_latency": "p99",
    "requests_per_second": "requests",
    "cpu_usage": "cpu",
    "memory_usage": "memory",
    "health": "health",
    "newest_sample": "newest",
}
WELL = {
    "errors": "0.008",
    "p50": "0.085",
    "p95": "0.12",
    "p99": "0.18",
    "requests": "110",
    "cpu": "0.45",
    "memory": "0.52",
    "health": "1",
    "newest": FRESH,
}

Script = Callable[[httpx.Request], httpx.Response]


def vector(*values: object, **changes: object) -> dict[str, object]:
    """A success that gives these values, each a series of its own."""
    result = [{"metric": {"n": str(n)}, "value": [1764000000.0, value]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **changes}


def of_kind(kind: str, result: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


class Double:
    """Prometheus: answers each query by its text, as a healthy service has it but for the changes."""

    def __init__(self, **changes: object) -> None:
        self.answers: dict[str, object] = {**WELL, **changes}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.get(request.url.params["query"], vector())
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return httpx.Response(200, json=vector(answer) if isinstance(answer, str) else answer)


def entry(**fields: object) -> PrometheusEndpoint:
    return PrometheusEndpoint.model_validate(
        {"kind": "prometheus", "url": URL, "selector": {"job": "payment-api"}, "queries": OWN, **fields}
    )


def metrics(script: Script, endpoint: PrometheusEndpoint | None = None, **settings: object) -> PrometheusMetrics:
    client = build_client(HttpSettings(), httpx.MockTransport(script))
    prometheus = Prometheus(client, PrometheusSettings.model_validate(settings), lambda: NOW)
    return PrometheusMetrics(prometheus, endpoint or entry())


async def read(endpoint: PrometheusEndpoint | None = None, **changes: object) -> MetricsReport:
    return await metrics(Double(**changes), endpoint).read_metrics()


def problem(report: MetricsReport, metric: Metric = Metric.ERROR_RATE) -> str:
    reading = report.reading(metric)
    assert reading is not None
    assert reading.value is None
    return reading.problem


def seen(report: MetricsReport) -> Evidence:
    return builders.healthy_evidence(metrics=report)


async def test_base_units_become_the_metrics_own() -> None:
    report = await read()

    assert {each.metric: each.value for each in report.readings} == {
        Metric.ERROR_RATE: 0.008,
        Metric.P50_LATENCY: 85,
        Metric.P95_LATENCY: 120,
        Metric.P99_LATENCY: 180,
        Metric.REQUESTS_PER_SECOND: 110,
        Metric.CPU_USAGE: 0.45,
        Metric.MEMORY_USAGE: 0.52,
        Metric.ACTIVE_CONNECTIONS: None,
    }
    assert (report.source, report.health, report.problem) == ("prometheus", Health.HEALTHY, "")
    assert problem(report, Metric.ACTIVE_CONNECTIONS) == NO_QUERY
    assert assess(seen(report), Thresholds()).healthy


async def test_declared_units_are_converted() -> None:
    queries = {
        **OWN,
        "error_rate": {"query": "errors", "unit": "percent"},
        "p99_latency": {"query": "p99", "unit": "milliseconds"},
    }

    report = await read(entry(queries=queries), errors="15.5", p99="1200")

    assert (report.value(Metric.ERROR_RATE), report.value(Metric.P99_LATENCY)) == (0.155, 1200)


async def test_a_remark_on_a_query_is_no_warning_of_its_answer() -> None:
    remark = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket"

    assert (await read(errors=vector("0.01", warnings=[remark]))).value(Metric.ERROR_RATE) == 0.01


async def test_a_scalar_is_a_number_too() -> None:
    assert (await read(errors=of_kind("scalar", [1764000000.0, "0.01"]))).value(Metric.ERROR_RATE) == 0.01


async def test_zero_is_a_measurement() -> None:
    assert (await read(errors="0")).value(Metric.ERROR_RATE) == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("NaN", "not a number (NaN): nothing was there to be measured"),
        ("+Inf", "infinite (+Inf)"),
        ("-Inf", "infinite (-Inf)"),
        ("-0.1", "negative (-0.1)"),
        ("1e999", "not a number, nor what Prometheus writes for one"),
        ("soon", "not a number, nor what Prometheus writes for one"),
        (vector(0.008), "not a number, nor what Prometheus writes for one"),
        (vector(None), "the query gives a histogram, not a number"),
        (vector(), "nothing was found"),
        (vector("0.1", "0.2"), "the query gives 2 series, not one"),
        (of_kind("vector", [{"metric": {}, "histogram": [1, {}]}]), "the query gives a histogram, not a number"),
        (of_kind("matrix", []), "the query gives a matrix, not a value of now"),
        (of_kind("string", [1, "0.1"]), "the query gives a string, not a value of now"),
        (
            vector("0.001", warnings=["store eu-1 is away"]),
            "the answer may be partial: store eu-1 is away",
        ),
        (vector(warnings=["x" * 9000, "b", "c", "d"]), "the answer may be partial: " + "x" * 299 + "…; b; c"),
        ({"status": "error", "errorType": "internal", "error": "boom"}, "says: boom"),
        ({"status": "success"}, "says: nothing of what was asked"),
        (of_kind("vector", [{"metric": {}, "value": [1]}]), "the answer is not Prometheus's: 0.value.1 (missing)"),
        ({"data": 1}, "the answer is not Prometheus's: status (missing)"),
        ([], "the answer is not Prometheus's: it (model_type)"),
        (httpx.Response(200, html="<html>log in"), "the answer (HTTP 200) is HTML, not JSON"),
        (httpx.Response(200, content=b"ok"), "the answer (HTTP 200) is not JSON"),
        (httpx.Response(200, content=b" " * 5_000_000), "the answer (HTTP 200) is larger than 4194304 bytes"),
        (httpx.Response(400, json={"status": "error", "error": "parse error"}), "answered HTTP 400: parse error"),
        (httpx.Response(422, json={"status": "error", "error": "too many"}), "answered HTTP 422: too many"),
        (httpx.Response(400, html="<html>"), "answered HTTP 400, and the answer is HTML, not JSON"),
        (httpx.Response(502, html="<html>"), "answered HTTP 502, and the answer is HTML, not JSON"),
        (httpx.Response(503, json={"error": "timed out"}), "answered HTTP 503: timed out"),
        (httpx.Response(429), "answered HTTP 429, and the answer is not JSON"),
        (httpx.Response(404), "answered HTTP 404: there is no /api/v1 below the url of the registry"),
        (
            httpx.Response(401, text="no"),
            "answered HTTP 401: set PROMETHEUS__TOKEN, or PROMETHEUS__USERNAME and _PASSWORD",
        ),
        (httpx.Response(302, headers={"Location": "/"}), "answered HTTP 302, a redirect, which is not followed"),
        (httpx.ConnectError("refused"), "cannot be reached"),
        (httpx.ReadTimeout("late"), "did not answer in time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_measurement_is_unknown_in_its_own_words_and_never_healthy(answer: object, words: str) -> None:
    report = await read(errors=answer)

    assert problem(report) == words
    assert report.value(Metric.P99_LATENCY) == 180
    assert not assess(seen(report), Thresholds()).healthy
    looks = [look_at(seen(report), assess(seen(report), Thresholds()))] * 9
    assert classify(builders.look(), looks, RecoveryLimits()).classification is not Classification.FULLY_RECOVERED


async def test_prometheus_words_are_redacted_and_stay_on_one_line() -> None:
    said = {"status": "error", "error": "bad\nquery: password=hunter2\x1b[2J"}

    report = await read(errors=httpx.Response(400, json=said))

    assert "hunter2" not in problem(report)
    assert problem(report).startswith("answered HTTP 400: bad query: ")
    assert problem(report).isprintable()


@pytest.mark.parametrize(
    ("age", "words"),
    [(120, ""), (121, "stale: the newest sample is 121 s old, 120 s are allowed")],
    ids=["fresh", "stale"],
)
async def test_an_old_sample_says_nothing_of_now(age: int, words: str) -> None:
    newest = str(ASKED.timestamp() - age)
    if not words:
        assert (await read(newest=newest)).value(Metric.ERROR_RATE) == 0.008
        return
    with pytest.raises(PermanentError, match=f"^prometheus: {words}$"):
        await read(newest=newest)


@pytest.mark.parametrize(
    ("newest", "words"),
    [
        (vector(), 'not seen: no fresh sample of {job="payment-api"}'),
        ("NaN", "how old it is cannot be told: not a number"),
        (str(ASKED.timestamp() * 1000), "how old it is cannot be told: the newest sample lies ahead"),
        (vector("1", "2"), "how old it is cannot be told: the query gives 2 series"),
        (vector(FRESH, warnings=["half"]), "how old it is cannot be told: the answer may be partial: half"),
        (httpx.Response(400, json={"error": "bad"}), "answered HTTP 400: bad"),
    ],
    ids=["not-seen", "nan", "milliseconds", "several", "partial", "refused"],
)
async def test_a_service_whose_samples_have_no_age_is_not_seen(newest: object, words: str) -> None:
    with pytest.raises(PermanentError) as raised:
        await read(newest=newest)

    assert words in str(raised.value)


async def test_every_query_of_a_look_asks_for_one_time_behind_the_scrapes() -> None:
    double = Double()

    await metrics(double, timeout="2s").read_metrics()

    assert {(each.url.params["time"], each.url.params["timeout"]) for each in double.asked} == {
        (f"{ASKED.timestamp():.3f}", "2000ms")
    }
    assert {each.url.path for each in double.asked} == {"/prefix/api/v1/query"}
    assert len(double.asked) == len({each.url.params["query"] for each in double.asked}) == len(OWN)


async def test_a_source_that_gives_nothing_fails_as_it_should_be_tried_again() -> None:
    away = httpx.Response(503, html="<html>")

    with pytest.raises(TransientError, match=r"^prometheus: answered HTTP 503"):
        await metrics(lambda _: httpx.Response(away.status_code, content=away.content)).read_metrics()
    with pytest.raises(PermanentError, match=r"^prometheus: answered HTTP 404"):
        await metrics(lambda _: httpx.Response(404)).read_metrics()


async def test_without_requests_nothing_is_known_of_them_and_that_is_said() -> None:
    report = await read(requests="0", errors=vector(), p99="NaN")

    assert report.value(Metric.REQUESTS_PER_SECOND) == 0
    assert problem(report) == "there were no requests: nothing was found"
    assert problem(report, Metric.P99_LATENCY).startswith("there were no requests: not a number (NaN)")


@pytest.mark.parametrize(
    ("changes", "metric", "words"),
    [
        ({"p99": "180"}, Metric.P99_LATENCY, "implausible: 180 seconds; is it milliseconds?"),
        ({"p99": "180"}, Metric.P50_LATENCY, "implausible: 180 seconds; is it milliseconds?"),
        ({"errors": "15.5"}, Metric.ERROR_RATE, "implausible: 15.5 as a ratio; is it percent?"),
        ({"cpu": "45"}, Metric.CPU_USAGE, "implausible: 45 as a ratio; is it percent?"),
        ({"memory": "52"}, Metric.MEMORY_USAGE, "implausible: 52 as a ratio; is it percent?"),
    ],
    ids=["p99", "p50-beside-p99", "errors", "cpu", "memory"],
)
async def test_a_number_that_cannot_be_in_its_unit_is_refused(
    changes: Mapping[str, object], metric: Metric, words: str
) -> None:
    assert problem(await read(None, **changes), metric) == words


async def test_seconds_that_are_declared_as_milliseconds_are_refused_too() -> None:
    queries = {**OWN, "p99_latency": {"query": "p99", "unit": "milliseconds"}}

    report = await read(entry(queries=queries), p99="0.18")

    assert problem(report, Metric.P99_LATENCY) == "implausible: 0.18 milliseconds; is it seconds?"
    assert report.value(Metric.P95_LATENCY) == 120


async def test_a_service_may_take_as_long_as_its_entry_says() -> None:
    assert (await read(entry(longest="5m"), p99="180")).value(Metric.P99_LATENCY) == 180_000


@pytest.mark.parametrize(
    ("health", "known"),
    [
        ("1", Health.HEALTHY),
        ("0", Health.DEGRADED),
        ("0.5", Health.UNKNOWN),
        ("NaN", Health.UNKNOWN),
        (vector(), Health.UNKNOWN),
    ],
    ids=["one", "zero", "half", "nan", "empty"],
)
async def test_only_one_and_zero_say_how_the_service_is(health: object, known: Health) -> None:
    judged = await metrics(Double(health=health)).inspect()

    assert judged.health is known
    assert bool(judged.health_problem) is (known is Health.UNKNOWN)


SET = entry(set="classic", queries={})
"""Whose answers a test gives by what the queries hold."""


def buckets(*bounds: str, **changes: object) -> dict[str, object]:
    """A success that gives a series for each bucket."""
    result = [{"metric": {"le": le}, "value": [1764000000.0, "3"]} for le in bounds]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **changes}


def of_a_set(**changes: object) -> Script:
    """A Prometheus of which every figure is asked by the classic set."""
    known: dict[str, Any] = {
        "min(up": "1",
        "timestamp(": FRESH,
        "histogram_quantile(0.5,": "0.08",
        "histogram_quantile(0.95,": "0.9",
        "histogram_quantile(0.99,": "2",
        "count by (le)": buckets("0.1", "2", "+Inf", "odd"),
        "_seconds_sum": "0.2",
        '=~"5.."': "0.01",
        "http_requests_total": "100",
        **changes,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        query = request.url.params["query"]
        found = next(value for part, value in known.items() if part in query)
        return httpx.Response(200, json=vector(found) if isinstance(found, str) else found)

    return answer


async def test_a_quantile_in_the_last_bucket_is_a_lower_bound_and_says_so() -> None:
    report = await metrics(of_a_set(), SET).read_metrics()

    p99, p95 = report.reading(Metric.P99_LATENCY), report.reading(Metric.P95_LATENCY)
    assert p99 is not None
    assert p95 is not None
    assert (p99.value, p99.at_least, p99.shown) == (2000, True, "at least 2000ms")
    assert p99.problem == "at least 2000ms: it lies beyond the histogram's last bucket"
    assert (p95.value, p95.at_least, p95.problem) == (900, False, "")
    anomalies = {each.kind: each for each in assess(seen(report), Thresholds()).anomalies}
    assert anomalies[Kind.P99_LATENCY].label == "CRITICAL_P99_LATENCY: at least 2000ms"


@pytest.mark.parametrize(
    "found",
    [vector(), vector("3"), buckets("+Inf"), buckets("2", warnings=["half"]), {"status": "error", "error": "too many"}],
    ids=["empty", "no-le", "infinite", "partial", "refused"],
)
async def test_a_quantile_whose_buckets_are_not_known_may_be_any_larger_one(found: object) -> None:
    report = await metrics(of_a_set(**{"count by (le)": found}), SET).read_metrics()

    for metric in (Metric.P50_LATENCY, Metric.P95_LATENCY, Metric.P99_LATENCY):
        assert problem(report, metric) == "whether it lies beyond the histogram's last bucket cannot be told"
    assert report.value(Metric.ERROR_RATE) == 0.01


async def test_a_query_of_ones_own_may_say_where_it_saturates() -> None:
    queries = {**OWN, "p99_latency": {"query": "p99", "saturates_at": 0.2}}

    report = await read(entry(queries=queries), p99="0.2")

    reading = report.reading(Metric.P99_LATENCY)
    assert reading is not None
    assert (reading.value, reading.at_least) == (200, True)


async def test_a_lower_bound_that_is_not_bad_yet_is_unreadable_and_no_recovery() -> None:
    queries = {**OWN, "p99_latency": {"query": "p99", "saturates_at": 0.2}}
    evidence = seen(await read(entry(queries=queries), p99="0.2"))

    assessment = assess(evidence, Thresholds())

    (anomaly,) = assessment.anomalies
    assert (anomaly.kind, anomaly.tier, anomaly.metric) == (Kind.UNREADABLE, Tier.MINOR, Metric.P99_LATENCY)
    assert look_at(evidence, assessment).values[Metric.P99_LATENCY] is None


async def test_a_mean_that_no_bucket_caps_shows_milliseconds_in_a_histogram_of_seconds() -> None:
    report = await metrics(of_a_set(_seconds_sum="85"), SET).read_metrics()

    for metric in (Metric.P50_LATENCY, Metric.P95_LATENCY, Metric.P99_LATENCY):
        assert problem(report, metric) == "implausible: 85 seconds; is it milliseconds?"
    assert report.value(Metric.ERROR_RATE) == 0.01


def test_a_label_value_is_escaped_and_fills_every_query() -> None:
    endpoint = entry(
        selector={"job": 'a"} or vector(0) #\\', "env": "prod"},
        window="90s",
        queries={"error_rate": "e{$selector}[$window]", "p99_latency": "p"},
    )

    asked = plan(endpoint).asked

    matchers = 'job="a\\"} or vector(0) #\\\\",env="prod"'
    assert f"e{{{matchers}}}[90000ms]" in asked
    assert f"min(up{{{matchers}}})" in asked
    assert not any("$" in query for query in asked)


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({}, None),
        ({"token": "canary"}, "Bearer canary"),
        ({"username": "ada", "password": "canary"}, "Basic YWRhOmNhbmFyeQ=="),
    ],
    ids=["nobody", "token", "password"],
)
async def test_the_credentials_of_the_settings_are_sent(settings: Mapping[str, object], header: str | None) -> None:
    double = Double()

    await metrics(double, None, **settings).read_metrics()

    assert {each.headers.get("Authorization") for each in double.asked} == {header}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"token": "canary", "username": "a", "password": "b"}, "PROMETHEUS__TOKEN: expected either"),
        ({"token": "canary canary"}, "PROMETHEUS__TOKEN: expected one word"),
        ({"username": "canary"}, "PROMETHEUS__PASSWORD: expected together"),
        ({"password": "canary"}, "PROMETHEUS__PASSWORD: expected together"),
        ({"username": "can:ary", "password": "b"}, "PROMETHEUS__USERNAME: expected a name without"),
    ],
    ids=["both", "two-words", "no-password", "no-user", "colon"],
)
def test_credentials_that_cannot_be_used_are_named_and_not_shown(settings: Mapping[str, object], line: str) -> None:
    given = PrometheusSettings.model_validate(settings)

    with pytest.raises(ConfigurationError, match=f"^{line}") as raised:
        Prometheus(build_client(HttpSettings()), given)

    assert "canary" not in str(raised.value)


REGISTRY = f"""
[[service]]
name = "payment-api"
source = {{ kind = "mock", url = "http://127.0.0.1:9" }}
[service.metrics]
kind = "prometheus"
url = "{URL}"
set = "otel"
selector = {{ service_name = "payment-api" }}
"""


def test_a_service_may_have_its_metrics_from_prometheus_and_the_rest_from_elsewhere() -> None:
    registry = parse_registry(REGISTRY, "services.toml")
    services = ConfiguredServices(registry, build_client(HttpSettings()))

    connected = services.connect("production", "payment-api")

    assert isinstance(connected.metrics, PrometheusMetrics)
    assert isinstance(connected.logs, MockPaymentApi)
    assert services.connect("production", "payment-api") is connected


def test_a_service_on_prometheus_wants_credentials_that_can_be_used() -> None:
    registry = parse_registry(REGISTRY, "services.toml")
    wrong = PrometheusSettings(password=SecretStr("x"))

    with pytest.raises(ConfigurationError, match="PROMETHEUS__PASSWORD"):
        ConfiguredServices(registry, build_client(HttpSettings()), prometheus=wrong)
