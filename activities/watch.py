"""Watch: one service is checked again and again, until what is wrong with it holds."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

from pydantic import Field
from temporalio import activity

from activities.burning import BurnQuestion, ErrorBudgets
from activities.observation import Observer
from incident.anomalies import Thresholds, assess
from incident.burn_rate import Objective
from incident.model import Fact
from incident.ports import Historian, HistoryQuestion
from incident.sensitivity import Sensitivity
from incident.watching import WatchLimits


class WatchInput(Fact):
    """Which service to check, how often, and for how long."""

    environment: str
    service: str
    thresholds: Thresholds
    source_timeout: timedelta
    limits: WatchLimits
    sensitivity: Sensitivity = Sensitivity()
    objective: Objective | None = None
    checks: tuple[bool, ...] = Field(default=(), description="the newest ones so far, oldest first; true: bad")
    lasts: timedelta = Field(description="no check begins later than this")
    at_once: bool = Field(default=False, description="whether the first check is made now, not somewhere in `every`")


class Watched(Fact):
    """What the checks of one stretch have come to."""

    checks: tuple[bool, ...] = Field(description="the newest ones, oldest first; true: bad")
    taken: int
    holds: bool = Field(description="whether they open an incident")
    said: str = Field(default="", description="what the last bad check saw; empty: none was bad")


class Watch:
    """Checks services; of those that this process watches, a few at once.

    Args:
        observer: looks at them.
        at_once: how many are looked at together.
        pick: gives a number from 0 to 1: where in its interval a service's first check falls.
        historian: tells what is normal of a service; without one only limits do.
        budgets: tells how fast a service burns what its objective allows; without, no objective is judged.
    """

    def __init__(
        self,
        observer: Observer,
        at_once: int,
        pick: Callable[[], float] = random.random,
        historian: Historian | None = None,
        budgets: ErrorBudgets | None = None,
    ) -> None:
        self._observer, self._historian, self._budgets = observer, historian, budgets
        self._turn = asyncio.Semaphore(at_once)
        self._pick = pick

    @activity.defn(name="watch.stretch")
    async def stretch(self, order: WatchInput) -> Watched:
        """The checks, until they open an incident, or the time is over, or this worker is to stop.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        loop = asyncio.get_running_loop()
        begun, every = loop.time(), order.limits.every.total_seconds()
        checks, taken, said = order.limits.newest(order.checks), 0, ""
        leaving = asyncio.ensure_future(activity.wait_for_worker_shutdown())
        try:
            due = begun if order.at_once else begun + every * self._pick()
            while not await _left(leaving, due - loop.time()) and due - begun <= order.lasts.total_seconds():
                found = await self._check(order)
                checks, taken, said = order.limits.newest((*checks, bool(found))), taken + 1, found or said
                if order.limits.holds(checks):
                    break
                due = max(due + every, loop.time())
        except asyncio.CancelledError:
            pass  # the watch has ended or goes on under another policy: nobody waits for what these checks come to
        finally:
            leaving.cancel()
        return Watched(checks=checks, taken=taken, holds=order.limits.holds(checks), said=said)

    async def _check(self, order: WatchInput) -> str:
        """What is wrong with the service now; empty: nothing."""
        async with self._turn:
            seen = await self._observer.pulse(order.environment, order.service, order.source_timeout)
            if self._historian:
                asked = HistoryQuestion(order.environment, order.service, order.source_timeout, order.sensitivity)
                usual = await self._historian.usual(asked)
                seen = seen.with_normals(usual.normals, usual.climb)
            if self._budgets and order.objective:
                question = BurnQuestion(order.environment, order.service, order.source_timeout, order.objective)
                seen = seen.with_burn(await self._budgets.lately(question))
        assessment = assess(seen, order.thresholds)
        return "" if assessment.healthy else assessment.summary


async def _left(leaving: asyncio.Future[None], seconds: float) -> bool:
    """Whether the worker is to stop by then."""
    await asyncio.wait({leaving}, timeout=max(0.0, seconds))
    return leaving.done()
