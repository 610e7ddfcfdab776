"""How fast services burn what their objectives allow: what was counted, asked for no more often than it must be."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.asking import answer_of
from incident.burn_rate import BEYOND, PAGED_BY, Counted, Objective
from incident.evidence import BurnReport, Evidence, SourceState
from incident.ports import Counters

_LATELY = timedelta(minutes=2)
"""How long what was counted is taken for known: under half of the shortest window. Whether a burn goes on is judged by
the errors of each look."""
_UNCOUNTED = "what measures it counts no requests: metrics of kind prometheus with a `set` do"


@dataclass(frozen=True)
class BurnQuestion:
    """Whose burn is asked for."""

    environment: str
    service: str
    limit: timedelta
    """For each question."""
    objective: Objective


class ErrorBudgets:
    """Counts the requests of services, and says how fast they burn.

    Args:
        counters: for what counts each service's requests.
        clock: the time, aware.
    """

    def __init__(self, counters: Counters, clock: Callable[[], datetime]) -> None:
        self._counters, self._clock = counters, clock
        self._known: dict[tuple[str, str], tuple[datetime, tuple[Counted, ...] | str]] = {}

    async def completed(self, looking: Awaitable[Evidence], asked: BurnQuestion) -> Evidence:
        """The evidence that `looking` gives, with every burn, which is asked for meanwhile.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        evidence, report = await asyncio.gather(looking, self.report(asked))
        return evidence.with_burn(report)

    async def report(self, asked: BurnQuestion) -> BurnReport:
        """Every burn, by two questions; one that fails or takes too long is named.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        paged, beyond = await asyncio.gather(self._count(asked, PAGED_BY), self._count(asked, BEYOND))
        return _report(asked.objective, paged, beyond)

    async def lately(self, asked: BurnQuestion) -> BurnReport:
        """The burns that page, as they were known within the last two minutes, by one question at the most.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        key, now = (asked.environment, asked.service), self._clock()
        known = self._known.get(key)
        if known is None or now - known[0] > _LATELY:
            known = self._known[key] = now, await self._count(asked, PAGED_BY)
        return _report(asked.objective, known[1])

    async def _count(self, asked: BurnQuestion, windows: Sequence[timedelta]) -> tuple[Counted, ...] | str:
        """The requests of each window, or why they are not known."""
        counter = self._counters.counter(asked.environment, asked.service)
        if counter is None:
            return _UNCOUNTED
        return await answer_of(counter.count_requests(windows), asked.limit)


def _report(objective: Objective, *found: tuple[Counted, ...] | str) -> BurnReport:
    problems = dict.fromkeys(each for each in found if isinstance(each, str))
    counted = tuple(each for part in found if not isinstance(part, str) for each in part)
    why_not = SourceState.EMPTY if _UNCOUNTED in problems else SourceState.FAILED
    return BurnReport(
        source="requests",
        state=SourceState.OK if counted else why_not,
        problem="; ".join(problems),
        objective=objective,
        counted=counted,
    )
