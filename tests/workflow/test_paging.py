"""When somebody is woken, how often, and what a channel that is down does to an incident."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from incident.dossier import Channel, Stage
from incident.errors import PermanentError, TransientError
from incident.evidence import Source
from incident.identifiers import escalation_key, page_key
from incident.ledger import RunState
from incident.messages import ChatKind, ChatMessage
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests import builders
from tests.fakes import FakeAnalyst, FakeChat, FakePager, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import (
    P0,
    P1,
    UNREACHABLE,
    Handle,
    SlowRollback,
    at_stage,
    decided_together,
    details,
    ended,
    noted,
    sick,
    summaries,
    until,
    until_true,
    well,
    why_paged,
)
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = {"settle": "0s", "look_every": "0s"}
AT_ONCE = {"decide_within": "100ms", "page_after": "300ms"}


def undelivered(snapshot: Snapshot, channel: Channel) -> list[str]:
    """Why the messages of `channel` did not arrive."""
    return [each.problem for each in snapshot.notifications if each.channel is channel and not each.delivered]


async def test_an_analyst_that_hangs_does_not_keep_the_page_back(staff: Staff) -> None:
    gate = asyncio.Event()
    shift = await staff(analyst=FakeAnalyst(gate=gate))
    handle = await shift.open({**SOON, **AT_ONCE}, skipping=False)
    await until(lambda: len(shift.pager.sent) == 1)
    gate.set()
    snapshot = await ended(handle)
    assert noted(snapshot, "paging: nothing was done within 0:00:00.300000")
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]


async def test_a_question_that_waits_does_not_keep_the_page_back_and_is_paged_once_in_all(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    snapshot = await shift.handle({"page_after": "1m", "approve_within": "2m"})
    entries = [entry for entry in snapshot.timeline if "paging:" in entry.text]
    assert ["nothing was done" in entries[0].text, "nobody answered" in entries[1].text] == [True, True]
    assert 60 <= (entries[0].at - snapshot.opened_at).total_seconds() < 70
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED


async def test_an_outside_analyst_and_a_question_in_a_row_are_paged_once(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    policy = {"decide_within": "50s", "page_after": "1m", "approve_within": "10m"}
    snapshot = await shift.handle(policy, outside_analyst="kestra")
    assert noted(snapshot, "nothing was done within 0:01:00")
    assert len(shift.pager.sent) == 1


async def test_a_rollback_that_is_stuck_does_not_keep_the_page_back(staff: Staff) -> None:
    gate = asyncio.Event()
    service = FakeService(live=101)
    service.rollback = SlowRollback(service.releases, gate=gate)
    shift = await staff(service=service)
    handle = await shift.open({**SOON, **AT_ONCE}, skipping=False)
    await until(lambda: len(shift.pager.sent) == 1)
    gate.set()
    snapshot = await ended(handle)
    assert noted(snapshot, "nothing was done within")
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK


async def test_what_is_not_p0_by_the_numbers_starts_no_timer_for_a_page(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service)
    handle = await shift.open()
    await ended(handle)
    assert "page if nothing has been done" not in await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED)


async def test_a_recovered_rollback_wakes_nobody(staff: Staff) -> None:
    shift = await staff()
    snapshot = await shift.handle({"page_after": "11s", "settle": "2h"})
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.sent == []
    assert shift.pager.resolved == []


async def test_a_rollback_that_does_not_help_ends_in_a_page(staff: Staff) -> None:
    service = FakeService(live=101, bad=(100, 101))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert noted(snapshot, "after 3 looks")
    assert [page.key for page in shift.pager.sent] == [page_key(snapshot.incident_id)]
    assert shift.pager.resolved == []
    assert shift.chat.posted[-1].kind is ChatKind.REPORT


@pytest.mark.parametrize(
    "error",
    [
        PermanentError("pagerduty", "no such key"),
        TransientError("pagerduty", "down", retry_after=timedelta(minutes=3)),
    ],
)
async def test_a_pager_that_is_down_has_its_page_in_the_chat_once(
    staff: Staff, error: PermanentError | TransientError
) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    shift = await staff(service=service, pager=FakePager(error=error))
    snapshot = await shift.handle()
    pages = [message for message in shift.chat.posted if message.kind is ChatKind.PAGE]
    assert [error.problem in page.text for page in pages] == [True]
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert not snapshot.integrations.pagerduty
    assert snapshot.unreached == ""
    assert [error.problem in problem for problem in undelivered(snapshot, Channel.PAGER)] == [True]
    assert snapshot.closed_at - snapshot.opened_at < timedelta(minutes=15)
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}


async def test_where_nobody_can_be_told_the_incident_stays_open_and_says_so(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    down = TransientError("slack", "down", retry_after=UNREACHABLE)
    shift = await staff(service=service, chat=FakeChat(error=down), pager=FakePager(error=down))
    handle = await shift.open({"keep_calling_for": "3h"}, skipping=False)
    await until_true(lambda: nobody_knows(handle))
    assert "Nobody knows" in await details(handle)
    snapshot = await shift.finish(handle)
    assert timedelta(hours=2, minutes=45) < snapshot.closed_at - snapshot.opened_at < timedelta(hours=3, minutes=15)
    assert snapshot.outcome is Outcome.UNRESOLVED
    assert snapshot.action_taken is ActionTaken.MONITOR
    assert "neither the pager nor the chat" in snapshot.unreached
    assert noted(snapshot, "nobody could be told")
    assert [each.kind for each in snapshot.notifications if each.channel is Channel.PAGER] == [ChatKind.PAGE]


async def test_a_pager_that_comes_back_after_two_hours_wakes_somebody(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    down = TransientError("slack", "down", retry_after=UNREACHABLE)
    shift = await staff(service=service, chat=FakeChat(error=down), pager=FakePager(*[down] * 15))
    snapshot = await shift.handle()
    assert [page.key for page in shift.pager.sent] == [page_key(snapshot.incident_id)]
    assert snapshot.closed_at - snapshot.opened_at > timedelta(hours=1, minutes=30)
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.unreached == ""
    assert noted(snapshot, "somebody was told")


async def test_a_person_who_cancels_an_incident_that_nobody_could_be_told_of_ends_the_calling(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    down = TransientError("slack", "down", retry_after=UNREACHABLE)
    shift = await staff(service=service, chat=FakeChat(error=down), pager=FakePager(error=down))
    handle = await shift.open({}, skipping=False)
    await until_true(lambda: nobody_knows(handle))
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada"))
    snapshot = await ended(handle)
    assert snapshot.outcome is Outcome.CANCELLED


async def test_nobody_is_called_any_more_about_a_service_that_recovered(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    down = TransientError("slack", "down", retry_after=UNREACHABLE)
    shift = await staff(service=service, chat=FakeChat(error=down), pager=FakePager(error=down))
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.closed_at - snapshot.opened_at < timedelta(minutes=5)


async def test_an_alert_that_the_chat_does_not_take_becomes_a_page(staff: Staff) -> None:
    chat = FakeChat(error=TransientError("slack", "down", retry_after=UNREACHABLE))
    shift = await staff(chat=chat)
    snapshot = await shift.handle({"settle": "10m"})
    assert snapshot.outcome is Outcome.RECOVERED
    assert why_paged(shift) == "the chat did not take the alert"
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]


async def test_an_escalation_is_a_page_of_its_own_and_all_are_closed_together(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.WAITING,) * 3 + (RunState.SUCCEEDED,))
    shift = await staff(service=service, analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    policy = {"wake_again_after": "5m", "page_after": "3m", "approve_within": "1h", "page_unanswered_after": "10m"}
    handle = await shift.open(policy, skipping=False)
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    await shift.skip(handle, timedelta(minutes=11))
    proposal = (await handle.query(IncidentWorkflow.dossier)).proposal
    assert proposal
    await handle.execute_update(
        IncidentWorkflow.answer, ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    )
    snapshot = await shift.finish(handle)
    keys = [page_key(snapshot.incident_id), escalation_key(snapshot.incident_id, 1)]
    assert [page.key for page in shift.pager.sent] == keys
    assert sorted(shift.pager.resolved) == sorted(keys)
    assert await decided_together(handle, "notify.resolve")
    assert noted(snapshot, "escalating: no answer yet: ")
    assert noted(snapshot, "escalating: the rollback waits for a review")
    assert snapshot.outcome is Outcome.RECOVERED


async def test_five_escalations_are_enough(staff: Staff) -> None:
    service = FakeService(live=101, states=(RunState.WAITING, RunState.RUNNING) * 9 + (RunState.SUCCEEDED,))
    shift = await staff(service=service)
    snapshot = await shift.handle({"wake_again_after": "0s", "follow_every": "1m", "remediate_within": "1h"})
    assert len(shift.pager.sent) == 6
    assert len(shift.pager.resolved) == 6
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_rollback_is_shown_beside_the_pages_and_a_pager_that_does_not_show_it_changes_nothing(
    staff: Staff,
) -> None:
    shift = await staff()
    snapshot = await shift.handle()
    (change,) = shift.pager.changes
    assert change.incident_id == snapshot.incident_id
    assert change.summary == "rollback of payment-api (production): deployment 101 → 100"
    failing = await staff(pager=FakePager(error=PermanentError("pagerduty", "refused")))
    snapshot = await failing.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert [(each.kind, each.delivered) for each in snapshot.notifications if each.channel is Channel.PAGER] == [
        (ChatKind.CHANGE, False)
    ]


async def nobody_knows(handle: Handle) -> bool:
    return bool((await handle.query(IncidentWorkflow.dossier)).unreached)


async def test_a_pager_that_comes_back_within_its_ten_minutes_wakes_somebody(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    outage = [TransientError("pagerduty", "down", retry_after=timedelta(minutes=3)) for _ in range(3)]
    shift = await staff(service=service, pager=FakePager(*outage))
    snapshot = await shift.handle()
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_page_that_cannot_be_closed_is_on_record_and_the_service_still_recovered(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service, pager=ResolvingNothing())
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert [each.kind for each in snapshot.notifications if not each.delivered] == [ChatKind.RESOLVE]


async def test_a_chat_that_is_down_changes_nothing_but_the_record(staff: Staff) -> None:
    shift = await staff(chat=FakeChat(error=TransientError("slack", "down", retry_after=timedelta(seconds=25))))
    handle = await shift.open()
    snapshot = await ended(handle)
    assert snapshot.outcome is Outcome.RECOVERED
    assert len(shift.service.rollback.begun) == 1
    assert len(undelivered(snapshot, Channel.CHAT)) == 2
    assert all("slack: down" in problem for problem in undelivered(snapshot, Channel.CHAT))
    assert not snapshot.integrations.slack
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}


async def test_the_rollback_does_not_wait_for_the_alert(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open()
    await ended(handle)
    assert await decided_together(handle, "notify.chat", "remediate.rollback")


async def test_a_chat_that_hangs_holds_up_neither_rollback_nor_looks(staff: Staff) -> None:
    chat = HangingChat()
    shift = await staff(chat=chat)
    handle = await shift.open({**SOON}, skipping=False)
    await at_stage(handle, Stage.REPORTING)
    assert shift.service.releases.live == 100
    assert chat.posted == []
    chat.gate.set()
    snapshot = await ended(handle)
    assert [message.kind for message in chat.posted] == [ChatKind.ALERT, ChatKind.REPORT]
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_report_that_is_slow_to_arrive_wakes_nobody_about_a_service_that_recovered(staff: Staff) -> None:
    service = FakeService(live=101)
    service.answer(Source.METRICS, builders.metrics(builders.DEGRADED_METRICS, deployment_id=101), well(101))
    service.answer(Source.ALERTS, builders.alerts())
    shift = await staff(service=service, chat=SlowReports())
    snapshot = await shift.handle({"page_after": "40s", "decide_within": "10s"})
    assert snapshot.remediation
    assert snapshot.remediation.void
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.closed_at - snapshot.opened_at > timedelta(seconds=40)
    assert shift.pager.sent == []


class SlowReports(FakeChat):
    """Takes a report at the fourth attempt, nearly a minute after the first; the first is a local activity's."""

    def __init__(self) -> None:
        super().__init__()
        self._refusals = 3

    async def post(self, message: ChatMessage) -> str:
        if message.kind is ChatKind.REPORT and self._refusals:
            self._refusals -= 1
            raise TransientError("slack", "rate-limited", retry_after=timedelta(seconds=25))
        return await super().post(message)


class ResolvingNothing(FakePager):
    """Takes pages and closes none."""

    async def resolve(self, key: str) -> None:
        raise PermanentError("pagerduty", f"cannot close {key}")


class HangingChat(FakeChat):
    """Takes no message before its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def post(self, message: ChatMessage) -> str:
        await self.gate.wait()
        return await super().post(message)


async def test_whoever_wants_to_know_is_paged_beside_a_rollback_that_does_not_wait_for_the_page(staff: Staff) -> None:
    shift = await staff(pager=FakePager(TransientError("pagerduty", "is away")))
    snapshot = await shift.handle({"page_beside": True, "settle": "0s", "follow_every": "1s"})
    assert noted(snapshot, "paging: beside rolling back deployment 101 to 100")
    assert shift.service.releases.live == 100
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]


async def test_beside_a_question_nobody_is_paged(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open({"page_beside": True, "page_after": "1h"})
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    assert shift.pager.sent == []
