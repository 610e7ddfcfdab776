"""Changes to a service that nobody can read anywhere, and that people and programs therefore tell of."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from incident.cause import Change, ChangeKind
from incident.model import EnvironmentName, Fact, Moment, ServiceName
from incident.redaction import redact

AHEAD = timedelta(minutes=5)
"""How far in the future a change may be said to have been made: clocks differ."""
OLDEST = timedelta(days=7)
"""How long ago a change may have been made to be told of: what is older explains no onset."""
KEPT = timedelta(days=40)
"""How long a change is known: longer than an incident that waits its 30 days for a review (`review_within`)."""
NEWEST = 50
"""Changes of one service that are given at once: more within a few hours say nothing new."""
STORE = "store"
"""What is asked for them; what a background is made of where nobody has a history."""
DESCRIPTION = 500
"""Characters of a description that are kept."""

ChangeId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$",
        description="the sender's, unique to the change of that service: the same again is the same change",
    ),
]


class ToldKind(StrEnum):
    """What was changed; deployments are read, not told of."""

    CONFIGURATION = "config_change"
    OTHER = "other"


class ToldChange(Fact):
    """A change that somebody told of; its id is its own within its service."""

    id: ChangeId
    service: ServiceName
    environment: EnvironmentName
    kind: ToldKind
    at: Moment = Field(description="when it was made")
    description: str = Field(default="", max_length=DESCRIPTION, description="what was changed; people will read it")
    by: str = Field(min_length=1, max_length=200, description="who told of it, as the way in knows them")
    told_at: Moment = Field(description="when it was told")

    def seen_from(self, service: str) -> Change:
        """The change as a suspect in an incident of `service`."""
        where = "" if self.service == service else f"{self.service}/"
        return Change(
            id=f"{where}change:{self.id}",
            service=self.service,
            kind=ChangeKind(self.kind.value),
            at=self.at,
            description=self.description,
        )


class ChangesOf(Fact):
    """Whose changes are meant: one service in one environment."""

    service: ServiceName
    environment: EnvironmentName = "production"


class Telling(ChangesOf):
    """A change as somebody tells of it."""

    id: ChangeId
    kind: ToldKind = Field(description="config_change: of a configuration; other: anything else but a deployment")
    at: Moment | None = Field(
        default=None, description="when it was made: at most 7 days ago, 5 minutes in the future at most; null: now"
    )
    description: str = Field(
        default="", max_length=10_000, description="what was changed; its first 500 characters are kept, on one line"
    )

    def by(self, teller: str, now: datetime) -> ToldChange:
        """The change as it is kept: without secrets and what nobody sees."""
        return ToldChange(
            id=self.id,
            service=self.service,
            environment=self.environment,
            kind=self.kind,
            at=self.at or now,
            description=" ".join(redact(self.description).split())[:DESCRIPTION],
            by=teller,
            told_at=now,
        )

    def untimely(self, now: datetime) -> str:
        """What is wrong with its time; empty: nothing."""
        if self.at and self.at > now + AHEAD:
            return f"expected at most {AHEAD // timedelta(minutes=1)} minutes in the future"
        if self.at and self.at < now - OLDEST:
            return f"expected at most {OLDEST.days} days ago"
        return ""

    def contradiction(self, told: ToldChange, kept: ToldChange) -> str:
        """In what it says otherwise than what is kept of its id; empty: it is the same change, told again.

        Args:
            told: what was made of it.
            kept: what the store holds of it; its time is only contradicted by one that was given.
        """
        fields = ("kind", "description", *(("at",) if self.at else ()))
        other = [name for name in fields if getattr(kept, name) != getattr(told, name)]
        return f"change {self.id} of {self.service} is known with another {', '.join(other)}" if other else ""
