"""What the gateway counts, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; the last one is the longest that a caller may wait for a change."""


class Metrics:
    """The counts of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("gateway_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "gateway_request_seconds",
            "How long an answer took.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refused = Counter("gateway_refused", "Requests refused.", ("reason",), registry=self._registry)
        self._webhooks = Counter(
            "gateway_webhooks", "Messages of other systems.", ("source", "result"), registry=self._registry
        )
        self._signals = Counter("gateway_signals", "Signals Temporal took.", ("signal",), registry=self._registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a request; `route` is the path's template, never the path."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route, known).observe(seconds)

    def refuse(self, reason: str | None) -> None:
        """Counts a refusal; `None`: nothing was wrong with the request itself."""
        if reason is not None:
            self._refused.labels(str(reason)).inc()

    def webhook(self, source: str, result: str) -> None:
        """Counts what became of another system's message: accepted, unknown, ignored, refused or away."""
        self._webhooks.labels(source, result).inc()

    def signal(self, name: str) -> None:
        """Counts a signal that Temporal took."""
        self._signals.labels(name).inc()

    def count(self, name: str, **labels: str) -> float:
        """The value of one of the series above; 0 where nothing was counted."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def exposition(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
