from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.anomalies import Anomaly, Assessment, Kind, Thresholds, Tier, assess
from incident.decision import Action, Decision
from incident.evidence import Deployment, DeploymentsReport, Evidence, SourceState
from incident.gate import Course, Verdict, judge
from incident.ledger import LedgerView, RunState
from incident.policy import Policy
from incident.severity import Severity
from tests.builders import (
    DEGRADED_METRICS,
    NOW,
    ONSET,
    alert,
    alerts,
    assessment,
    bad_deployment,
    decision,
    degraded_evidence,
    deployment,
    deployments,
    evidence,
    ledger,
    metrics,
    policy,
    remediation,
)

WITHIN = timedelta(hours=2)
SECOND = timedelta(seconds=1)


def judged(
    proposal: Decision | None = None,
    seen: Evidence | None = None,
    past: LedgerView | None = None,
    rules: Policy | None = None,
) -> Verdict:
    shown = seen or degraded_evidence()
    by = rules or policy()
    return judge(proposal or decision(), shown, assess(shown, by.thresholds), past or ledger(), by)


def with_history(*items: Deployment, **changes: object) -> Evidence:
    return degraded_evidence(deployments=deployments(*items, **changes))


def failed(verdict: Verdict) -> set[str]:
    return {finding.rule for finding in verdict.findings if not finding.passed}


def test_a_proven_cause_and_target_with_confidence_is_acted_on() -> None:
    verdict = judged()
    assert (verdict.course, verdict.severity) == (Course.ACT, Severity.P0)
    assert (verdict.target, verdict.expected_live) == (100, 101)
    assert verdict.refusals == ()
    assert [finding.rule for finding in verdict.findings] == [
        "severity",
        "proposal",
        "live_known",
        "live_explains_onset",
        "target_known",
        "target_earlier",
        "target_once_healthy",
        "target_not_rolled_back",
        "measured_severity",
        "confidence",
    ]


# Severity.


def test_a_severity_below_the_numbers_is_raised() -> None:
    verdict = judged(decision(severity="P3"))
    assert (verdict.course, verdict.severity) == (Course.ACT, Severity.P0)


def test_a_severity_above_the_numbers_is_never_lowered_but_asked() -> None:
    verdict = judged(seen=degraded_evidence(metrics=metrics({"error_rate": 7.0})))
    assert (verdict.course, verdict.severity) == (Course.ASK, Severity.P0)
    assert failed(verdict) == {"measured_severity"}
    assert (verdict.target, verdict.expected_live) == (100, 101)


@pytest.mark.parametrize(
    ("error_rate", "course", "severity"),
    [(7.0, Course.PAGE, Severity.P1), (3.0, Course.WATCH, Severity.P2), (0.8, Course.WATCH, Severity.P3)],
)
def test_p1_is_paged_and_p2_and_p3_are_watched(error_rate: float, course: Course, severity: Severity) -> None:
    verdict = judged(decision(severity="P3"), evidence(metrics=metrics({"error_rate": error_rate})))
    assert (verdict.course, verdict.severity, verdict.target) == (course, severity, None)
    assert failed(verdict) == {"severity"}


def test_alerts_and_unreadable_metrics_alone_never_act() -> None:
    seen = degraded_evidence(metrics=metrics(dict.fromkeys(DEGRADED_METRICS), health="degraded"))
    assert judged(seen=seen).course is Course.ASK
    assert "measured_severity" in failed(judged(seen=seen))


# The proposal.


@pytest.mark.parametrize("action", [Action.MONITOR, Action.ESCALATE])
def test_p0_without_a_proposed_rollback_is_paged(action: Action) -> None:
    verdict = judged(decision(action=action, rollback_to=None))
    assert (verdict.course, failed(verdict), verdict.target) == (Course.PAGE, {"proposal"}, None)


# The live deployment.


