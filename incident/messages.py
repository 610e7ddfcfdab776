"""What people are told, as data: the alert, the question, the recovery report, the page. Adapters give it its looks.

What code measured stands in the fields; what the analyst says is marked as the analyst's.
"""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from incident.analysis import Analysis
from incident.anomalies import Assessment
from incident.evidence import Evidence, Metric
from incident.gate import Course, Verdict
from incident.identifiers import page_key
from incident.ledger import RollbackOrder, RollbackRun
from incident.model import Fact
from incident.recovery import Look, Recovery, improvement
from incident.severity import Severity, priority_of


class ChatKind(StrEnum):
    """What a message is for."""

    ALERT = "alert"
    QUESTION = "question"
    REVIEW = "review"
    REPORT = "report"
    PAGE = "page"
    RESOLVE = "resolve"


class MessageField(Fact):
    """One labelled value."""

    label: str
    text: str


class ChatMessage(Fact):
    """One message to a channel."""

    kind: ChatKind
    incident_id: str
    title: str
    fields: tuple[MessageField, ...]

    @property
    def text(self) -> str:
        """The message as plain text, a line for each field."""
        return "\n".join((self.title, *(f"{field.label}: {field.text}" for field in self.fields)))


class Page(Fact):
    """One page to the person on call."""

    key: str = Field(description="equal keys are one page")
    incident_id: str
    severity: Severity
    priority: str = Field(description="PagerDuty's priority for that severity")
    summary: str = Field(max_length=1024)
    service: str
    environment: str
    details: tuple[MessageField, ...]

    @property
    def text(self) -> str:
        """The page as plain text, a line for each detail."""
        return "\n".join((self.summary, *(f"{field.label}: {field.text}" for field in self.details)))


def _fields(*pairs: tuple[str, str]) -> tuple[MessageField, ...]:
    return tuple(MessageField(label=label, text=text) for label, text in pairs if text)


def intention(verdict: Verdict) -> str:
    """What the verdict leads to, in words."""
    match verdict.course:
        case Course.ACT:
            return f"rolling back deployment {verdict.expected_live} to {verdict.target}"
        case Course.ASK:
            return f"asking to roll back deployment {verdict.expected_live} to {verdict.target}"
        case Course.PAGE:
            return f"paging the person on call{_held_back(verdict)}"
        case Course.WATCH:
            return "watching"


def _held_back(verdict: Verdict) -> str:
    if verdict.would is None:
        return ""
    return f"; without the shadow mode it would {'roll back' if verdict.would is Course.ACT else verdict.would}"


def alert(
    incident_id: str, evidence: Evidence, assessment: Assessment, analysis: Analysis, verdict: Verdict
) -> ChatMessage:
    """The alert: what was measured, what the analyst makes of it, what happens now."""
    decision = analysis.decision
    live = evidence.deployments.live
    since = f", live since {live.activated_at:%Y-%m-%d %H:%M:%SZ}" if live and live.activated_at else ""
    context = f"{live.deployment_id} ({live.revision}){since}: {live.message}" if live else "not known"
    value = evidence.metrics.value
    latency = ", ".join(
        f"{metric[:3]} {metric.show(value(metric))}" for metric in (Metric.P95_LATENCY, Metric.P99_LATENCY)
    )
    return ChatMessage(
        kind=ChatKind.ALERT,
        incident_id=incident_id,
        title=f"{verdict.severity} {evidence.service} ({evidence.environment}): {intention(verdict)}",
        fields=_fields(
            ("Severity", verdict.severity),
            ("Error rate", Metric.ERROR_RATE.show(value(Metric.ERROR_RATE))),
            ("CPU", Metric.CPU_USAGE.show(value(Metric.CPU_USAGE))),
            ("Latency", latency),
            ("Anomalies", assessment.summary),
            ("Deployment", context),
            ("Not seen", "; ".join(evidence.missing)),
            ("Action", intention(verdict)),
            ("Because", "; ".join(verdict.refusals)),
            (f"Analyst ({analysis.analyst}) says", decision.summary),
            (f"Analyst ({analysis.analyst}) suspects", decision.root_cause_hypothesis),
            ("Confidence", f"{decision.confidence:.2f}"),
        ),
    )


def question(incident_id: str, evidence: Evidence, verdict: Verdict, digest: str, deadline: str) -> ChatMessage:
    """The question whether to roll back."""
    return ChatMessage(
        kind=ChatKind.QUESTION,
        incident_id=incident_id,
        title=(
            f"{verdict.severity} {evidence.service} ({evidence.environment}): "
            f"roll back deployment {verdict.expected_live} to {verdict.target}?"
        ),
        fields=_fields(
            ("Because", "; ".join(verdict.refusals)),
            ("Answer", f"commander approve {incident_id} (or deny), before {deadline}"),
            ("Digest", digest[:12]),
        ),
    )


def review(incident_id: str, order: RollbackOrder, run: RollbackRun) -> ChatMessage:
    """The rollback waits for somebody's review in the system that carries it out."""
    return ChatMessage(
        kind=ChatKind.REVIEW,
        incident_id=incident_id,
        title=f"{order.service} ({order.environment}): the rollback to deployment {order.target} waits for a review",
        fields=_fields(("Review", run.url), ("Waits for", run.detail)),
    )


def report(
    incident_id: str, evidence: Evidence, before: Look, looks: Sequence[Look], recovery: Recovery, done: str
) -> ChatMessage:
    """The recovery report: before and after, improvement in percent, classification.

    Args:
        incident_id: the incident.
        evidence: what opened it.
        before: the look that opened the incident.
        looks: the looks after the action, oldest first.
        recovery: how the service is judged to be.
        done: what was done, in words.
    """
    rows = [
        (metric, before.values.get(metric), looks[-1].values.get(metric) if looks else None) for metric in _REPORTED
    ]
    return ChatMessage(
        kind=ChatKind.REPORT,
        incident_id=incident_id,
        title=f"{recovery.classification} {evidence.service} ({evidence.environment})",
        fields=_fields(
            ("Done", done),
            *((metric.value.replace("_", " ").capitalize(), _change(metric, was, now)) for metric, was, now in rows),
            ("Why", "; ".join(recovery.reasons)),
        ),
    )


_REPORTED = (Metric.ERROR_RATE, Metric.P99_LATENCY, Metric.P95_LATENCY, Metric.CPU_USAGE, Metric.MEMORY_USAGE)


def _change(metric: Metric, was: float | None, now: float | None) -> str:
    percent = improvement(was, now)
    shown = "" if percent is None else f" ({percent:.1f} % better)" if percent >= 0 else f" ({-percent:.1f} % worse)"
    return f"{metric.show(was)} → {metric.show(now)}{shown}"


def page(incident_id: str, evidence: Evidence, severity: Severity, summary: str, why: str) -> Page:
    """The page: one for each incident, whatever leads to it and however often it is sent."""
    value = evidence.metrics.value
    shown = ((metric.value, metric.show(value(metric))) for metric in _REPORTED)
    return Page(
        key=page_key(incident_id),
        incident_id=incident_id,
        severity=severity,
        priority=priority_of(severity),
        summary=f"{severity} {evidence.service} ({evidence.environment}): {summary}"[:1024],
        service=evidence.service,
        environment=evidence.environment,
        details=_fields(("incident", incident_id), ("why", why), *shown, ("not seen", "; ".join(evidence.missing))),
    )
