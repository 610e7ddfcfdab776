"""What a change that somebody told of does to an incident."""

from datetime import UTC, datetime, timedelta

import pytest

from incident.errors import TransientError
from incident.gate import Course
from incident.messages import ChatKind
from incident.snapshot import Outcome
from tests import builders
from tests.fakes import FakeAnalyst, InMemoryStore
from tests.histories import FakeSurroundings
from tests.workflow.conftest import Staff

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNMEASURED = FakeSurroundings({builders.SERVICE: None})
"""Nothing keeps a history of its metrics."""


async def told_of(at: datetime) -> InMemoryStore:
    """A store that knows of a change of the service's configuration."""
    store = InMemoryStore()
    await store.tell(builders.told_change(at=at, told_at=at))
    return store


async def test_p0_after_a_told_change_is_paged_and_not_rolled_back_whatever_the_analyst_says(staff: Staff) -> None:
    # Deployment 101 went live five minutes ago, and its alerts began two minutes later.
    store = await told_of(datetime.now(UTC) - timedelta(minutes=4))
    shift = await staff(surroundings=UNMEASURED, store=store, analyst=FakeAnalyst(builders.decision()))
    snapshot = await shift.handle()
    assert shift.service.rollback.starts == []
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert any("change:pool explains it better" in each for each in snapshot.verdict.refusals)
    assert snapshot.verdict.cause
    assert snapshot.verdict.cause.guilty
    assert snapshot.verdict.cause.guilty.description == "database pool from 20 to 10"


async def test_people_are_told_which_change_explains_it(staff: Staff) -> None:
    store = await told_of(datetime.now(UTC) - timedelta(minutes=4))
    shift = await staff(surroundings=UNMEASURED, store=store)
    snapshot = await shift.handle()
    assert snapshot.analysis
    assert snapshot.analysis.decision.root_cause_hypothesis.startswith("change:pool explains the onset")
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


async def test_where_the_told_changes_cannot_be_read_the_incident_goes_on_and_says_so(staff: Staff) -> None:
    store = InMemoryStore(errors={"told": TransientError("store", "cannot be used now")})
    shift = await staff(surroundings=UNMEASURED, store=store)
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.evidence
    assert snapshot.evidence.background
    assert snapshot.evidence.background.problem == "told changes are not known: store: cannot be used now"
