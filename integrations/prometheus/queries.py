"""The queries for a service, from its entry in the registry: which figure is asked how, and in which unit.

Names and formulas are those of OpenTelemetry's semantic conventions (docs/http/http-metrics.md), of the client
libraries of Prometheus, of cAdvisor and of kube-state-metrics. What Prometheus gives nothing for stays without an
answer; no query makes a zero of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from incident.evidence import Metric
from incident.prometheus import (
    SELECTOR,
    WINDOW,
    Containers,
    ProcessLimits,
    PrometheusEndpoint,
    QuerySet,
    QueryUnit,
)

_QUANTILES = {Metric.P50_LATENCY: 0.5, Metric.P95_LATENCY: 0.95, Metric.P99_LATENCY: 0.99}


@dataclass(frozen=True)
class Figure:
    """How one metric is asked."""

    metric: Metric
    query: str
    unit: QueryUnit
    newest: str
    """Gives the time of the newest sample of the series behind it, in seconds since 1970."""
    buckets: str = ""
    """Gives the buckets of the histogram behind it, by `le`; empty: it has none that is known."""
    saturates_at: float | None = None
    """In its unit: from here on the value is a lower bound."""
    mean: str = ""
    """Gives the mean of the same observations, which no bucket caps; empty: not known."""

    @property
    def asked(self) -> tuple[str, ...]:
        """Every query whose answer it takes."""
        return tuple(each for each in (self.query, self.newest, self.buckets, self.mean) if each)


@dataclass(frozen=True)
class Plan:
    """Everything that is asked in one look at a service."""

    figures: tuple[Figure, ...]
    health: str
    newest: str
    """Of the series behind the health."""

    @property
    def asked(self) -> tuple[str, ...]:
        """Every query, each once."""
        figures = (query for figure in self.figures for query in figure.asked)
        return tuple(dict.fromkeys((*figures, self.health, self.newest)))


@dataclass(frozen=True)
class _Names:
    """How a set names what it measures."""

    requests: str
    duration: str
    status: str
    cpu: str
    memory: str
    started: str = ""
    """When each process started; empty: the set does not tell."""


_NAMES = {
    QuerySet.CLASSIC: _Names(
        requests="http_requests_total",
        duration="http_request_duration_seconds",
        status="code",
        cpu="process_cpu_seconds_total",
        memory="process_resident_memory_bytes",
        started="process_start_time_seconds",
    ),
    QuerySet.OTEL: _Names(
        requests="http_server_request_duration_seconds_count",  # the conventions know no counter of requests
        duration="http_server_request_duration_seconds",
        status="http_response_status_code",
        cpu="process_cpu_time_seconds_total",
        memory="process_memory_usage_bytes",
    ),
}


def plan(endpoint: PrometheusEndpoint) -> Plan:
    """The queries for the service of `endpoint`; a metric that neither it nor its set asks for is left out."""
    matchers = label_matchers(endpoint.selector)
    window = f"{int(endpoint.window.total_seconds() * 1000)}ms"

    def filled(query: str) -> str:
        return query.replace(SELECTOR, matchers).replace(WINDOW, window)

    newest = filled(endpoint.queries.newest_sample)
    ready = {figure.metric: figure for figure in _ready_made(endpoint, matchers, window)}
    for metric in Metric:
        if own := endpoint.queries.of(metric):
            ready[metric] = Figure(
                metric, filled(own.query), endpoint.queries.unit(metric), newest, saturates_at=own.saturates_at
            )
    figures = tuple(ready[metric] for metric in Metric if metric in ready)
    return Plan(figures, filled(endpoint.queries.health), newest)


COUNTED = "counted"
"""The label that tells apart what one answer to `counting` holds."""
NEWEST = "newest"
"""What it says of the time of the newest sample."""


def requests_of(over: timedelta) -> str:
    """What the label says of the requests of that window."""
    return f"requests {_seconds(over)}"


def failed_of(over: timedelta) -> str:
    """What the label says of those of them that failed; there are none where none ever did."""
    return f"failed {_seconds(over)}"


def begun_of(over: timedelta) -> str:
    """What the label says of the number of series that were there when that window began."""
    return f"begun {_seconds(over)}"


def counting(endpoint: PrometheusEndpoint, windows: Sequence[timedelta]) -> str:
    """The query for the requests of `windows`, all in one vector, or empty where no set says how they are counted.

    Requests whose status is not told count in neither, as in the error rate.
    """
    if endpoint.set is None:
        return ""
    names, matchers = _NAMES[endpoint.set], label_matchers(endpoint.selector)
    status, counter = endpoint.status_label or names.status, names.requests
    parts = {NEWEST: _newest(counter, matchers)}
    for over in windows:
        seconds = _seconds(over)
        parts[requests_of(over)] = f'sum(increase({counter}{{{matchers},{status}!=""}}[{seconds}]))'
        parts[failed_of(over)] = f'sum(increase({counter}{{{matchers},{status}=~"5.."}}[{seconds}]))'
        parts[begun_of(over)] = f"count({counter}{{{matchers}}} offset {seconds})"
    return " or ".join(f'label_replace({query}, "{COUNTED}", "{name}", "", "")' for name, query in parts.items())


def _seconds(over: timedelta) -> str:
    return f"{int(over.total_seconds())}s"


def label_matchers(labels: Mapping[str, str]) -> str:
    """`labels` as PromQL's matchers, without braces; whatever a value holds, it stays one value."""
    return ",".join(f"{name}={quoted(value)}" for name, value in labels.items())


