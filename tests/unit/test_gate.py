from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from incident.anomalies import Anomaly, Assessment, Kind, Tier, assess
from incident.cause import Climb
from incident.changes import ToldKind
from incident.decision import Action, Decision
from incident.evidence import Background, Deployment, DeploymentsReport, Evidence, SourceState
from incident.gate import Course, Verdict, judge
from incident.ledger import NOTHING_DONE, LedgerView, RemediationKind, RunState, Stop
from incident.policy import Mode, Policy
from incident.rulebook import RULES
from incident.severity import Severity
from tests.builders import (
    DEGRADED_METRICS,
    NOW,
    ONSET,
    SERVICE,
    assessment,
    background,
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
    told_change,
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
    assert [finding.rule for finding in verdict.findings] == ["severity", *(rule.name for rule in RULES)]


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
    verdict = judged(seen=with_history(*history), rules=policy(deployment_explains_within="2h", acts_within="2h"))
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
    assert verdict.refusals == (f"target_not_rolled_back: deployment 100 was rolled back from by {past.incident_id}",)


def test_a_target_that_the_history_knows_as_rolled_back_is_refused() -> None:
    seen = with_history(bad_deployment(), deployment(100, rolled_back_from_at=NOW - timedelta(hours=5)))
    verdict = judged(seen=seen)
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"target_not_rolled_back"})
    assert verdict.refusals == ("target_not_rolled_back: deployment 100 was rolled back from at 2026-11-24 09:00:00Z",)


def test_a_rollback_that_did_not_succeed_does_not_taint_the_target() -> None:
    assert judged(past=ledger(remediation(state=RunState.FAILED))).course is Course.ACT


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


# What the policy permits at all.


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        (("*/*",), True),
        (("production/payment-api",), True),
        (("production/*",), True),
        (("*/payment-api",), True),
        (("staging/payment-api", "production/checkout"), False),
        ((), False),
    ],
)
def test_only_a_service_on_the_policys_list_is_rolled_back(allow: tuple[str, ...], allowed: bool) -> None:  # noqa: FBT001 - the case
    verdict = judged(rules=policy(allow=allow))
    assert verdict.course is (Course.ACT if allowed else Course.PAGE)
    assert failed(verdict) == (set() if allowed else {"allowed"})
    assert ("allowed: production/payment-api is not on the policy's list" in verdict.refusals) is not allowed


def test_a_pulled_kill_switch_is_paged_with_who_pulled_it_and_why() -> None:
    stop = Stop(by="ada", reason="we deploy by hand", at=NOW, service="payment-api")
    verdict = judged(past=ledger(stops=(stop, Stop(by="WORKER__STOPPED", at=NOW))))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"not_stopped"})
    (saw,) = verdict.refusals
    assert saw == (
        "not_stopped: payment-api stopped by ada at 2026-11-24 14:00:00Z: we deploy by hand; "
        "everything stopped by WORKER__STOPPED at 2026-11-24 14:00:00Z"
    )


def test_a_ledger_that_cannot_be_read_is_paged() -> None:
    verdict = judged(past=ledger(state=SourceState.FAILED, problem="locked"))
    assert (verdict.course, failed(verdict)) == (Course.PAGE, {"ledger_known"})
    assert verdict.refusals == ("ledger_known: the ledger: locked",)


def test_what_cannot_be_counted_is_not_said_to_be_few() -> None:
    verdict = judged(past=ledger(state=SourceState.FAILED, problem="locked"))
    spoken = {finding.rule for finding in verdict.findings}
    assert spoken.isdisjoint({"service_quota", "fleet_quota", "cooled_down"})


@pytest.mark.parametrize("state", [SourceState.OK, SourceState.EMPTY])
def test_an_empty_ledger_is_a_known_one(state: SourceState) -> None:
    assert judged(past=ledger(state=state)).course is Course.ACT


# How far back.


@pytest.mark.parametrize(("newer", "most", "near"), [(2, 2, True), (3, 2, False), (1, 1, True), (2, 1, False)])
def test_the_target_is_at_most_so_many_deployments_back(newer: int, most: int, near: bool) -> None:  # noqa: FBT001 - the case
    between = (
        deployment(200 + number, activated_at=NOW - timedelta(hours=3 + number), once_healthy=False)
        for number in range(newer - 1)
    )
    seen = with_history(bad_deployment(), *between, deployment(100))
    verdict = judged(seen=seen, rules=policy(max_deployments_back=most))
    assert verdict.course is (Course.ACT if near else Course.PAGE)
    assert failed(verdict) == (set() if near else {"target_recent"})
    saw = f"deployment 100 is {newer} back, the policy allows {most}"
    assert next(finding.saw for finding in verdict.findings if finding.rule == "target_recent") == saw


