"""One reading of the service's signals, and the limits it is held to."""

from dataclasses import dataclass

ERROR_RATE_LIMIT_PERCENT = 5.0
P99_LIMIT_MS = 500.0
CPU_LIMIT_PERCENT = 85.0
SERVING_P99_LIMIT_MS = 800.0


@dataclass(frozen=True)
class Reading:
    """What every endpoint reports at one instant; percents are 0..100, because the API speaks them."""

    error_rate_percent: float
    p50_latency_ms: float
    p95_latency_ms: float
    p99_latency_ms: float
    requests_per_second: float
    cpu_usage_percent: float
    memory_usage_percent: float
    active_connections: float

    def as_json(self) -> dict[str, object]:
        """The signals under the names that the API gives them, whole numbers written as such."""
        return {name: plain(value) for name, value in vars(self).items()}

    @property
    def well(self) -> bool:
        """No limit that an alert watches is breached."""
        return (
            self.error_rate_percent <= ERROR_RATE_LIMIT_PERCENT
            and self.p99_latency_ms <= P99_LIMIT_MS
            and self.cpu_usage_percent <= CPU_LIMIT_PERCENT
        )

    @property
    def serving(self) -> bool:
        """Good enough for the health probe, which is more patient with latency than the alerts are."""
        return self.error_rate_percent <= ERROR_RATE_LIMIT_PERCENT and self.p99_latency_ms <= SERVING_P99_LIMIT_MS


def plain(number: float) -> int | float:
    """The number as JSON's single number type would print it: 92, never 92.0."""
    return int(number) if float(number).is_integer() else number
