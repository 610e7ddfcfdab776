"""Valid values with sensible defaults: a test overrides what it is about, and nothing else.

Metrics are given in the seed's units (percent and ms), as the vectors of contract.json are; everything else in the
project's own (ratios 0..1, aware times).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from incident.analysis import Analysis, Case
from incident.anomalies import Assessment, Thresholds, assess
from incident.changes import ToldChange, ToldKind
from incident.decision import Decision
from incident.dossier import Approval, Channel, Dossier, Notification, Proposal, RemediationRecord
from incident.evidence import (
    Alert,
    AlertsReport,
    AlertState,
    Background,
    Deployment,
    DeploymentsReport,
    Evidence,
    Health,
    LogLine,
    LogsReport,
    Metric,
    MetricsReport,
    Normal,
    Reading,
    SourceState,
    Unit,
)
from incident.gate import Verdict, judge
from incident.identifiers import correlation_id, workflow_id
from incident.ledger import LedgerView, Remediation, RollbackOrder, RollbackRun, RunState
from incident.log_templates import LogTemplate
from incident.messages import ChatKind
from incident.policy import Policy
from incident.recovery import Look, look_at
from incident.snapshot import Outcome, Snapshot, close

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
ONSET = NOW - timedelta(minutes=2)
SERVICE = "payment-api"
ENVIRONMENT = "production"
INCIDENT_ID = "production.payment-api.20261124T140000Z.0badcafe"
MOCK = "mock-service"

HEALTHY_METRICS: Mapping[str, float | None] = {
    "error_rate": 0.8,
    "p50_latency": 60.0,
    "p95_latency": 120.0,
    "p99_latency": 180.0,
    "requests_per_second": 98.0,
    "cpu_usage": 45.0,
    "memory_usage": 52.0,
    "active_connections": 40.0,
}
DEGRADED_METRICS: Mapping[str, float | None] = {
    **HEALTHY_METRICS,
    "error_rate": 15.5,
    "p50_latency": 400.0,
    "p95_latency": 850.0,
    "p99_latency": 1200.0,
    "cpu_usage": 92.0,
    "memory_usage": 88.0,
}


def readings(**values: float | None) -> tuple[Reading, ...]:
    """A healthy service's readings, with `values` (percent and ms; None: unreadable) in place of theirs."""
    return tuple(_reading(Metric(name), value) for name, value in {**HEALTHY_METRICS, **values}.items())


def _reading(metric: Metric, value: float | None) -> Reading:
    inside = value / 100 if value is not None and metric.unit is Unit.RATIO else value
    return Reading(id=f"metric:{metric}", metric=metric, value=inside, problem="" if value is not None else "no number")


def metrics(values: Mapping[str, float | None] | None = None, **changes: object) -> MetricsReport:
    """A healthy metrics report, with `values` (percent and ms) among its readings."""
    return MetricsReport.model_validate(
        {
            "source": MOCK,
            "state": SourceState.OK,
            "readings": readings(**(values or {})),
            "health": Health.HEALTHY,
            "deployment_id": 100,
            **changes,
        }
    )


def log_line(number: int = 1, message: str = "charge refused: upstream timed out", **changes: object) -> LogLine:
    """One log line of an error."""
    return LogLine.model_validate(
        {"id": f"log:{number}", "at": NOW, "level": "ERROR", "message": message, "deployment_id": 101, **changes}
    )


def log_template(number: int = 1, **changes: object) -> LogTemplate:
    """A template of 400 lines of an error, the oldest from ONSET; whether it is new is not known."""
    return LogTemplate.model_validate(
        {
            "id": f"log:template-{number}",
            "level": "ERROR",
            "text": "charge <*> refused: upstream timed out",
            "count": 400,
            "first_at": ONSET,
            "last_at": NOW,
            "example": "charge ch_7 refused: upstream timed out",
            **changes,
        }
    )


def logs(*lines: LogLine, **changes: object) -> LogsReport:
    """A logs report of `lines`."""
    return LogsReport.model_validate({"source": MOCK, "state": SourceState.OK, "lines": lines, **changes})


def alert(key: str = "high-error-rate", **changes: object) -> Alert:
    """One firing alert, since ONSET."""
    return Alert.model_validate(
        {
            "id": f"alert:{key}",
            "summary": key.replace("-", " ").capitalize(),
            "severity": "critical",
            "state": AlertState.FIRING,
            "started_at": ONSET,
            **changes,
        }
    )


def alerts(*items: Alert, **changes: object) -> AlertsReport:
    """An alerts report of `items`."""
    return AlertsReport.model_validate({"source": MOCK, "state": SourceState.OK, "alerts": items, **changes})


def deployment(number: int, **changes: object) -> Deployment:
    """A deployment that is not live, went live a day ago, and was healthy."""
    return Deployment.model_validate(
        {
            "id": f"deployment:{number}",
            "deployment_id": number,
            "revision": f"abc{number}",
            "message": f"release {number}",
            "live": False,
            "activated_at": NOW - timedelta(days=1),
            "once_healthy": True,
            **changes,
        }
    )