def quoted(value: str) -> str:
    """`value` as a PromQL string: JSON's escapes are among Go's, which PromQL reads."""
    return json.dumps(value, ensure_ascii=False)


def _ready_made(endpoint: PrometheusEndpoint, matchers: str, window: str) -> Iterator[Figure]:
    if endpoint.set:
        names = _NAMES[endpoint.set]
        yield from _requests(names, endpoint.status_label or names.status, matchers, window)
        yield from _latencies(names, matchers, window)
        if endpoint.process:
            yield from _of_processes(names, endpoint.process, matchers, window)
    if endpoint.containers:
        yield from _of_containers(endpoint.containers, window)


def _requests(names: _Names, status: str, matchers: str, window: str) -> Iterator[Figure]:
    newest = _newest(names.requests, matchers)
    counted = f"sum(rate({names.requests}{{{matchers}}}[{window}]))"
    told = f'sum(rate({names.requests}{{{matchers},{status}!=""}}[{window}]))'
    failed = f'sum(rate({names.requests}{{{matchers},{status}=~"5.."}}[{window}]))'
    # No failure is a zero only among requests whose status is told; without any request there is no share of them.
    share = f"({failed} or {told} * 0) / ({told} > 0)"
    yield Figure(Metric.ERROR_RATE, share, QueryUnit.RATIO, newest)
    yield Figure(Metric.REQUESTS_PER_SECOND, counted, QueryUnit.PER_SECOND, newest)


def _latencies(names: _Names, matchers: str, window: str) -> Iterator[Figure]:
    newest = _newest(f"{names.duration}_count", matchers)
    rates = f"sum by (le) (rate({names.duration}_bucket{{{matchers}}}[{window}]))"
    total, count = (f"sum(rate({names.duration}_{each}{{{matchers}}}[{window}]))" for each in ("sum", "count"))
    for metric, quantile in _QUANTILES.items():
        query = f"histogram_quantile({quantile}, {rates})"
        buckets = f"count by (le) ({names.duration}_bucket{{{matchers}}})"
        yield Figure(metric, query, QueryUnit.SECONDS, newest, buckets, mean=f"{total} / ({count} > 0)")


def _of_processes(names: _Names, limits: ProcessLimits, matchers: str, window: str) -> Iterator[Figure]:
    newest = _newest(names.memory, matchers)
    cpu = f"sum(rate({names.cpu}{{{matchers}}}[{window}])) / count({names.memory}{{{matchers}}}) / {limits.cpu_cores:g}"
    yield Figure(Metric.CPU_USAGE, cpu, QueryUnit.RATIO, newest)
    memory = f"avg({names.memory}{{{matchers}}}) / {limits.memory_bytes}"
    yield Figure(Metric.MEMORY_USAGE, memory, QueryUnit.RATIO, newest)
    if names.started:
        restarts = f"sum(changes({names.started}{{{matchers}}}[{window}]))"
        yield Figure(Metric.RESTARTS, restarts, QueryUnit.COUNT, _newest(names.started, matchers))


def _of_containers(containers: Containers, window: str) -> Iterator[Figure]:
    """Use over limits of the service as a whole; a container without a limit counts in neither."""
    theirs = f"namespace={quoted(containers.namespace)},pod=~{quoted(containers.pod)}"
    used = f'{theirs},container!=""'
    newest = _newest("container_memory_working_set_bytes", used)
    uses = {
        Metric.CPU_USAGE: ("cpu", f"rate(container_cpu_usage_seconds_total{{{used}}}[{window}])"),
        Metric.MEMORY_USAGE: ("memory", f"container_memory_working_set_bytes{{{used}}}"),
    }
    for metric, (resource, use) in uses.items():
        limit = f'kube_pod_container_resource_limits{{{theirs},resource="{resource}"}}'
        query = f"sum({use} and on (namespace, pod, container) {limit}) / sum({limit})"
        yield Figure(metric, query, QueryUnit.RATIO, newest)
    counted = "kube_pod_container_status_restarts_total"
    restarts = f"sum(changes({counted}{{{theirs}}}[{window}]))"
    yield Figure(Metric.RESTARTS, restarts, QueryUnit.COUNT, _newest(counted, theirs))


def _newest(series: str, matchers: str) -> str:
    return f"max(timestamp({series}{{{matchers}}}))"
