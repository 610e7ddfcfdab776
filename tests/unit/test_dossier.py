from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.dossier import AlertNotice, Dossier, proposal_digest
from incident.ledger import NOTHING_DONE, RunState, Stop
from tests.builders import (
    INCIDENT_ID,
    NOW,
    approval,
    decided_dossier,
    degraded_evidence,
    dossier,
    healthy_evidence,
    notification,
    page_sent,
    policy,
    proposal,
    remediation_record,
    run,
    verdict,
)


def test_a_new_dossier_claims_nothing() -> None:
    new = dossier()
    assert (new.evidence, new.assessment, new.analysis, new.verdict, new.remediation, new.recovery) == (None,) * 6
    assert (new.paged, new.acted, new.stage) == (False, False, "detecting")


def test_only_a_page_that_arrived_counts_as_paged() -> None:
    assert dossier(notifications=[notification(), page_sent()]).paged
    assert not dossier(notifications=[notification()]).paged
    assert not dossier(notifications=[page_sent(delivered=False, problem="HTTP 500")]).paged


def test_acted_means_that_something_was_started_not_that_it_worked() -> None:
    assert dossier(remediation=remediation_record(run=run(RunState.FAILED))).acted
    assert not dossier(remediation=remediation_record(run=None, refused=("confidence: 0.10",))).acted


@pytest.mark.parametrize("state", RunState)
def test_a_run_that_is_known_to_have_changed_nothing_is_no_act(state: RunState) -> None:
    record = remediation_record(run=run(state))
    assert record.acted is (state not in NOTHING_DONE)
    assert dossier(remediation=record).acted is record.acted


def test_an_answer_is_bound_to_exactly_what_was_proposed() -> None:
    digests = {
        proposal_digest(INCIDENT_ID, 100, 101, degraded_evidence()),
        proposal_digest("another", 100, 101, degraded_evidence()),
        proposal_digest(INCIDENT_ID, 99, 101, degraded_evidence()),
        proposal_digest(INCIDENT_ID, 100, 102, degraded_evidence()),
        proposal_digest(INCIDENT_ID, 100, 101, healthy_evidence()),
    }
    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {64}
    assert proposal_digest(INCIDENT_ID, 100, 101, degraded_evidence()) in digests


def test_a_dossier_survives_json() -> None:
    full = decided_dossier(
        remediation=remediation_record(findings=verdict().findings),
        undo=remediation_record(),
        stopped=Stop(by="ada", at=NOW),
        rounds=2,
        notifications=[page_sent()],
    )
    assert Dossier.model_validate_json(full.model_dump_json()) == full


# Whose answer counts.

OPEN = proposal(digest="d" * 64, deadline=NOW + timedelta(minutes=2))


def test_an_approver_may_answer_the_open_proposal_until_its_deadline() -> None:
    asked = dossier(proposal=OPEN)
    assert asked.objection("d" * 64, "ada", NOW) == ""
    assert asked.objection("d" * 64, "ada", NOW + timedelta(minutes=2)) == ""


@pytest.mark.parametrize(
    ("changes", "digest", "approver", "late", "why"),
    [
        ({"proposal": None}, "d" * 64, "ada", 0, "nothing is proposed"),
        ({"approval": approval()}, "d" * 64, "ada", 0, "already approved by ada"),
        ({"approval": approval(approved=False)}, "d" * 64, "ada", 0, "already denied by ada"),
        ({}, "d" * 64, "ada", 121, "the deadline was 2026-11-24 14:02:00Z"),
        ({}, "e" * 64, "ada", 0, "this is not the proposal that is open: its digest differs"),
        ({}, "d" * 12, "ada", 0, "this is not the proposal that is open: its digest differs"),
        ({}, "d" * 64, "eve", 0, "eve is not one of the policy's approvers"),
        ({"policy": policy(approvers=())}, "d" * 64, "ada", 0, "ada is not one of the policy's approvers"),
    ],
)
def test_any_other_answer_is_objected_to_with_its_reason(
    changes: dict[str, object], digest: str, approver: str, late: int, why: str
) -> None:
    asked = dossier(**{"proposal": OPEN, **changes})
    assert asked.objection(digest, approver, NOW + timedelta(seconds=late)) == why


@pytest.mark.parametrize("wrong", [{"surprise": 1}, {"service": "Payment API"}, {"environment": "pro-duction"}])
def test_a_dossier_is_closed_and_names_a_valid_service(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        dossier(**wrong)


def test_two_dossiers_share_no_list() -> None:
    one, other = dossier(), dossier()
    one.notifications.append(notification())
    assert other.notifications == []


# What a second person, and a second name, change.

PAIR = policy(approvers=("ada", "grace"), approvals_needed=2, known_as={"slack:T1/U1": "ada"})


def asked_of_two(**changes: object) -> Dossier:
    return dossier(**{"proposal": OPEN, "policy": PAIR, **changes})


def test_one_of_two_approvals_decides_nothing_and_the_second_person_does() -> None:
    asked = asked_of_two()
    asked.take(approval(digest="d" * 64, approver="ada"))
    assert asked.approval is None
    asked.take(approval(digest="d" * 64, approver="slack:T1/U1"))
    assert asked.approval is None
    asked.take(approval(digest="d" * 64, approver="grace"))
    assert asked.approval == asked.approvals[-1]


def test_an_approval_of_an_earlier_proposal_does_not_count_for_this_one() -> None:
    asked = asked_of_two()
    asked.take(approval(digest="e" * 64, approver="grace"))
    asked.take(approval(digest="d" * 64, approver="ada"))
    assert asked.approval is None


def test_one_denial_decides() -> None:
    asked = asked_of_two()
    asked.take(approval(digest="d" * 64, approver="ada"))
    asked.take(approval(digest="d" * 64, approver="ada", approved=False))
    assert asked.approval
    assert not asked.approval.approved


def test_who_asked_for_the_incident_approves_only_where_one_is_enough() -> None:
    trigger = {"source": "api", "by": "slack:T1/U1"}
    assert asked_of_two(trigger=trigger).objection("d" * 64, "ada", NOW) == (
        "ada asked for this incident, and two others must approve"
    )
    assert dossier(proposal=OPEN, trigger={"source": "api", "by": "ada"}).objection("d" * 64, "ada", NOW) == ""


def test_the_same_answer_of_the_same_person_is_known_under_every_name() -> None:
    asked = asked_of_two()
    first = approval(digest="d" * 64, approver="ada")
    asked.take(first)
    assert asked.given("d" * 64, "slack:T1/U1", approved=True) == first
    assert asked.given("d" * 64, "ada", approved=False) is None
    assert asked.given("e" * 64, "ada", approved=True) is None
    assert asked.given("d" * 64, "grace", approved=True) is None


def test_what_alerts_say_is_counted_and_their_names_are_kept_once_and_capped() -> None:
    heard = dossier()
    assert heard.hear(AlertNotice(source="grafana", firing=("A", "B", "A"), left_out=3), NOW) == ("A", "B")
    assert heard.hear(AlertNotice(source="grafana", firing=("B", "C" * 200)), NOW) == ("C" * 100,)
    many = tuple(f"N{number}" for number in range(40))
    assert len(heard.hear(AlertNotice(source="grafana", firing=many), NOW)) == 17
    assert heard.hear(AlertNotice(source="grafana", resolved=many), NOW) == ()
    assert (heard.heard.notices, len(heard.heard.alerts), heard.heard.left_out, heard.heard.firing) == (4, 20, 3, False)
