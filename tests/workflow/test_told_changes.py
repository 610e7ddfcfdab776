"""What a change that somebody told of does to an incident."""

from datetime import UTC, datetime, timedelta

import pytest

from incident.dossier import Stage
from incident.errors import TransientError
from incident.gate import Course
from incident.messages import ChatKind
from incident.snapshot import Outcome
from tests import builders
from tests.fakes import FakeAnalyst, InMemoryStore
from tests.histories import FakeSurroundings
from tests.workflow.conftest import Staff
from tests.workflow.shift import at_stage, ended, noted, until_true, why_paged
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNMEASURED = FakeSurroundings({builders.SERVICE: None})
"""Nothing keeps a history of its metrics."""


async def told_of(at: datetime) -> InMemoryStore:
    """A store that knows of a change of the service's configuration."""
    store = InMemoryStore()
    await store.tell(builders.told_change(at=at, told_at=at))
    return store


async def test_p0_after_a_told_change_is_not_rolled_back_by_itself_whatever_the_analyst_says(staff: Staff) -> None:
    # Deployment 101 went live five minutes ago, and its alerts began two minutes later. Nobody answers the question.
    store = await told_of(datetime.now(UTC) - timedelta(minutes=4))
    shift = await staff(surroundings=UNMEASURED, store=store, analyst=FakeAnalyst(builders.decision()))
    snapshot = await shift.handle()
    assert shift.service.rollback.starts == []
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.ASK
    assert any("change:pool explains it as well" in each for each in snapshot.verdict.refusals)
    assert snapshot.verdict.cause
    assert snapshot.verdict.cause.guilty
    assert snapshot.verdict.cause.guilty.description == "database pool from 20 to 10"


async def test_people_are_told_which_change_explains_it(staff: Staff) -> None:
    store = await told_of(datetime.now(UTC) - timedelta(minutes=4))
    shift = await staff(surroundings=UNMEASURED, store=store)
    snapshot = await shift.handle()
    assert snapshot.analysis
    assert snapshot.analysis.decision.root_cause_hypothesis.startswith(
        "change:pool, configuration change of payment-api"
    )
    (page,) = shift.pager.sent
    alert = next(each for each in shift.chat.posted if each.kind is ChatKind.ALERT)
    for details, label in ((page.details, "changed"), (alert.fields, "Explained by")):
        (said,) = (each.text for each in details if each.label == label)
        assert said.startswith("change:pool, configuration change of payment-api at ")
        assert said.endswith(": database pool from 20 to 10")


async def test_a_deployment_shortly_after_a_told_change_is_asked_about(staff: Staff) -> None:
    store = await told_of(datetime.now(UTC) - timedelta(minutes=6))
    shift = await staff(surroundings=UNMEASURED, store=store)
    snapshot = await shift.handle({"approvers": ()})
    assert shift.service.rollback.starts == []
    assert snapshot.verdict
    (refused,) = (each for each in snapshot.verdict.refusals if each.startswith("only_change"))
    assert refused.startswith("only_change: change:pool explains it as well, a configuration change of payment-api at ")


async def test_a_told_change_of_long_before_the_deployment_holds_no_rollback_up(staff: Staff) -> None:
    store = await told_of(datetime.now(UTC) - timedelta(minutes=30))
    shift = await staff(surroundings=UNMEASURED, store=store)
    assert (await shift.handle()).outcome is Outcome.RECOVERED
    assert len(shift.service.rollback.starts) == 1


async def test_a_change_that_is_told_of_while_a_person_is_asked_voids_what_they_approve(staff: Staff) -> None:
    shift = await staff(surroundings=UNMEASURED, analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open({"settle": "0s", "look_every": "0s"}, skipping=False)
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    at = datetime.now(UTC) - timedelta(minutes=4)
    await shift.store.tell(builders.told_change(at=at, told_at=datetime.now(UTC)))
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    await handle.execute_update(IncidentWorkflow.answer, answer)
    asked = None

    async def asks_anew() -> bool:
        nonlocal asked
        asked = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
        return asked != proposal

    await until_true(asks_anew)
    assert asked
    refusal = ApprovalAnswer(digest=asked.digest, approver="ada", approved=False)
    await handle.execute_update(IncidentWorkflow.answer, refusal)
    snapshot = await ended(handle)
    assert shift.service.rollback.starts == []
    assert snapshot.remediation
    assert snapshot.remediation.void
    said = f"change:pool, configuration change of payment-api at {at:%Y-%m-%d %H:%M:%SZ}: database pool from 20 to 10"
    assert snapshot.remediation.refused[0] == f"{said}, was not known of when it was decided"
    assert noted(snapshot, f"not rolled back: {said}")
    assert noted(snapshot, "the proposal is void; the evidence is read again")
    # Decided anew with the change among the evidence: a person is asked again, and told of both.
    assert snapshot.verdict
    assert any("change:pool explains it as well" in each for each in snapshot.verdict.refusals)
    assert [each.kind for each in shift.chat.posted].count(ChatKind.QUESTION) == 2
    assert snapshot.outcome is Outcome.ESCALATED


async def test_where_the_told_changes_cannot_be_read_that_is_said_and_nothing_is_rolled_back(staff: Staff) -> None:
    store = InMemoryStore(errors={"told": TransientError("store", "cannot be used now")})
    shift = await staff(surroundings=UNMEASURED, store=store)
    snapshot = await shift.handle()
    assert shift.service.rollback.starts == []
    assert snapshot.evidence
    assert snapshot.evidence.background
    assert snapshot.evidence.background.problem == "told changes are not known: store: cannot be used now"
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.ACT
    refused = "the rollback was refused: told changes are not known: store: cannot be used now"
    assert why_paged(shift) == refused
    assert snapshot.outcome is Outcome.ESCALATED
