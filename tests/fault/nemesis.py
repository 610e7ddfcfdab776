"""The nemesis: while it is at work, something begins to go wrong with a chance of 1 % each 20 ms."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from random import Random

from tests.fault.github_world import QUICK, GitHubWorld
from tests.standins.github.behaviour import Fault, FaultKind, Moment

SECRET = "ghp_" + "Nemesis0" * 5
"""Stands in the texts of GitHub's errors, as if somebody had written a token there."""
_SAYS = {"message": f"upstream said: Authorization: token {SECRET}"}
_TICK_SECONDS, _CHANCE = 0.02, 0.01
_LASTS_SECONDS = (0.05, 0.4)
_METHODS = ("GET", "GET", "GET", "POST")


class Nemesis:
    """What may go wrong with GitHub, the way there, and the worker; `random` decides.

    `done` counts what has gone wrong so far.
    """

    policy = QUICK.model_copy(
        update={
            "decide_within": timedelta(seconds=1),
            "page_after": timedelta(seconds=2),
            "remediate_within": timedelta(seconds=30),
            "max_looks": 30,
        }
    )
    """Under which what takes longer than usual wakes somebody."""

    def __init__(self, world: GitHubWorld, random: Random) -> None:
        self._world = world
        self._random = random
        self.done: Counter[str] = Counter()
        self._calls: dict[str, int] = {}
        self._kinds: Mapping[str, tuple[int, Callable[[], Awaitable[bool]]]] = {
            "cut replies": (3, self._cut),
            "resets": (3, self._reset),
            "5xx": (3, self._failing),
            "429": (1, self._limited),
            "lost on the way": (1, self._lost),
            "latency": (3, self._slow),
            "worker kills": (1, self._kill),
        }

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Something goes wrong now and then, for as long as the context lasts."""
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await self._world.github.toxics.clear()

    async def _work(self) -> None:
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self._random.random() < _CHANCE:
                name = self._random.choices(names, weights)[0]
                if await self._kinds[name][1]():
                    self.done[name] += 1

    async def _cut(self) -> bool:
        return await self._fault(FaultKind.RESET, when=Moment.AFTER)

    async def _reset(self) -> bool:
        return await self._fault(FaultKind.RESET)

    async def _failing(self) -> bool:
        moment = self._random.choice(list(Moment))
        return await self._fault(FaultKind.STATUS, status=self._random.choice((500, 502, 503)), body=_SAYS, when=moment)

    async def _limited(self) -> bool:
        return await self._fault(FaultKind.STATUS, status=429, body=_SAYS, headers={"Retry-After": "1"})

    async def _fault(self, kind: FaultKind, **more: object) -> bool:
        """Spoils the next call; not while the last spoilt one is still to come, or they would pile up without end."""
        method = self._random.choice(_METHODS)
        calls = sum(each.method == method for each in (await self._world.github.control.journal()).requests)
        if calls == self._calls.get(method):
            return False
        self._calls[method] = calls
        fault = Fault.model_validate({"method": method, "path": "", "kind": kind, **more})
        await self._world.github.control.faults(fault)
        return True

    async def _lost(self) -> bool:
        return await self._for_a_while(self._world.github.toxics.limit_data(0))

    async def _slow(self) -> bool:
        return await self._for_a_while(self._world.github.toxics.latency(self._random.randint(50, 800)))

    async def _for_a_while(self, begun: Awaitable[str]) -> bool:
        await begun
        await asyncio.sleep(self._random.uniform(*_LASTS_SECONDS))
        await self._world.github.toxics.clear()
        return True

    async def _kill(self) -> bool:
        await self._world.stack.kill("worker")
        await self._world.stack.start_worker()
        return True
