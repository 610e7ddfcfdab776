"""Takes the measurements: everything in turns, so that a busy machine hurts all rows alike."""

import statistics
import time
from asyncio import gather
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Spread:
    """Lowest, median and highest of some numbers."""

    lowest: float
    median: float
    highest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of `values`, of which there must be some."""
        return cls(min(values), statistics.median(values), max(values), len(values))


@dataclass(frozen=True)
class Load:
    """Many of one thing at once."""

    once: Once
    in_flight: int


async def take_times(rows: Mapping[str, Once], rounds: int, budget: timedelta) -> dict[str, list[float]]:
    """Seconds of each row, once a round, until `rounds` or `budget` is used up; at least one round.

    Args:
        rows: what is done, by name. The order within a round turns, so that none is always first.
        rounds: the most rounds.
        budget: no round begins later than this.
    """
    times: dict[str, list[float]] = {name: [] for name in rows}
    names, until = list(rows), time.monotonic() + budget.total_seconds()
    for number in range(rounds):
        if number and time.monotonic() > until:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(await _seconds(rows[name]))
    return times


async def take_rates(loads: Mapping[str, Load], rounds: int, budget: timedelta) -> dict[str, list[float]]:
    """How many of each load were done per second, once a round; rounds and budget as in `take_times`."""
    batches: dict[str, Once] = {name: _batch(load) for name, load in loads.items()}
    times = await take_times(batches, rounds, budget)
    return {name: [loads[name].in_flight / each for each in taken] for name, taken in times.items()}


async def _seconds(once: Once) -> float:
    begun = time.perf_counter()
    await once()
    return time.perf_counter() - begun


def _batch(load: Load) -> Once:
    async def run() -> None:
        await gather(*(load.once() for _ in range(load.in_flight)))

    return run
