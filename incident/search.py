"""Which closed incidents are meant: what a page, a program or a report of figures asks the store for."""

from typing import Self

from pydantic import Field

from incident.model import EnvironmentName, Fact, Moment, ServiceName
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot

MAX_FOUND = 1000


class Place(Fact):
    """Where in the order of incidents, newest first, one stands."""

    opened_at: Moment
    incident_id: str

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Where `snapshot` stands."""
        return cls(opened_at=snapshot.opened_at, incident_id=snapshot.incident_id)

    def comes_after(self, other: Self) -> bool:
        """Whether it stands later in the order than `other`: it is older, or as old and its id smaller."""
        return (self.opened_at, self.incident_id) < (other.opened_at, other.incident_id)


class Wanted(Fact):
    """Closed incidents; what is not said is open to any value."""

    service: ServiceName | None = None
    environment: EnvironmentName | None = None
    severity: Severity | None = None
    outcome: Outcome | None = None
    since: Moment | None = Field(default=None, description="opened at this time or later")
    after: Place | None = Field(default=None, description="only those that stand after this one: the next page")
    limit: int = Field(default=50, ge=1, le=MAX_FOUND)

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether `snapshot` is one of them, whatever the limit."""
        said = {
            "service": snapshot.service,
            "environment": snapshot.environment,
            "severity": snapshot.severity,
            "outcome": snapshot.outcome,
        }
        place = Place.of(snapshot)
        return (
            all(getattr(self, name) in {None, value} for name, value in said.items())
            and (self.since is None or place.opened_at >= self.since)
            and (self.after is None or place.comes_after(self.after))
        )


class Found(Fact):
    """One page of incidents, newest first."""

    snapshots: tuple[Snapshot, ...]
    unreadable: tuple[str, ...] = Field(
        default=(), description="ids of those of the page that cannot be read, and so are left out"
    )
    next: Place | None = Field(default=None, description="what to ask for as `after`; null: this was the last page")