def test_a_deployment_that_never_went_live_is_not_counted_as_between() -> None:
    never = deployment(102, activated_at=None)
    seen = with_history(never, bad_deployment(), deployment(100))
    assert judged(seen=seen, rules=policy(max_deployments_back=1)).course is Course.ACT


# The mode.


def test_the_shadow_mode_pages_and_says_what_it_would_have_done() -> None:
    verdict = judged(rules=policy(mode="shadow"))
    assert (verdict.course, failed(verdict), verdict.would) == (Course.PAGE, {"not_shadow"}, Course.ACT)
    assert (verdict.target, verdict.expected_live) == (None, None)
    assert verdict.refusals == ("not_shadow: the mode is shadow; proposed is a rollback of deployment 101 to 100",)


def test_the_shadow_mode_would_ask_what_a_person_may_allow() -> None:
    verdict = judged(decision(confidence=0.6), rules=policy(mode="shadow"))
    assert (verdict.course, verdict.would) == (Course.PAGE, Course.ASK)


def test_the_shadow_mode_would_page_where_it_would_have_been_refused_anyway() -> None:
    verdict = judged(decision(rollback_to=42), rules=policy(mode="shadow"))
    assert (verdict.course, verdict.would) == (Course.PAGE, Course.PAGE)


def test_the_shadow_mode_would_page_where_nobody_may_be_asked() -> None:
    verdict = judged(decision(confidence=0.6), rules=policy(mode="shadow", approvers=()))
    assert (verdict.course, verdict.would) == (Course.PAGE, Course.PAGE)


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.AUTO])
def test_without_the_shadow_mode_there_is_nothing_that_would_have_been(mode: Mode) -> None:
    for proposal in (decision(), decision(confidence=0.6), decision(rollback_to=42)):
        assert judged(proposal, rules=policy(mode=mode)).would is None


def test_the_mode_ask_asks_even_where_every_other_rule_passes() -> None:
    verdict = judged(rules=policy(mode="ask"))
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"auto"})
    assert (verdict.target, verdict.expected_live) == (100, 101)
    assert verdict.refusals == ("auto: the mode is ask",)


def test_nothing_acts_by_default() -> None:
    assert judged(rules=Policy()).course is Course.PAGE
    assert judged(rules=Policy(approvers=("ada",))).course is Course.ASK


# Independent signals.


def anomaly(kind: Kind, tier: Tier = Tier.CRITICAL) -> Anomaly:
    value = None if kind in {Kind.HEALTH, Kind.ALERT, Kind.UNREADABLE} else 0.99
    return Anomaly(id=f"anomaly:{kind}", kind=kind, tier=tier, label=f"{tier}_{kind}", value=value)


def judged_on(*kinds: Kind, rules: Policy | None = None) -> Verdict:
    seen = Assessment(anomalies=tuple(anomaly(kind) for kind in kinds), severity=Severity.P0)
    return judge(decision(), degraded_evidence(), seen, ledger(), rules or policy())


def test_both_latencies_are_one_signal() -> None:
    verdict = judged_on(Kind.P95_LATENCY, Kind.P99_LATENCY)
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"independent_signals"})
    assert verdict.refusals == ("independent_signals: signals: latency; the policy wants 2",)
    assert judged_on(Kind.P95_LATENCY, Kind.P99_LATENCY, rules=policy(min_signals=1)).course is Course.ACT


def test_any_number_of_alerts_is_one_signal() -> None:
    verdict = judged_on(Kind.ERROR_RATE, Kind.ALERT, Kind.ALERT, rules=policy(min_signals=3))
    assert failed(verdict) == {"independent_signals"}
    assert verdict.refusals == ("independent_signals: signals: errors, alert; the policy wants 3",)


def test_a_measured_signal_and_an_alert_agree() -> None:
    assert judged_on(Kind.ERROR_RATE, Kind.ALERT).course is Course.ACT
    assert judged_on(Kind.ERROR_RATE, Kind.CPU).course is Course.ACT


def test_one_signal_alone_is_asked_about_however_bad() -> None:
    verdict = judged_on(Kind.ERROR_RATE)
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"independent_signals"})


