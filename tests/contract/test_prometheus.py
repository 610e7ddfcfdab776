"""Metrics from the real Prometheus, which scrapes real mock services: one steady, one live, one that dies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from commander import doctor
from commander.finding import Finding
from incident.anomalies import Thresholds, judge_metrics
from incident.errors import IntegrationError, PermanentError
from incident.evidence import Health, Metric, MetricsReport, SourceState
from incident.prometheus import PrometheusEndpoint
from integrations.http import HttpSettings, build_client
from integrations.mock_service import MockPaymentApi
from integrations.prometheus import (
    Prometheus,
    PrometheusCounts,
    PrometheusHistory,
    PrometheusMetrics,
    PrometheusSettings,
)
from tests.contract.conftest import running_mock
from tests.standins.github.processes import free_port
from tests.standins.prometheus import running, why_not
from worker.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]

_WITHIN = 20.0
_AGAIN = 0.1
_SCRAPED_RATE = 98
"""The seed's contract wants another rate of requests in GET /metrics than in GET /metrics/json."""
SETTINGS = PrometheusSettings(lag=timedelta(seconds=1))
GAUGES: Mapping[str, object] = {
    "error_rate": {"query": "avg(http_request_error_rate_percent{$selector})", "unit": "percent"},
    "p50_latency": {"query": "max(http_request_duration_p50_milliseconds{$selector})", "unit": "milliseconds"},
    "p95_latency": {"query": "max(http_request_duration_p95_milliseconds{$selector})", "unit": "milliseconds"},
    "p99_latency": {"query": "max(http_request_duration_p99_milliseconds{$selector})", "unit": "milliseconds"},
    "requests_per_second": "sum(http_requests_per_second{$selector})",
    "cpu_usage": {"query": "max(process_cpu_usage_percent{$selector})", "unit": "percent"},
    "memory_usage": {"query": "max(process_memory_usage_percent{$selector})", "unit": "percent"},
    "active_connections": "sum(active_connections{$selector})",
    "health": "min(deployment_health_status{$selector})",
}
"""The gauges in which the mock payment-api tells how it fares."""


@dataclass(frozen=True)
class Scraped:
    """A Prometheus, the mock services that it scrapes, and the way to end one of them."""

    url: str
    steady: str
    live: str
    directory: Path
    end_mortal: Callable[[], None]

    def endpoint(self, job: str, **fields: object) -> PrometheusEndpoint:
        return PrometheusEndpoint.model_validate(
            {"kind": "prometheus", "url": self.url, "selector": {"job": job}, "window": "10s", **fields}
        )


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    directory = tmp_path_factory.mktemp("scraped")
    with ExitStack() as open_, ExitStack() as mortal:
        steady, live = (open_.enter_context(running_mock(profile)) for profile in ("steady", "live"))
        dying = mortal.enter_context(running_mock("steady"))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc]}]}
                for job, url in {"steady": steady, "live": live, "mortal": dying}.items()
            ],
        }
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        url = open_.enter_context(running("prometheus", directory / "data", file, free_port()))
        yield Scraped(url, steady, live, directory, mortal.close)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(HttpSettings()) as client:
        yield client


async def _report(
    client: httpx.AsyncClient, endpoint: PrometheusEndpoint, holds: Callable[[MetricsReport], bool]
) -> MetricsReport:
    """The first report of which that holds."""
    metrics = PrometheusMetrics(Prometheus(client, SETTINGS), endpoint)
    report: MetricsReport | None = None
    async with asyncio.timeout(_WITHIN):
        while report is None or not holds(report):
            await asyncio.sleep(_AGAIN if report else 0)
            try:
                report = await metrics.read_metrics()
            except PermanentError:  # nothing has been scraped yet
                await asyncio.sleep(_AGAIN)
    return report


async def test_what_prometheus_scraped_is_what_the_service_says_of_itself(
    scraped: Scraped, client: httpx.AsyncClient
) -> None:
    said = await MockPaymentApi(client, scraped.steady).read_metrics()

    found = await _report(client, scraped.endpoint("steady", queries=GAUGES), lambda each: each.health is said.health)

    values = {each.metric: each.value for each in said.readings}
    assert found.state is SourceState.OK
    assert {each.metric: each.value for each in found.readings} == values | {Metric.REQUESTS_PER_SECOND: _SCRAPED_RATE}
    assert judge_metrics(found, Thresholds()) == ()


async def test_what_prometheus_kept_ends_with_what_is_measured_now(scraped: Scraped, client: httpx.AsyncClient) -> None:
    endpoint = scraped.endpoint("steady", queries=GAUGES)
    now = await _report(client, endpoint, lambda each: each.health is Health.HEALTHY)

    kept = PrometheusHistory(Prometheus(client, SETTINGS, lambda: datetime.now(UTC) + timedelta(minutes=1)), endpoint)
    history = await kept.read_history()

    assert {metric: values[-1] for metric, values in history.values.items()} == {
        each.metric: each.value for each in now.readings
    }
    assert {values[0] for values in history.values.values()} == {None}
    assert history.problems == ()


