"""What happens, by severity: P0 is acted on or paged, P1 is told at once, P2 is watched, health is only recorded."""

from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from incident.errors import TransientError
from incident.evidence import Health, Source
from incident.gate import Course
from incident.identifiers import page_key
from incident.messages import ChatKind
from incident.recovery import Classification
from incident.severity import Severity
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import (
    P0,
    P1,
    P2,
    UNREACHABLE,
    FailingServices,
    asked,
    decided_together,
    ended,
    noted,
    sick,
    summaries,
    unreadable,
    well,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_p0_with_a_culprit_is_rolled_back_once_and_recovers(staff: Staff) -> None:
    shift = await staff()
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.health_status is Classification.FULLY_RECOVERED
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert snapshot.remediation
    assert snapshot.remediation.authorised_by == "policy"
    assert snapshot.deployment_changed is True
    assert [order.target for order in shift.service.rollback.begun] == [100]
    assert [message.kind for message in shift.chat.posted] == [ChatKind.ALERT, ChatKind.REPORT]
    assert shift.pager.sent == []
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}


async def test_the_service_settles_before_the_first_look(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "2h"})
    snapshot = await ended(handle)
    assert snapshot.closed_at - snapshot.opened_at >= timedelta(hours=2)
    assert snapshot.outcome is Outcome.RECOVERED


async def test_p0_without_a_recent_deployment_pages_and_rolls_nothing_back(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert shift.service.rollback.starts == []
    assert [page.key for page in shift.pager.sent] == [page_key(snapshot.incident_id)]


async def test_p0_where_the_live_deployment_is_not_known_pages(staff: Staff) -> None:
    service = FakeService(live=101)
    service.fail(Source.DEPLOYMENTS, TransientError("github", "no answer"))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.verdict
    assert snapshot.verdict.course is Course.PAGE
    assert service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_proposal_of_an_unknown_target_pages(staff: Staff) -> None:
    shift = await staff(analyst=FakeAnalyst(builders.decision(rollback_to=42)))
    snapshot = await shift.handle()
    assert snapshot.verdict
    assert any("target_known" in refusal for refusal in snapshot.verdict.refusals)
    assert shift.service.rollback.starts == []
    assert snapshot.outcome is Outcome.ESCALATED


async def test_a_page_is_resolved_once_the_service_recovers_by_itself(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0), sick(P0), well())
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.action_taken is ActionTaken.ESCALATE
    assert len(shift.pager.sent) == 1
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]
    assert shift.pager.open == {}


async def test_p1_tells_chat_and_pager_at_once(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service)
    handle = await shift.open()
    snapshot = await ended(handle)
    assert snapshot.severity is Severity.P1
    assert await decided_together(handle, "notify.chat", "notify.page")
    assert shift.chat.posted[0].kind is ChatKind.ALERT
    assert len(shift.pager.sent) == 1
    assert service.rollback.starts == []
    assert snapshot.outcome is Outcome.RECOVERED


async def test_p2_is_watched_until_settled_without_any_message(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2), sick(P2), well())
    shift = await staff(service=service)
    handle = await shift.open()
    snapshot = await ended(handle)
    assert snapshot.severity is Severity.P2
    assert snapshot.outcome is Outcome.RECOVERED
    assert len(snapshot.looks) == 3
    assert not any(name.startswith("notify") for name in await asked(handle))
    assert snapshot.action_taken is ActionTaken.MONITOR
    assert shift.store.snapshots[snapshot.incident_id] == snapshot


async def test_p2_that_never_settles_ends_unresolved_without_a_page(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.outcome is Outcome.UNRESOLVED
    assert len(snapshot.looks) == snapshot.policy.max_looks
    assert shift.pager.sent == []
    assert shift.chat.posted == []


async def test_a_healthy_service_is_recorded_and_nothing_else(staff: Staff) -> None:
    shift = await staff(service=FakeService(live=100), analyst=FakeAnalyst())
    handle = await shift.open()
    snapshot = await ended(handle)
    assert snapshot.outcome is Outcome.NO_INCIDENT
    assert snapshot.action_taken is ActionTaken.NONE
    assert await asked(handle) == {"detect.collect": 1, "record.save": 1}
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}
    assert shift.chat.posted == []
    assert shift.pager.sent == []
    assert await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED) == []


