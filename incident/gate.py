"""The gate: decision, evidence and ledger give a verdict, with a finding from every rule that spoke.

The model proposes, this disposes. It is a pure function; it runs where its verdict is recorded, and again right before
anything is done. A refusal is a verdict, not an error.
"""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from incident.anomalies import Assessment
from incident.decision import Action, Decision, raise_to
from incident.evidence import Deployment, Evidence, SourceState
from incident.ledger import LedgerView
from incident.model import Fact
from incident.policy import Policy
from incident.severity import Severity


class Course(StrEnum):
    """What happens now."""

    ACT = "act"
    ASK = "ask"
    PAGE = "page"
    WATCH = "watch"


class Finding(Fact):
    """What one rule found."""

    rule: str
    passed: bool
    saw: str = Field(description="what the rule looked at, in words")
    otherwise: Course = Field(description="what happens where the rule does not pass")


class Verdict(Fact):
    """What the gate allows."""

    course: Course
    severity: Severity = Field(description="the decision's, raised to what the numbers show")
    findings: tuple[Finding, ...]
    target: int | None = Field(default=None, description="the deployment that may be made live; for act and ask")
    expected_live: int | None = Field(default=None, description="the deployment that must still be live then")

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
        return tuple(f"{finding.rule}: {finding.saw}" for finding in self.findings if not finding.passed)


def judge(
    decision: Decision, evidence: Evidence, assessment: Assessment, ledger: LedgerView, policy: Policy
) -> Verdict:
    """The verdict on `decision`.

    P2 and P3 are watched, P1 is paged. P0 is rolled back where every rule passes, asked where only confidence or the
    measured severity is wanting and somebody may approve, and paged otherwise.
    """
    severity = raise_to(decision, assessment.severity).severity
    findings: tuple[Finding, ...] = (_severity(severity, decision, assessment),)
    if severity is not Severity.P0:
        return Verdict(course=findings[0].otherwise, severity=severity, findings=findings)
    findings += tuple(_rules(decision, evidence, assessment, ledger, policy))
    failed = {finding.otherwise for finding in findings if not finding.passed}
    course = Course.PAGE if Course.PAGE in failed else Course.ASK if Course.ASK in failed else Course.ACT
    if course is Course.ASK and not policy.approvers:
        saw = "the policy names nobody who may approve"
        findings += (Finding(rule="approvers", passed=False, saw=saw, otherwise=Course.PAGE),)
        course = Course.PAGE
    live = evidence.deployments.live
    if course is Course.PAGE or live is None:
        return Verdict(course=Course.PAGE, severity=severity, findings=findings)
    return Verdict(
        course=course,
        severity=severity,
        findings=findings,
        target=decision.rollback_to,
        expected_live=live.deployment_id,
    )


def _severity(severity: Severity, decision: Decision, assessment: Assessment) -> Finding:
    saw = f"analyst says {decision.severity}, the numbers say {assessment.severity}"
    otherwise = Course.WATCH if severity in {Severity.P2, Severity.P3} else Course.PAGE
    return Finding(rule="severity", passed=severity is Severity.P0, saw=saw, otherwise=otherwise)


def _rules(
    decision: Decision, evidence: Evidence, assessment: Assessment, ledger: LedgerView, policy: Policy
) -> Iterator[Finding]:
    yield _proposal(decision)
    if decision.action is not Action.ROLLBACK:
        return
    live = evidence.deployments.live
    target = evidence.deployments.find(decision.rollback_to)
    yield _live_is_known(evidence)
    if live is not None:
        yield _live_explains(live, evidence, policy)
    yield _target_is_known(decision, target)
    if target is not None:
        yield _target_is_earlier(target, live)
        yield _target_was_healthy(target)
        yield _target_was_not_rolled_back(target, ledger)
    yield _measured(assessment)
    yield _confidence(decision, policy)


