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


def told_description(text: str) -> str:
    """`text` as it is kept: on one line, without secrets and what nobody sees, and its beginning only."""
    return " ".join(redact(text).split())[:DESCRIPTION]


def untimely(at: datetime, now: datetime) -> str:
    """What is wrong with the time of a change that is told of at `now`; empty: nothing."""
    if at > now + AHEAD:
        return f"expected at most {AHEAD // timedelta(minutes=1)} minutes in the future"
    if at < now - OLDEST:
        return f"expected at most {OLDEST.days} days ago"
    return ""


def contradiction(kept: ToldChange, told: ToldChange, *, dated: bool) -> str:
    """In what `told` says otherwise than what is kept of its id; empty: it is the same change, told again.

    Args:
        kept: what the store holds of it.
        told: what was told now.
        dated: whether the sender said when it was made; a time that was filled in contradicts none.
    """
    fields = ("kind", "description", *(("at",) if dated else ()))
    other = [name for name in fields if getattr(kept, name) != getattr(told, name)]
    return f"change {told.id} of {told.service} is known with another {', '.join(other)}" if other else ""
