"""What must hold of every incident, whatever was killed on its way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from incident.ledger import Remediation, RunState
from incident.messages import ChatKind
from incident.recovery import Classification
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests.fault.delivery import delivered
from tests.fault.world import Incident, World

_ALWAYS = (ChatKind.ALERT, ChatKind.CHANGE, ChatKind.REPORT)
_TWICE = 2
"""How often a message may arrive at most: a worker that dies between sending and reporting it sends it again."""


@dataclass(frozen=True)
class Ending:
    """How an incident ended, as each of its witnesses tells it."""

    snapshot: Snapshot
    """The workflow's result."""
    stored: Snapshot | None
    activations: Sequence[Mapping[str, Any]]
    """The patient's journal."""
    ledger: Sequence[Remediation]
    delivered: Mapping[ChatKind, int]
    """How often each kind of message was really written."""

    def __str__(self) -> str:
        applied = sum(each["applied"] for each in self.activations)
        states = ",".join(entry.state for entry in self.ledger) or "empty"
        told = ", ".join(f"{kind} x{count}" for kind, count in self.delivered.items() if count)
        return (
            f"{self.snapshot.outcome} {self.snapshot.health_status}; {len(self.activations)} POST, {applied} applied; "
            f"ledger {states}; {told}"
        )


async def ending(world: World, incident: Incident) -> Ending:
    """How `incident` ended, once it has."""
    snapshot = await world.closed(incident)
    return Ending(
        snapshot=snapshot,
        stored=await world.store.load(incident.incident_id),
        activations=await world.activations(incident),
        ledger=await world.ledger(incident),
        delivered=delivered(world.logs(), incident.incident_id),
    )


def differences(end: Ending, *, paged: bool = False) -> tuple[str, ...]:
    """What did not end as it must; empty: everything did.

    Args:
        end: how it ended.
        paged: whether a person must have been paged on the way.
    """
    ordered = end.snapshot.remediation.order.correlation_id if end.snapshot.remediation else "none"
    recorded = sorted(each.kind for each in end.snapshot.notifications if each.delivered)
    asked = [ChatKind.QUESTION] if end.snapshot.proposal else []
    woken = [ChatKind.PAGE, ChatKind.RESOLVE] if paged else []
    seen = {
        "outcome": (end.snapshot.outcome, Outcome.RECOVERED),
        "classification": (end.snapshot.health_status, Classification.FULLY_RECOVERED),
        "action": (end.snapshot.action_taken, ActionTaken.ROLLBACK),
        "applied activations": (sum(each["applied"] for each in end.activations), 1),
        "correlation ids": ({each["correlation_id"] for each in end.activations}, {ordered}),
        "ledger": ([(each.correlation_id, each.state) for each in end.ledger], [(ordered, RunState.SUCCEEDED)]),
        "stored snapshot is the result": (end.stored == end.snapshot, True),
        "notifications recorded": (recorded, sorted([*_ALWAYS, *asked, *woken])),
        "alert arrived": (1 <= end.delivered[ChatKind.ALERT] <= _TWICE, True),
        "report arrived": (1 <= end.delivered[ChatKind.REPORT] <= _TWICE, True),
        "page arrived": (1 <= end.delivered[ChatKind.PAGE] <= _TWICE, paged),
    }
    return tuple(f"{what}: {was}, expected {wanted}" for what, (was, wanted) in seen.items() if was != wanted)
