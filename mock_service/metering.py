"""GET /metrics: what this process has answered, and the service's own gauges."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mock_service.patient import Gauge

BUCKETS_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2)
UNMATCHED = "unmatched"
"""The route label of every path that no route serves."""
OTHER_METHOD = "OTHER"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LABELS = ("method", "route", "status_code")


class HttpMeter:
    """Counts and times requests on a registry of its own; its labels take a bounded set of values."""

    def __init__(self, gauges: Callable[[], list[Gauge]]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter("http_requests_total", "Requests answered.", _LABELS, registry=self._registry)
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's arrival to the end of its answer.",
            _LABELS,
            buckets=BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_GaugeCollector(gauges))

    def observe(self, *, method: str, route: str | None, status: int, took: timedelta) -> None:
        """Count one answered request."""
        labels = (method if method in _METHODS else OTHER_METHOD, route or UNMATCHED, str(status))
        self._requests.labels(*labels).inc()
        self._durations.labels(*labels).observe(took.total_seconds())

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format 0.0.4."""
        return generate_latest(self._registry)


class _GaugeCollector(Collector):
    def __init__(self, gauges: Callable[[], list[Gauge]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for gauge in self._gauges():
            family = GaugeMetricFamily(gauge.name, f"{gauge.name} of the mock payment-api.", labels=list(gauge.labels))
            family.add_metric(list(gauge.labels.values()), gauge.value)
            yield family
