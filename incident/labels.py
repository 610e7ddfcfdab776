"""What people say afterwards of an incident: whether what was done, or left undone, was right."""

from enum import StrEnum
from typing import Self

from pydantic import Field

from incident.model import Fact, Moment
from incident.redaction import redact

_NOTE = 500
"""Characters of a note."""


class Judgement(StrEnum):
    """A person's verdict on a closed incident."""

    GOOD = "good"
    """What was done was right, or that nothing was done."""
    HARMFUL = "harmful"
    """What was done was wrong: needless, or it made things worse."""
    MISSED = "missed"
    """A rollback would have been right, and was not made."""


class Label(Fact):
    """One person's verdict on one incident; a later one of the same person replaces it."""

    incident_id: str
    judgement: Judgement
    by: str = Field(min_length=1, max_length=200, description="who says so, as the way in knows them")
    note: str = Field(default="", max_length=_NOTE, description="why; people will read it")
    at: Moment = Field(description="when it was said")

    def redacted(self) -> Self:
        """The same without the secrets that its note holds."""
        return self.model_copy(update={"note": redact(self.note)[:_NOTE]})
