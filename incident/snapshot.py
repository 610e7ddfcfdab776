"""The record of one incident: for audit, replay and dashboards. Its JSON schema is published and versioned.

Holds every field of the seed's snapshot (contract.json, snapshot_fields) under its name and in its unit (percent and
milliseconds), beside the full evidence and decision in this project's units (ratios 0..1).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from incident.analysis import Analysis
from incident.anomalies import Anomaly, Assessment
from incident.dossier import (
    Approval,
    Channel,
    Dossier,
    Heard,
    Notification,
    Proposal,
    RemediationRecord,
    TimelineEntry,
    Trigger,
)
from incident.evidence import Evidence, Metric, Unit
from incident.gate import Verdict
from incident.ledger import LedgerView, RunState, Stop
from incident.messages import ChatKind
from incident.model import Fact, Moment, Ratio
from incident.policy import Policy
from incident.recovery import Classification, Look, Recovery, improvement, look_at
from incident.severity import PagerDutyPriority, Severity, priority_of

SCHEMA_VERSION: Literal["1.3"] = "1.3"


class Outcome(StrEnum):
    """How an incident ended."""

    NO_INCIDENT = "NO_INCIDENT"
    RECOVERED = "RECOVERED"
    UNRESOLVED = "UNRESOLVED"
    ESCALATED = "ESCALATED"
    CANCELLED = "CANCELLED"


class ActionTaken(StrEnum):
    """What was done, not what was recommended."""

    ROLLBACK = "rollback"
    ROLLBACK_UNDONE = "rollback_undone"
    ESCALATE = "escalate"
    MONITOR = "monitor"
    NONE = "none"


class AnomalySummary(Fact):
    """The anomalies that opened the incident."""

    count: int
    summary: str
    items: tuple[Anomaly, ...]


class SeedMetrics(Fact):
    """One look in the seed's units."""

    error_rate: float | None = Field(description="percent; null: unknown")
    p99_latency: float | None = Field(description="ms; null: unknown")
    p95_latency: float | None = Field(description="ms; null: unknown")
    cpu_usage: float | None = Field(description="percent; null: unknown")
    memory_usage: float | None = Field(description="percent; null: unknown")
    deployment_id: int | None
    health_status: str


class Improvement(Fact):
    """(before - after) / before in percent; null where one of them is unknown."""

    error_rate_pct: float | None
    latency_pct: float | None


class MetricsComparison(Fact):
    """Before and after."""

    before: SeedMetrics | None
    after: SeedMetrics | None = Field(description="null: nobody looked again")
    improvement: Improvement | None


class Integrations(Fact):
    """What was reached."""

    github: str = Field(description="the system that the deployment history came from")
    pagerduty: bool = Field(description="whether a page was delivered")
    slack: bool = Field(description="whether a chat message was delivered")


class Snapshot(Fact):
    """The record of one incident."""

    schema_version: Literal["1.0", "1.1", "1.2", "1.3"] = SCHEMA_VERSION
    incident_id: str
    workflow_id: str
    outcome: Outcome
    opened_at: Moment
    closed_at: Moment

    execution_id: str = Field(description="Kestra's execution, or the incident id where there is none")
    timestamp: Moment = Field(description="when the incident opened")
    service: str
    environment: str
    chaos_mode: bool
    severity: Severity
    confidence: Ratio | None = Field(description="0..1; null: nobody decided")
    confidence_score: int | None = Field(ge=0, le=100, description="the seed's field: percent; null: nobody decided")
    summary: str
    root_cause: str
    action_taken: ActionTaken
    deployment_source: str
    pagerduty_priority: PagerDutyPriority
    anomalies: AnomalySummary
    metrics: MetricsComparison
    integrations: Integrations
    health_status: Classification | Literal["not_checked"]
    deployment_changed: bool | None = Field(description="whether another deployment is live than before; null: unknown")

    trigger: Trigger
    policy: Policy
    evidence: Evidence | None
    assessment: Assessment | None
    analysis: Analysis | None
    verdict: Verdict | None
    ledger: LedgerView | None = Field(
        default=None, description="since 1.3: what the verdict knew of the past; null: not known, or no verdict"
    )
    proposal: Proposal | None
    approval: Approval | None
    approvals: tuple[Approval, ...] = Field(default=(), description="since 1.2: every answer that was taken")
    remediation: RemediationRecord | None
    undo: RemediationRecord | None = Field(default=None, description="since 1.1: the undoing of a rollback")
    stopped: Stop | None = Field(default=None, description="since 1.1: the kill switch, pulled while it ran")
    cancelled_by: str
    looks: tuple[Look, ...]
    recovery: Recovery | None
    notifications: tuple[Notification, ...]
    unreached: str = Field(default="", description="since 1.2: why nobody could be told; empty: somebody was")
    heard: Heard = Field(default=Heard(), description="since 1.2: what alerts said while it was open")
    timeline: tuple[TimelineEntry, ...]


