from datetime import timedelta

import pytest

from incident.decision import Action, Decision
from incident.evidence import Evidence, SourceState, unseen
from incident.ports import Analyst
from incident.rules import RulesAnalyst, propose
from incident.severity import PagerDutyPriority, Severity
from tests.builders import (
    ENVIRONMENT,
    NOW,
    ONSET,
    SERVICE,
    alerts,
    assessment,
    background,
    bad_deployment,
    case,
    degraded_evidence,
    deployment,
    deployments,
    evidence,
    log_template,
    logs,
    metrics,
    told_change,
)

WITHIN = timedelta(hours=2)
UNREAD = "timed out"


def proposed(seen: Evidence, within: timedelta = WITHIN) -> Decision:
    return propose(seen, assessment(seen), within)


def test_a_recent_deployment_with_a_proven_predecessor_is_rolled_back() -> None:
    decision = proposed(degraded_evidence())
    assert (decision.action, decision.rollback_to, decision.confidence) == (Action.ROLLBACK, 100, 0.9)
    assert (decision.severity, decision.pagerduty_priority) == (Severity.P0, PagerDutyPriority.P1)
    assert decision.root_cause_hypothesis == (
        "Deployment 101 went live shortly before the onset; deployment 100, live before it, was healthy."
    )


def test_a_proposal_cites_only_evidence_that_there_is() -> None:
    seen = degraded_evidence()
    decision = proposed(seen)
    assert set(decision.evidence_ids) <= seen.ids
    assert {"deployment:101", "deployment:100", "metric:error_rate"} <= set(decision.evidence_ids)


def test_a_proposal_cites_the_worst_errors_that_are_new_in_the_log() -> None:
    templates = tuple(log_template(number, new=True) for number in range(1, 6))
    decision = proposed(degraded_evidence(logs=logs(templates=templates)))
    assert [each for each in decision.evidence_ids if each.startswith("log:")] == [
        "log:template-1",
        "log:template-2",
        "log:template-3",
    ]


def test_the_same_evidence_gives_the_same_decision() -> None:
    assert proposed(degraded_evidence()) == proposed(degraded_evidence())


@pytest.mark.parametrize(
    ("activated", "explains"),
    [
        (ONSET - WITHIN, True),
        (ONSET - WITHIN - timedelta(seconds=1), False),
        (ONSET, True),
        (ONSET + timedelta(seconds=1), False),
        (None, False),
    ],
)
def test_only_a_deployment_shortly_before_the_onset_explains_it(activated: object, explains: bool) -> None:  # noqa: FBT001 - the case
    history = deployments(bad_deployment(activated_at=activated), deployment(100, activated_at=NOW - timedelta(days=3)))
    decision = proposed(degraded_evidence(deployments=history))
    assert (decision.action is Action.ROLLBACK) is explains
    if not explains:
        assert decision.action is Action.ESCALATE
        assert decision.root_cause_hypothesis.startswith("No deployment explains the onset")


@pytest.mark.parametrize(
    "unproven",
    [
        {"once_healthy": False},
        {"once_healthy": None},
        {"activated_at": None},
        {"activated_at": NOW - timedelta(minutes=5)},
        {"activated_at": NOW - timedelta(minutes=10)},
        {"rolled_back_from_at": NOW - timedelta(hours=3)},
    ],
)
def test_an_unproven_predecessor_is_no_target(unproven: dict[str, object]) -> None:
    history = deployments(bad_deployment(), deployment(100, **unproven))
    decision = proposed(degraded_evidence(deployments=history))
    assert (decision.action, decision.rollback_to, decision.confidence) == (Action.ESCALATE, None, 0.6)
    assert decision.root_cause_hypothesis.endswith("no proven earlier one is known.")


def test_the_newest_proven_predecessor_is_the_target() -> None:
    history = deployments(
        deployment(98, activated_at=NOW - timedelta(days=9)),
        deployment(100, once_healthy=False),
        bad_deployment(),
        deployment(99, activated_at=NOW - timedelta(days=7)),
    )
    assert proposed(degraded_evidence(deployments=history)).rollback_to == 99


