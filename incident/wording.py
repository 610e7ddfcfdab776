"""What people are told, in words: the alert, the question, the report, the page."""

from collections.abc import Sequence

from incident.analysis import Analysis
from incident.anomalies import Assessment
from incident.cause import ChangeKind
from incident.evidence import Evidence, Metric
from incident.gate import Course, Verdict
from incident.identifiers import escalation_key, page_key
from incident.ledger import RollbackOrder, RollbackRun
from incident.messages import Ask, Change, ChatKind, ChatMessage, Claim, MessageField, Page
from incident.model import Moment
from incident.recovery import Look, Recovery, improvement
from incident.severity import Severity, priority_of


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
        key=card_key(incident_id),
        fields=_fields(
            ("Severity", verdict.severity),
            ("Error rate", Metric.ERROR_RATE.show(value(Metric.ERROR_RATE))),
            ("CPU", Metric.CPU_USAGE.show(value(Metric.CPU_USAGE))),
            ("Latency", latency),
            ("Anomalies", assessment.summary),
            ("Deployment", context),
            ("Explained by", verdict.cause.elsewhere if verdict.cause else ""),
            ("Log", "; ".join(each.words for each in evidence.logs.new_errors[:_TEMPLATES])),
            ("Not seen", "; ".join(evidence.missing)),
            ("Action", intention(verdict)),
            ("Because", "; ".join(verdict.refusals)),
            ("Confidence", f"{decision.confidence:.2f}, {_lowered(analysis) or 'as the analyst puts it'}"),
        ),
        claims=(
            Claim(label=f"Analyst ({analysis.analyst}) says", text=decision.summary, cites=decision.evidence_ids),
            Claim(
                label=f"Analyst ({analysis.analyst}) suspects",
                text=decision.root_cause_hypothesis,
                cites=decision.evidence_ids,
            ),
        ),
    )


def _lowered(analysis: Analysis) -> str:
    """Why the confidence is less than what the analyst put it at; empty: it is not."""
    invented = len(analysis.invented)
    cited = invented + len(analysis.decision.evidence_ids)
    return f"lowered since {invented} of {cited} citations do not exist" if invented else ""


_TEMPLATES = 2
"""Log templates that an alert shows: the worst ones."""


def card_key(incident_id: str) -> str:
    """The key of the incident's one message in the channel."""
    return f"{incident_id}/card"


def details(incident_id: str, evidence: Evidence, analysis: Analysis, verdict: Verdict, round_: int) -> ChatMessage:
    """What the gate found, rule by rule, what is known of each item that the analyst cites, and what it invented."""
    cited = (f"{item}: {evidence.describe(item)}" for item in analysis.decision.evidence_ids)
    return ChatMessage(
        kind=ChatKind.DETAILS,
        incident_id=incident_id,
        title="What the gate found, and what the analyst cites",
        key=f"{incident_id}/details-{round_}",
        fields=_fields(
            *((each.rule, f"{'passed' if each.passed else 'refused'}: {each.saw}") for each in verdict.findings),
            ("Cited", "\n".join(cited)),
            ("Cited, and not among the evidence", "\n".join(analysis.invented)),
        ),
    )


def to_ask(evidence: Evidence, verdict: Verdict) -> str:
    """What a person is asked, in words."""
    return (
        f"{verdict.severity} {evidence.service} ({evidence.environment}): "
        f"roll back deployment {verdict.expected_live} to {verdict.target}?"
    )


def question(incident_id: str, evidence: Evidence, verdict: Verdict, ask: Ask, number: int) -> ChatMessage:
    """The question whether to roll back, asked for the `number`-th time in this incident."""
    return ChatMessage(
        kind=ChatKind.QUESTION,
        incident_id=incident_id,
        title=to_ask(evidence, verdict),
        fields=_fields(
            ("Because", "; ".join(verdict.refusals)),
            ("Answer", f"commander approve {incident_id} (or deny), before {ask.deadline:%Y-%m-%d %H:%M:%SZ}"),
            ("Digest", ask.digest[:12]),
        ),
        ask=ask,
        key=f"{incident_id}/question-{number}",
        announce=True,
    )


