import pytest
from pydantic import ValidationError

from incident.evidence import SourceState
from incident.ledger import RunState
from tests.builders import NOW, ledger, order, remediation


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


def test_an_unknown_run_has_not_ended() -> None:
    assert {state for state in RunState if state.ended} == {
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.CANCELLED,
    }


def test_an_unreadable_ledger_knows_of_no_rollback() -> None:
    view = ledger(state=SourceState.FAILED, problem="locked")
    assert view.rolled_back_from(100) is None
    assert ledger().state is SourceState.EMPTY


def test_an_order_speaks_of_confidence_as_a_share() -> None:
    with pytest.raises(ValidationError):
        order(confidence=92)