@pytest.mark.parametrize("least", [1, 2])
def test_alerts_and_health_alone_never_authorise(least: int) -> None:
    verdict = judged_on(Kind.ALERT, Kind.HEALTH, rules=policy(min_signals=least))
    assert verdict.course is Course.ASK
    assert "independent_signals" in failed(verdict)
    saw = f"independent_signals: signals: health, alert; none of them is measured; the policy wants {least}"
    assert saw in verdict.refusals


def test_what_cannot_be_read_is_a_sign_of_nothing() -> None:
    verdict = judged_on(Kind.ERROR_RATE, Kind.UNREADABLE)
    assert failed(verdict) == {"independent_signals"}
    nothing = judged_on(Kind.UNREADABLE, rules=policy(min_signals=1))
    assert "independent_signals: signals: none; none of them is measured; the policy wants 1" in nothing.refusals


# Quotas and the cool-down.

HOUR = timedelta(hours=1)
CALM = {"cool_down": "0s", "service_rollbacks_per_hour": 60, "fleet_rollbacks_per_hour": 60}


def earlier(ago: timedelta, **changes: object) -> LedgerView:
    """A ledger that holds one rollback of an unrelated deployment."""
    return ledger(remediation(**{"from_deployment": 90, "to_deployment": 89, "at": NOW - ago, **changes}))


@pytest.mark.parametrize(("most", "passes"), [(0, False), (1, False), (2, True)])
def test_the_services_rollbacks_of_the_last_hour_are_counted(most: int, passes: bool) -> None:  # noqa: FBT001 - the case
    verdict = judged(past=earlier(HOUR / 2), rules=policy(**CALM | {"service_rollbacks_per_hour": most}))
    assert verdict.course is (Course.ACT if passes else Course.ASK)
    assert failed(verdict) == (set() if passes else {"service_quota"})
    if not passes:
        (saw,) = verdict.refusals
        assert saw == f"service_quota: 1 rollback of the service within the last hour, the policy allows {most}"


@pytest.mark.parametrize(("ago", "counts"), [(HOUR - SECOND, True), (HOUR, False), (HOUR + SECOND, False)])
def test_what_began_an_hour_ago_no_longer_counts(ago: timedelta, counts: bool) -> None:  # noqa: FBT001 - the case
    verdict = judged(past=earlier(ago), rules=policy(**CALM | {"service_rollbacks_per_hour": 1}))
    assert failed(verdict) == ({"service_quota"} if counts else set())


@pytest.mark.parametrize("state", RunState)
def test_what_is_known_to_have_changed_nothing_counts_for_nothing(state: RunState) -> None:
    verdict = judged(past=earlier(SECOND, state=state), rules=policy(service_rollbacks_per_hour=1, cool_down="30m"))
    assert failed(verdict) == (set() if state in NOTHING_DONE else {"service_quota", "cooled_down"})


def test_an_undoing_uses_up_no_quota_of_the_service_and_delays_all_the_same() -> None:
    undone = earlier(SECOND, kind=RemediationKind.UNDO)
    verdict = judged(past=undone, rules=policy(service_rollbacks_per_hour=1, cool_down="30m"))
    assert failed(verdict) == {"cooled_down"}


@pytest.mark.parametrize(("done", "passes"), [(2, True), (3, False), (4, False)])
def test_the_fleets_rollbacks_of_the_last_hour_are_counted(done: int, passes: bool) -> None:  # noqa: FBT001 - the case
    verdict = judged(past=ledger(fleet_last_hour=done), rules=policy(fleet_rollbacks_per_hour=3))
    assert verdict.course is (Course.ACT if passes else Course.ASK)
    assert failed(verdict) == (set() if passes else {"fleet_quota"})
    if not passes:
        saw = f"fleet_quota: {done} rollbacks of all services within the last hour, the policy allows 3"
        assert verdict.refusals == (saw,)


@pytest.mark.parametrize(
    ("ago", "cooled"),
    [
        pytest.param(timedelta(minutes=30) - SECOND, False, id="a second too soon"),
        pytest.param(timedelta(minutes=30), True, id="at its end"),
        pytest.param(timedelta(minutes=30) + SECOND, True, id="after it"),
    ],
)
def test_after_a_remediation_the_service_cools_down(ago: timedelta, cooled: bool) -> None:  # noqa: FBT001 - the case
    verdict = judged(past=earlier(ago), rules=policy(**CALM | {"cool_down": "30m"}))
    assert verdict.course is (Course.ACT if cooled else Course.ASK)
    assert failed(verdict) == (set() if cooled else {"cooled_down"})
    if not cooled:
        saw = "production.payment-api.20261123T140000Z.00c0ffee remediated it at 13:30:01Z; the cool-down is 0:30:00"
        assert verdict.refusals == (f"cooled_down: {saw}",)


