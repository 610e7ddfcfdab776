"""The time, and how GitHub writes it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the current instant, aware."""


def wall_clock() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def whole(at: datetime) -> datetime:
    """The instant as GitHub remembers it: whole seconds."""
    return at.replace(microsecond=0)


def iso(at: datetime) -> str:
    """Whole seconds, with a Z."""
    return whole(at.astimezone(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
