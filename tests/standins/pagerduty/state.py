"""PagerDuty's memory: alerts by routing key and dedup key, and whom they woke."""

from collections import defaultdict, deque
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.standins.github.clock import Clock
from tests.standins.github.faults import Faults
from tests.standins.pagerduty.records import ChangeEntry, Incident, Journal, LogEntry, RequestEntry, State

HIDDEN = "[the routing key]"
_WINDOW = timedelta(seconds=60)


class PagerDuty:
    """An account without escalation: an incident wakes a person once, when it opens."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Forgets everything, faults and the limit included."""
        self.limit: int | None = None
        self.faults = Faults()
        self.requests: list[RequestEntry] = []
        self._incidents: list[Incident] = []
        self._open: dict[tuple[str, str], int] = {}
        self._changes: list[ChangeEntry] = []
        self._calls: dict[str, deque[datetime]] = defaultdict(deque)

    def takes(self, routing_key: str) -> bool:
        """Whether this call is within the limit, of so many a key in any minute."""
        if self.limit is None:
            return True
        calls, now = self._calls[routing_key], self.clock()
        while calls and calls[0] <= now - _WINDOW:
            calls.popleft()
        if len(calls) >= self.limit:
            return False
        calls.append(now)
        return True

    def take(self, event: dict[str, Any]) -> str:
        """Does what a valid event asks for; the dedup key that it has then."""
        key = event.get("dedup_key") or uuid4().hex
        where = (event["routing_key"], key)
        action = event["event_action"]
        if where in self._open:
            self._continue(where, action, event)
        elif action == "trigger":
            self._open[where] = len(self._incidents)
            log = tuple(LogEntry(at=self.clock(), what=what) for what in ("trigger", "notified"))
            number = len(self._incidents) + 1
            self._incidents.append(
                Incident(number=number, dedup_key=key, state=State.TRIGGERED, event=_shown(event), log=log)
            )
        return key  # an acknowledge or resolve without an open alert is dropped, and nobody is told

    def record(self, change: dict[str, Any]) -> None:
        """Keeps a change event; one on a ruleset's key is dropped."""
        if not change["routing_key"].startswith("R"):
            self._changes.append(ChangeEntry(at=self.clock(), event=_shown(change)))

    def acknowledge(self, dedup_key: str) -> bool:
        """A person takes the open incident of that key; whether there is one."""
        for where in [where for where in self._open if where[1] == dedup_key]:
            self._continue(where, "acknowledge", {})
            return True
        return False

    def journal(self) -> Journal:
        """All that happened."""
        return Journal(incidents=self._incidents, changes=self._changes, requests=self.requests)

    def _continue(self, where: tuple[str, str], action: str, event: dict[str, Any]) -> None:
        place = self._open[where]
        before = self._incidents[place]
        states = {"trigger": before.state, "acknowledge": State.ACKNOWLEDGED, "resolve": State.RESOLVED}
        changed: dict[str, object] = {
            "state": states[action],
            "log": (*before.log, LogEntry(at=self.clock(), what=action)),
        }
        if action == "trigger":
            changed["event"] = _shown(event)
        self._incidents[place] = before.model_copy(update=changed)
        if action == "resolve":
            del self._open[where]


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "routing_key": HIDDEN}
