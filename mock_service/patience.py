"""Waits that a stopping service can end early."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

Sleep = Callable[[timedelta], Awaitable[None]]
"""Waits for a duration; tests hand in one that only records it."""


class Patience:
    """Holds requests back until their time has come, or until it is lost."""

    def __init__(self) -> None:
        self._lost = asyncio.Event()

    async def wait(self, duration: timedelta) -> None:
        """Return after the duration, at once after `lose`."""
        try:
            await asyncio.wait_for(self._lost.wait(), duration.total_seconds())
        except TimeoutError:
            return

    def lose(self) -> None:
        """Let everyone go who waits, now and later."""
        self._lost.set()
