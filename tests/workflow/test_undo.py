"""A rollback that made things worse is undone, once, if its own gate allows it; a person is paged either way."""

from collections.abc import Mapping

import pytest

from incident.dossier import Channel, Stage
from incident.evidence import Metric, Source
from incident.identifiers import correlation_id
from incident.ledger import RemediationKind, RollbackOrder, RollbackRun, RunState, Stop
from incident.messages import ChatKind
from incident.recovery import Classification
from incident.rules import RulesAnalyst
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import (
    P1,
    P2,
    WORSE,
    ByDeployment,
    ScriptedRollback,
    at_stage,
    ended,
    noted,
    sick,
    until,
    well,
    why_paged,
)
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOKS = {"worse_looks": 2, "max_looks": 5}
WORST: Mapping[str, float | None] = {**WORSE, Metric.ERROR_RATE: 80.0, Metric.P99_LATENCY: 9000.0}


def regretted() -> ByDeployment:
    """Deployment 101 is bad, and 100, which was good in its time, is worse by now."""
    return ByDeployment({101: builders.DEGRADED_METRICS, 100: WORSE})


def undone(service: FakeService) -> list[RollbackOrder]:
    return [order for order in service.rollback.starts if order.kind is RemediationKind.UNDO]


def not_undone(service: FakeService, snapshot: Snapshot) -> bool:
    """Whether the rollback stays, and the record says so."""
    return (
        undone(service) == []
        and snapshot.undo is not None
        and snapshot.undo.run is None
        and snapshot.action_taken is ActionTaken.ROLLBACK
        and snapshot.outcome is Outcome.ESCALATED
    )