def test_a_failed_source_costs_confidence_and_is_named() -> None:
    seen = degraded_evidence(logs=logs(state=SourceState.FAILED, problem=UNREAD))
    assert proposed(seen).confidence == pytest.approx(0.75)
    assert "Not seen: logs: timed out." in proposed(seen).summary


def test_confidence_never_falls_below_zero() -> None:
    assert proposed(unseen(SERVICE, ENVIRONMENT, NOW, UNREAD)).confidence == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("values", "severity", "action"),
    [
        ({"error_rate": 7.0}, Severity.P1, Action.ESCALATE),
        ({"error_rate": 3.0}, Severity.P2, Action.MONITOR),
    ],
)
def test_less_than_p0_is_never_rolled_back(values: dict[str, float], severity: Severity, action: Action) -> None:
    decision = proposed(evidence(metrics=metrics(values)))
    assert (decision.severity, decision.action) == (severity, action)
    assert decision.root_cause_hypothesis.endswith("the numbers do not call for a rollback.")


def test_where_nothing_moved_no_deployment_is_to_blame() -> None:
    decision = proposed(evidence(metrics=metrics({})))
    assert (decision.severity, decision.action) == (Severity.P3, Action.MONITOR)
    assert decision.root_cause_hypothesis.endswith("nothing that is measured of payment-api is unusual.")


@pytest.mark.parametrize("history", [deployments(state=SourceState.FAILED, deployments=())])
def test_without_a_history_a_person_is_called(history: object) -> None:
    decision = proposed(degraded_evidence(deployments=history, alerts=alerts()))
    assert (decision.action, decision.rollback_to) == (Action.ESCALATE, None)


def test_a_long_story_still_fits_a_decision() -> None:
    seen = degraded_evidence(logs=logs(state=SourceState.FAILED, problem="x" * 5000))
    assert len(proposed(seen).summary) <= 2000


async def test_the_rules_answer_as_an_analyst() -> None:
    analyst: Analyst = RulesAnalyst()
    analysis = await analyst.decide(case())
    assert (analysis.analyst, analysis.tokens, analysis.model) == ("rules", None, "")
    assert analysis.decision == proposed(degraded_evidence())


async def test_the_case_says_how_recent_a_deployment_must_be() -> None:
    analysis = await RulesAnalyst().decide(case(explains_within=timedelta(minutes=1)))
    assert analysis.decision.action is Action.ESCALATE


def test_the_live_deployment_is_no_candidate() -> None:
    assert case().candidates == (100, 99)


def test_where_a_change_within_the_same_minutes_explains_it_as_well_both_are_named_and_it_is_not_sure() -> None:
    change = told_change(at=ONSET - timedelta(minutes=4)).seen_from(SERVICE)
    seen = degraded_evidence(background=background(changes=(change,)))
    decision = proposed(seen)
    assert (decision.action, decision.rollback_to, decision.confidence) == (Action.ROLLBACK, 100, 0.7)
    assert decision.root_cause_hypothesis.startswith("change:pool, configuration change of payment-api at ")
    assert ", explains the onset, or this does: Deployment 101 went live" in decision.root_cause_hypothesis
    assert {"change:pool", "deployment:101"} <= set(decision.evidence_ids) <= seen.ids


def test_a_told_change_that_explains_it_is_named_and_cited_and_nothing_is_rolled_back() -> None:
    change = told_change().seen_from(SERVICE)
    seen = degraded_evidence(background=background(changes=(change,)))
    decision = proposed(seen)
    assert (decision.action, decision.rollback_to) == (Action.ESCALATE, None)
    assert decision.root_cause_hypothesis.startswith(
        "change:pool explains the onset, a configuration change of payment-api at 2026-11-24 13:57:30Z: "
        "database pool from 20 to 10. deployment:101 is innocent"
    )
    assert "change:pool" in decision.evidence_ids
    assert set(decision.evidence_ids) <= seen.ids
