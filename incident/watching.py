"""When a watched service is looked at, and when what is seen opens an incident."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from incident.model import Duration, Fact


class WatchLimits(Fact):
    """How often a service is checked, and how many bad checks among the newest open an incident."""

    every: Duration = Field(default=timedelta(seconds=30), gt=timedelta(0), description="between two checks")
    bad: int = Field(default=2, ge=1, le=20, description="so many bad checks open an incident")
    of: int = Field(default=3, ge=1, le=20, description="among so many newest checks")
    cool_down: Duration = Field(
        default=timedelta(minutes=10), ge=timedelta(0), description="without checks, once an incident has closed"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.bad > self.of:
            raise ValueError("bad: expected at most `of`, or no number of bad checks would open an incident")
        return self

    def newest(self, checks: Sequence[bool]) -> tuple[bool, ...]:
        """Those of `checks`, oldest first, that still count."""
        return tuple(checks[-self.of :])

    def holds(self, checks: Sequence[bool]) -> bool:
        """Whether `checks`, oldest first and true where bad, open an incident."""
        return sum(self.newest(checks)) >= self.bad


class WatchedService(Fact):
    """One service that is watched."""

    service: str
    environment: str
    stands: str = Field(description="watching, incident, resting or blind; empty: it has just begun")