def test_a_cool_down_of_nothing_holds_nobody_up() -> None:
    assert judged(past=earlier(timedelta(0)), rules=policy(**CALM)).course is Course.ACT


# Freezes.


def test_in_a_freeze_window_a_person_is_asked() -> None:
    window = {"name": "year end", "begins": NOW, "ends": NOW + HOUR}
    verdict = judged(rules=policy(freezes=[window]))
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"not_frozen"})
    saw = "not_frozen: frozen: year end (2026-11-24 14:00:00Z to 2026-11-24 15:00:00Z)"
    assert verdict.refusals == (saw,)
    assert judged(past=ledger(at=NOW + HOUR), rules=policy(freezes=[window])).course is Course.ACT


def test_every_freeze_window_that_holds_is_named() -> None:
    weekly = {"days": ["tue"], "daily_from": "13:00", "daily_until": "15:00"}
    past = {"name": "over", "begins": NOW - HOUR, "ends": NOW}
    window = {"name": "now", "begins": NOW, "ends": NOW + HOUR}
    (saw,) = judged(rules=policy(freezes=[weekly, past, window])).refusals
    assert saw.startswith("not_frozen: frozen: tue 13:00:00 to 15:00:00 UTC; now (")
    assert "over" not in saw


# Rollbacks of rollbacks.


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("kind", RemediationKind)
def test_what_the_ledger_knows_a_rollback_made_live_is_asked_about(kind: RemediationKind, state: RunState) -> None:
    past = earlier(timedelta(days=1), from_deployment=102, to_deployment=101, state=state, kind=kind)
    verdict = judged(past=past)
    done = state not in NOTHING_DONE
    assert verdict.course is (Course.ASK if done else Course.ACT)
    assert failed(verdict) == ({"not_a_rollback_of_a_rollback"} if done else set())
    by = f"deployment 101 was made live by the {kind} of {past.remediations[0].incident_id}"
    assert (f"not_a_rollback_of_a_rollback: {by}" in verdict.refusals) is done


@pytest.mark.parametrize(
    ("after", "by_rollback"), [(timedelta(0), True), (SECOND, True), (-SECOND, False)], ids=["with", "after", "before"]
)
def test_what_the_history_knows_a_rollback_made_live_is_asked_about(after: timedelta, by_rollback: bool) -> None:  # noqa: FBT001 - the case
    live = bad_deployment()
    assert live.activated_at
    left = deployment(102, activated_at=NOW - HOUR, rolled_back_from_at=live.activated_at + after)
    verdict = judged(seen=with_history(left, live, deployment(100)))
    assert verdict.course is (Course.ASK if by_rollback else Course.ACT)
    assert failed(verdict) == ({"not_a_rollback_of_a_rollback"} if by_rollback else set())
    if by_rollback:
        saw = "deployment 101 was made live by the rollback of deployment 102"
        assert verdict.refusals == (f"not_a_rollback_of_a_rollback: {saw}",)


def test_a_live_deployment_of_unknown_age_was_made_live_by_nothing_that_is_known() -> None:
    left = deployment(102, activated_at=NOW - HOUR, rolled_back_from_at=NOW)
    verdict = judged(seen=with_history(left, bad_deployment(activated_at=None), deployment(100)))
    assert "not_a_rollback_of_a_rollback" not in failed(verdict)
    assert "live_explains_onset" in failed(verdict)


@pytest.mark.parametrize(("minutes", "course"), [(30, Course.ACT), (31, Course.ASK)])
def test_what_shows_late_is_asked_about(minutes: int, course: Course) -> None:
    history = deployments(bad_deployment(activated_at=ONSET - timedelta(minutes=minutes)), deployment(100))
    verdict = judge(
        decision(), degraded_evidence(deployments=history), assessment(), ledger(), policy(acts_within="30m")
    )
    assert (verdict.course, failed(verdict)) == (course, set() if course is Course.ACT else {"live_prompt"})


# The table of rules.


def test_every_rule_has_a_name_of_its_own_and_says_what_must_hold() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.holds for rule in RULES)


