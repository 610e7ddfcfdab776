"""What counts as anomalous, and how bad it is: kinds, tiers, and the limits of each metric.

Defaults are the seed's (contract.json, anomaly_thresholds): lower bounds exclusive, upper bounds inclusive.
"""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from incident.evidence import Metric
from incident.model import Duration, Fact, is_default
from incident.severity import Severity


class Tier(StrEnum):
    """How bad an anomaly is."""

    CRITICAL = "CRITICAL"
    WARNING = "WARNING"
    MINOR = "MINOR"

    @property
    def severity(self) -> Severity:
        """What an anomaly of this tier speaks for (contract.json, severity_by_hint)."""
        return {Tier.CRITICAL: Severity.P0, Tier.WARNING: Severity.P1, Tier.MINOR: Severity.P2}[self]


class Kind(StrEnum):
    """What is anomalous. The first five are measured; the rest are what others say, or that nothing can be said."""

    ERROR_RATE = "ERROR_RATE"
    P99_LATENCY = "P99_LATENCY"
    P95_LATENCY = "P95_LATENCY"
    CPU = "CPU"
    MEMORY = "MEMORY"
    HEALTH = "HEALTH"
    ALERT = "ALERT"
    UNREADABLE = "UNREADABLE"
    BURN_RATE = "BURN_RATE"
    """The service's objective is being missed. It is no reading of now: what was counted over hours says so."""

    @property
    def signal(self) -> "Signal | None":
        """What it is a sign of; `None`: nothing, since nothing can be said. Both latencies are one sign."""
        return _SIGNALS.get(self)


class Signal(StrEnum):
    """Independent signs of trouble. The first four are measured."""

    ERRORS = "errors"
    LATENCY = "latency"
    CPU = "cpu"
    MEMORY = "memory"
    HEALTH = "health"
    ALERT = "alert"


_SIGNALS = {
    Kind.ERROR_RATE: Signal.ERRORS,
    Kind.P99_LATENCY: Signal.LATENCY,
    Kind.P95_LATENCY: Signal.LATENCY,
    Kind.CPU: Signal.CPU,
    Kind.MEMORY: Signal.MEMORY,
    Kind.HEALTH: Signal.HEALTH,
    Kind.ALERT: Signal.ALERT,
    Kind.BURN_RATE: Signal.ERRORS,
}


class Band(Fact):
    """Values over `above`, up to and including `up_to`, in the metric's unit."""

    above: float = Field(ge=0)
    up_to: float | None = Field(default=None, description="null: no upper end")

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the band."""
        return value > self.above and (self.up_to is None or value <= self.up_to)


_Band = Annotated[Band | None, BeforeValidator(lambda value: None if value is False else value)]


class Limits(Fact):
    """The bands of one metric; `false` in a policy file takes one away. Without any, the metric is not judged."""

    critical: _Band = None
    warning: _Band = None
    minor: _Band = None

    @model_validator(mode="after")
    def _worse_is_higher(self) -> "Limits":
        bounds = [band.above for band in (self.critical, self.warning, self.minor) if band]
        if bounds != sorted(bounds, reverse=True):
            raise ValueError("expected critical.above >= warning.above >= minor.above")
        return self

    @property
    def judged(self) -> bool:
        """Whether there is any band."""
        return any((self.critical, self.warning, self.minor))

    def tier(self, value: float) -> Tier | None:
        """The worst band that holds `value`."""
        bands = ((Tier.CRITICAL, self.critical), (Tier.WARNING, self.warning), (Tier.MINOR, self.minor))
        return next((tier for tier, band in bands if band and band.holds(value)), None)

    def reached_from(self, value: float) -> bool:
        """Whether any larger value lies in a band."""
        return any(
            band.up_to is None or band.up_to > value for band in (self.critical, self.warning, self.minor) if band
        )


def _limits(critical: float, warning: float, minor: float) -> Limits:
    return Limits(critical=Band(above=critical), warning=Band(above=warning), minor=Band(above=minor))


_Limits = Annotated[Limits, BeforeValidator(lambda value: Limits() if value is False else value)]


class Thresholds(Fact):
    """The bands of every judged metric, in its unit: ratios 0..1, latencies in ms.

    `false` in a policy file takes a metric out of judgement.
    """

    error_rate: _Limits = _limits(0.10, 0.05, 0.02)
    p99_latency: _Limits = _limits(800, 500, 300)
    p95_latency: _Limits = Limits(minor=Band(above=200, up_to=400))
    cpu_usage: _Limits = _limits(0.90, 0.85, 0.70)
    memory_usage: _Limits = _limits(0.90, 0.85, 0.70)
    foresee: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(0),
        exclude_if=is_default,
        description="memory that climbs steadily and will be critical within this is a MINOR anomaly; 0: it is none",
    )
    alone: tuple[Metric, ...] = Field(
        default=(),
        exclude_if=is_default,
        description="metrics whose limits count even for values that are normal by their history; what a service's own "
        "policy has limits for is among them",
    )

    @model_validator(mode="after")
    def _something_is_judged(self) -> "Thresholds":
        if not any(True for _ in self.judged()):
            raise ValueError("expected limits for at least one metric, or everything would pass for healthy")
        return self

    def judged(self) -> Iterator[tuple[Metric, Kind, Limits]]:
        """The metrics that have limits, in the seed's order (contract.json, anomaly_order_within)."""
        for metric, kind, limits in (
            (Metric.ERROR_RATE, Kind.ERROR_RATE, self.error_rate),
            (Metric.P99_LATENCY, Kind.P99_LATENCY, self.p99_latency),
            (Metric.P95_LATENCY, Kind.P95_LATENCY, self.p95_latency),
            (Metric.CPU_USAGE, Kind.CPU, self.cpu_usage),
            (Metric.MEMORY_USAGE, Kind.MEMORY, self.memory_usage),
        ):
            if limits.judged:
                yield metric, kind, limits
