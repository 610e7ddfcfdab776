"""The gate of undoing, rule by rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from incident.evidence import DeploymentsReport, SourceState
from incident.gate import Course, refusals
from incident.ledger import RemediationKind, RunState, Stop
from incident.policy import Mode
from incident.recovery import Classification, Recovery
from incident.undo import RULES, Regret, judge_undo
from tests.builders import (
    INCIDENT_ID,
    NOW,
    deployment,
    deployments,
    ledger,
    order,
    policy,
    remediation,
    rolled_back_history,
    run,
)

WORSE = Recovery(
    classification=Classification.DEGRADED, reasons=("error_rate 15.5% → 40.0%", "new: CPU"), settled=False
)
REGRET = Regret(
    order=order(),
    run=run(),
    recovery=WORSE,
    history=rolled_back_history(),
    ledger=ledger(remediation(incident_id=INCIDENT_ID, from_deployment=101, to_deployment=100, at=NOW)),
    policy=policy(),
)


def regret(**changes: object) -> Regret:
    return replace(REGRET, **changes)  # type: ignore[arg-type]  # the fields' own types, one at a time


def refused(**changes: object) -> tuple[str, ...]:
    return refusals(judge_undo(regret(**changes)))


def test_a_rollback_that_made_it_worse_may_be_undone() -> None:
    findings = judge_undo(REGRET)
    assert [finding.rule for finding in findings] == list(RULES)
    assert all(finding.passed for finding in findings)


def test_whatever_stands_against_an_undoing_is_paged() -> None:
    assert {finding.otherwise for finding in judge_undo(REGRET)} == {Course.PAGE}


def test_every_rule_says_what_it_saw() -> None:
    assert {finding.rule: finding.saw for finding in judge_undo(REGRET)} == {
        "undo_permitted": "the policy undoes by itself, the mode is auto",
        "not_stopped": "no kill switch is pulled",
        "rolled_back": "the rollback is succeeded",
        "worse": "DEGRADED: error_rate 15.5% → 40.0%; new: CPU",
        "nobody_else": "deployment 100 is live, deployment 100 was made live",
        "undone_once": "this incident has undone nothing yet",
    }


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ASK])
def test_only_the_mode_auto_undoes(mode: Mode) -> None:
    assert refused(policy=policy(mode=mode)) == (f"undo_permitted: the policy undoes by itself, the mode is {mode}",)


def test_a_policy_may_forbid_to_undo() -> None:
    assert refused(policy=policy(undo=False)) == (
        "undo_permitted: the policy does not undo by itself, the mode is auto",
    )


def test_a_pulled_kill_switch_forbids_to_undo() -> None:
    stops = (Stop(by="ada", reason="hands off", at=NOW), Stop(by="WORKER__STOPPED", at=NOW))
    (saw,) = refused(ledger=ledger(stops=stops))
    assert saw == (
        "not_stopped: everything stopped by ada at 2026-11-24 14:00:00Z: hands off; "
        "everything stopped by WORKER__STOPPED at 2026-11-24 14:00:00Z"
    )


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.SUCCEEDED])
def test_only_a_rollback_that_succeeded_is_undone(state: RunState) -> None:
    assert refused(run=run(state)) == (f"rolled_back: the rollback is {state}",)


def test_an_undoing_is_never_undone() -> None:
    assert refused(order=order(kind=RemediationKind.UNDO)) == ("rolled_back: the undo is succeeded",)


@pytest.mark.parametrize("said", [said for said in Classification if said is not Classification.DEGRADED])
def test_only_what_is_known_to_be_worse_is_undone(said: Classification) -> None:
    recovery = Recovery(classification=said, reasons=("so it looks",), settled=False)
    assert refused(recovery=recovery) == (f"worse: {said}: so it looks",)


def test_what_somebody_else_made_live_is_not_undone() -> None:
    newer = deployments(deployment(102, live=True), deployment(101), deployment(100))
    assert refused(history=newer) == ("nobody_else: deployment 102 is live, deployment 100 was made live",)


@pytest.mark.parametrize(
    "history",
    [
        deployments(deployment(101), deployment(100)),
        deployments(deployment(101, live=True), deployment(100, live=True)),
        deployments(state=SourceState.EMPTY, deployments=()),
    ],
    ids=["none is live", "two are live", "no history"],
)
def test_where_the_live_deployment_is_not_known_nothing_is_undone(history: DeploymentsReport) -> None:
    assert refused(history=history) == ("nobody_else: deployment unknown is live, deployment 100 was made live",)


def test_where_the_history_cannot_be_read_nothing_is_undone() -> None:
    history = rolled_back_history().model_copy(update={"state": SourceState.FAILED, "problem": "no answer"})
    assert refused(history=history) == ("nobody_else: what is live cannot be told: no answer",)


@pytest.mark.parametrize("state", RunState)
def test_an_incident_undoes_once_however_that_ended(state: RunState) -> None:
    undone = remediation(incident_id=INCIDENT_ID, kind=RemediationKind.UNDO, state=state)
    assert refused(ledger=ledger(undone)) == ("undone_once: this incident has undone something already",)


def test_what_other_incidents_undid_is_their_own_affair() -> None:
    assert refused(ledger=ledger(remediation(kind=RemediationKind.UNDO))) == ()


def test_where_the_ledger_cannot_be_read_nothing_is_undone() -> None:
    assert refused(ledger=ledger(state=SourceState.FAILED, problem="locked")) == ("undone_once: the ledger: locked",)


def test_neither_quota_nor_cool_down_nor_freeze_holds_an_undoing_up() -> None:
    strict = policy(
        service_rollbacks_per_hour=0,
        fleet_rollbacks_per_hour=0,
        cool_down="24h",
        freezes=[{"begins": NOW - timedelta(days=1), "ends": NOW + timedelta(days=1)}],
    )
    assert refused(policy=strict, ledger=ledger(remediation(at=NOW), fleet_last_hour=9)) == ()


def test_every_rule_that_fails_says_so_at_once() -> None:
    everything = refused(
        policy=policy(undo=False),
        run=run(RunState.FAILED),
        recovery=Recovery(classification=Classification.STABLE, reasons=(), settled=False),
        history=deployments(state=SourceState.FAILED, problem="no answer"),
        ledger=ledger(state=SourceState.FAILED, problem="locked", stops=(Stop(by="ada", at=NOW),)),
    )
    assert [line.split(": ")[0] for line in everything] == list(RULES)