async def test_a_service_that_goes_bad_is_seen_to_in_prometheus(scraped: Scraped, client: httpx.AsyncClient) -> None:
    endpoint = scraped.endpoint("live", queries=GAUGES)
    well = await _report(client, endpoint, lambda each: each.health is Health.HEALTHY)
    (await client.post(f"{scraped.live}/demo/trigger-incident")).raise_for_status()

    found = await _report(client, endpoint, lambda each: each.health is Health.DEGRADED)

    assert judge_metrics(well, Thresholds()) == ()
    assert {each.metric for each in judge_metrics(found, Thresholds())} >= {Metric.ERROR_RATE, Metric.P99_LATENCY}


async def test_the_classic_set_measures_what_was_really_answered(scraped: Scraped, client: httpx.AsyncClient) -> None:
    endpoint = scraped.endpoint(
        "steady",
        set="classic",
        status_label="status_code",
        process={"cpu_cores": 2, "memory_bytes": 1_000_000_000},
    )

    # At least Prometheus's own question of each second.
    found = await _report(client, endpoint, lambda each: (each.value(Metric.REQUESTS_PER_SECOND) or 0) > 0.5)

    assert found.value(Metric.ERROR_RATE) == 0
    assert [each.metric for each in found.readings if each.value is None] == [Metric.ACTIVE_CONNECTIONS]
    quantiles = [found.value(each) or 0 for each in (Metric.P50_LATENCY, Metric.P95_LATENCY, Metric.P99_LATENCY)]
    assert quantiles == sorted(quantiles)
    assert 0 < quantiles[0] < 1000
    assert 0.01 < (found.value(Metric.MEMORY_USAGE) or 0) < 0.5
    assert found.health is Health.HEALTHY


async def test_requests_are_counted_as_they_were_really_answered(scraped: Scraped, client: httpx.AsyncClient) -> None:
    counts = PrometheusCounts(
        Prometheus(client, SETTINGS), scraped.endpoint("steady", set="classic", status_label="status_code")
    )
    lately, days = timedelta(seconds=10), timedelta(days=3)

    async with asyncio.timeout(_WITHIN):
        while True:
            short, long = await counts.count_requests((lately, days))
            if short.requests:
                break
            await asyncio.sleep(_AGAIN)

    # At least Prometheus's own question of each second, and none of them has failed.
    assert (short.failed, long.failed, long.whole) == (0, 0, False)
    assert (long.requests or 0) > 0


@pytest.mark.parametrize(
    "fields", [{"queries": GAUGES}, {"set": "classic"}, {"set": "otel"}], ids=["own", "classic", "otel"]
)
async def test_a_service_that_is_not_scraped_is_not_seen(
    scraped: Scraped, client: httpx.AsyncClient, fields: Mapping[str, object]
) -> None:
    metrics = PrometheusMetrics(Prometheus(client, SETTINGS), scraped.endpoint('check"out\\', **fields))

    with pytest.raises(PermanentError, match=r'^prometheus: not seen: no fresh sample of \{job="check\\"out\\\\"\}$'):
        await metrics.read_metrics()


async def test_a_service_that_is_gone_is_not_seen_although_its_rates_linger(
    scraped: Scraped, client: httpx.AsyncClient
) -> None:
    prometheus = Prometheus(client, SETTINGS)
    endpoints = (
        scraped.endpoint("mortal", queries=GAUGES),
        scraped.endpoint("mortal", set="classic", status_label="status_code", window="5m"),
    )
    for endpoint in endpoints:
        await _report(client, endpoint, lambda each: each.value(Metric.REQUESTS_PER_SECOND) is not None)
    scraped.end_mortal()

    gone = [await _said_at_last(PrometheusMetrics(prometheus, each), "not seen") for each in endpoints]
    lingering = await prometheus.instant(
        scraped.url, 'sum(rate(http_requests_total{job="mortal"}[5m]))', prometheus.asked_time()
    )

    assert gone == ['prometheus: not seen: no fresh sample of {job="mortal"}'] * 2
    assert lingering.samples


async def _said_at_last(metrics: PrometheusMetrics, words: str) -> str:
    """The first refusal that holds these words."""
    async with asyncio.timeout(_WITHIN):
        while True:
            try:
                await metrics.read_metrics()
            except IntegrationError as error:
                if words in str(error):
                    return str(error)
            await asyncio.sleep(_AGAIN)


