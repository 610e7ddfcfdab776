"""Every control call that reached the service, refused ones included."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime

from mock_service.clock import iso

KEPT = 1000


@dataclass(frozen=True)
class JournalEntry:
    """One control call. `applied` says whether it changed anything; `deployment_id` is the one it was to make live."""

    at: datetime
    method: str
    path: str
    action: str
    deployment_id: int | None
    correlation_id: str | None
    applied: bool
    status: int

    def as_json(self) -> dict[str, object]:
        """The entry as GET /demo/journal lists it."""
        return {**vars(self), "at": iso(self.at)}


class Journal:
    """The last control calls, newest last."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=kept)

    def record(self, entry: JournalEntry) -> None:
        """Add a call; the oldest one falls out of a full journal."""
        self._entries.append(entry)

    def page(self, correlation_id: str | None = None) -> dict[str, object]:
        """The body of GET /demo/journal: all that is kept, or one correlation id's calls."""
        entries = [
            entry.as_json()
            for entry in self._entries
            if correlation_id is None or entry.correlation_id == correlation_id
        ]
        return {"entries": entries, "total": len(entries)}


@dataclass(frozen=True)
class Activation:
    """An activation that was applied, and what was answered."""

    deployment_id: int
    body: dict[str, object]


class Activations:
    """The last activations by correlation id, so that a repeated call is answered and not repeated."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._applied: OrderedDict[str, Activation] = OrderedDict()

    def find(self, correlation_id: str | None) -> Activation | None:
        """What was applied under this id."""
        return None if correlation_id is None else self._applied.get(correlation_id)

    def remember(self, correlation_id: str | None, activation: Activation) -> None:
        """Keep an applied activation; without an id there is nothing to recognise it by."""
        if correlation_id is None:
            return
        self._applied[correlation_id] = activation
        while len(self._applied) > self._kept:
            self._applied.popitem(last=False)
