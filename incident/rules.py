"""The rules analyst: deterministic, needs no key, and decides wherever a model cannot.

Its confidence is fixed by what it saw, not felt: a recent deployment that explains the onset and a proven predecessor
give 0.9, or 0.7 where another change explains it as well; a failed source takes 0.15 off.
"""

from datetime import timedelta

from incident.analysis import Analysis, Case
from incident.anomalies import Assessment
from incident.cause import Cause, Guilt
from incident.causes import cause_of, guilt_of_live
from incident.decision import Action, Decision
from incident.evidence import Deployment, Evidence
from incident.severity import Severity, priority_of

_EXPLAINED = 0.9
_CONTESTED = 0.7
_UNEXPLAINED = 0.6
_MISSING_SOURCE = 0.15
_TEMPLATES = 3
"""Log templates that a decision cites: the worst ones."""


def propose(evidence: Evidence, assessment: Assessment, explains_within: timedelta) -> Decision:
    """What the rules make of `evidence`; the same evidence gives the same decision.

    Args:
        evidence: what was seen.
        assessment: what the numbers say of it.
        explains_within: how shortly before the onset a change must have been made to explain it.
    """
    severity = assessment.severity
    cited = tuple(dict.fromkeys(each for anomaly in assessment.anomalies for each in anomaly.evidence_ids))[:40]
    penalty = _MISSING_SOURCE * len(evidence.missing)
    missing = f" Not seen: {'; '.join(evidence.missing)}." if evidence.missing else ""
    summary = f"{evidence.service} in {evidence.environment}: {assessment.summary}.{missing}"[:2000]
    cited += tuple(each.id for each in evidence.logs.new_errors[:_TEMPLATES])
    cause = cause_of(evidence, assessment, explains_within)
    culprit = _culprit(evidence, cause)
    rival = f"{cause.elsewhere}, explains the onset, or this does: " if cause.elsewhere else ""
    target = _predecessor(evidence, culprit) if culprit else None
    if cause.elsewhere and cause.guilty:
        cited = (*cited, cause.guilty.id)
    if culprit and target and severity is Severity.P0:
        return Decision(
            severity=severity,
            confidence=max(0.0, (_CONTESTED if rival else _EXPLAINED) - penalty),
            summary=summary,
            root_cause_hypothesis=(
                f"{rival}Deployment {culprit.deployment_id} went live shortly before the onset; "
                f"deployment {target.deployment_id}, live before it, was healthy."
            ),
            action=Action.ROLLBACK,
            rollback_to=target.deployment_id,
            pagerduty_priority=priority_of(severity),
            evidence_ids=(*cited, culprit.id, target.id),
        )
    return Decision(
        severity=severity,
        confidence=max(0.0, _UNEXPLAINED - penalty),
        summary=summary,
        root_cause_hypothesis=_why_not(evidence, cause, culprit, target),
        action=Action.ESCALATE if severity in {Severity.P0, Severity.P1} else Action.MONITOR,
        pagerduty_priority=priority_of(severity),
        evidence_ids=cited,
    )


def _why_not(evidence: Evidence, cause: Cause, culprit: Deployment | None, target: Deployment | None) -> str:
    if culprit is None:
        _, reasons = guilt_of_live(cause, evidence)
        elsewhere = [each.service for each in cause.suspects if each.service != evidence.service]
        beside = f" {elsewhere[0]} is suspected." if elsewhere and cause.suspects[0].service != evidence.service else ""
        if cause.guilty:
            return f"{cause.guilty.id} explains the onset, a {cause.guilty.words}.{beside} {reasons}."[:2000]
        return f"No deployment explains the onset: load, a dependency or the platform are likelier.{beside} {reasons}."[
            :2000
        ]
    recent = f"Deployment {culprit.deployment_id} went live shortly before the onset"
    if target is None:
        return f"{recent}, and no proven earlier one is known."
    return f"{recent}; the numbers do not call for a rollback."


def _culprit(evidence: Evidence, cause: Cause) -> Deployment | None:
    """The live deployment, if code finds it guilty, or another change of the service that time cannot tell it from."""
    guilt, _ = guilt_of_live(cause, evidence)
    rivals = guilt is Guilt.UNKNOWN and cause.guilty is not None and cause.guilty.service == evidence.service
    return evidence.deployments.live if guilt is Guilt.GUILTY or rivals else None


def _predecessor(evidence: Evidence, culprit: Deployment) -> Deployment | None:
    proven = [
        (known.activated_at, known)
        for known in evidence.deployments.deployments
        if known.activated_at is not None
        and culprit.activated_at is not None
        and known.activated_at < culprit.activated_at
        and known.once_healthy is True
        and known.rolled_back_from_at is None
    ]
    return max(proven, key=lambda pair: pair[0])[1] if proven else None


class RulesAnalyst:
    """The rules as an analyst."""

    async def decide(self, case: Case) -> Analysis:
        """What the rules make of `case`; never fails."""
        return Analysis(decision=propose(case.evidence, case.assessment, case.explains_within), analyst="rules")