def refused(incident_id: str, approver: str, answer: str, why: str) -> ChatMessage:
    """An answer that was not taken."""
    return ChatMessage(
        kind=ChatKind.NOTE,
        incident_id=incident_id,
        title=f"The answer of {approver} ({answer}) was not taken: {why}",
        fields=(),
    )


def instead(page: Page, problem: str) -> ChatMessage:
    """The page in the chat, since the pager cannot be reached."""
    return ChatMessage(
        kind=ChatKind.PAGE,
        incident_id=page.incident_id,
        title=page.summary,
        fields=(MessageField(label="Nobody could be paged", text=problem), *page.details),
        key=page.key,
        announce=True,
    )


def change(order: RollbackOrder, run: RollbackRun, at: Moment) -> Change:
    """The change that a rollback, or the undoing of one, was to its service."""
    where = f"{order.service} ({order.environment})"
    return Change(
        incident_id=order.incident_id,
        summary=f"{order.kind} of {where}: deployment {order.expected_live} → {order.target}",
        service=order.service,
        environment=order.environment,
        at=at,
        details=_fields(("reason", order.reason), ("revision", order.target_revision), ("by", "incident commander")),
        url=run.url,
    )


def review(incident_id: str, order: RollbackOrder, run: RollbackRun) -> ChatMessage:
    """The rollback waits for somebody's review in the system that carries it out."""
    return ChatMessage(
        kind=ChatKind.REVIEW,
        incident_id=incident_id,
        title=f"{order.service} ({order.environment}): the rollback to deployment {order.target} waits for a review",
        fields=_fields(("Review", run.url), ("Waits for", run.detail)),
        key=f"{incident_id}/review-{order.correlation_id}",
        announce=True,
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
        key=f"{incident_id}/report",
        announce=True,
        fields=_fields(
            ("Done", done),
            *((metric.value.replace("_", " ").capitalize(), _change(metric, was, now)) for metric, was, now in rows),
            ("Why", "; ".join(recovery.reasons)),
        ),
    )


_CHANGES = 3
"""Told changes that a page shows: the newest ones."""
_REPORTED = (Metric.ERROR_RATE, Metric.P99_LATENCY, Metric.P95_LATENCY, Metric.CPU_USAGE, Metric.MEMORY_USAGE)


def _change(metric: Metric, was: float | None, now: float | None) -> str:
    percent = improvement(was, now)
    shown = "" if percent is None else f" ({percent:.1f} % better)" if percent >= 0 else f" ({-percent:.1f} % worse)"
    return f"{metric.show(was)} → {metric.show(now)}{shown}"


def page(incident_id: str, evidence: Evidence, severity: Severity, summary: str, why: str, escalation: int = 0) -> Page:
    """A page: one for each incident, however often it is sent; another for each escalation, counted from 1."""
    value = evidence.metrics.value
    shown = ((metric.value, metric.show(value(metric))) for metric in _REPORTED)
    told = [each for each in evidence.changes if each.kind is not ChangeKind.DEPLOYMENT]
    newest = sorted(told, key=lambda each: each.at, reverse=True)[:_CHANGES]
    changed = "; ".join(f"{each.id}, {each.words}" for each in newest)
    return Page(
        key=escalation_key(incident_id, escalation) if escalation else page_key(incident_id),
        incident_id=incident_id,
        severity=severity,
        priority=priority_of(severity),
        summary=f"{severity} {evidence.service} ({evidence.environment}): {summary}"[:1024],
        service=evidence.service,
        environment=evidence.environment,
        details=_fields(
            ("incident", incident_id),
            ("why", why),
            *shown,
            ("changed", changed),
            ("not seen", "; ".join(evidence.missing)),
        ),
    )
