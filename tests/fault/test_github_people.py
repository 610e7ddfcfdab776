"""A person who ends an incident, or pulls the kill switch, in each of its phases: what is left at GitHub and here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from incident.dossier import Stage
from incident.ledger import RunState, Stop
from incident.snapshot import Outcome
from tests import builders
from tests.fault.github_shift import BAD, GOOD, MARKS, Deed, GitHubShift, Moment
from tests.standins.github.control import Wishes as Behaviour
from tests.workflow.shift import PATIENCE, Handle, at_stage, noted, until_true
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import CancelRequest

pytest_plugins = ["tests.fault.github_fixtures"]
pytestmark = MARKS


class Phase(StrEnum):
    DETECTING = "detecting"
    ASKING = "asking"
    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    VERIFYING = "verifying"


NOT_DISPATCHED = (Phase.DETECTING, Phase.ASKING)
NOT_BEGUN = (Phase.PENDING, Phase.WAITING)
BEGUN = (Phase.RUNNING, Phase.VERIFYING)


async def _nothing() -> None:
    pass


READING: Mapping[Phase, Sequence[Deed]] = {Phase.DETECTING: (), Phase.VERIFYING: (_nothing, _nothing)}
"""Phases in which metrics are read, and what happens at the readings before."""
SLOW: Mapping[Phase, Behaviour] = {
    Phase.PENDING: {"queue_s": 1.5},
    Phase.WAITING: {"reviewers": True},
    Phase.RUNNING: {"run_s": 1.5},
}
"""What keeps GitHub in a phase."""
PROMPT = {"approve_within": "500ms"}
"""Nobody answers, and that is soon known."""


class Held:
    """An incident that is kept in a phase until it is let go."""

    def __init__(self, shift: GitHubShift) -> None:
        self._shift = shift
        self._reached, self._go = asyncio.Event(), asyncio.Event()

    async def reach(self, phase: Phase) -> Handle:
        """The incident, once it is in `phase`."""
        await self._shift.repository.control.behave(**SLOW.get(phase, {}))
        if phase in READING:
            self._shift.occasions.at(Moment.BEFORE_METRICS, *READING[phase], self._hold)
        handle = await self._shift.begin({"mode": "ask"} if phase is Phase.ASKING else None)
        if phase in READING:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await self._reached.wait()
        elif phase is Phase.ASKING:
            await at_stage(handle, Stage.AWAITING_APPROVAL)
        else:
            await self._shift.until_run_is(handle, phase.value)
        return handle

    def let_go(self) -> None:
        """What was kept goes on."""
        self._go.set()

    async def _hold(self) -> None:
        self._reached.set()
        await self._go.wait()


async def _asks(handle: Handle) -> str:
    await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada", reason="a drill"))
    return "ada"


async def _cancels(handle: Handle) -> str:
    await handle.cancel()
    return "Temporal"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("ends", [_asks, _cancels], ids=["cancel", "temporal-cancel"])
async def test_what_has_not_begun_is_called_off_and_what_has_begun_is_seen_through(
    shift: GitHubShift, phase: Phase, ends: Callable[[Handle], Awaitable[str]]
) -> None:
    held = Held(shift)
    handle = await held.reach(phase)
    by = await ends(handle)
    if phase in BEGUN:
        held.let_go()
    snapshot = await shift.end(handle, left_open=phase is Phase.WAITING)
    held.let_go()
    journal = await shift.repository.journal()
    entered = [each.state for each in shift.store.remediations.values()]
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}
    assert snapshot.cancelled_by == by
    if phase in NOT_DISPATCHED:
        assert snapshot.outcome is Outcome.CANCELLED
        assert (await shift.attempts(), entered) == (0, [])
    elif phase in NOT_BEGUN:
        assert snapshot.outcome is Outcome.CANCELLED
        assert [run.conclusion for run in journal.runs] == ["cancelled"]
        assert [each.accepted for each in journal.cancels] == [True]
        assert (journal.effective, entered) == ([], [RunState.CANCELLED])
    else:
        await shift.recovered(snapshot)
        assert (journal.cancels, entered) == ([], [RunState.SUCCEEDED])


@pytest.mark.parametrize("phase", Phase)
async def test_terminated_nothing_is_cleared_away_and_the_next_incident_dispatches_no_second_time(
    shift: GitHubShift, phase: Phase
) -> None:
    held = Held(shift)
    await (await held.reach(phase)).terminate("a drill")
    held.let_go()
    dispatched = phase not in NOT_DISPATCHED
    if dispatched and phase is not Phase.WAITING:
        await shift.repository.until_run(lambda run: run.status == "completed")

    journal = await shift.repository.journal()
    assert shift.store.snapshots == {}, "nobody is left to write it"
    assert journal.cancels == [], "nor to call off what had not begun"
    went_on = dispatched and phase is not Phase.WAITING
    assert [run.effective for run in journal.runs] == [went_on] * dispatched
    left = {Phase.VERIFYING: RunState.SUCCEEDED}.get(phase, RunState.PENDING)
    assert [each.state for each in shift.store.remediations.values()] == [left] * dispatched, "it stays counted"
    assert await shift.repository.live() == (GOOD if went_on else BAD)

    snapshot = await shift.through(PROMPT)
    assert await shift.attempts() == 1
    if phase is Phase.WAITING:
        assert snapshot.outcome is Outcome.ESCALATED
        assert noted(snapshot, "nobody answered")
    elif dispatched:
        assert snapshot.outcome is Outcome.NO_INCIDENT
    else:
        await shift.recovered(snapshot)


async def pull_the_switch(shift: GitHubShift) -> datetime:
    """What `commander stop` does; when it had been done."""
    stop = Stop(environment=builders.ENVIRONMENT, service=builders.SERVICE, by="ada", at=datetime.now(UTC))
    desk = IncidentDesk(shift.environment.client, shift.name)

    async def _is_listed() -> bool:
        return shift.name in [each.workflow_id for each in await desk.all_open()]

    await until_true(_is_listed)
    await shift.store.stop(stop)
    await desk.stop(stop)
    return datetime.now(UTC)


@pytest.mark.parametrize("phase", Phase)
async def test_nothing_is_dispatched_after_the_kill_switch_and_what_has_not_begun_is_called_off(
    shift: GitHubShift, phase: Phase
) -> None:
    held = Held(shift)
    handle = await held.reach(phase)
    pulled_at = await pull_the_switch(shift)
    held.let_go()
    snapshot = await shift.end(handle)
    journal = await shift.repository.journal()
    assert all(each.at < pulled_at for each in journal.dispatches)
    if phase in BEGUN:
        await shift.recovered(snapshot)
        assert journal.cancels == []
        return
    assert snapshot.outcome is Outcome.ESCALATED
    assert noted(snapshot, "stopped by ada")
    assert len(shift.pager.sent) == 1
    assert journal.effective == []
    assert [run.conclusion for run in journal.runs] == (["cancelled"] if phase in NOT_BEGUN else [])


async def test_a_kill_switch_in_the_ledger_alone_holds_between_verdict_and_dispatch(shift: GitHubShift) -> None:
    async def _pulled() -> None:
        await shift.store.stop(Stop(by="ada", at=datetime.now(UTC)))

    shift.occasions.at(Moment.BEFORE_FIND, _pulled)
    snapshot = await shift.through()
    assert await shift.attempts() == 0
    assert snapshot.outcome is Outcome.ESCALATED
    assert snapshot.remediation
    assert any("stopped by ada" in reason for reason in snapshot.remediation.refused)


async def test_a_kill_switch_between_entry_and_dispatch_calls_the_run_off(shift: GitHubShift) -> None:
    await shift.repository.control.behave(queue_s=5)

    async def _pulled() -> None:
        await pull_the_switch(shift)

    shift.occasions.at(Moment.BEFORE_START, _pulled)
    snapshot = await shift.through()
    journal = await shift.repository.journal()
    assert [run.conclusion for run in journal.runs] == ["cancelled"]
    assert journal.effective == []
    assert snapshot.outcome is Outcome.ESCALATED
