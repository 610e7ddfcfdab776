"""GitHub as a client meets it: a bad network, then a judge of both sides, then the stand-in."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.standins.github.behaviour import TOKEN
from tests.standins.github.control import Control
from tests.standins.github.judge import Judge, Violation, judging
from tests.standins.github.processes import free_port, running
from tests.standins.github.toxics import Toxics, poisoning


class GitHubChain:
    """The processes between a client and the stand-in, for as long as the context lasts.

    With `judged`, Prism stands before the stand-in; with `poisoned`, Toxiproxy before all. Entering raises
    RuntimeError where one of these is not installed, and says how to install it. The processes' logs are kept in
    `directory`. Everything may be used from any event loop.
    """

    def __init__(self, directory: Path, *, judged: bool = True, poisoned: bool = False) -> None:
        self._directory = directory
        self._judged = judged
        self._poisoned = poisoned
        self._stack = AsyncExitStack()
        self._judge: Judge | None = None
        self._toxics: Toxics | None = None
        self.token = TOKEN
        self.direct_url = f"http://127.0.0.1:{free_port()}"
        self.url = self.direct_url
        self.control = Control(self.direct_url)

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def toxics(self) -> Toxics:
        """The bad network; there is one in a poisoned chain only."""
        assert self._toxics is not None, "the chain was not started with poisoned=True"
        return self._toxics

    def violations(self) -> Sequence[Violation]:
        """What Prism has judged wrong so far; there is one in a judged chain only."""
        assert self._judge is not None, "the chain was not started with judged=True"
        return self._judge.violations()

    async def _start(self) -> None:
        port = self.direct_url.rpartition(":")[2]
        command = [sys.executable, "-m", "tests.standins.github", "--port", port]
        log = self._directory / "github.log"
        await self._stack.enter_async_context(running(command, log=log, ready=self.control.ready))
        if self._judged:
            self._judge = await self._stack.enter_async_context(judging(self.url, self._directory))
            self.url = self._judge.url
        if self._poisoned:
            self._toxics = await self._stack.enter_async_context(poisoning(self.url, self._directory))
            self.url = self._toxics.url
        await self.control.publish(self.url)
