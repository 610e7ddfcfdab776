from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.evidence import SourceState
from incident.ledger import (
    HOUR,
    NOTHING_DONE,
    Quota,
    Remediation,
    RemediationKind,
    RollbackOrder,
    RollbackRun,
    RunState,
    Stop,
    objections,
)
from tests.builders import ENVIRONMENT, INCIDENT_ID, NOW, SERVICE, ledger, order, remediation

SECOND = timedelta(seconds=1)


def test_only_a_rollback_that_succeeded_counts_as_rolled_back_from() -> None:
    for state in RunState:
        past = remediation(state=state)
        assert (ledger(past).rolled_back_from(100) == past) is (state is RunState.SUCCEEDED)


def test_the_newest_rollback_away_from_a_deployment_is_found() -> None:
    newest, oldest = remediation(incident_id="newest", at=NOW), remediation(incident_id="oldest")
    other = remediation(from_deployment=99)
    assert ledger(other, newest, oldest).rolled_back_from(100) == newest
    assert ledger(other, newest).rolled_back_from(101) is None


def test_a_deployment_rolled_back_to_was_not_rolled_back_from() -> None:
    assert ledger(remediation()).rolled_back_from(99) is None


def test_an_undoing_is_a_rollback_away_as_well() -> None:
    undone = remediation(kind=RemediationKind.UNDO)
    assert ledger(undone).rolled_back_from(100) == undone


# How far a run is.


def test_what_waits_or_is_unknown_has_not_ended() -> None:
    assert {state for state in RunState if not state.ended} == {
        RunState.PENDING,
        RunState.WAITING,
        RunState.RUNNING,
        RunState.UNKNOWN,
    }


def test_only_what_is_known_not_to_have_begun_may_be_called_off() -> None:
    assert {state for state in RunState if state.may_be_cancelled} == {RunState.PENDING, RunState.WAITING}


def test_only_what_is_known_to_have_changed_nothing_counts_for_nothing() -> None:
    assert {RunState.STARTUP_FAILURE, RunState.NEVER_STARTED, RunState.REFUSED} == NOTHING_DONE
    assert all(state.ended for state in NOTHING_DONE)


def test_a_run_and_an_order_of_before_are_still_read() -> None:
    old_order = {
        "correlation_id": "ic-1",
        "incident_id": INCIDENT_ID,
        "execution_id": "",
        "service": SERVICE,
        "environment": ENVIRONMENT,
        "target": 100,
        "expected_live": 101,
        "reason": "errors",
        "confidence": 0.9,
    }
    known = RollbackOrder.model_validate(old_order)
    assert (known.kind, known.target_revision, known.expected_revision) == (RemediationKind.ROLLBACK, "", "")
    run = RollbackRun.model_validate({"correlation_id": "ic-1", "state": "succeeded", "detail": "done"})
    assert (run.run_id, run.attempt, run.asked_at, run.url) == (None, 1, None, "")


def test_an_order_speaks_of_confidence_as_a_share() -> None:
    with pytest.raises(ValidationError):
        order(confidence=92)


# What a view knows.


def test_an_unreadable_ledger_knows_of_no_rollback() -> None:
    view = ledger(state=SourceState.FAILED, problem="locked")
    assert view.rolled_back_from(100) is None
    assert ledger().state is SourceState.EMPTY


def test_what_was_done_since_a_moment_excludes_that_moment() -> None:
    with_it, after = remediation(at=NOW - HOUR), remediation(at=NOW - HOUR + SECOND)
    assert ledger(after, with_it).since(NOW - HOUR) == (after,)
    assert ledger(after, with_it).since(NOW) == ()


@pytest.mark.parametrize("state", RunState)
def test_what_changed_nothing_was_not_done(state: RunState) -> None:
    past = remediation(state=state, at=NOW)
    assert (past in ledger(past).since(NOW - SECOND)) is (state not in NOTHING_DONE)


def test_a_view_without_an_incident_keeps_what_others_did() -> None:
    own = remediation(correlation_id="ic-own", incident_id=INCIDENT_ID, at=NOW)
    other = remediation(at=NOW)
    stop = Stop(by="ada", at=NOW)
    view = ledger(own, other, fleet_last_hour=5, stops=(stop,)).without(INCIDENT_ID)
    assert (view.remediations, view.fleet_last_hour, view.stops, view.at) == ((other,), 4, (stop,), NOW)
    assert ledger(own, other, fleet_last_hour=5).without("another") == ledger(own, other, fleet_last_hour=5)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"at": NOW}, 4),
        ({"at": NOW - HOUR + SECOND}, 4),
        ({"at": NOW - HOUR}, 5),
        ({"at": NOW, "kind": RemediationKind.UNDO}, 4),
        *[({"at": NOW, "state": state}, 5) for state in sorted(NOTHING_DONE)],
    ],
)
def test_only_what_the_fleet_was_counted_with_is_taken_off_it(changes: dict[str, object], left: int) -> None:
    own = remediation(**{"incident_id": INCIDENT_ID, **changes})
    assert ledger(own, fleet_last_hour=5).without(INCIDENT_ID).fleet_last_hour == left


def test_a_fleet_never_did_less_than_nothing() -> None:
    own = [remediation(correlation_id=f"ic-{each}", incident_id=INCIDENT_ID, at=NOW) for each in range(2)]
    assert ledger(*own, fleet_last_hour=1).without(INCIDENT_ID).fleet_last_hour == 0


