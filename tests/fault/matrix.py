"""The crash matrix: every boundary of a rollback through GitHub x what may die or freeze there.

A cell opens an incident, lets the fault happen at the boundary, and holds what was recorded to the oracle. Cells run on
several stacks at once, for an incident is mostly waiting.
"""

import asyncio
import json
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from time import monotonic

import pytest

from incident.ledger import RemediationKind, RunState
from incident.messages import ChatKind
from incident.recovery import Classification
from incident.snapshot import ActionTaken, Outcome
from tests.fault import processes
from tests.fault.boundary import Boundary, Moment, enumerated, parsed
from tests.fault.fuse import Deed
from tests.fault.github_world import QUICK, GitHubWorld
from tests.fault.histories import Happening
from tests.fault.invariants import Record, violations
from tests.fault.trace import Step
from tests.fault.world import until

BOUNDARIES = Path(__file__).with_name("boundaries.json")
WHOLE = os.environ.get("CRASH_MATRIX") == "whole"
SEED = int(os.environ.get("CRASH_MATRIX_SEED", date.today().toordinal()))  # noqa: DTZ011 - any day will do
"""Which boundaries are played, and with which fault, where not all are; the day, so that six days cover all."""
CHOICE = "all of them" if WHOLE else f"every other boundary with one fault, by CRASH_MATRIX_SEED={SEED}"
"""Which cells a run plays, in words."""
_LONG = timedelta(seconds=2)
_REPORTS = 3
"""How often the report may arrive: it is tried within a workflow task, which may be given to two workers."""
_WORSE, _UNDO_LOOKS = 1.5, 12
"""How bad a deployment is that is worse than the bad one, and how often such an incident looks at the most."""
_BOTH_DONE = {(kind, RunState.SUCCEEDED) for kind in RemediationKind}
GOOD, BAD = 100, 101
LENGTHENED = {
    "let the service settle": "settle",
    "until the next look": "look_every",
    "look at the rollback again": "follow_every",
    "page if nothing has been done": "",
}
"""Which of the policy's times makes a timer long enough to be killed in; empty: it is."""


class Fault(StrEnum):
    """What happens at a boundary."""

    WORKER_KILLED = "worker killed"
    SERVER_KILLED = "server killed"
    WORKER_FROZEN = "worker frozen, another takes over, thawed"


@dataclass(frozen=True)
class Cell:
    """One boundary and one fault."""

    boundary: Boundary
    fault: Fault

    def __str__(self) -> str:
        return f"{self.boundary.point} x {self.fault.split(',')[0]}"


@dataclass(frozen=True)
class Played:
    """How a cell ended."""

    record: Record
    problems: Sequence[str]
    seconds: float

    def __str__(self) -> str:
        result, github = self.record.result, self.record.github
        outcome = f"{result.outcome} {result.health_status}" if result else "open"
        accepted = sum(each.accepted for each in github.dispatches)
        return f"{outcome}; {accepted} accepted, {len(github.effective)} effective; {self.seconds:.1f} s"


def boundaries() -> tuple[Boundary, ...]:
    """Those that the matrix covers; a test holds them to a recorded incident."""
    return tuple(map(parsed, json.loads(BOUNDARIES.read_text(encoding="utf-8"))))


def all_cells() -> tuple[Cell, ...]:
    """Every boundary x every fault."""
    return tuple(Cell(boundary, fault) for boundary in boundaries() for fault in Fault)


