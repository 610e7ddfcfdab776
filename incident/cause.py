"""What is behind an incident, as far as code can tell: suspects, and the verdict on every recent change.

Pure data, without arrays: it travels with the evidence to the analyst, to the gate and into the record.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from incident.model import Duration, Fact, Moment, Ratio, is_default


class Guilt(StrEnum):
    """Whether a change explains the onset. UNKNOWN: it could not be told, which is never guilty."""

    GUILTY = "guilty"
    INNOCENT = "innocent"
    UNKNOWN = "unknown"


class ChangeKind(StrEnum):
    """What was changed."""

    DEPLOYMENT = "deployment"
    CONFIGURATION = "config_change"
    OTHER = "other"

    @property
    def words(self) -> str:
        """What it is called in a sentence."""
        return _WORDS[self]


_WORDS = {
    ChangeKind.DEPLOYMENT: "deployment",
    ChangeKind.CONFIGURATION: "configuration change",
    ChangeKind.OTHER: "change",
}


_OWN_DEPLOYMENT = "deployment:"
MEMORY = "memory"
"""What a climb of memory is of."""


class Change(Fact):
    """One change that somebody made to a service."""

    id: str = Field(
        description="for citation: `deployment:<number>` or `change:<id>`, of a service around it after `<service>/`"
    )
    service: str
    kind: ChangeKind
    at: Moment
    description: str = ""

    @property
    def words(self) -> str:
        """What was changed, where and when, on one line."""
        what = f": {self.description}" if self.description else ""
        return f"{self.kind.words} of {self.service} at {self.at:%Y-%m-%d %H:%M:%SZ}{what}"


class ChangeVerdict(Fact):
    """What code makes of one change."""

    change: Change
    guilt: Guilt
    score: Ratio = Field(description="0..1: how much speaks for it")
    reasons: tuple[str, ...] = Field(description="what was looked at, and what it showed")


class Suspect(Fact):
    """One service that the trouble may come from."""

    service: str
    score: float = Field(ge=0, description="how much it moved, and how early; comparable within one cause only")
    moved: tuple[str, ...] = Field(default=(), description="the metrics that moved, the most telling first")
    since: Moment | None = Field(default=None, description="when the first of them moved; null: not known")
    asked: float | None = Field(
        default=None,
        ge=0,
        exclude_if=is_default,
        description="its requests since the onset, as a multiple of those in the hour before; null: not known",
    )


class Climb(Fact):
    """What a service holds has grown steadily until now, beyond all that it ever held, as a leak does."""

    what: str = Field(description="such as memory")
    since: Moment = Field(description="the likeliest beginning; it did not climb before")
    within: Duration = Field(description="by how much it may have begun earlier or later")
    pace: float | None = Field(
        default=None, exclude_if=is_default, description="how much it climbs in an hour, in its unit; null: not known"
    )
    midway: float = Field(
        default=0.0,
        exclude_if=is_default,
        description="the middle between where it began and where it is, in its unit: below, it has been given back",
    )

    def may_begin(self, at: datetime) -> bool:
        """Whether `at` may be its beginning."""
        return abs(self.since - at) <= self.within

    def beginning(self, changed: Iterable[datetime]) -> datetime:
        """When that was changed which is nearest to the beginning, if it may be it; else the likeliest beginning."""
        near = [each for each in changed if self.may_begin(each)]
        return min(near, key=lambda each: abs(self.since - each), default=self.since)

    def until(self, limit: float, value: float) -> timedelta | None:
        """The time from `value` to `limit` at its pace; `None`: it was given back, or the pace is not known."""
        if not self.pace or value < self.midway:
            return None
        return timedelta(hours=max(limit - value, 0.0) / self.pace)

    @property
    def words(self) -> str:
        """Since when it climbs, and how sure that is."""
        minutes = self.within.total_seconds() / 60
        return f"{self.what} has climbed since {self.since:%Y-%m-%d %H:%MZ}, give or take {minutes:.0f} min"


class Cause(Fact):
    """What is behind the trouble."""

    onset: Moment = Field(description="when it began, as far as can be told")
    suspects: tuple[Suspect, ...] = Field(default=(), description="the most suspected first")
    changes: tuple[ChangeVerdict, ...] = Field(default=(), description="every change that was judged, newest first")

    @property
    def guilty(self) -> Change | None:
        """The one change that explains it; `None`: none of them does, or it could not be told."""
        return next((each.change for each in self.changes if each.guilt is Guilt.GUILTY), None)

    @property
    def elsewhere(self) -> str:
        """The guilty change in words where it is no deployment of the service itself; empty: none such is guilty."""
        guilty = self.guilty
        return f"{guilty.id}, {guilty.words}" if guilty and not guilty.id.startswith(_OWN_DEPLOYMENT) else ""

    def verdict(self, change_id: str) -> ChangeVerdict | None:
        """What is made of that change; `None`: it was not judged."""
        return next((each for each in self.changes if each.change.id == change_id), None)