# Kill switches.


@pytest.mark.parametrize(
    ("environment", "service", "covered"),
    [
        ("", "", True),
        ("production", "", True),
        ("", "payment-api", True),
        ("production", "payment-api", True),
        ("staging", "", False),
        ("", "checkout", False),
        ("staging", "payment-api", False),
        ("production", "checkout", False),
    ],
)
def test_a_kill_switch_covers_its_scope_and_no_other(environment: str, service: str, covered: bool) -> None:  # noqa: FBT001 - the case
    stop = Stop(environment=environment, service=service, by="ada", at=NOW)
    assert stop.covers(ENVIRONMENT, SERVICE) is covered


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "everything stopped by ada at 2026-11-24 14:00:00Z"),
        ({"reason": "hands off"}, "everything stopped by ada at 2026-11-24 14:00:00Z: hands off"),
        ({"environment": "production"}, "production stopped by ada at 2026-11-24 14:00:00Z"),
        ({"service": SERVICE}, "payment-api stopped by ada at 2026-11-24 14:00:00Z"),
        (
            {"service": SERVICE, "environment": "production", "reason": "cost: high"},
            "payment-api production stopped by ada at 2026-11-24 14:00:00Z: cost: high",
        ),
    ],
)
def test_a_kill_switch_says_what_who_when_and_why(changes: dict[str, object], words: str) -> None:
    assert Stop.model_validate({"by": "ada", "at": NOW, **changes}).words == words


# What may begin.

ASKED = remediation(correlation_id="ic-new", incident_id=INCIDENT_ID, state=RunState.PENDING, at=NOW)
UNDO = ASKED.model_copy(update={"kind": RemediationKind.UNDO})
QUOTA = Quota(service_per_hour=2, fleet_per_hour=3)


def done(count: int, **changes: object) -> list[Remediation]:
    return [remediation(**{"correlation_id": f"ic-{number}", "at": NOW, **changes}) for number in range(count)]


def objected(
    last_hour: list[Remediation],
    asked: Remediation = ASKED,
    quota: Quota | None = QUOTA,
    stops: tuple[Stop, ...] = (),
    *,
    undone: bool = False,
) -> tuple[str, ...]:
    return objections(asked, quota, last_hour, stops, undone=undone)


def test_nothing_stands_against_the_first() -> None:
    assert objected([]) == ()


def test_the_services_quota_is_used_up_by_as_many_as_it_allows() -> None:
    assert objected(done(1)) == ()
    words = "2 rollbacks of payment-api in production within the last hour, the policy allows 2"
    assert objected(done(2)) == (words,)


def test_the_fleets_quota_is_used_up_by_as_many_as_it_allows() -> None:
    assert objected(done(2, service="checkout")) == ()
    words = "3 rollbacks of all services within the last hour, the policy allows 3"
    assert objected(done(3, service="checkout")) == (words,)


def test_both_quotas_are_named() -> None:
    assert [words.split(" within ")[0] for words in objected(done(3))] == [
        "3 rollbacks of payment-api in production",
        "3 rollbacks of all services",
    ]


def test_a_quota_of_none_allows_none() -> None:
    assert len(objected([], quota=Quota(service_per_hour=0, fleet_per_hour=0))) == 2


@pytest.mark.parametrize("changes", [{"service": "checkout"}, {"environment": "staging"}, {"kind": "undo"}])
def test_only_rollbacks_of_that_service_in_that_environment_use_up_its_quota(changes: dict[str, object]) -> None:
    assert objected(done(2, **changes)) == ()
    assert len(objected(done(3, **changes))) == 1


@pytest.mark.parametrize("state", RunState)
def test_what_changed_nothing_uses_up_no_quota(state: RunState) -> None:
    assert bool(objected(done(3, state=state))) is (state not in NOTHING_DONE)


def test_what_a_person_allowed_is_held_to_no_quota() -> None:
    assert objected(done(9), quota=None) == ()


def test_an_undoing_is_held_to_no_quota() -> None:
    assert objected(done(9), UNDO) == ()
    assert objected(done(9), UNDO, Quota(service_per_hour=0, fleet_per_hour=0)) == ()


def test_an_incident_undoes_once() -> None:
    assert objected([], UNDO, undone=True) == (f"{INCIDENT_ID} was undone once already",)
    assert objected([], UNDO, None, undone=True) == (f"{INCIDENT_ID} was undone once already",)
    assert objected([], ASKED, undone=True) == ()


@pytest.mark.parametrize("asked", [ASKED, UNDO], ids=["rollback", "undo"])
@pytest.mark.parametrize("quota", [QUOTA, None], ids=["policy", "person"])
def test_a_kill_switch_refuses_whatever_is_asked_and_whoever_allowed_it(
    asked: Remediation, quota: Quota | None
) -> None:
    pulled = Stop(by="ada", service=SERVICE, at=NOW)
    elsewhere = Stop(by="eve", service="checkout", at=NOW)
    assert objected([], asked, quota, (elsewhere, pulled)) == (pulled.words,)
    assert objected([], asked, quota, (elsewhere,)) == ()


def test_a_kill_switch_speaks_before_the_quota() -> None:
    pulled = Stop(by="ada", at=NOW)
    assert objected(done(9), stops=(pulled,)) == (pulled.words,)
