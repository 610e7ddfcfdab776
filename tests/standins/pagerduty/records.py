"""What the stand-in keeps, and tells of. No routing key is ever in it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class State(StrEnum):
    """How an incident stands."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class LogEntry(_Record):
    """One line of an incident's log: an event that came, or `notified`, when the person on call was woken."""

    at: datetime
    what: str


class Incident(_Record):
    """One incident. `event`: the latest trigger, as it was sent."""

    number: int
    dedup_key: str
    state: State
    event: Any
    log: Sequence[LogEntry]

    @property
    def notified(self) -> int:
        """How often it woke a person."""
        return sum(entry.what == "notified" for entry in self.log)


class ChangeEntry(_Record):
    """A change event, as it was sent."""

    at: datetime
    event: Any


class RequestEntry(_Record):
    """A call that came in. `status` is None where no answer was given; `body` is as it came, without the key."""

    at: datetime
    path: str
    status: int | None
    size: int
    body: str


class Journal(_Record):
    """All that happened since the start or the last reset, oldest first."""

    incidents: Sequence[Incident]
    changes: Sequence[ChangeEntry]
    requests: Sequence[RequestEntry]
