"""The time as the service is told it, and the two ways its API writes an instant."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Clock = Callable[[], datetime]
"""Gives the current instant, aware, never earlier than the one it gave before."""


def steady_clock() -> Clock:
    """A wall clock that cannot jump: the time of day at this call, moved on by the monotonic clock."""
    started = datetime.now(UTC)
    origin = time.monotonic()
    return lambda: started + timedelta(seconds=time.monotonic() - origin)


def iso(at: datetime) -> str:
    """ISO-8601 in UTC with milliseconds and a Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since the epoch."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