async def test_a_blind_commander_pages_as_p1_and_closes_once_it_sees_again(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, unreadable(), unreadable(), well())
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.severity is Severity.P1
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.metrics.before
    assert snapshot.metrics.before.error_rate is None
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]


async def test_a_detection_that_nobody_could_make_is_an_incident_with_every_source_missing(staff: Staff) -> None:
    service = FakeService(live=100)
    lost = TransientError("registry", "cannot be read", retry_after=UNREACHABLE)
    shift = await staff(service=service, services=FailingServices(service, lost))
    snapshot = await shift.handle()
    assert snapshot.severity is Severity.P1
    assert snapshot.evidence
    assert len(snapshot.evidence.missing) == 4
    assert all("registry: cannot be read" in missing for missing in snapshot.evidence.missing)
    assert snapshot.health_status == "not_checked"
    assert snapshot.outcome is Outcome.ESCALATED
    assert noted(snapshot, "look 1: nobody could look")
    assert noted(snapshot, "INCONCLUSIVE after 0 looks")


@pytest.mark.parametrize("source", [Source.LOGS, Source.ALERTS])
async def test_an_incident_with_a_source_missing_is_analysed_and_says_so(staff: Staff, source: Source) -> None:
    service = FakeService(live=101)
    service.fail(source, TransientError("loki", "no answer"))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.evidence
    assert snapshot.evidence.missing == (f"{source}: no answer",)
    assert noted(snapshot, f"not seen: {source}: no answer")
    assert f"Not seen: {source}: no answer" in snapshot.summary
    assert snapshot.analysis
    assert snapshot.confidence == pytest.approx(0.75)
    assert any(field.label == "Not seen" for field in shift.chat.posted[0].fields)


async def test_an_unknown_service_fails_by_its_name_and_tells_nobody(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open(service="nobody")
    with pytest.raises(WorkflowFailureError) as failure:
        await ended(handle)
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "UnknownServiceError"
    assert "no service 'nobody' in environment 'production'; known: payment-api (production)" in str(cause)
    assert await asked(handle) == {"detect.collect": 1}
    assert shift.store.snapshots == {}


async def test_a_severity_below_the_numbers_is_raised_to_them(staff: Staff) -> None:
    low = builders.decision(severity="P3", action="monitor", rollback_to=None, pagerduty_priority="P4")
    shift = await staff(analyst=FakeAnalyst(low))
    snapshot = await shift.handle()
    assert snapshot.analysis
    assert snapshot.analysis.decision.severity is Severity.P3
    assert snapshot.severity is Severity.P0
    assert [page.severity for page in shift.pager.sent] == [Severity.P0]


async def test_a_severity_above_the_numbers_is_not_lowered_to_them(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2), well())
    high = builders.decision(severity="P1", action="escalate", rollback_to=None, pagerduty_priority="P2")
    shift = await staff(service=service, analyst=FakeAnalyst(high))
    snapshot = await shift.handle()
    assert snapshot.assessment
    assert snapshot.assessment.severity is Severity.P2
    assert snapshot.severity is Severity.P1
    assert [page.severity for page in shift.pager.sent] == [Severity.P1]


async def test_zero_waits_start_no_timers(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2), sick(P2), well())
    shift = await staff(service=service)
    handle = await shift.open({"settle": "0s", "look_every": "0s"})
    snapshot = await ended(handle)
    assert len(snapshot.looks) == 3
    assert await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED) == []


async def test_zero_waits_of_a_rollback_start_no_timers_but_that_of_the_page(staff: Staff) -> None:
    shift = await staff()
    handle = await shift.open({"settle": "0s", "look_every": "0s"})
    await ended(handle)
    assert await summaries(handle, EventType.EVENT_TYPE_TIMER_STARTED) == ["page if nothing has been done"]


async def test_a_degraded_health_alone_opens_an_incident(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics(health=Health.DEGRADED), well())
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.severity is Severity.P2
    assert snapshot.outcome is Outcome.RECOVERED