def test_only_these_rules_may_be_overruled_by_a_person() -> None:
    assert [rule.name for rule in RULES if rule.otherwise is not Course.PAGE] == [
        "auto",
        "live_guilty",
        "live_prompt",
        "only_change",
        "measured_severity",
        "independent_signals",
        "confidence",
        "service_quota",
        "fleet_quota",
        "cooled_down",
        "not_frozen",
        "not_a_rollback_of_a_rollback",
    ]
    assert {rule.otherwise for rule in RULES} == {Course.PAGE, Course.ASK}


def test_every_finding_bears_the_course_of_its_rule() -> None:
    courses = {rule.name: rule.otherwise for rule in RULES}
    assert {finding.rule: finding.otherwise for finding in judged().findings[1:]} == courses


@pytest.mark.parametrize("again", [judged, lambda: judged(past=ledger())])
def test_the_same_input_gives_the_same_verdict(again: Callable[[], Verdict]) -> None:
    assert again() == judged()


def test_a_critical_anomaly_that_nobody_measured_is_asked_about() -> None:
    said = Anomaly(id="anomaly:ALERT", kind=Kind.ALERT, tier=Tier.CRITICAL, label="CRITICAL_ALERT: says so")
    hearsay = Assessment(anomalies=(said,), severity=Severity.P0)
    verdict = judge(decision(), degraded_evidence(), hearsay, ledger(), policy())
    assert (verdict.course, failed(verdict)) == (
        Course.ASK,
        {"live_guilty", "measured_severity", "independent_signals"},
    )


def test_the_measured_severity_is_the_assessments() -> None:
    nothing = assessment(evidence())
    verdict = judge(decision(), degraded_evidence(), nothing, ledger(), policy())
    assert (verdict.course, failed(verdict)) == (
        Course.ASK,
        {"live_guilty", "measured_severity", "independent_signals"},
    )


@pytest.mark.parametrize(("error_rate", "course"), [(3.0, Course.PAGE), (0.8, Course.WATCH)], ids=["P2", "P3"])
def test_a_p2_behind_which_memory_climbs_is_paged(error_rate: float, course: Course) -> None:
    since = NOW - timedelta(hours=6)
    climb = Climb(what="memory", since=since, within=timedelta(minutes=9))
    seen = evidence(metrics=metrics({"error_rate": error_rate}), background=background(onset=since, climb=climb))
    verdict = judged(decision(severity="P3", action="monitor", rollback_to=None), seen)
    assert verdict.course is course
    assert ("gets worse by itself" in " ".join(verdict.refusals)) is (course is Course.PAGE)


# Changes that were told of.


@pytest.mark.parametrize("kind", ToldKind)
def test_a_told_change_nearer_to_the_onset_than_the_live_deployment_is_paged_not_acted_on(kind: ToldKind) -> None:
    change = told_change(kind=kind).seen_from(SERVICE)
    known = Background(source="store", state=SourceState.EMPTY, changes=(change,))
    verdict = judged(seen=degraded_evidence(background=known))
    assert (verdict.course, verdict.target) == (Course.PAGE, None)
    assert failed(verdict) == {"live_not_innocent", "live_guilty", "only_change"}
    assert verdict.cause
    assert verdict.cause.guilty == change


def test_a_told_change_within_five_minutes_after_the_live_deployment_is_asked_about() -> None:
    change = told_change(at=ONSET - timedelta(minutes=4)).seen_from(SERVICE)
    known = Background(source="store", state=SourceState.EMPTY, changes=(change,))
    verdict = judged(seen=degraded_evidence(background=known))
    assert (verdict.course, failed(verdict)) == (Course.ASK, {"live_guilty", "only_change"})


@pytest.mark.parametrize(
    ("minutes", "service", "course"),
    [(14, SERVICE, Course.ASK), (16, SERVICE, Course.ACT), (14, "checkout", Course.ACT)],
)
def test_a_deployment_shortly_after_another_change_of_the_service_is_asked_about(
    minutes: int, service: str, course: Course
) -> None:
    change = told_change(service=service, at=ONSET - timedelta(minutes=minutes)).seen_from(SERVICE)
    known = Background(source="store", state=SourceState.EMPTY, changes=(change,))
    verdict = judged(seen=degraded_evidence(background=known))
    assert (verdict.course, failed(verdict)) == (course, {"only_change"} if course is Course.ASK else set())