def cells(seed: int = SEED, *, whole: bool = WHOLE) -> tuple[Cell, ...]:
    """Those to run: all, or every other boundary with one fault, the others and the next fault in turn."""
    if whole:
        return all_cells()
    faults = list(Fault)
    return tuple(
        Cell(boundary, faults[(number + number // len(faults) + seed // 2) % len(faults)])
        for number, boundary in enumerate(boundaries())
        if number % 2 == seed % 2
    )


def cell_of(item: pytest.Item) -> Cell | None:
    """The cell that a collected test asks for; `None`: it asks for none."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None


async def recorded(world: GitHubWorld) -> tuple[tuple[Boundary, ...], Record]:
    """The boundaries that an undisturbed incident passes, by its history and by the calls of its worker."""
    await world.put_right()
    incident = await world.incident(QUICK)
    record = await world.record(incident)
    calls = [
        parsed(step.point).what
        for step in world.trace.steps()
        if step.activity and parsed(step.point).moment is Moment.ACCEPTED
    ]
    return enumerated(record.history.activities(), dict.fromkeys(calls), record.history.timers()), record


async def play(world: GitHubWorld, cell: Cell) -> Played:
    """Plays one cell."""
    began = monotonic()
    await world.put_right()
    await _crew(world, cell.fault)
    during = cell.boundary.moment is Moment.DURING
    record, found = await (_in_a_timer(world, cell) if during else _at_a_point(world, cell))
    return Played(record, [*found, *recovered(record), *violations(record)], monotonic() - began)


async def play_undo(world: GitHubWorld, cell: Cell) -> Played:
    """Plays a cell of the undoing of a rollback that made it worse: the fuse is armed once the rollback is done."""
    began = monotonic()
    await world.put_right()
    await _crew(world, cell.fault)
    await world.post("/demo/spoil", deployment_id=GOOD, degradation=_WORSE)
    incident = await world.incident(QUICK.model_copy(update={"max_looks": _UNDO_LOOKS}))
    await world.until_timer(incident, "let the service settle")
    world.fuse.arm(cell.boundary.point, _deed(cell.fault))
    await _recover(world, cell.fault, await world.until_struck())
    record = await world.record(incident)
    return Played(record, [*undone(record), *violations(record)], monotonic() - began)


async def _at_a_point(world: GitHubWorld, cell: Cell) -> tuple[Record, Sequence[str]]:
    world.fuse.arm(cell.boundary.point, _deed(cell.fault))
    incident = await world.incident(QUICK)
    await _recover(world, cell.fault, await world.until_struck())
    return await world.record(incident), []


async def _in_a_timer(world: GitHubWorld, cell: Cell) -> tuple[Record, Sequence[str]]:
    name = LENGTHENED[cell.boundary.what]
    incident = await world.incident(QUICK.model_copy(update={name: _LONG}) if name else QUICK)
    timer = await world.until_timer(incident, cell.boundary.what)
    struck = _at_work(world)
    await _strike(world, cell.fault, struck)
    at = datetime.now(UTC)
    await _recover(world, cell.fault, struck)
    record = await world.record(incident)
    return record, [] if await world.still_ran(incident, timer, at) else ["the timer had fired before the fault"]


def recovered(record: Record) -> Sequence[str]:
    """What did not end as an incident must that is rolled back through GitHub, whatever died on its way."""
    result, github = record.result, record.github
    if result is None:
        return ["it did not close"]
    run = result.remediation.run if result.remediation else None
    accepted = [each for each in github.dispatches if each.accepted]
    told = sorted(each.kind for each in result.notifications if each.delivered)
    paged = any(each.kind is ChatKind.PAGE for each in result.notifications)
    tries = max((each.attempt for each in record.history.of(Happening.COMPLETED, "notify.chat")), default=0)
    seen = {
        "outcome": (result.outcome, Outcome.RECOVERED),
        "classification": (result.health_status, Classification.FULLY_RECOVERED),
        "action": (result.action_taken, ActionTaken.ROLLBACK),
        "effective rollbacks": (len(github.effective), 1),
        "accepted dispatches": (len(accepted), 1),
        "refused dispatches": (len(github.dispatches) - len(accepted), 0),
        "cancelled runs": (len(github.cancels), 0),
        "run followed": ((run.run_id, run.state) if run else None, (github.runs[0].id, RunState.SUCCEEDED))
        if github.runs
        else (None, "a run"),
        "ledger": ([each.state for each in record.ledger], [RunState.SUCCEEDED]),
        "recorded as told": (told, sorted([ChatKind.ALERT, ChatKind.CHANGE, ChatKind.REPORT])),
        "alerts, at least one, at most one an attempt": (1 <= record.delivered[ChatKind.ALERT] <= tries, True),
        "reports, the same": (1 <= record.delivered[ChatKind.REPORT] <= _REPORTS, True),
        "paged": (paged or bool(record.delivered[ChatKind.PAGE]), False),
        "looks": (len(result.looks) >= record.policy.recovery.stable_looks, True),
    }
    return [f"{what}: {was}, expected {wanted}" for what, (was, wanted) in seen.items() if was != wanted]


def undone(record: Record) -> Sequence[str]:
    """What did not end as an incident must whose rollback made it worse and was undone."""
    result, github = record.result, record.github
    if result is None:
        return ["it did not close"]
    run = result.undo.run if result.undo else None
    seen = {
        "outcome": (result.outcome, Outcome.ESCALATED),
        "action": (result.action_taken, ActionTaken.ROLLBACK_UNDONE),
        "effective rollbacks lead to": ([each.to for each in github.effective], [GOOD, BAD]),
        "dispatches": ([each.accepted for each in github.dispatches], [True, True]),
        "run followed": (run and (run.run_id, run.state), (github.runs[-1].id, RunState.SUCCEEDED)),
        "ledger": ({(each.kind, each.state) for each in record.ledger}, _BOTH_DONE),
        "paged": (record.delivered[ChatKind.PAGE] > 0, True),
    }
    return [f"{what}: {was}, expected {wanted}" for what, (was, wanted) in seen.items() if was != wanted]


async def _strike(world: GitHubWorld, fault: Fault, pid: int) -> None:
    if fault is Fault.SERVER_KILLED:
        await world.stack.kill("temporal")
    else:
        os.kill(pid, signal.SIGKILL if fault is Fault.WORKER_KILLED else signal.SIGSTOP)


async def _recover(world: GitHubWorld, fault: Fault, struck: int) -> None:
    """Does what follows on the fault until the incident can go on."""
    match fault:
        case Fault.WORKER_KILLED:
            await until(lambda: not world.alive("worker"), "the worker is dead")
            await world.stack.start_worker()
        case Fault.SERVER_KILLED:
            if world.alive("temporal"):
                await world.stack.kill("temporal")
            if processes.frozen(struck):
                os.kill(struck, signal.SIGCONT)
            await world.stack.start_temporal()
        case Fault.WORKER_FROZEN:
            await until(lambda: _taken_over(world, struck), "another worker takes over")
            os.kill(struck, signal.SIGCONT)


def _taken_over(world: GitHubWorld, frozen: int) -> bool:
    """Whether another worker is as far as the frozen one, or past it; where that one had nothing, has begun anything.

    Only then is it thawed, so that whatever it still does, it does too late.
    """
    steps = world.trace.steps()
    last = max(number for number, step in enumerate(steps) if step.pid == frozen)
    held = steps[last]
    idle = parsed(held.point).moment is Moment.COMPLETED
    return any(
        idle or (step.activity == held.activity and (step.point == held.point or _is_over(step)))
        for step in steps[last + 1 :]
        if step.pid != frozen
    )


def _is_over(step: Step) -> bool:
    return parsed(step.point).moment is Moment.AFTER


def _at_work(world: GitHubWorld) -> int:
    """The worker that had the last workflow task."""
    return next(step.pid for step in reversed(world.trace.steps()) if parsed(step.point).moment is Moment.COMPLETED)


async def _crew(world: GitHubWorld, fault: Fault) -> None:
    if fault is Fault.WORKER_FROZEN:
        await world.hire()


def _deed(fault: Fault) -> Deed:
    return Deed.KILL if fault is Fault.WORKER_KILLED else Deed.STOP


class Matrix:
    """Cells that are played on several stacks at once; each is given when it is asked for."""

    def __init__(self, worlds: Sequence[GitHubWorld], wanted: Iterable[Cell]) -> None:
        order = list(Fault)
        self._waiting = sorted(dict.fromkeys(wanted), key=lambda cell: order.index(cell.fault))
        loop = asyncio.get_running_loop()
        self._played: Mapping[Cell, asyncio.Future[Played]] = {cell: loop.create_future() for cell in self._waiting}
        self._lanes = [asyncio.create_task(self._lane(world)) for world in worlds]

    async def played(self, cell: Cell) -> Played:
        """How the cell ended, once it has."""
        return await self._played[cell]

    async def close(self) -> None:
        """Plays no more."""
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for future in self._played.values():
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen, even where nobody asked for the cell

    async def _lane(self, world: GitHubWorld) -> None:
        while self._waiting:
            cell = self._waiting.pop(0)
            try:
                self._played[cell].set_result(await play(world, cell))
            except Exception as error:  # noqa: BLE001 - told to whoever asks for the cell
                self._played[cell].set_exception(error)