async def test_a_rollback_that_made_it_worse_is_undone_once_and_a_person_is_paged(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    snapshot = await shift.handle(LOOKS)
    rollback, undo = service.rollback.begun
    assert (rollback.target, rollback.expected_live) == (100, 101)
    assert (undo.kind, undo.target, undo.expected_live) == (RemediationKind.UNDO, 101, 100)
    assert undo.correlation_id == correlation_id(snapshot.incident_id, "undo") != rollback.correlation_id
    assert (undo.target_revision, undo.expected_revision) == ("abc101", "abc100")
    assert undo.reason.startswith("worse since the rollback: error_rate 15.5% → 40.0%")
    assert service.releases.live == 101
    assert why_paged(shift).startswith("the rollback to deployment 100 made it worse (error_rate ")
    assert why_paged(shift).endswith("; deployment 101 is being restored")
    assert snapshot.action_taken is ActionTaken.ROLLBACK_UNDONE
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.undo
    assert snapshot.undo.run
    assert snapshot.undo.run.state is RunState.SUCCEEDED
    assert {(each.kind, each.state) for each in shift.store.remediations.values()} == {
        (RemediationKind.ROLLBACK, RunState.SUCCEEDED),
        (RemediationKind.UNDO, RunState.SUCCEEDED),
    }


async def test_what_was_undone_is_reported_and_looked_at_again(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    snapshot = await shift.handle(LOOKS)
    report = shift.chat.posted[-1]
    assert report.kind is ChatKind.REPORT
    assert "rollback of deployment 101 to 100: succeeded; undo of deployment 100 to 101: succeeded" in report.text
    assert len(snapshot.looks) == 2 + 5
    assert snapshot.health_status is Classification.STABLE


async def test_one_look_that_finds_it_worse_undoes_nothing(staff: Staff) -> None:
    service = FakeService(live=101)
    failing = builders.metrics(builders.DEGRADED_METRICS, deployment_id=101)
    service.answer(Source.METRICS, failing, failing, sick(WORSE), well(), sick(WORSE), well())
    shift = await staff(service=service)
    snapshot = await shift.handle(LOOKS)
    assert undone(service) == []
    assert snapshot.undo is None
    assert snapshot.outcome is Outcome.RECOVERED


async def test_looks_without_a_pause_between_them_count_one_by_one(staff: Staff) -> None:
    service = FakeService(live=101)
    failing = builders.metrics(builders.DEGRADED_METRICS, deployment_id=101)
    service.answer(Source.METRICS, failing, failing, well(), sick(WORSE), well())
    shift = await staff(service=service)
    snapshot = await shift.handle({**LOOKS, "settle": "0s", "look_every": "0s"})
    assert undone(service) == []
    assert snapshot.outcome is Outcome.RECOVERED


async def test_looks_without_a_pause_between_them_still_lead_to_an_undoing(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    snapshot = await shift.handle({**LOOKS, "settle": "0s", "look_every": "0s"})
    assert len(undone(service)) == 1
    assert snapshot.action_taken is ActionTaken.ROLLBACK_UNDONE


async def test_a_policy_without_undoing_pages_instead(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    snapshot = await shift.handle({**LOOKS, "undo": False})
    assert not_undone(service, snapshot)
    assert "was not undone: undo_permitted: the policy does not undo by itself" in why_paged(shift)
    assert service.releases.live == 100


async def test_a_rollback_that_a_person_approved_is_not_undone_without_one(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service, analyst=FakeAnalyst())
    handle = await shift.open({**LOOKS, "mode": "ask"}, skipping=False)
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
    await handle.execute_update(IncidentWorkflow.answer, answer)
    snapshot = await shift.finish(handle)
    assert not_undone(service, snapshot)
    assert "was not undone: undo_permitted: the policy undoes by itself, the mode is ask" in why_paged(shift)


async def test_what_somebody_deployed_meanwhile_is_not_undone(staff: Staff) -> None:
    service = ByDeployment({101: builders.DEGRADED_METRICS, 100: WORSE, 102: WORSE})
    shift = await staff(service=service)
    handle = await shift.open({**LOOKS, "settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    service.deploy(102)
    snapshot = await shift.finish(handle)
    assert not_undone(service, snapshot)
    assert "was not undone: nobody_else: deployment 102 is live, deployment 100 was made live" in why_paged(shift)
    assert noted(snapshot, "somebody changed what is live: deployment 102")
    assert service.releases.live == 102


async def test_a_kill_switch_holds_against_an_undoing(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    handle = await shift.open({**LOOKS, "settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await shift.store.stop(Stop(by="grace", at=builders.NOW))
    snapshot = await shift.finish(handle)
    assert not_undone(service, snapshot)
    assert "was not undone: not_stopped: everything stopped by grace at " in why_paged(shift)


async def test_an_incident_that_a_person_has_ended_undoes_nothing_and_pages(staff: Staff) -> None:
    service = regretted()
    shift = await staff(service=service)
    handle = await shift.open({**LOOKS, "settle": "1h"}, skipping=False)
    await at_stage(handle, Stage.SETTLING)
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada"))
    snapshot = await shift.finish(handle)
    assert not_undone(service, snapshot)
    assert "was not undone: cancelled by ada" in why_paged(shift)
    assert len(snapshot.looks) == 2 + 5


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.REFUSED, RunState.UNKNOWN, RunState.NEVER_STARTED])
async def test_an_undoing_that_does_not_succeed_is_not_tried_again_and_paged_once(
    staff: Staff, state: RunState
) -> None:
    service = regretted()
    service.rollback = ScriptedRollback(service.releases, undo=(RunState.PENDING, state))
    shift = await staff(service=service)
    snapshot = await shift.handle({**LOOKS, "follow_every": "20s"})
    assert len(undone(service)) == 1
    assert len(shift.pager.sent) == 1
    assert snapshot.undo
    assert snapshot.undo.run
    assert snapshot.undo.run.state is state
    assert noted(snapshot, f"escalating: the undo is {state.value.replace('_', ' ')}: ")
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert snapshot.outcome is Outcome.ESCALATED


async def test_what_gets_worse_again_after_an_undoing_is_not_undone_again(staff: Staff) -> None:
    service = regretted()
    service.rollback = Spoiling(service)
    shift = await staff(service=service)
    snapshot = await shift.handle(LOOKS)
    assert len(service.rollback.starts) == 2
    assert snapshot.health_status is Classification.DEGRADED
    assert len(snapshot.looks) == 2 + 5
    assert len(shift.pager.sent) == 1
    assert snapshot.action_taken is ActionTaken.ROLLBACK_UNDONE
    assert snapshot.outcome is Outcome.ESCALATED


class Spoiling(ScriptedRollback):
    """What it restores is worse than it was."""

    def __init__(self, service: ByDeployment) -> None:
        super().__init__(service.releases)
        self._service = service

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        if order.kind is RemediationKind.UNDO:
            self._service.values[order.target] = WORST
        return await super().start(order, not_after)


async def test_an_undoing_that_has_not_begun_is_called_off_by_the_kill_switch(staff: Staff) -> None:
    service = regretted()
    service.rollback = ScriptedRollback(service.releases, undo=(RunState.PENDING,))
    shift = await staff(service=service)
    policy = {**LOOKS, "settle": "0s", "look_every": "0s", "follow_every": "5h", "start_within": "20h"}
    handle = await shift.open({**policy, "remediate_within": "20h"}, skipping=False)
    await until(lambda: len(undone(service)) == 1)
    stop = Stop(by="grace", at=builders.NOW)
    await handle.signal(IncidentWorkflow.stop, stop)
    snapshot = await ended(handle)
    assert snapshot.undo
    assert snapshot.undo.run
    assert snapshot.undo.run.state is RunState.CANCELLED
    assert noted(snapshot, f"escalating: the undo is cancelled: {stop.words}")
    assert service.releases.live == 100
    assert snapshot.action_taken is ActionTaken.ROLLBACK


async def test_a_p2_that_was_only_watched_and_ends_worse_is_paged(staff: Staff) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2), sick({Metric.ERROR_RATE: 4.5}))
    shift = await staff(service=service)
    snapshot = await shift.handle()
    assert snapshot.severity == "P2"
    assert snapshot.health_status is Classification.DEGRADED
    assert why_paged(shift) == "DEGRADED after 3 looks"
    assert snapshot.outcome is Outcome.ESCALATED


P1_WORSE: Mapping[str, float | None] = {Metric.ERROR_RATE: 9.0, Metric.P99_LATENCY: 700.0}
P2_WORSE: Mapping[str, float | None] = {Metric.ERROR_RATE: 4.5}
COURSES: Mapping[str, tuple[int, Mapping[str, float | None], Mapping[str, float | None]]] = {
    "rolled back": (101, builders.DEGRADED_METRICS, WORST),
    "asked": (101, builders.DEGRADED_METRICS, WORST),
    "no culprit": (100, builders.DEGRADED_METRICS, WORST),
    "p1": (100, P1, P1_WORSE),
    "p2": (100, P2, P2_WORSE),
}
"""What is live, and the numbers at first and in the end."""
RUNS = [RunState.SUCCEEDED, RunState.FAILED, RunState.NEVER_STARTED, RunState.UNKNOWN]
ENDINGS = [
    *(("rolled back", run, undo) for run in RUNS for undo in (True, False)),
    *((course, RunState.SUCCEEDED, True) for course in ("asked", "no culprit", "p1", "p2")),
]


@pytest.mark.parametrize(("course", "run", "undo"), ENDINGS)
async def test_an_incident_never_ends_worse_than_it_began_without_a_page(
    staff: Staff, course: str, run: RunState, *, undo: bool
) -> None:
    live, at_first, in_the_end = COURSES[course]
    service = FakeService(live=live, states=(run,))
    first = builders.metrics(at_first, deployment_id=live)
    until_it_acts = [first, first] if course == "rolled back" else [first]
    service.answer(Source.METRICS, *until_it_acts, sick(in_the_end, live))
    unsure = builders.decision(confidence=0.7)
    analyst = FakeAnalyst(unsure) if course == "asked" else RulesAnalyst()
    shift = await staff(service=service, analyst=analyst)
    snapshot = await shift.handle({**LOOKS, "undo": undo, "follow_every": "20s"})
    assert snapshot.health_status is Classification.DEGRADED
    assert [each for each in snapshot.notifications if each.channel is Channel.PAGER and each.delivered]
    assert snapshot.outcome is Outcome.ESCALATED


@pytest.mark.parametrize("opened_as", [P1, P2])
async def test_what_becomes_a_p0_while_it_is_watched_is_paged(
    staff: Staff, opened_as: Mapping[str, float | None]
) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(opened_as), sick(WORST))
    shift = await staff(service=service)
    snapshot = await shift.handle(LOOKS)
    assert snapshot.severity == "P0"
    assert len(shift.pager.sent) == 1
    assert snapshot.outcome is Outcome.ESCALATED
