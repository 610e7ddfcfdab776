"""A run of the rollback, followed by durable timers: what each state means, and how long is waited for it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from incident.errors import PermanentError
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests.fakes import FakeReleases, FakeRollback, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import asked, ended, events, noted, until, why_paged
from workflows.incident import IncidentWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s"}
URL = "https://github.example/acme/payments/actions/runs/7"
EVENTS_A_LOOK = 11
"""A timer's two, an activity's three, and two workflow tasks of three."""
SKIP = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
"""Only a server that skips time writes it."""
WAITING, SUCCEEDED = RunState.WAITING, RunState.SUCCEEDED


class Linked(FakeRollback):
    """Says where a person can look at its runs."""

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        return _linked(await super().start(order, not_after))

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        return _linked(await super().look(order, run))


def _linked(run: RollbackRun) -> RollbackRun:
    return run.model_copy(update={"url": URL})


class Relentless(FakeRollback):
    """Calls no run off: it refuses, or it says nothing."""

    def __init__(
        self,
        releases: FakeReleases,
        states: Sequence[RunState],
        error: Exception | None = None,
        run_id: int | None = None,
    ) -> None:
        super().__init__(releases, states)
        self._error = error
        self._run_id = run_id

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        return self._numbered(await super().start(order, not_after))

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        return self._numbered(await super().look(order, run))

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        self.cancels.append(order.correlation_id)
        if self._error:
            raise self._error
        return run

    def _numbered(self, run: RollbackRun) -> RollbackRun:
        return run.model_copy(update={"run_id": self._run_id})


def linked(*states: RunState) -> FakeService:
    service = FakeService(live=101)
    service.rollback = Linked(service.releases, states)
    return service


def run_of(snapshot: Snapshot) -> RollbackRun:
    assert snapshot.remediation
    assert snapshot.remediation.run
    return snapshot.remediation.run


async def test_a_run_that_waits_for_a_review_is_told_of_once_with_its_link(staff: Staff) -> None:
    shift = await staff(service=linked(RunState.PENDING, WAITING, WAITING, WAITING, RunState.RUNNING, SUCCEEDED))
    snapshot = await shift.handle()
    kinds = [message.kind for message in shift.chat.posted]
    assert kinds == [ChatKind.ALERT, ChatKind.REVIEW, ChatKind.REPORT]
    assert URL in shift.chat.posted[1].text
    assert URL in why_paged(shift)
    assert "waits for a review" in why_paged(shift)
    assert noted(snapshot, f"rollback waits for a review: {URL}")
    assert run_of(snapshot).state is SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert shift.pager.open == {}


async def test_ten_days_of_waiting_for_a_review_would_cost_few_events(staff: Staff) -> None:
    """Half a day is waited for; from the eleventh look on, every further half hour costs the same."""
    shift = await staff(service=linked(*[WAITING] * 34, SUCCEEDED))
    handle = await shift.open()
    snapshot = await ended(handle)
    assert timedelta(hours=12) <= snapshot.closed_at - snapshot.opened_at < timedelta(hours=13)
    assert snapshot.outcome is Outcome.RECOVERED
    looks, skips = (await asked(handle))["remediate.follow"], await events(handle, SKIP)
    assert looks == 34
    assert len((await handle.fetch_history()).events) - len(skips) < looks * EVENTS_A_LOOK + 100
    assert 10 * 48 * EVENTS_A_LOOK + 100 < 6_000


async def test_the_longer_reviewers_take_the_rarer_the_looks_up_to_half_an_hour(staff: Staff) -> None:
    shift = await staff(service=linked(*[WAITING] * 11, SUCCEEDED))
    snapshot = await shift.handle({"follow_every": "1m"})
    pauses = sum([2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30])
    waited = snapshot.closed_at - snapshot.opened_at
    assert timedelta(minutes=pauses) <= waited < timedelta(minutes=pauses + 2)


async def test_the_time_of_reviewers_does_not_use_up_that_of_the_rollback(staff: Staff) -> None:
    shift = await staff(service=linked(*[WAITING] * 6, RunState.RUNNING, RunState.RUNNING, SUCCEEDED))
    snapshot = await shift.handle({"follow_every": "20s", "remediate_within": "1m", "start_within": "1m"})
    assert snapshot.closed_at - snapshot.opened_at > timedelta(minutes=30)
    assert run_of(snapshot).state is SUCCEEDED
    assert snapshot.outcome is Outcome.RECOVERED


async def test_the_time_of_the_rollback_begins_once_the_reviewers_are_done(staff: Staff) -> None:
    shift = await staff(service=linked(*[WAITING] * 3, *[RunState.RUNNING] * 9, SUCCEEDED))
    snapshot = await shift.handle({"follow_every": "20s", "remediate_within": "1m"})
    assert run_of(snapshot).state is RunState.UNKNOWN
    assert run_of(snapshot).detail.startswith("did not end within 0:01:00; last: running")


async def test_reviewers_who_never_answer_are_waited_for_only_so_long(staff: Staff) -> None:
    service = linked(WAITING)
    shift = await staff(service=service)
    snapshot = await shift.handle({"follow_every": "10m", "review_within": "3h"})
    assert run_of(snapshot).state is RunState.UNKNOWN
    assert run_of(snapshot).detail.startswith("did not end within 3:00:00; last: waiting")
    assert service.rollback.cancels == []
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED


@pytest.mark.parametrize("state", [WAITING, RunState.RUNNING])
async def test_the_signal_to_look_now_cuts_the_pause(staff: Staff, state: RunState) -> None:
    shift = await staff(service=FakeService(live=101, states=(state, SUCCEEDED)))
    handle = await shift.open({**SOON, "follow_every": "5h", "remediate_within": "20h"}, skipping=False)
    await until(lambda: len(shift.service.rollback.begun) == 1)
    await handle.signal(IncidentWorkflow.look_now)
    snapshot = await ended(handle)
    assert run_of(snapshot).state is SUCCEEDED
    assert snapshot.closed_at - snapshot.opened_at < timedelta(minutes=1)
    assert (await asked(handle))["remediate.follow"] == 1


@pytest.mark.parametrize(
    "state",
    [
        RunState.FAILED,
        RunState.CANCELLED,
        RunState.TIMED_OUT,
        RunState.ACTION_REQUIRED,
        RunState.STARTUP_FAILURE,
        RunState.REFUSED,
        RunState.UNKNOWN,
        RunState.NEVER_STARTED,
    ],
)
async def test_what_is_not_success_is_told_apart_pages_and_counts_for_nothing(staff: Staff, state: RunState) -> None:
    shift = await staff(service=FakeService(live=101, states=(RunState.PENDING, state)))
    snapshot = await shift.handle({"follow_every": "20s"})
    assert run_of(snapshot).state is state
    assert f"the rollback is {state.value.replace('_', ' ')}: " in why_paged(shift)
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.undo is None
    assert len(shift.service.rollback.starts) == 1
    entered = RunState.PENDING if state is RunState.UNKNOWN else state
    assert [entry.state for entry in shift.store.remediations.values()] == [entered]


async def test_a_target_that_does_not_say_what_runs_there_is_not_asked_to_run_anything(staff: Staff) -> None:
    service = FakeService(live=101)
    service.rollback = Silent(service.releases)
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert run_of(snapshot).state is RunState.REFUSED
    assert "the token may not read its runs" in why_paged(shift)
    assert service.rollback.starts == []
    assert shift.store.remediations == {}
    assert snapshot.action_taken is ActionTaken.ESCALATE


class Silent(FakeRollback):
    """Does not say what runs there."""

    async def find(self, order: RollbackOrder, asked_at: object) -> RollbackRun | None:
        raise PermanentError("github", f"the token may not read its runs: {order.correlation_id} at {asked_at}")


async def test_a_run_that_does_not_begin_is_paged_called_off_and_never_started(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.PENDING,))
    shift = await staff(service=service)
    snapshot = await shift.handle(
        {"follow_every": "1m", "start_within": "5m", "remediate_within": "30m", "page_after": "2h"}
    )
    run = run_of(snapshot)
    assert run.state is RunState.NEVER_STARTED
    assert run.detail == "called off: it had not begun within 0:05:00"
    assert service.rollback.cancels == [run.correlation_id]
    assert why_paged(shift) == "the rollback has not begun: the script says pending"
    paged = next(entry.at for entry in snapshot.timeline if "paging:" in entry.text)
    assert timedelta(minutes=5) <= paged - snapshot.opened_at < timedelta(minutes=6)
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert service.releases.live == 101


async def test_a_run_that_begins_after_all_while_it_is_called_off_still_counts(staff: Staff) -> None:
    service = FakeService(live=101)
    states = (*[RunState.PENDING] * 8, RunState.RUNNING, SUCCEEDED)
    service.rollback = Relentless(service.releases, states, PermanentError("github", "it cannot be cancelled"))
    shift = await staff(service=service)
    snapshot = await shift.handle({"follow_every": "1m", "start_within": "5m", "remediate_within": "30m"})
    assert run_of(snapshot).state is SUCCEEDED
    assert len(service.rollback.cancels) == 1
    assert len(shift.pager.sent) == 1
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert snapshot.outcome is Outcome.RECOVERED


@pytest.mark.parametrize(("run_id", "state"), [(None, RunState.NEVER_STARTED), (7, RunState.UNKNOWN)])
async def test_a_run_that_the_list_never_shows_never_started_one_that_it_shows_is_unknown(
    staff: Staff, run_id: int | None, state: RunState
) -> None:
    service = FakeService(live=101)
    service.rollback = Relentless(service.releases, (RunState.PENDING,), run_id=run_id)
    shift = await staff(service=service)
    snapshot = await shift.handle({"follow_every": "2m", "start_within": "5m", "remediate_within": "30m"})
    assert run_of(snapshot).state is state
    assert run_of(snapshot).detail.startswith("did not end within 0:30:00; last: pending")
    assert len(service.rollback.cancels) == 1
    assert len(shift.pager.sent) == 1
    assert snapshot.action_taken is ActionTaken.ESCALATE


async def test_what_still_runs_after_its_time_is_unknown(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.PENDING, RunState.RUNNING))
    shift = await staff(service=service)
    snapshot = await shift.handle({"follow_every": "2m", "remediate_within": "10m"})
    assert run_of(snapshot).state is RunState.UNKNOWN
    assert why_paged(shift).startswith("the rollback is unknown: did not end within 0:10:00; last: running")
    assert service.rollback.cancels == []
    assert snapshot.action_taken is ActionTaken.ESCALATE