def bad_deployment(**changes: object) -> Deployment:
    """Deployment 101: live for ten minutes, which is eight before ONSET, and never healthy."""
    recent = {"live": True, "activated_at": NOW - timedelta(minutes=10), "once_healthy": False}
    return deployment(101, **{**recent, **changes})


def deployments(*items: Deployment, **changes: object) -> DeploymentsReport:
    """A deployment history of `items`; without any: 101 live and recent, 100 and 99 before it, both healthy."""
    known = items or (bad_deployment(), deployment(100), deployment(99, activated_at=NOW - timedelta(days=7)))
    return DeploymentsReport.model_validate({"source": MOCK, "state": SourceState.OK, "deployments": known, **changes})


def rolled_back_history(at: datetime = NOW) -> DeploymentsReport:
    """The history after the rollback of `at`: 100 is live again, 101 was rolled back from."""
    return deployments(
        bad_deployment(live=False, rolled_back_from_at=at),
        deployment(100, live=True, activated_at=at),
        deployment(99, activated_at=NOW - timedelta(days=7)),
    )


def evidence(**changes: object) -> Evidence:
    """The evidence of a healthy service, with `changes` in place of its parts."""
    return Evidence.model_validate(
        {
            "service": SERVICE,
            "environment": ENVIRONMENT,
            "collected_at": NOW,
            "metrics": metrics(),
            "logs": logs(),
            "alerts": alerts(),
            "deployments": deployments(),
            **changes,
        }
    )


def healthy_evidence(at: datetime = NOW, **changes: object) -> Evidence:
    """What is seen after a rollback that worked: healthy numbers, no alert, 100 live again."""
    return evidence(**{"collected_at": at, "deployments": rolled_back_history(), **changes})


def degraded_evidence(at: datetime = NOW, **changes: object) -> Evidence:
    """What is seen of the bad deployment 101: P0 by its numbers, two alerts firing since ONSET, errors in the log."""
    degraded = {
        "collected_at": at,
        "metrics": metrics(DEGRADED_METRICS, health=Health.DEGRADED, deployment_id=101),
        "logs": logs(log_line(1), log_line(2, "database pool exhausted", error_type="PoolTimeout")),
        "alerts": alerts(alert(), alert("high-latency", started_at=ONSET + timedelta(seconds=30))),
    }
    return evidence(**{**degraded, **changes})


def assessment(of: Evidence | None = None, thresholds: Thresholds | None = None) -> Assessment:
    """The assessment of `of`, or of the degraded evidence."""
    return assess(of or degraded_evidence(), thresholds or Thresholds())


def decision(**changes: object) -> Decision:
    """A confident proposal to roll back to 100."""
    return Decision.model_validate(
        {
            "severity": "P0",
            "confidence": 0.92,
            "summary": "Errors and latency rose right after deployment 101 went live.",
            "root_cause_hypothesis": "Deployment 101 exhausts the database pool.",
            "action": "rollback",
            "rollback_to": 100,
            "pagerduty_priority": "P1",
            "evidence_ids": ("metric:error_rate", "deployment:101"),
            **changes,
        }
    )


def analysis(**changes: object) -> Analysis:
    """An analyst's confident proposal to roll back to 100."""
    return Analysis.model_validate({"decision": decision(), "analyst": "rules", **changes})


def case(of: Evidence | None = None, explains_within: timedelta = timedelta(hours=2)) -> Case:
    """The case that an analyst gets of `of`, or of the degraded evidence."""
    seen = of or degraded_evidence()
    return Case(incident_id=INCIDENT_ID, evidence=seen, assessment=assessment(seen), explains_within=explains_within)


def policy(**changes: object) -> Policy:
    """A policy that acts by itself and wakes nobody twice; short times, two good looks to recovery, approver ada."""
    return Policy.model_validate(
        {
            "mode": "auto",
            "approvers": ("ada",),
            "approve_within": "2m",
            "decide_within": "10s",
            "page_after": "1m",
            "wake_again_after": "90d",
            "remediate_within": "1m",
            "follow_every": "1s",
            "settle": "1s",
            "look_every": "1s",
            "max_looks": 5,
            "recovery": {"stable_looks": 2},
            **changes,
        }
    )


def remediation(**changes: object) -> Remediation:
    """A rollback of yesterday from 100 to 99 that succeeded, as the ledger holds it."""
    return Remediation.model_validate(
        {
            "correlation_id": "ic-0123456789abcdef0123",
            "incident_id": "production.payment-api.20261123T140000Z.00c0ffee",
            "service": SERVICE,
            "environment": ENVIRONMENT,
            "from_deployment": 100,
            "to_deployment": 99,
            "state": RunState.SUCCEEDED,
            "at": NOW - timedelta(days=1),
            **changes,
        }
    )


def ledger(*remediations: Remediation, **changes: object) -> LedgerView:
    """A ledger of `remediations`; without any, it is empty."""
    state = SourceState.OK if remediations else SourceState.EMPTY
    return LedgerView.model_validate({"state": state, "at": NOW, "remediations": remediations, **changes})


