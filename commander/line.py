"""What a person at a terminal does with incidents, whichever way the words go."""

from datetime import timedelta
from typing import Protocol

from pydantic import Field

from incident.changes import Telling, ToldChange
from incident.dossier import Approval, Dossier
from incident.labels import Judgement, Label
from incident.ledger import Stop
from incident.model import Fact
from incident.snapshot import Snapshot
from incident.watching import WatchedService


class Asked(Fact):
    """Which service to look at, and why."""

    service: str
    environment: str = "production"
    outside_analyst: str = Field(default="", description="who decides outside, such as kestra; empty: nobody")
    reason: str = ""


class Opening(Fact):
    """The incident that is open now."""

    incident_id: str
    opened: bool = Field(description="whether it was opened now; otherwise it was joined")


class Entry(Fact):
    """One incident of a list."""

    incident_id: str
    severity: str = Field(description="empty: nobody has looked yet")
    stands: str = Field(description="the stage of an open one, the outcome of a closed one")
    lasted: timedelta | None = Field(description="null: it is open")
    unreached: str = Field(default="", description="why nobody could be told, where that is known")


class Listing(Fact):
    """Incidents, the open ones first."""

    entries: tuple[Entry, ...]
    open_unknown: str = Field(default="", description="why the open ones are not known; empty: they are listed")


class Pulled(Fact):
    """A kill switch that is pulled."""

    stop: Stop
    told: tuple[str, ...] = Field(default=(), description="the open incidents that were told")
    untold: str = Field(default="", description="why they could not be; they still meet it before they act")


class LetGo(Fact):
    """What became of an order to let a kill switch go."""

    released: bool = Field(description="whether one of that scope was pulled")
    left: tuple[Stop, ...] = Field(default=(), description="those that are pulled still, as far as one may know")


class Watcher(Protocol):
    """Who follows an incident."""

    def show_dossier(self, dossier: Dossier) -> None:
        """Shows what is new in `dossier`."""
        ...

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Shows what is new in the record."""
        ...

    def note(self, text: str) -> None:
        """Shows what is to be known of the way itself."""
        ...


class Line(Protocol):
    """The way to the incidents: through the gateway, or past it.

    Every method raises:
        TransientError: something on the way does not answer.
        PermanentError: it is refused, or there is no such thing.
    """

    async def open(self, asked: Asked) -> Opening:
        """The incident of that service: a new one, or the one that is open."""
        ...

    async def list(self, limit: int) -> Listing:
        """The open incidents, and at most `limit` closed ones, newest first."""
        ...

    async def look(self, incident_id: str) -> Dossier | Snapshot:
        """All that is known of that incident: its record once it has closed."""
        ...

    async def follow(self, incident_id: str, watcher: Watcher) -> Snapshot:
        """Shows what happens until the incident closes; its record."""
        ...

    async def answer(self, incident_id: str, digest: str, *, approved: bool, note: str) -> Approval:
        """Approves or denies the proposal of that digest."""
        ...

    async def cancel(self, incident_id: str, reason: str) -> bool:
        """Ends the incident; whether something was done already, which is then still verified and recorded."""
        ...

    async def label(self, incident_id: str, judgement: Judgement, note: str) -> Label:
        """Keeps that verdict on a closed incident, in place of what the same person said of it before."""
        ...

    async def tell(self, telling: Telling) -> ToldChange:
        """Tells of a change to a service; what is kept of it."""
        ...

    async def told(self, service: str, environment: str) -> tuple[ToldChange, ...]:
        """The newest changes that somebody told of, newest first."""
        ...

    async def stop(self, service: str, environment: str, reason: str) -> Pulled:
        """Pulls the kill switch of that scope; empty: every service, every environment."""
        ...

    async def release(self, service: str, environment: str) -> LetGo:
        """Lets the kill switch of exactly that scope go."""
        ...

    async def watch(self, service: str, environment: str) -> None:
        """Has that service watched under its policy as it is now."""
        ...

    async def unwatch(self, service: str, environment: str) -> bool:
        """Ends the watch of that service; whether there was one. An incident that it opened goes on."""
        ...

    async def watches(self) -> tuple[WatchedService, ...]:
        """Every service that is watched."""
        ...
