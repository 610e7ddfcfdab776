"""Thresholds and what is normal → anomalies, and the severity that they speak for.

Defaults are the seed's (contract.json, anomaly_thresholds): lower bounds exclusive, upper bounds inclusive. Where a
metric's healthy history is known, leaving it is the anomaly, and the thresholds say how bad it is. What cannot be read
is an anomaly of its own: it opens an incident rather than pass for healthy.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from incident.evidence import Evidence, Health, Metric, MetricsReport, Normal, Reading, SourceState
from incident.model import Fact, is_default
from incident.severity import Severity, worst


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


class Anomaly(Fact):
    """One thing that is not as it should be."""

    id: str = Field(description="`anomaly:<kind>[:<metric or alert>]`")
    kind: Kind
    tier: Tier
    label: str = Field(description="`<TIER>_<KIND>: <value><unit>`, as the seed words it, and what would be normal")
    metric: Metric | None = None
    value: float | None = Field(default=None, description="in the metric's unit")
    evidence_ids: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether a reading shows it, not somebody's word or a missing value."""
        return self.value is not None


class Assessment(Fact):
    """What the numbers say, before any analyst."""

    anomalies: tuple[Anomaly, ...]
    severity: Severity = Field(description="what the anomalies speak for; P3: none")

    @property
    def healthy(self) -> bool:
        """Whether nothing at all is anomalous, unreadable metrics included."""
        return not self.anomalies

    @property
    def measured_severity(self) -> Severity:
        """The severity of the measured anomalies alone, leaving out what others say and what cannot be read."""
        return worst(*(anomaly.tier.severity for anomaly in self.anomalies if anomaly.measured))

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The independent signs of trouble, measured ones first."""
        seen = {anomaly.kind.signal for anomaly in self.anomalies}
        return tuple(signal for signal in Signal if signal in seen)

    @property
    def summary(self) -> str:
        """The worst tier and its anomalies, then how many there are in all; "NORMAL" where there are none."""
        tier = next((tier for tier in Tier if any(anomaly.tier is tier for anomaly in self.anomalies)), None)
        if tier is None:
            return "NORMAL"
        labels = ", ".join(anomaly.label for anomaly in self.anomalies if anomaly.tier is tier)
        total = f" ({len(self.anomalies)} anomalies in all)" if len(self.anomalies) > 1 else ""
        return f"{tier}: {labels}{total}"


def judge_metrics(
    metrics: MetricsReport, thresholds: Thresholds, normals: Sequence[Normal] = ()
) -> tuple[Anomaly, ...]:
    """The anomalies of `metrics`: critical first, then warning, then minor, unreadable metrics last.

    A metric that has limits and no value is UNREADABLE (MINOR); if none has a value, one WARNING stands for all. So is
    one of which only a lower bound is known, if the bound lies in no band and what is above it might. `normals` say
    whether a value is an anomaly, where they are known; the bands, how bad it is.
    """
    found: list[Anomaly] = []
    unreadable: list[Anomaly] = []
    judged = tuple(thresholds.judged())
    for metric, kind, limits in judged:
        reading = metrics.reading(metric)
        value, normal = reading.value if reading else None, _healthy(normals, metric, limits)
        tier = None if value is None else _tier(value, limits, normal, alone=metric in thresholds.alone)
        if reading is None or value is None or (reading.at_least and not tier and limits.reached_from(value)):
            unreadable.append(_unreadable(metric))
        elif tier:
            found.append(_measured(kind, tier, reading, normal))
    found.sort(key=lambda anomaly: list(Tier).index(anomaly.tier))
    return (_blind(metrics),) if len(unreadable) == len(judged) else (*found, *unreadable)


def _healthy(normals: Sequence[Normal], metric: Metric, limits: Limits) -> Normal | None:
    """What is normal of `metric`; a history in which errors are critical most of the time is no healthy one."""
    normal = next((each for each in normals if each.metric is metric), None)
    sick = normal and metric is Metric.ERROR_RATE and limits.tier(normal.typical) is Tier.CRITICAL
    return None if sick else normal


def _tier(value: float, limits: Limits, normal: Normal | None, *, alone: bool) -> Tier | None:
    if normal is None:
        return limits.tier(value)
    if normal.holds(value):
        return limits.tier(value) if alone else None
    return limits.tier(value) or Tier.MINOR


def _measured(kind: Kind, tier: Tier, reading: Reading, normal: Normal | None) -> Anomaly:
    beside = f" ({normal.words})" if normal else ""
    return Anomaly(
        id=f"anomaly:{kind}",
        kind=kind,
        tier=tier,
        label=f"{tier}_{kind}: {reading.shown}{beside}",
        metric=reading.metric,
        value=reading.value,
        evidence_ids=(reading.id, *((normal.id,) if normal else ())),
    )


def _unreadable(metric: Metric) -> Anomaly:
    return Anomaly(
        id=f"anomaly:{Kind.UNREADABLE}:{metric}",
        kind=Kind.UNREADABLE,
        tier=Tier.MINOR,
        label=f"{Tier.MINOR}_{Kind.UNREADABLE}: {metric}",
        metric=metric,
    )


def assess(evidence: Evidence, thresholds: Thresholds) -> Assessment:
    """What `evidence` shows: measured anomalies, what the service and its alerts say, and what cannot be read."""
    anomalies = (*judge_metrics(evidence.metrics, thresholds, evidence.normals), *_hearsay(evidence))
    return Assessment(anomalies=anomalies, severity=worst(*(anomaly.tier.severity for anomaly in anomalies)))


def _blind(metrics: MetricsReport) -> Anomaly:
    why = metrics.problem if metrics.state is SourceState.FAILED else "no metric has a value"
    return Anomaly(
        id=f"anomaly:{Kind.UNREADABLE}",
        kind=Kind.UNREADABLE,
        tier=Tier.WARNING,
        label=f"{Tier.WARNING}_{Kind.UNREADABLE}: {why}",
    )


def _hearsay(evidence: Evidence) -> Iterator[Anomaly]:
    if evidence.metrics.health is Health.DEGRADED:
        label = f"{Tier.MINOR}_{Kind.HEALTH}: {evidence.metrics.health}"
        yield Anomaly(id=f"anomaly:{Kind.HEALTH}", kind=Kind.HEALTH, tier=Tier.MINOR, label=label)
    for alert in evidence.alerts.firing:
        yield Anomaly(
            id=f"anomaly:{alert.id}",
            kind=Kind.ALERT,
            tier=Tier.MINOR,
            label=f"{Tier.MINOR}_{Kind.ALERT}: {alert.summary}",
            evidence_ids=(alert.id,),
        )
