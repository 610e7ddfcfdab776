"""Thresholds, what is normal and what the service promises → anomalies, and the severity that they speak for.

Where a metric's healthy history is known, leaving it is the anomaly, and the thresholds say how bad it is. What cannot
be read is an anomaly of its own: it opens an incident rather than pass for healthy.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydantic import Field

from incident.burn_rate import Urgency
from incident.cause import MEMORY, Climb
from incident.evidence import BurnReport, Evidence, Health, Metric, MetricsReport, Normal, Reading, SourceState
from incident.model import Fact
from incident.severity import Severity, worst
from incident.thresholds import Band, Kind, Limits, Signal, Thresholds, Tier

__all__ = ["Anomaly", "Assessment", "Band", "Kind", "Limits", "Signal", "Thresholds", "Tier", "assess", "judge_metrics"]


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

    def gone_by(self, now: "Assessment") -> bool:
        """Whether every measured anomaly of this one is measured to be gone in `now`; unreadable is not gone.

        Where none was measured, nothing can be measured to be gone.
        """
        if any(anomaly.kind is Kind.UNREADABLE and anomaly.metric is None for anomaly in now.anomalies):
            return False
        still = {anomaly.metric for anomaly in now.anomalies}
        opened = {anomaly.metric for anomaly in self.anomalies if anomaly.measured}
        return bool(opened) and opened.isdisjoint(still)


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
    """What `evidence` shows: measured anomalies, what the service and its alerts say, and what cannot be read.

    Where the service burns what its objective allows, that is one anomaly beside them, of the most urgent burn; memory
    that is normal, but climbs and will soon be critical, is one as well.
    """
    measured = judge_metrics(evidence.metrics, thresholds, evidence.normals)
    if all(each.kind is not Kind.MEMORY for each in measured):
        measured += tuple(_foreseen(evidence, thresholds))
    burn = _burning(evidence.burn, evidence.metrics.value(Metric.ERROR_RATE)) if evidence.burn else ()
    anomalies = (*measured, *burn, *_hearsay(evidence))
    return Assessment(anomalies=anomalies, severity=worst(*(anomaly.tier.severity for anomaly in anomalies)))


def critical_soon(climb: Climb | None, memory: float | None, thresholds: Thresholds) -> timedelta | None:
    """How long until `memory`, a ratio, is critical at its pace; `None`: not within `foresee`, or that is not known."""
    limit = thresholds.memory_usage.critical
    if climb is None or climb.what != MEMORY or memory is None or limit is None:
        return None
    left = climb.until(limit.above, memory)
    return left if left is not None and left < thresholds.foresee else None


def _foreseen(evidence: Evidence, thresholds: Thresholds) -> Iterator[Anomaly]:
    climb, reading = evidence.climb, evidence.metrics.reading(Metric.MEMORY_USAGE)
    left = critical_soon(climb, reading.value if reading else None, thresholds)
    if climb and reading and left is not None:
        soon = f"{climb.words}, and will be critical in {left.total_seconds() / 60:.0f} min"
        yield Anomaly(
            id=f"anomaly:{Kind.MEMORY}",
            kind=Kind.MEMORY,
            tier=Tier.MINOR,
            label=f"{Tier.MINOR}_{Kind.MEMORY}: {reading.shown} ({soon})",
            metric=reading.metric,
            value=reading.value,
            evidence_ids=(reading.id,),
        )


def _burning(report: BurnReport, errors_now: float | None) -> Iterator[Anomaly]:
    """WARNING where it pages: a person is woken, and no rollback is begun without one.

    What was counted over hours tells neither since when it is nor what changed then; where users are hurt now, the
    readings of now say CRITICAL by themselves. MINOR for a ticket.
    """
    burning = report.burning(errors_now)
    if burning:
        tier = Tier.WARNING if burning[0].urgency is Urgency.PAGE else Tier.MINOR
        yield Anomaly(
            id=f"anomaly:{Kind.BURN_RATE}",
            kind=Kind.BURN_RATE,
            tier=tier,
            label=f"{tier}_{Kind.BURN_RATE}: {burning[0].words}, of {report.objective.words}",
            evidence_ids=tuple(each.id for each in burning),
        )


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