@pytest.mark.parametrize(
    ("activated", "explains"),
    [
        pytest.param(ONSET - WITHIN, True, id="just in time"),
        pytest.param(ONSET - WITHIN - SECOND, False, id="too old"),
        pytest.param(ONSET, True, id="with the onset"),
        pytest.param(ONSET + SECOND, False, id="after the onset"),
        pytest.param(None, False, id="time unknown"),
    ],
)
def test_the_live_deployment_must_have_been_activated_shortly_before_the_onset(
    activated: datetime | None,
    explains: bool,  # noqa: FBT001 - the case
) -> None:
    history = (bad_deployment(activated_at=activated), deployment(100, activated_at=NOW - timedelta(days=3)))
    verdict = judged(seen=with_history(*history), rules=policy(deployment_explains_within="2h"))
    assert (verdict.course is Course.ACT) is explains
    if not explains:
        assert verdict.course is Course.PAGE
        assert "live_explains_onset" in failed(verdict)


def test_a_refusal_says_on_which_side_of_the_onset_the_deployment_was() -> None:
    late = judged(seen=with_history(bad_deployment(activated_at=ONSET + 5 * SECOND), deployment(100)))
    assert "deployment 101 went live 0:00:05 after the onset" in late.refusals[0]
    early = judged(seen=with_history(bad_deployment(activated_at=ONSET - 3 * WITHIN), deployment(100)))
    assert "deployment 101 went live 6:00:00 before the onset" in early.refusals[0]


def test_the_policy_says_how_recent_the_deployment_must_be() -> None:
    assert judged(rules=policy(deployment_explains_within="8m")).course is Course.ACT
    assert judged(rules=policy(deployment_explains_within="7m")).course is Course.PAGE


@pytest.mark.parametrize(
    "history",
    [
        pytest.param((deployment(101), deployment(100)), id="none is live"),
        pytest.param((bad_deployment(), deployment(100), deployment(99, live=True)), id="two are live"),
    ],
)
def test_the_live_deployment_must_be_known(history: tuple[Deployment, ...]) -> None:
    verdict = judged(seen=with_history(*history))
    assert (verdict.course, verdict.target, verdict.expected_live) == (Course.PAGE, None, None)
    assert "live_known" in failed(verdict)
    assert any("does not say which one deployment is live" in each for each in verdict.refusals)


@pytest.mark.parametrize("state", [SourceState.FAILED, SourceState.EMPTY])
@pytest.mark.parametrize("items", [(), (bad_deployment(), deployment(100))])
def test_a_deployment_history_that_did_not_answer_never_acts(state: SourceState, items: tuple[Deployment, ...]) -> None:
    history = DeploymentsReport(source="mock-service", state=state, problem="HTTP 500", deployments=items)
    verdict = judged(seen=degraded_evidence(deployments=history))
    assert verdict.course is Course.PAGE
    assert f"live_known: the deployment history is {state} HTTP 500" in verdict.refusals


# The target.


def test_the_target_must_be_known() -> None:
    verdict = judged(decision(rollback_to=42))
    assert (verdict.course, failed(verdict), verdict.target) == (Course.PAGE, {"target_known"}, None)


@pytest.mark.parametrize(
    "activated",
    [
        pytest.param(NOW - timedelta(minutes=10), id="at the same time"),
        pytest.param(NOW - timedelta(minutes=9), id="later"),
        pytest.param(None, id="never, or unknown"),
    ],
)
def test_the_target_must_have_been_live_earlier(activated: datetime | None) -> None:
    verdict = judged(seen=with_history(bad_deployment(), deployment(100, activated_at=activated)))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_earlier"})


def test_the_live_deployment_is_no_target() -> None:
    verdict = judged(decision(rollback_to=101), with_history(bad_deployment(once_healthy=True), deployment(100)))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_earlier"})


@pytest.mark.parametrize("healthy", [False, None])
def test_the_target_must_once_have_been_healthy(healthy: bool | None) -> None:  # noqa: FBT001 - the case
    verdict = judged(seen=with_history(bad_deployment(), deployment(100, once_healthy=healthy)))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_once_healthy"})