def close(dossier: Dossier, outcome: Outcome, closed_at: Moment) -> Snapshot:
    """The snapshot of an incident that ended as `outcome`."""
    decision = dossier.analysis.decision if dossier.analysis else None
    severity = _severity(dossier)
    return Snapshot(
        incident_id=dossier.incident_id,
        workflow_id=dossier.workflow_id,
        outcome=outcome,
        opened_at=dossier.opened_at,
        closed_at=closed_at,
        execution_id=dossier.trigger.execution_id or dossier.incident_id,
        timestamp=dossier.opened_at,
        service=dossier.service,
        environment=dossier.environment,
        chaos_mode=dossier.trigger.chaos_mode,
        severity=severity,
        confidence=decision.confidence if decision else None,
        confidence_score=round(decision.confidence * 100) if decision else None,
        summary=decision.summary if decision else (dossier.assessment.summary if dossier.assessment else ""),
        root_cause=decision.root_cause_hypothesis if decision else "",
        action_taken=action_taken(dossier, outcome),
        deployment_source=dossier.evidence.deployments.source if dossier.evidence else "",
        pagerduty_priority=priority_of(severity),
        anomalies=_anomalies(dossier.assessment),
        metrics=_comparison(dossier),
        integrations=_integrations(dossier),
        health_status=dossier.recovery.classification if dossier.recovery else "not_checked",
        deployment_changed=_deployment_changed(dossier),
        trigger=dossier.trigger,
        policy=dossier.policy,
        evidence=dossier.evidence,
        assessment=dossier.assessment,
        analysis=dossier.analysis,
        verdict=dossier.verdict,
        ledger=dossier.ledger,
        proposal=dossier.proposal,
        approval=dossier.approval,
        approvals=tuple(dossier.approvals),
        remediation=dossier.remediation,
        undo=dossier.undo,
        stopped=dossier.stopped,
        cancelled_by=dossier.cancelled_by,
        looks=tuple(dossier.looks),
        recovery=dossier.recovery,
        notifications=tuple(dossier.notifications),
        unreached=dossier.unreached,
        heard=dossier.heard,
        timeline=tuple(dossier.timeline),
    )


def action_taken(dossier: Dossier, outcome: Outcome) -> ActionTaken:
    """What was done: a rollback counts only where it succeeded, an escalation only where a page arrived."""
    if _succeeded(dossier.undo):
        return ActionTaken.ROLLBACK_UNDONE
    if _succeeded(dossier.remediation):
        return ActionTaken.ROLLBACK
    if dossier.paged:
        return ActionTaken.ESCALATE
    return ActionTaken.NONE if outcome in {Outcome.NO_INCIDENT, Outcome.CANCELLED} else ActionTaken.MONITOR


def _succeeded(record: RemediationRecord | None) -> bool:
    return record is not None and record.run is not None and record.run.state is RunState.SUCCEEDED


def snapshot_schema() -> dict[str, Any]:
    """The JSON schema that every snapshot of this version holds to."""
    return Snapshot.model_json_schema(mode="serialization") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema"
    }


def _severity(dossier: Dossier) -> Severity:
    if dossier.verdict:
        return dossier.verdict.severity
    return dossier.assessment.severity if dossier.assessment else Severity.P3


def _anomalies(assessment: Assessment | None) -> AnomalySummary:
    if assessment is None:
        return AnomalySummary(count=0, summary="nobody has looked", items=())
    return AnomalySummary(count=len(assessment.anomalies), summary=assessment.summary, items=assessment.anomalies)


def _comparison(dossier: Dossier) -> MetricsComparison:
    before = look_at(dossier.evidence, dossier.assessment) if dossier.evidence and dossier.assessment else None
    after = dossier.looks[-1] if dossier.looks else None
    return MetricsComparison(
        before=_seed_metrics(before),
        after=_seed_metrics(after),
        improvement=_improvement(before, after) if before and after else None,
    )


def _improvement(before: Look, after: Look) -> Improvement:
    errors, latency = (
        improvement(before.values.get(metric), after.values.get(metric))
        for metric in (Metric.ERROR_RATE, Metric.P99_LATENCY)
    )
    return Improvement(error_rate_pct=errors, latency_pct=latency)


def _seed_metrics(look: Look | None) -> SeedMetrics | None:
    if look is None:
        return None
    return SeedMetrics(
        error_rate=_seed_unit(look, Metric.ERROR_RATE),
        p99_latency=_seed_unit(look, Metric.P99_LATENCY),
        p95_latency=_seed_unit(look, Metric.P95_LATENCY),
        cpu_usage=_seed_unit(look, Metric.CPU_USAGE),
        memory_usage=_seed_unit(look, Metric.MEMORY_USAGE),
        deployment_id=look.deployment_id,
        health_status=look.health,
    )


def _seed_unit(look: Look, metric: Metric) -> float | None:
    value = look.values.get(metric)
    return round(value * 100, 4) if value is not None and metric.unit is Unit.RATIO else value


def _integrations(dossier: Dossier) -> Integrations:
    return Integrations(
        github=dossier.evidence.deployments.source if dossier.evidence else "",
        pagerduty=any(each.kind is ChatKind.PAGE for each in _delivered(dossier.notifications, Channel.PAGER)),
        slack=bool(_delivered(dossier.notifications, Channel.CHAT)),
    )


def _delivered(notifications: Sequence[Notification], channel: Channel) -> Sequence[Notification]:
    return [each for each in notifications if each.channel is channel and each.delivered]


def _deployment_changed(dossier: Dossier) -> bool | None:
    before = dossier.evidence.metrics.deployment_id if dossier.evidence else None
    unseen = None if dossier.acted else before
    after = dossier.looks[-1].deployment_id if dossier.looks else unseen
    return None if before is None or after is None else before != after