def verdict(of: Decision | None = None, seen: Evidence | None = None, by: Policy | None = None) -> Verdict:
    """The gate's verdict, with an empty ledger; the defaults give ACT, from 101 to 100."""
    shown = seen or degraded_evidence()
    return judge(of or decision(), shown, assessment(shown), ledger(), by or policy())


def order(**changes: object) -> RollbackOrder:
    """The order to roll back from 101 to 100."""
    return RollbackOrder.model_validate(
        {
            "correlation_id": correlation_id(INCIDENT_ID, "rollback"),
            "incident_id": INCIDENT_ID,
            "execution_id": INCIDENT_ID,
            "service": SERVICE,
            "environment": ENVIRONMENT,
            "target": 100,
            "expected_live": 101,
            "reason": "Errors rose right after deployment 101 went live.",
            "confidence": 0.92,
            **changes,
        }
    )


def run(state: RunState = RunState.SUCCEEDED, **changes: object) -> RollbackRun:
    """What became of the order."""
    return RollbackRun.model_validate(
        {"correlation_id": correlation_id(INCIDENT_ID, "rollback"), "state": state, **changes}
    )


def remediation_record(**changes: object) -> RemediationRecord:
    """A rollback that the policy authorised and that succeeded."""
    return RemediationRecord.model_validate({"order": order(), "authorised_by": "policy", "run": run(), **changes})


def proposal(**changes: object) -> Proposal:
    """The question whether to roll back from 101 to 100."""
    return Proposal.model_validate(
        {
            "digest": "d" * 64,
            "target": 100,
            "expected_live": 101,
            "question": "Roll back deployment 101 to 100?",
            "proposed_at": NOW,
            "deadline": NOW + timedelta(minutes=2),
            **changes,
        }
    )


def approval(**changes: object) -> Approval:
    """Ada's yes to the question."""
    return Approval.model_validate(
        {"digest": "d" * 64, "approver": "ada", "approved": True, "at": NOW + timedelta(minutes=1), **changes}
    )


def notification(**changes: object) -> Notification:
    """A chat alert that arrived."""
    return Notification.model_validate(
        {
            "channel": Channel.CHAT,
            "kind": ChatKind.ALERT,
            "title": "P0 payment-api (production)",
            "delivered": True,
            "at": NOW,
            **changes,
        }
    )


def page_sent(**changes: object) -> Notification:
    """A page that arrived."""
    return notification(**{"channel": Channel.PAGER, "kind": ChatKind.PAGE, **changes})


def look(
    values: Mapping[str, float | None] | None = None,
    at: datetime = NOW,
    seen: Evidence | None = None,
    thresholds: Thresholds | None = None,
) -> Look:
    """A look at a healthy service, with `values` (percent and ms) among its readings; or a look at `seen`."""
    shown = seen or healthy_evidence(at, metrics=metrics(values))
    return look_at(shown, assessment(shown, thresholds))


def dossier(**changes: object) -> Dossier:
    """The dossier of an incident that was just opened: nothing is known yet."""
    return Dossier.model_validate(
        {
            "incident_id": INCIDENT_ID,
            "workflow_id": workflow_id(ENVIRONMENT, SERVICE),
            "service": SERVICE,
            "environment": ENVIRONMENT,
            "trigger": {"source": "cli", "trigger_id": "trigger-1"},
            "policy": policy(),
            "opened_at": NOW,
            **changes,
        }
    )


def decided_dossier(**changes: object) -> Dossier:
    """The dossier of a degraded service, up to the verdict ACT; nothing is done yet."""
    seen = degraded_evidence()
    known = {"evidence": seen, "assessment": assessment(seen), "analysis": analysis(), "verdict": verdict(seen=seen)}
    return dossier(**{**known, **changes})


def snapshot(of: Dossier | None = None, outcome: Outcome = Outcome.RECOVERED) -> Snapshot:
    """The snapshot of `of`; by default of a rollback that worked, seen healthy twice."""
    looks = [look(at=NOW + timedelta(minutes=minute)) for minute in (1, 2)]
    worked = of or decided_dossier(remediation=remediation_record(), looks=looks, notifications=[notification()])
    return close(worked, outcome, NOW + timedelta(minutes=3))


def normal(metric: Metric, typical: float, *, low: float | None = None, high: float | None = None) -> Normal:
    """What is normal of `metric`, in its own unit."""
    return Normal(id=f"normal:{metric}", metric=metric, typical=typical, low=low, high=high, samples=500)


def background(*normals: Normal, **changes: object) -> Background:
    """A history that was read, with what is normal by it."""
    return Background.model_validate(
        {"source": "prometheus", "state": SourceState.OK, "since": NOW - timedelta(days=1), "normals": normals}
        | changes
    )


def told_change(change_id: str = "pool", **changes: object) -> ToldChange:
    """A change of the service's configuration, half a minute before the onset."""
    given = {
        "id": change_id,
        "service": SERVICE,
        "environment": ENVIRONMENT,
        "kind": ToldKind.CONFIGURATION,
        "at": ONSET - timedelta(seconds=30),
        "description": "database pool from 20 to 10",
        "by": "pipeline",
        "told_at": NOW,
    }
    return ToldChange.model_validate(given | changes)