def test_a_target_that_the_ledger_knows_as_rolled_back_is_refused() -> None:
    past = remediation()
    verdict = judged(past=ledger(past))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_not_rolled_back"})
    assert past.incident_id in verdict.refusals[0]


def test_a_target_that_the_history_knows_as_rolled_back_is_refused() -> None:
    seen = with_history(bad_deployment(), deployment(100, rolled_back_from_at=NOW - timedelta(hours=5)))
    verdict = judged(seen=seen)
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_not_rolled_back"})
    assert verdict.refusals == ("target_not_rolled_back: deployment 100 was rolled back from at 2026-11-24 09:00:00Z",)


def test_a_rollback_that_did_not_succeed_does_not_taint_the_target() -> None:
    assert judged(past=ledger(remediation(state=RunState.FAILED))).course is Course.ACT


def test_an_unreadable_ledger_leaves_it_to_the_history_and_says_so() -> None:
    verdict = judged(past=ledger(state=SourceState.FAILED, problem="locked"))
    assert verdict.course is Course.ACT
    assert any("by the history alone; the ledger: locked" in finding.saw for finding in verdict.findings)


# Confidence and approvers.


@pytest.mark.parametrize(
    ("confidence", "course"),
    [
        (0.0, Course.ASK),
        (0.70, Course.ASK),
        (0.79, Course.ASK),
        (0.7999, Course.ASK),
        (0.8, Course.ACT),
        (1, Course.ACT),
    ],
)
def test_too_little_confidence_asks_a_person(confidence: float, course: Course) -> None:
    verdict = judged(decision(confidence=confidence))
    assert verdict.course is course
    assert failed(verdict) == (set() if course is Course.ACT else {"confidence"})
    assert (verdict.target, verdict.expected_live) == (100, 101)


def test_without_approvers_a_question_becomes_a_page() -> None:
    verdict = judged(decision(confidence=0.75), rules=policy(approvers=()))
    assert (verdict.course, verdict.target) == (Course.PAGE, None)
    assert failed(verdict) == {"confidence", "approvers"}


def test_acting_needs_no_approver() -> None:
    assert judged(rules=policy(approvers=())).course is Course.ACT


def test_a_question_never_replaces_a_page() -> None:
    verdict = judged(decision(confidence=0.75, rollback_to=42))
    assert verdict.course is Course.PAGE
    assert failed(verdict) == {"target_known", "confidence"}


# What the verdict allows.


def test_a_verdict_to_act_or_ask_says_which_rollback_may_be_made() -> None:
    assert judged().rollback() == (100, 101)
    assert judged(decision(confidence=0.75)).rollback() == (100, 101)


def test_a_verdict_to_page_or_watch_allows_no_rollback() -> None:
    for verdict in (judged(decision(rollback_to=42)), judged(decision(severity="P3"), evidence())):
        with pytest.raises(ValueError, match=f"the verdict is {verdict.course}, which allows no rollback"):
            verdict.rollback()


@pytest.mark.parametrize("lacking", ["target", "expected_live"])
def test_half_a_rollback_is_none(lacking: str) -> None:
    with pytest.raises(ValueError, match="allows no rollback"):
        judged().model_copy(update={lacking: None}).rollback()


# Whatever comes.

ages = st.sampled_from(
    [None, *(timedelta(minutes=minutes) for minutes in (-1, 0, 1, 2, 3, 10, 119, 121, 122, 123, 9999))]
)
flags = st.sampled_from([True, True, True, False, None])
mostly_live = st.booleans()


@st.composite
def any_deployment(draw: st.DrawFn, number: int, live: bool) -> Deployment:  # noqa: FBT001 - a field's value
    age = draw(ages)
    rolled_back = draw(st.sampled_from([None, None, None, NOW - timedelta(days=1)]))
    return deployment(
        number,
        live=live,
        activated_at=None if age is None else NOW - age,
        once_healthy=draw(flags),
        rolled_back_from_at=rolled_back,
    )


