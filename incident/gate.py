"""The gate: decision, evidence and ledger give a verdict, with a finding from every rule that spoke.

The model proposes, this disposes. It is a pure function; it runs where its verdict is recorded, and again right before
anything is done. A refusal is a verdict, not an error.
"""

from collections.abc import Iterable

from pydantic import Field

from incident.anomalies import Assessment
from incident.cause import Cause, Climb
from incident.causes import cause_of
from incident.decision import Action, Decision, raise_to
from incident.evidence import Evidence
from incident.ledger import LedgerView
from incident.model import Fact
from incident.policy import Policy
from incident.rulebook import RULES, Course, Finding, Matter
from incident.severity import Severity

__all__ = ["Course", "Finding", "Verdict", "judge", "refusals"]
_SHADOW = "not_shadow"


class Verdict(Fact):
    """What the gate allows."""

    course: Course
    severity: Severity = Field(description="the decision's, raised to what the numbers show")
    findings: tuple[Finding, ...]
    target: int | None = Field(default=None, description="the deployment that may be made live; for act and ask")
    expected_live: int | None = Field(default=None, description="the deployment that must still be live then")
    would: Course | None = Field(default=None, description="in mode shadow: what would have happened without it")
    cause: Cause | None = Field(default=None, description="since 1.3: what code makes of the evidence")

    def rollback(self) -> tuple[int, int]:
        """Target and expected live deployment of the rollback that may be made.

        Raises:
            ValueError: the verdict allows none.
        """
        if self.target is None or self.expected_live is None:
            raise ValueError(f"the verdict is {self.course}, which allows no rollback")
        return self.target, self.expected_live

    @property
    def refusals(self) -> tuple[str, ...]:
        """What the rules that did not pass saw."""
        return refusals(self.findings)


def refusals(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What the rules that did not pass saw."""
    return tuple(f"{finding.rule}: {finding.saw}" for finding in findings if not finding.passed)


def judge(
    decision: Decision, evidence: Evidence, assessment: Assessment, ledger: LedgerView, policy: Policy
) -> Verdict:
    """The verdict on `decision`.

    P2 and P3 are watched, but a P2 behind which something climbs is paged: it gets worse by itself. P1 is paged. P0 is
    rolled back where every rule passes, asked where only rules that a person may overrule do not pass and somebody may
    approve, and paged otherwise.
    """
    severity = raise_to(decision, assessment.severity).severity
    cause = cause_of(evidence, assessment, policy.deployment_explains_within)
    findings: tuple[Finding, ...] = (_severity(severity, decision, assessment, evidence.climb),)
    if severity is not Severity.P0:
        return Verdict(course=findings[0].otherwise, severity=severity, findings=findings, cause=cause)
    findings += _spoken(Matter(decision, evidence, assessment, ledger, policy, cause))
    course = _course(findings)
    if course is Course.ASK and not policy.approvers:
        saw = "the policy names nobody who may approve"
        findings += (Finding(rule="approvers", passed=False, saw=saw, otherwise=Course.PAGE),)
        course = Course.PAGE
    live = evidence.deployments.live
    if course is Course.PAGE or live is None:
        would = _would(findings, policy)
        return Verdict(course=Course.PAGE, severity=severity, findings=findings, would=would, cause=cause)
    return Verdict(
        course=course,
        severity=severity,
        findings=findings,
        target=decision.rollback_to,
        expected_live=live.deployment_id,
        cause=cause,
    )


def _severity(severity: Severity, decision: Decision, assessment: Assessment, climb: Climb | None) -> Finding:
    saw = f"analyst says {decision.severity}, the numbers say {assessment.severity}"
    otherwise = Course.WATCH if severity in {Severity.P2, Severity.P3} else Course.PAGE
    if climb and severity is Severity.P2:
        saw, otherwise = f"{saw}; {climb.words}, and gets worse by itself", Course.PAGE
    return Finding(rule="severity", passed=severity is Severity.P0, saw=saw, otherwise=otherwise)


def _spoken(matter: Matter) -> tuple[Finding, ...]:
    asked = RULES if matter.decision.action is Action.ROLLBACK else RULES[:1]
    return tuple(finding for rule in asked if (finding := rule.finding(matter)))


def _course(findings: Iterable[Finding]) -> Course:
    failed = {finding.otherwise for finding in findings if not finding.passed}
    return Course.PAGE if Course.PAGE in failed else Course.ASK if Course.ASK in failed else Course.ACT


def _would(findings: tuple[Finding, ...], policy: Policy) -> Course | None:
    """What would have happened without the shadow mode; `None` where that is not what held it back."""
    if all(finding.passed or finding.rule != _SHADOW for finding in findings):
        return None
    course = _course(finding for finding in findings if finding.rule != _SHADOW)
    return Course.PAGE if course is Course.ASK and not policy.approvers else course
