"""The incident desk: one open incident per service and environment, found by its id and answered over a client."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from incident.dossier import AlertNotice, Stage
from incident.errors import NotOpenError, PermanentError, RefusedError, TransientError
from incident.identifiers import correlation_id, parse_incident_id
from incident.snapshot import Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeService, FakeServices
from tests.workflow import shift as shifts
from tests.workflow.conftest import Staff
from tests.workflow.shift import Handle, Shift, at_stage, ended, noted, until_true
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest, IncidentRequest, OutsideDecision

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN_ID = "production.payment-api.20200101T000000Z.00000000"


def desk_of(shift: Shift) -> IncidentDesk:
    return IncidentDesk(shift.environment.client, task_queue=shift.name)


def triggered(by: str, service: str, policy: dict[str, object] | None = None, outside: str = "") -> IncidentRequest:
    return IncidentRequest.model_validate(
        {
            "service": service,
            "policy": builders.policy(**(policy or {})),
            "trigger": {"source": "alertmanager", "trigger_id": by, "reason": "HighErrorRate"},
            "outside_analyst": outside,
        }
    )


async def named(staff: Staff, service: FakeService, analyst: FakeAnalyst | None = None) -> tuple[Shift, str]:
    """A shift whose service has a name of its own, since its workflow id follows from it."""
    name = f"api-{shifts.unique()}"
    known = FakeServices(service, name=name)
    return await staff(service=service, services=known, analyst=analyst or FakeAnalyst()), name


async def test_a_second_trigger_joins_the_open_incident(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        first, handle = await desk.open(triggered("one", name, {"settle": "1h"}))
        second, same = await desk.open(triggered("two", name))
    assert first.opened
    assert not second.opened
    assert second.incident_id == first.incident_id
    assert same.id == handle.id == f"incident-production-{name}"
    await at_stage(handle, Stage.SETTLING)
    snapshot = await shift.finish(handle)
    assert snapshot.incident_id == first.incident_id
    assert noted(snapshot, "joined by another trigger")
    assert snapshot.policy.settle == timedelta(hours=1)
    assert len(shift.service.rollback.begun) == 1


async def test_the_same_trigger_sent_twice_still_opened_it(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101))
    desk = desk_of(shift)
    request = triggered("one", name, {"settle": "1h"})
    with shift.environment.with_time_skipping_disabled():
        first, handle = await desk.open(request)
        again, _ = await desk.open(request)
    assert first == again
    assert first.opened
    assert not noted(await shift.finish(handle), "joined")


async def test_a_trigger_without_an_id_never_claims_to_have_opened_it(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=100))
    joined, handle = await desk_of(shift).open(triggered("", name))
    assert not joined.opened
    await ended(handle)


async def test_two_incidents_in_a_row_are_two_incidents_with_two_rollbacks(staff: Staff) -> None:
    service = FakeService(live=101, bad=(101, 102))
    shift, name = await named(staff, service, FakeAnalyst(builders.decision(), builders.decision()))
    desk = desk_of(shift)
    often = {"cool_down": "0s", "service_rollbacks_per_hour": 2}
    first, handle = await desk.open(triggered("one", name, often))
    assert (await ended(handle)).outcome is Outcome.RECOVERED
    service.deploy(102)
    second, again = await desk.open(triggered("two", name, often))
    assert (await ended(again)).outcome is Outcome.RECOVERED
    assert second.opened
    assert again.id == handle.id
    assert first.incident_id != second.incident_id
    assert parse_incident_id(first.incident_id) == parse_incident_id(second.incident_id) == ("production", name)
    assert [order.correlation_id for order in service.rollback.begun] == [
        correlation_id(each, "rollback") for each in (first.incident_id, second.incident_id)
    ]
    assert len({order.correlation_id for order in service.rollback.begun}) == 2
    assert set(shift.store.snapshots) == {first.incident_id, second.incident_id}


async def test_an_incident_is_found_by_its_id_while_open_and_after(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        joined, handle = await desk.open(triggered("one", name, {"settle": "1h"}))
    await at_stage(handle, Stage.SETTLING)

    async def listed() -> bool:
        mine = [each for each in await desk.all_open() if each.incident_id == joined.incident_id]
        return [(each.service, each.severity, each.stage, each.workflow_id) for each in mine] == [
            (name, "P0", "settling", handle.id)
        ]

    await until_true(listed)
    found = await desk.find(joined.incident_id)
    assert found
    assert (await desk.dossier(found)).incident_id == joined.incident_id
    assert await runs(found)
    await shift.finish(handle)
    assert not await runs(found)

    async def closed() -> bool:
        return all(each.incident_id != joined.incident_id for each in await desk.all_open())

    await until_true(closed)
    again = await desk.find(joined.incident_id)
    assert again
    assert (await ended(again)).incident_id == joined.incident_id


async def runs(handle: Handle) -> bool:
    """Whether the incident is open, as the server says."""
    return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_an_incident_that_the_server_does_not_know_is_not_found(staff: Staff) -> None:
    desk = desk_of(await staff())
    assert await desk.find(UNKNOWN_ID) is None
    with pytest.raises(ValueError, match="not an incident id"):
        await desk.find('x" OR "1" = "1')


async def test_a_person_answers_over_the_desk(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(builders.decision(confidence=0.7)))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        _, handle = await desk.open(triggered("one", name, {"settle": "0s", "look_every": "0s"}))
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    stranger = ApprovalAnswer(digest=proposal.digest, approver="mallory", approved=True)
    with pytest.raises(PermanentError, match="mallory is not one of the policy's approvers"):
        await desk.answer(handle, stranger)
    approval = await desk.answer(handle, stranger.model_copy(update={"approver": "ada"}))
    assert approval.approver == "ada"
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_an_outside_analyst_decides_over_the_desk_and_reads_every_error(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101))
    desk = desk_of(shift)
    request = triggered("one", name, {"settle": "0s", "look_every": "0s"}, outside="kestra")
    with shift.environment.with_time_skipping_disabled():
        _, handle = await desk.open(request)
    await at_stage(handle, Stage.AWAITING_DECISION)
    good = builders.decision().model_dump(mode="json")
    with pytest.raises(PermanentError, match=r"confidence: .*; action: "):
        await desk.decide(handle, OutsideDecision(decision={**good, "confidence": 90, "action": "reboot"}))
    await desk.decide(handle, OutsideDecision(decision=good))
    assert (await ended(handle)).outcome is Outcome.RECOVERED


async def test_a_closed_incident_cannot_be_cancelled(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=100))
    desk = desk_of(shift)
    _, handle = await desk.open(triggered("one", name))
    await ended(handle)
    with pytest.raises(NotOpenError, match="completed"):
        await desk.cancel(handle, CancelRequest(by="ada"))


async def test_an_incident_is_cancelled_over_the_desk(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(builders.decision(confidence=0.7)))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        joined, handle = await desk.open(triggered("one", name))
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    receipt = await desk.cancel(handle, CancelRequest(by="ada"))
    assert receipt.incident_id == joined.incident_id
    assert not receipt.acted
    assert (await ended(handle)).outcome is Outcome.CANCELLED


async def test_a_workflow_of_another_kind_answers_no_dossier(server: WorkflowEnvironment, staff: Staff) -> None:
    shift = await staff()
    client: Client = server.client
    stranger = await client.start_workflow(
        "late-record", builders.snapshot(), id=f"stranger-{shift.name}", task_queue=shift.name
    )
    await stranger.result()
    handle: Handle = client.get_workflow_handle_for(IncidentWorkflow.run, stranger.id)
    with pytest.raises(TransientError, match="dossier"):
        await desk_of(shift).dossier(handle)
    assert not await runs(handle)


async def test_a_server_that_does_not_know_it_is_another_error_than_one_that_refuses(staff: Staff) -> None:
    shift = await staff()
    missing: Handle = shift.environment.client.get_workflow_handle_for(IncidentWorkflow.run, "nobody")
    with pytest.raises(NotOpenError, match="incident: is not open"):
        await desk_of(shift).dossier(missing)
    elsewhere = Client(shift.environment.client.service_client, namespace="nowhere")
    with pytest.raises(TransientError, match=r"temporal: .*nowhere"):
        await IncidentDesk(elsewhere).all_open()


async def test_a_hundred_triggers_at_once_are_one_incident_with_one_rollback(staff: Staff) -> None:
    gate = asyncio.Event()
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(gate=gate))
    desk = desk_of(shift)
    policy: dict[str, object] = {"settle": "0s", "look_every": "0s"}
    with shift.environment.with_time_skipping_disabled():
        answers = await asyncio.gather(*(desk.open(triggered(f"trigger-{each}", name, policy)) for each in range(100)))
    gate.set()
    (_, handle), *_ = answers
    snapshot = await ended(handle)
    assert {joined.incident_id for joined, _ in answers} == {snapshot.incident_id}
    assert sum(joined.opened for joined, _ in answers) == 1
    assert len([entry for entry in snapshot.timeline if entry.text == "joined by another trigger"]) == 99
    assert len(shift.service.rollback.starts) == 1
    assert len(shift.store.remediations) == 1
    assert snapshot.outcome is Outcome.RECOVERED


async def test_an_alert_opens_an_incident_and_the_next_thousand_are_heard_in_it(staff: Staff) -> None:
    gate = asyncio.Event()
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(gate=gate))
    desk = desk_of(shift)
    request = triggered("", name, {"settle": "0s", "look_every": "0s"})
    notice = AlertNotice(source="alertmanager", firing=("HighErrorRate",))
    with shift.environment.with_time_skipping_disabled():
        await asyncio.gather(*(desk.alert(request, notice) for _ in range(200)))
    assert await desk.hear("production", name, AlertNotice(source="alertmanager", resolved=("HighErrorRate",)))
    gate.set()
    handle: Handle = shift.environment.client.get_workflow_handle_for(
        IncidentWorkflow.run, f"incident-production-{name}"
    )
    snapshot = await ended(handle)
    assert (snapshot.heard.notices, snapshot.heard.alerts, snapshot.heard.firing) == (201, ("HighErrorRate",), False)
    assert len(shift.service.rollback.begun) == 1
    assert len(shift.store.snapshots) == 1


async def test_what_no_incident_is_open_for_is_said_to_nobody(staff: Staff) -> None:
    desk = desk_of(await staff())
    answer = ApprovalAnswer(digest="0" * 64, approver="ada", approved=True)
    assert not await desk.press(UNKNOWN_ID, answer)
    assert not await desk.look_now("production", "nobody")
    assert not await desk.hear("production", "nobody", AlertNotice(source="grafana"))


async def test_a_press_is_taken_where_no_worker_runs_and_counts_once_one_does(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(builders.decision(confidence=0.7)))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        joined, handle = await desk.open(triggered("one", name, {"settle": "0s", "look_every": "0s"}))
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    assert await desk.press(joined.incident_id, answer)
    assert (await ended(handle)).outcome is Outcome.RECOVERED
    assert not await desk.press(joined.incident_id, answer)


async def test_how_far_an_incident_is_can_be_waited_for(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101), FakeAnalyst(builders.decision(confidence=0.7)))
    desk = desk_of(shift)
    with shift.environment.with_time_skipping_disabled():
        joined, handle = await desk.open(triggered("one", name, {"settle": "0s", "look_every": "0s"}))
        asking = await desk.until(handle, lambda each: each.stage == Stage.AWAITING_APPROVAL, shifts.PATIENCE)
    assert (asking.stage, asking.closed) == (Stage.AWAITING_APPROVAL, False)
    unchanged = await desk.until(handle, lambda each: each.stage != asking.stage, timedelta(milliseconds=300))
    assert unchanged.stage == asking.stage
    found = await desk.find(joined.incident_id)
    assert found
    await desk.cancel(found, CancelRequest(by="ada"))
    await ended(handle)
    closed = await desk.until(found, lambda _: False, shifts.PATIENCE)
    assert (closed.stage, closed.closed) == (Stage.CLOSED, True)
    assert closed.events > asking.events


async def test_a_refusal_says_whether_such_an_answer_is_awaited_and_what_is_wrong_with_each_field(staff: Staff) -> None:
    shift, name = await named(staff, FakeService(live=101))
    desk = desk_of(shift)
    request = triggered("one", name, {"settle": "0s", "look_every": "0s"}, outside="kestra")
    with shift.environment.with_time_skipping_disabled():
        _, handle = await desk.open(request)
    await at_stage(handle, Stage.AWAITING_DECISION)
    with pytest.raises(RefusedError) as early:
        await desk.answer(handle, ApprovalAnswer(digest="0" * 64, approver="ada", approved=True))
    assert not early.value.awaited
    good = builders.decision().model_dump(mode="json")
    with pytest.raises(RefusedError) as invalid:
        await desk.decide(handle, OutsideDecision(decision={**good, "confidence": 90, "action": "reboot"}))
    wrong = [line.split(":")[0] for line in invalid.value.errors]
    assert (invalid.value.awaited, wrong) == (True, ["confidence", "action"])
    assert (await desk.evidence(handle)).evidence is not None
    await desk.decide(handle, OutsideDecision(declined="no key"))
    await ended(handle)