@st.composite
def any_history(draw: st.DrawFn) -> DeploymentsReport:
    if draw(st.booleans()):
        report = deployments()
    else:
        live = draw(st.sampled_from([101, 101, 101, 100, None]))
        items = [draw(any_deployment(number, live=number == live)) for number in (101, 100, 99)]
        report = deployments(*items[: draw(st.integers(1, 3))])
    state = draw(st.sampled_from([SourceState.OK] * 4 + [SourceState.EMPTY, SourceState.FAILED]))
    return report.model_copy(
        update={"state": state, "deployments": draw(st.sampled_from([report.deployments] * 4 + [()]))}
    )


@st.composite
def any_evidence(draw: st.DrawFn) -> Evidence:
    values = draw(
        st.one_of(
            st.just(dict(DEGRADED_METRICS)),
            st.fixed_dictionaries(
                {
                    "error_rate": st.sampled_from([None, 0.8, 3.0, 7.0, 10.0, 10.01]),
                    "p99_latency": st.sampled_from([None, 180.0, 800.0, 801.0]),
                    "cpu_usage": st.sampled_from([None, 45.0, 90.0]),
                }
            ),
        )
    )
    firing = draw(st.lists(st.sampled_from([ONSET, NOW, NOW - timedelta(hours=3)]), max_size=2))
    return evidence(
        metrics=metrics(values, health=draw(st.sampled_from(["healthy", "degraded", "unknown"]))),
        alerts=alerts(*(alert(str(number), started_at=at) for number, at in enumerate(firing))),
        deployments=draw(any_history()),
    )


@st.composite
def any_decision(draw: st.DrawFn) -> Decision:
    action = draw(st.sampled_from([Action.ROLLBACK] * 4 + [Action.MONITOR, Action.ESCALATE]))
    return decision(
        severity=draw(st.sampled_from(Severity)),
        action=action,
        rollback_to=draw(st.sampled_from([100, 100, 99, 101, 42])) if action is Action.ROLLBACK else None,
        confidence=draw(st.one_of(st.floats(0, 1), st.sampled_from([0.5, 0.8, 0.95]))),
    )


@st.composite
def any_ledger(draw: st.DrawFn) -> LedgerView:
    past = [
        remediation(from_deployment=draw(st.sampled_from([99, 100, 101])), state=draw(st.sampled_from(RunState)))
        for _ in range(draw(st.sampled_from([0, 0, 1, 2])))
    ]
    return ledger(*past, state=draw(st.sampled_from(SourceState)))


@st.composite
def any_policy(draw: st.DrawFn) -> Policy:
    return policy(
        min_confidence=draw(st.floats(0.5, 1)),
        approvers=draw(st.sampled_from([(), ("ada",)])),
        deployment_explains_within=draw(st.sampled_from([timedelta(minutes=5), WITHIN])),
    )


def may_act(proposal: Decision, seen: Evidence, past: LedgerView, rules: Policy) -> bool:
    """Every condition of a rollback, written down a second time and in other words."""
    history = seen.deployments
    live = [each for each in history.deployments if each.live]
    target = {each.deployment_id: each for each in history.deployments}.get(proposal.rollback_to or -1)
    onset = min([each.started_at for each in seen.alerts.alerts if each.state == "firing"] + [seen.collected_at])
    numbers = {each.metric.value: each.value for each in seen.metrics.readings}
    critical = {"error_rate": 0.10, "p99_latency": 800, "cpu_usage": 0.90, "memory_usage": 0.90}
    measured_p0 = any((numbers[name] or 0) > bound for name, bound in critical.items())
    if history.state != "ok" or len(live) != 1 or target is None or not measured_p0:
        return False
    went_live, was_live = live[0].activated_at, target.activated_at
    if went_live is None or was_live is None or target.live or not was_live < went_live <= onset:
        return False
    undone = {each.from_deployment for each in past.remediations if each.state == "succeeded"}
    return (
        proposal.action == "rollback"
        and went_live >= onset - rules.deployment_explains_within
        and target.once_healthy is True
        and target.rolled_back_from_at is None
        and target.deployment_id not in undone
        and proposal.confidence >= rules.min_confidence
    )


