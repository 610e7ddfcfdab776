"""Before against after: how a service is, with "could not tell" as a value of its own."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from incident.anomalies import Anomaly, Assessment
from incident.evidence import Evidence, Health, Metric, SourceState
from incident.model import Fact, Moment
from incident.policy import RecoveryLimits

COMPARED = (
    Metric.ERROR_RATE,
    Metric.P99_LATENCY,
    Metric.P95_LATENCY,
    Metric.CPU_USAGE,
    Metric.MEMORY_USAGE,
    Metric.REQUESTS_PER_SECOND,
)
"""What before and after are shown of."""
_ALWAYS = (Metric.ERROR_RATE, Metric.P99_LATENCY)
_SMALLEST_CHANGE = {Metric.ERROR_RATE: 0.002, Metric.P99_LATENCY: 10.0, Metric.P95_LATENCY: 10.0}
_SMALLEST_SHARE = 0.02
"""Changes under these are none, however small the value before was: ratios, and ms for latencies."""


class Classification(StrEnum):
    """How a service is, compared with when the incident opened. INCONCLUSIVE: it could not be told."""

    FULLY_RECOVERED = "FULLY_RECOVERED"
    SIGNIFICANT_IMPROVEMENT = "SIGNIFICANT_IMPROVEMENT"
    IMPROVING = "IMPROVING"
    STABLE = "STABLE"
    DEGRADED = "DEGRADED"
    INCONCLUSIVE = "INCONCLUSIVE"


class Look(Fact):
    """One look at a service."""

    at: Moment
    values: dict[Metric, float | None] = Field(description="in the metrics' units; null: unreadable")
    health: Health
    firing_alerts: int | None = Field(description="null: the alerts could not be read")
    anomalies: tuple[Anomaly, ...]
    deployment_id: int | None = Field(default=None, description="what the service says is live")


class Recovery(Fact):
    """How the service is now, and why that is said."""

    classification: Classification
    reasons: tuple[str, ...]
    settled: bool = Field(description="whether further looks would change nothing: it has recovered, and stayed so")


def look_at(evidence: Evidence, assessment: Assessment) -> Look:
    """The part of `evidence` that recovery is judged by. A lower bound that is not bad yet is unknown."""
    bad = {anomaly.metric for anomaly in assessment.anomalies if anomaly.measured}
    return Look(
        at=evidence.collected_at,
        values={
            reading.metric: None if reading.at_least and reading.metric not in bad else reading.value
            for reading in evidence.metrics.readings
        },
        health=evidence.metrics.health,
        firing_alerts=None if evidence.alerts.state is SourceState.FAILED else len(evidence.alerts.firing),
        anomalies=assessment.anomalies,
        deployment_id=evidence.metrics.deployment_id,
    )


def improvement(before: float | None, after: float | None) -> float | None:
    """(before - after) / before in percent, two decimals; 0 where before is not positive; `None` where one is unknown.

    Source of the formula: contract.json, recovery.improvement_pct.
    """
    if before is None or after is None:
        return None
    return round((before - after) / before * 100, 2) if before > 0 else 0.0


def classify(before: Look, looks: Sequence[Look], limits: RecoveryLimits) -> Recovery:
    """How the service is after `looks`, oldest first, compared with `before`.

    FULLY_RECOVERED takes `limits.stable_looks` good looks in a row: error rate and p99 under their limits, health good,
    no alert firing, no anomaly of any kind, nothing unknown. DEGRADED: something is worse, whatever else is better.
    INCONCLUSIVE: nothing is known to be worse, and something that matters could not be read.
    """
    if not looks:
        return Recovery(classification=Classification.INCONCLUSIVE, reasons=("nobody has looked yet",), settled=False)
    now = looks[-1]
    wanting = _wanting(now, limits)
    if not wanting:
        return _good(before, looks, limits)
    changes = _Changes(before, now, limits)
    return Recovery(classification=changes.classification(), reasons=(*changes.reasons, *wanting), settled=False)


def _good(before: Look, looks: Sequence[Look], limits: RecoveryLimits) -> Recovery:
    good = 0
    for look in reversed(looks):
        if _wanting(look, limits):
            break
        good += 1
    if good >= limits.stable_looks:
        reasons: tuple[str, ...] = (f"{good} good looks in a row",)
        return Recovery(classification=Classification.FULLY_RECOVERED, reasons=reasons, settled=True)
    changes = _Changes(before, looks[-1], limits)
    reasons = (*changes.reasons, f"good for {good} of the {limits.stable_looks} looks that count as recovered")
    return Recovery(classification=changes.classification(), reasons=reasons, settled=False)


def _wanting(look: Look, limits: RecoveryLimits) -> tuple[str, ...]:
    """What stands between this look and a good one."""
    wanting = [anomaly.label for anomaly in look.anomalies]
    for metric, limit in ((Metric.ERROR_RATE, limits.error_rate_below), (Metric.P99_LATENCY, limits.p99_below)):
        value = look.values.get(metric)
        if value is None:
            wanting.append(f"{metric} is unknown")
        elif value >= limit:
            wanting.append(f"{metric} {metric.show(value)} is not under {metric.show(limit)}")
    if look.health is not Health.HEALTHY:
        wanting.append(f"health is {look.health}")
    if look.firing_alerts is None:
        wanting.append("the alerts could not be read")
    return tuple(wanting)


class _Changes:
    """What became better, worse or unknown between two looks."""

    def __init__(self, before: Look, after: Look, limits: RecoveryLimits) -> None:
        self._before, self._after, self._limits = before, after, limits
        self.better: list[str] = []
        self.worse: list[str] = []
        self.unknown: list[str] = []
        opened = tuple(anomaly.metric for anomaly in before.anomalies if anomaly.metric)
        for metric in dict.fromkeys((*_ALWAYS, *opened)):
            self._compare(metric)
        had = {anomaly.kind for anomaly in before.anomalies}
        self.worse += [f"new: {each.label}" for each in after.anomalies if each.kind not in had and self._known(each)]
        if (before.health, after.health) == (Health.HEALTHY, Health.DEGRADED):
            self.worse.append("health became degraded")
        if after.health is Health.UNKNOWN:
            self.unknown.append("health is unknown")
        if after.firing_alerts is None:
            self.unknown.append("the alerts could not be read")

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*self.worse, *self.unknown, *self.better)

    def classification(self) -> Classification:
        if self.worse:
            return Classification.DEGRADED
        if self.unknown:
            return Classification.INCONCLUSIVE
        if self._significant():
            return Classification.SIGNIFICANT_IMPROVEMENT
        return Classification.IMPROVING if self.better else Classification.STABLE

    def _known(self, anomaly: Anomaly) -> bool:
        """Whether `anomaly` is measured, and was before: where nothing was read, nothing is known to be new."""
        return anomaly.measured and anomaly.metric is not None and self._before.values.get(anomaly.metric) is not None

    def _compare(self, metric: Metric) -> None:
        before, after = self._before.values.get(metric), self._after.values.get(metric)
        words = f"{metric} {metric.show(before)} → {metric.show(after)}"
        if before is None or after is None:
            self.unknown.append(words)
            return
        noise = max(before * self._limits.tolerance, _SMALLEST_CHANGE.get(metric, _SMALLEST_SHARE))
        if after < before - noise:
            self.better.append(words)
        elif after > before + noise:
            self.worse.append(words)

    def _significant(self) -> bool:
        errors_before, errors = (look.values.get(Metric.ERROR_RATE) for look in (self._before, self._after))
        gain = improvement(*(look.values.get(Metric.P99_LATENCY) for look in (self._before, self._after)))
        if errors_before is None or errors is None or gain is None:
            return False
        share, least = self._limits.significant_error_share, self._limits.significant_latency_gain * 100
        return errors < share * errors_before and gain > least
