"""The rollback: one run, followed to its end, and a person where it does not succeed or nobody can say."""

from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from incident.errors import PermanentError, TransientError
from incident.evidence import Source
from incident.ledger import RunState
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeRollback, FakeService, InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import (
    UNREACHABLE,
    SlowRollback,
    asked,
    ended,
    noted,
    summaries,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

RARELY = {"follow_every": "20s"}


async def test_a_run_is_looked_at_between_timers_until_it_has_ended(staff: Staff) -> None:
    states = (RunState.PENDING, RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED)
    shift = await staff(service=FakeService(live=101, states=states))
    handle = await shift.open({"follow_every": "5m", "remediate_within": "1h"})
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.SUCCEEDED
    assert (await asked(handle))["remediate.follow"] == 3
    timers = await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED)
    assert timers.count("look at the rollback again") == 3
    assert snapshot.closed_at - snapshot.opened_at >= timedelta(minutes=15)
    assert snapshot.outcome is Outcome.RECOVERED
    assert [entry.state for entry in shift.store.remediations.values()] == [RunState.SUCCEEDED]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
async def test_a_run_that_does_not_succeed_pages_and_the_service_is_still_looked_at(
    staff: Staff, state: RunState
) -> None:
    shift = await staff(service=FakeService(live=101, states=(RunState.RUNNING, state)))
    snapshot = await shift.handle()
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is state
    assert noted(snapshot, f"paging: the rollback is {state}")
    assert len(shift.pager.sent) == 1
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED
    assert [entry.state for entry in shift.store.remediations.values()] == [state]


async def test_a_target_that_finds_another_deployment_live_fails_the_run_and_pages(staff: Staff) -> None:
    service = FakeService(live=101, bad=(101, 102))
    service.answer(Source.DEPLOYMENTS, builders.deployments(*service.releases.history()))
    service.deploy(102)
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert len(service.rollback.starts) == 1
    assert service.rollback.begun == []
    assert service.releases.live == 102
    assert noted(snapshot, "the rollback is failed: refused: deployment 102 is live")
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_target_that_refuses_the_order_leaves_its_state_unknown_and_pages(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=101, failures=[PermanentError("github", "no such workflow")]))
    snapshot = await shift.handle(RARELY)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.UNKNOWN
    assert "github: no such workflow" in snapshot.remediation.run.detail
    assert len(shift.service.rollback.starts) == 1
    assert len(shift.pager.sent) == 1
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_target_that_is_unreachable_for_the_whole_budget_is_unknown_and_pages(staff: Staff) -> None:
    failures = [TransientError("github", "no answer", retry_after=timedelta(minutes=1)) for _ in range(20)]
    shift = await staff(service=FakeService(live=101, failures=failures))
    snapshot = await shift.handle({**RARELY, "page_after": "1h"})
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.UNKNOWN
    assert "no answer" in snapshot.remediation.run.detail
    assert len(shift.service.rollback.starts) == 10
    assert len(shift.pager.sent) == 1
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_target_that_is_unreachable_for_a_while_is_tried_until_it_answers(staff: Staff) -> None:
    failures = [TransientError("github", "no answer") for _ in range(4)]
    shift = await staff(service=FakeService(live=101, failures=failures))
    snapshot = await shift.handle()
    assert len(shift.service.rollback.starts) == 5
    assert len(shift.service.rollback.begun) == 1
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_lost_reply_leads_to_no_second_rollback(staff: Staff) -> None:
    service = FakeService(live=101)
    service.rollback = FakeRollback(service.releases, lost_replies=[TransientError("github", "cut off")])
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert len(service.rollback.starts) == 1
    assert len(service.rollback.begun) == 1
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_run_that_never_ends_is_unknown_after_its_time_and_pages(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=101, states=(RunState.RUNNING,)))
    handle = await shift.open({"remediate_within": "10m", "follow_every": "2m"})
    snapshot = await ended(handle)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.UNKNOWN
    assert snapshot.remediation.run.detail.startswith("did not end within 0:10:00; last: running")
    assert (await asked(handle))["remediate.follow"] == 5
    assert len(shift.pager.sent) == 1
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED
    assert [entry.state for entry in shift.store.remediations.values()] == [RunState.PENDING]


async def test_a_look_at_the_run_that_fails_is_followed_by_the_next(staff: Staff) -> None:
    service = FakeService(live=101)
    lost = [TransientError("github", "no answer", retry_after=UNREACHABLE)] * 2
    service.rollback = SlowRollback(
        service.releases, (RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED), look_failures=lost
    )
    shift = await staff(service=service)
    handle = await shift.open()
    snapshot = await ended(handle)
    assert (await asked(handle))["remediate.follow"] == 4
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []


async def test_a_rollback_is_not_started_before_its_precondition_is_confirmed(staff: Staff) -> None:
    service = FakeService(live=101)
    good = builders.deployments(*service.releases.history())
    lost = builders.deployments(source="github", state="failed", problem="no answer")
    service.answer(Source.DEPLOYMENTS, good, lost, lost, good)
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert service.reads[Source.DEPLOYMENTS] == 5  # to detect, three times to remediate, with the first look
    assert len(service.rollback.starts) == 1
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_person_is_paged_as_soon_as_nobody_knows_whether_the_rollback_began(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=101, failures=[PermanentError("github", "no such workflow")]))
    snapshot = await shift.handle({"remediate_within": "2h", "follow_every": "1h", "page_after": "5h"})
    paged = next(entry.at for entry in snapshot.timeline if "paging:" in entry.text)
    assert paged - snapshot.opened_at < timedelta(minutes=1)
    assert noted(snapshot, "paging: whether the rollback was begun is not known: PermanentError: github: no such")
    assert len(shift.pager.sent) == 1


@pytest.mark.parametrize("method", ["entry", "begin"])
async def test_what_cannot_be_entered_in_the_ledger_does_not_begin_and_a_person_is_paged(
    staff: Staff, method: str
) -> None:
    lost = TransientError("store", "cannot be reached", retry_after=UNREACHABLE)
    shift = await staff(store=InMemoryStore({method: lost}))
    snapshot = await shift.handle(RARELY)
    assert shift.service.rollback.starts == []
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.state is RunState.UNKNOWN
    assert noted(snapshot, "paging: whether the rollback was begun is not known: TransientError: store: cannot be")
    assert len(shift.pager.sent) == 1
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_ledger_that_is_away_once_the_rollback_has_ended_holds_up_nothing(staff: Staff) -> None:
    store = InMemoryStore({"finish": TransientError("store", "cannot be reached")})
    shift = await staff(store=store)
    snapshot = await shift.handle()
    assert len(shift.service.rollback.begun) == 1
    assert snapshot.outcome is Outcome.RECOVERED
    assert [entry.state for entry in store.remediations.values()] == [RunState.PENDING]