@settings(deadline=None)
@given(any_decision(), any_evidence(), any_ledger(), any_policy())
def test_it_acts_exactly_where_every_rule_holds(
    proposal: Decision, seen: Evidence, past: LedgerView, rules: Policy
) -> None:
    verdict = judged(proposal, seen, past, rules)
    assert (verdict.course is Course.ACT) == may_act(proposal, seen, past, rules)
    if verdict.course is Course.ACT:
        assert assess(seen, Thresholds()).measured_severity is Severity.P0
        assert verdict.severity is Severity.P0
        assert failed(verdict) == set()
        assert verdict.target == proposal.rollback_to
        assert [each.deployment_id for each in seen.deployments.deployments if each.live] == [verdict.expected_live]


@settings(deadline=None)
@given(any_decision(), any_evidence(), any_ledger(), any_policy())
def test_it_asks_only_somebody_and_only_about_confidence_and_measurement(
    proposal: Decision, seen: Evidence, past: LedgerView, rules: Policy
) -> None:
    verdict = judged(proposal, seen, past, rules)
    if verdict.course is Course.ASK:
        assert rules.approvers
        assert failed(verdict) <= {"confidence", "measured_severity"}
        assert verdict.target == proposal.rollback_to
    if verdict.course in {Course.PAGE, Course.WATCH}:
        assert (verdict.target, verdict.expected_live) == (None, None)


@settings(deadline=None)
@given(any_decision(), any_evidence(), any_policy(), st.text(min_size=1), st.text(min_size=1))
def test_what_an_analyst_writes_never_changes_the_verdict(
    proposal: Decision, seen: Evidence, rules: Policy, words: str, more: str
) -> None:
    texts = {"summary": words, "root_cause_hypothesis": more, "evidence_ids": (words,), "pagerduty_priority": "P5"}
    other = proposal.model_copy(update=texts)
    assert judged(proposal, seen, rules=rules) == judged(other, seen, rules=rules)


@settings(deadline=None)
@given(any_decision(), any_evidence(), any_ledger(), any_policy(), st.floats(0.5, 1))
def test_raising_the_wanted_confidence_never_makes_it_act(
    proposal: Decision, seen: Evidence, past: LedgerView, rules: Policy, wanted: float
) -> None:
    stricter = rules.model_copy(update={"min_confidence": max(wanted, rules.min_confidence)})
    before, after = judged(proposal, seen, past, rules), judged(proposal, seen, past, stricter)
    assert before.course is Course.ACT or after.course is not Course.ACT


@settings(deadline=None)
@given(
    any_decision(), any_evidence(), any_ledger(), any_policy(), st.sampled_from([SourceState.EMPTY, SourceState.FAILED])
)
def test_a_history_that_is_empty_or_failed_never_acts_nor_asks(
    proposal: Decision, seen: Evidence, past: LedgerView, rules: Policy, state: SourceState
) -> None:
    history = seen.deployments.model_copy(update={"state": state})
    verdict = judged(proposal, seen.model_copy(update={"deployments": history}), past, rules)
    assert verdict.course in {Course.PAGE, Course.WATCH}


@pytest.mark.parametrize("again", [judged, lambda: judged(past=ledger())])
def test_the_same_input_gives_the_same_verdict(again: Callable[[], Verdict]) -> None:
    assert again() == judged()


def test_a_critical_anomaly_that_nobody_measured_is_asked_about() -> None:
    said = Anomaly(id="anomaly:ALERT", kind=Kind.ALERT, tier=Tier.CRITICAL, label="CRITICAL_ALERT: says so")
    hearsay = Assessment(anomalies=(said,), severity=Severity.P0)
    verdict = judge(decision(), degraded_evidence(), hearsay, ledger(), policy())
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"measured_severity"})


def test_the_measured_severity_is_the_assessments() -> None:
    nothing = assessment(evidence())
    verdict = judge(decision(), degraded_evidence(), nothing, ledger(), policy())
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"measured_severity"})
