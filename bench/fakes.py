"""A world that answers at once: every service has a bad deployment live, and a rollback mends it in no time.

A look gives what the mock payment-api gives: eight readings, ten log lines, two alerts, and some deployments.
"""

from datetime import datetime

from commander.attacks import world as attacked
from commander.attacks.corpus import Place, Scene
from incident.evidence import SourceState
from incident.ledger import (
    Admission,
    LedgerView,
    Quota,
    Remediation,
    RunState,
    Stop,
    objections,
)
from incident.messages import Change, ChatMessage, Page
from incident.rules import RulesAnalyst
from incident.snapshot import Snapshot
from worker.bootstrap import Ports
from worker.sources import ConnectedService


def build_world() -> Ports:
    """Ports of such a world; it knows every service that it is asked for."""
    rules, memory = RulesAnalyst(), Memory()
    return Ports(
        services=AnyService(), analyst=rules, rules=rules, chat=Silent(), pager=Silent(), store=memory, ledger=memory
    )


class Patient(attacked.Patient):
    """One service: all four sources and the rollback target; nobody attacks it."""

    lines = 10

    def __init__(self, scene: Scene = Scene.BAD_DEPLOY) -> None:
        super().__init__(scene, Place.LOG, "payment provider refused the charge")


class AnyService:
    """Every service of every environment."""

    def __init__(self) -> None:
        self._patients: dict[tuple[str, str], ConnectedService] = {}

    def connect(self, environment: str, service: str) -> ConnectedService:
        """That service, sick when it is first asked for."""
        key = environment, service
        if key not in self._patients:
            patient = Patient()
            self._patients[key] = ConnectedService(patient, patient, patient, patient, patient)
        return self._patients[key]


class Silent:
    """Chat and pager without anybody there."""

    async def post(self, message: ChatMessage) -> str:  # noqa: ARG002 - the port's signature
        """Nobody reads it."""
        return ""

    async def page(self, page: Page) -> None:
        """Nobody wakes."""

    async def resolve(self, key: str) -> None:
        """Nobody woke."""

    async def record_change(self, change: Change) -> None:
        """Nobody looks."""


class Memory:
    """Store and ledger."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._remediations: dict[str, Remediation] = {}
        self._of_service: dict[tuple[str, str], list[str]] = {}
        self._stops: dict[tuple[str, str], Stop] = {}

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`."""
        self._snapshots[snapshot.incident_id] = snapshot

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident."""
        return self._snapshots.get(incident_id)

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The snapshots that were kept last."""
        return tuple(reversed(self._snapshots.values()))[:limit]

    async def entry(self, correlation_id: str) -> Remediation | None:
        """The entry of that correlation id."""
        return self._remediations.get(correlation_id)

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        """Enters `remediation`; only a kill switch holds it back, for the bench's quota never binds."""
        refused = objections(remediation, quota, (), self._stops.values(), undone=False)
        known = remediation.correlation_id in self._remediations
        if not known and not refused:
            self._remediations[remediation.correlation_id] = remediation
            service = remediation.environment, remediation.service
            self._of_service.setdefault(service, []).append(remediation.correlation_id)
        return Admission(refused=refused, entered_before=known)

    async def claim(self, correlation_id: str, seen: datetime, now: datetime) -> bool:
        """The bench has one attempt at a time."""
        del correlation_id, seen, now
        return True

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state of that remediation."""
        known = self._remediations[correlation_id]
        self._remediations[correlation_id] = known.model_copy(update={"state": state})

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """The service's remediations, newest first; the fleet's are not counted, so that no round pays for the last."""
        mine = self._of_service.get((environment, service), [])
        return LedgerView(
            state=SourceState.OK if mine else SourceState.EMPTY,
            at=now,
            remediations=tuple(self._remediations[each] for each in reversed(mine)),
            stops=tuple(each for each in self._stops.values() if each.covers(environment, service)),
        )

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch."""
        self._stops[stop.environment, stop.service] = stop

    async def release(self, environment: str, service: str) -> bool:
        """Lets it go."""
        return self._stops.pop((environment, service), None) is not None

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled."""
        return tuple(self._stops.values())