def _proposal(decision: Decision) -> Finding:
    saw = f"the analyst proposes {decision.action}"
    return Finding(rule="proposal", passed=decision.action is Action.ROLLBACK, saw=saw, otherwise=Course.PAGE)


def _live_is_known(evidence: Evidence) -> Finding:
    history = evidence.deployments
    passed = False
    if history.state is not SourceState.OK:
        saw = f"the deployment history is {history.state} {history.problem}".rstrip()
    elif history.live is None:
        saw = "the deployment history does not say which one deployment is live"
    else:
        passed, saw = True, f"deployment {history.live.deployment_id} is live"
    return Finding(rule="live_known", passed=passed, saw=saw, otherwise=Course.PAGE)


def _live_explains(live: Deployment, evidence: Evidence, policy: Policy) -> Finding:
    if live.activated_at is None:
        passed, saw = False, f"when deployment {live.deployment_id} went live is not known"
    else:
        lead = evidence.onset - live.activated_at
        passed = timedelta(0) <= lead <= policy.deployment_explains_within
        side = "before" if lead >= timedelta(0) else "after"
        saw = (
            f"deployment {live.deployment_id} went live {timedelta(seconds=round(abs(lead).total_seconds()))} {side} "
            f"the onset; it explains an onset within {policy.deployment_explains_within}"
        )
    return Finding(rule="live_explains_onset", passed=passed, saw=saw, otherwise=Course.PAGE)


def _target_is_known(decision: Decision, target: Deployment | None) -> Finding:
    passed = target is not None
    saw = f"deployment {decision.rollback_to} is {'in' if passed else 'not in'} the service's history"
    return Finding(rule="target_known", passed=passed, saw=saw, otherwise=Course.PAGE)


def _target_is_earlier(target: Deployment, live: Deployment | None) -> Finding:
    name = f"deployment {target.deployment_id}"
    if live is None or live.activated_at is None or target.activated_at is None:
        passed, saw = False, f"whether {name} was live before cannot be told"
    else:
        passed = target.deployment_id != live.deployment_id and target.activated_at < live.activated_at
        saw = f"{name} went live {'before' if passed else 'not before'} deployment {live.deployment_id}"
    return Finding(rule="target_earlier", passed=passed, saw=saw, otherwise=Course.PAGE)


def _target_was_healthy(target: Deployment) -> Finding:
    words = {
        True: "once served in good health",
        False: "never served in good health",
        None: "is not known ever to have been healthy",
    }
    saw = f"deployment {target.deployment_id} {words[target.once_healthy]}"
    return Finding(rule="target_once_healthy", passed=target.once_healthy is True, saw=saw, otherwise=Course.PAGE)


def _target_was_not_rolled_back(target: Deployment, ledger: LedgerView) -> Finding:
    name = f"deployment {target.deployment_id}"
    past = ledger.rolled_back_from(target.deployment_id)
    if past is not None:
        passed, saw = False, f"{name} was rolled back from by {past.incident_id}"
    elif target.rolled_back_from_at is not None:
        passed, saw = False, f"{name} was rolled back from at {target.rolled_back_from_at:%Y-%m-%d %H:%M:%SZ}"
    else:
        known = (
            "" if ledger.state is not SourceState.FAILED else f" (by the history alone; the ledger: {ledger.problem})"
        )
        passed, saw = True, f"{name} was not itself rolled back{known}"
    return Finding(rule="target_not_rolled_back", passed=passed, saw=saw, otherwise=Course.PAGE)


def _measured(assessment: Assessment) -> Finding:
    measured = assessment.measured_severity
    saw = f"the readings alone say {measured}"
    return Finding(rule="measured_severity", passed=measured is Severity.P0, saw=saw, otherwise=Course.ASK)


def _confidence(decision: Decision, policy: Policy) -> Finding:
    saw = f"confidence {decision.confidence:.2f}, the policy wants {policy.min_confidence:.2f}"
    return Finding(
        rule="confidence", passed=decision.confidence >= policy.min_confidence, saw=saw, otherwise=Course.ASK
    )