async def test_a_query_that_prometheus_refuses_is_told_in_its_words(
    scraped: Scraped, client: httpx.AsyncClient
) -> None:
    remarked = "rate(active_connections{$selector}[$window])"  # of a gauge: it says so, and answers
    bad = {"cpu_usage": "sum(", "memory_usage": "up", "active_connections": "up[1m]"}
    queries = {**GAUGES, **bad, "requests_per_second": remarked}
    endpoint = scraped.endpoint("steady", queries=queries)

    found = await _report(client, endpoint, lambda each: each.value(Metric.REQUESTS_PER_SECOND) is not None)

    problems = {each.metric: each.problem for each in found.readings}
    assert problems[Metric.CPU_USAGE].startswith("answered HTTP 400: ")
    assert "parse error" in problems[Metric.CPU_USAGE]
    assert problems[Metric.MEMORY_USAGE] == "the query gives 3 series, not one"
    assert problems[Metric.ACTIVE_CONNECTIONS] == "the query gives a matrix, not a value of now"
    assert found.value(Metric.REQUESTS_PER_SECOND) == 0


async def test_the_doctor_proves_how_fast_each_objective_is_burned(scraped: Scraped) -> None:
    registry, policy = scraped.directory / "promised.toml", scraped.directory / "policy.toml"
    policy.write_text("[objective]\nsuccess = 0.99\n[services.batch]\nobjective = false\n")
    source = f'source = {{ kind = "mock", url = "{scraped.steady}" }}'
    measured = f'kind = "prometheus", url = "{scraped.url}", selector = {{ job = "steady" }}, window = "10s"'
    registry.write_text(
        f"""
        [[service]]
        name = "counted"
        {source}
        metrics = {{ {measured}, set = "classic", status_label = "status_code" }}
        [[service]]
        name = "uncounted"
        {source}
        [[service]]
        name = "batch"
        {source}
        """
    )
    settings = Settings.model_validate(
        {
            "services_file": registry,
            "policy_file": policy,
            "temporal": {"address": "127.0.0.1:9"},
            "prometheus": SETTINGS,
        }
    )

    found: dict[str, Finding] = {}
    async with asyncio.timeout(_WITHIN):
        while "too few requests" not in (found["counted burn rate"].words if found else ""):
            found = {each.system: each for each in await doctor.examine(settings)}

    burn = found["counted burn rate"]
    assert "unknown over 1h and unknown over 5m (a page from 14.4x on; too few requests: " in burn.words
    assert "the samples begin less than 6h ago" in burn.words
    assert burn.words.endswith(", of an objective of 99%")
    uncounted = "what measures it counts no requests: metrics of kind prometheus with a `set` do"
    assert found["uncounted burn rate"].words == f"{uncounted}, of an objective of 99%"
    assert not burn.works
    assert not found["uncounted burn rate"].works
    assert "batch burn rate" not in found


async def test_the_doctor_proves_each_value_with_its_unit(scraped: Scraped) -> None:
    registry = scraped.directory / "services.toml"
    registry.write_text(
        f"""
        [[service]]
        name = "payment-api"
        source = {{ kind = "mock", url = "{scraped.steady}" }}
        [service.metrics]
        kind = "prometheus"
        url = "{scraped.url}/"
        selector = {{ job = "steady" }}
        [service.metrics.queries]
        error_rate = {{ query = 'avg(http_request_error_rate_percent{{$selector}})', unit = "percent" }}
        p99_latency = {{ query = 'max(http_request_duration_p99_milliseconds{{$selector}})', unit = "seconds" }}
        requests_per_second = 'sum(http_requests_per_second{{$selector}})'
        cpu_usage = {{ query = 'max(process_cpu_usage_percent{{$selector}})', unit = "ratio" }}
        """
    )
    settings = Settings.model_validate(
        {"services_file": registry, "temporal": {"address": "127.0.0.1:9"}, "prometheus": SETTINGS}
    )

    async with asyncio.timeout(_WITHIN):
        found: dict[str, Finding] = {}
        while not found or not found["payment-api error_rate"].works:
            found = {each.system: each for each in await doctor.examine(settings)}

    shown = {name: (each.works, each.words) for name, each in found.items()}
    assert shown["payment-api error_rate"] == (True, "prometheus: 0.8%")
    assert shown["payment-api requests_per_second"] == (True, "prometheus: 98.0/s")
    assert shown["payment-api p99_latency"] == (
        False,
        "prometheus: unknown (implausible: 180 seconds; is it milliseconds?)",
    )
    assert shown["payment-api cpu_usage"] == (False, "prometheus: unknown (implausible: 45 as a ratio; is it percent?)")
    unasked = "prometheus: unknown (services.toml has no query for it)"
    advice = "; the policy judges it: give a query, or set memory_usage = false among its thresholds"
    assert shown["payment-api active_connections"] == (True, unasked)
    assert shown["payment-api memory_usage"] == (False, unasked + advice)
    assert shown["payment-api health"] == (True, "prometheus: healthy")
