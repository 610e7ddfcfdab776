"""A world that answers at once: every service has a bad deployment live, and a rollback mends it in no time.

A look gives what the mock payment-api gives: eight readings, ten log lines, two alerts, three deployments.
"""

from datetime import UTC, datetime, timedelta

from incident.evidence import (
    Alert,
    AlertsReport,
    AlertState,
    Deployment,
    DeploymentsReport,
    Health,
    LogLine,
    LogsReport,
    Metric,
    MetricsReport,
    Reading,
    SourceState,
)
from incident.ledger import (
    Admission,
    LedgerView,
    Quota,
    Remediation,
    RollbackOrder,
    RollbackRun,
    RunState,
    Stop,
    objections,
)
from incident.messages import Change, ChatMessage, Page
from incident.rules import RulesAnalyst
from incident.snapshot import Snapshot
from worker.bootstrap import Ports
from worker.sources import ConnectedService

_SOURCE = "bench"
_GOOD, _BAD = 100, 101
_HEALTHY = {
    Metric.ERROR_RATE: 0.006,
    Metric.P50_LATENCY: 81.9,
    Metric.P95_LATENCY: 131.0,
    Metric.P99_LATENCY: 186.5,
    Metric.REQUESTS_PER_SECOND: 108.8,
    Metric.CPU_USAGE: 0.423,
    Metric.MEMORY_USAGE: 0.504,
    Metric.ACTIVE_CONNECTIONS: 116.0,
}
_DEGRADED = {**_HEALTHY, Metric.ERROR_RATE: 0.155, Metric.P95_LATENCY: 850.0, Metric.P99_LATENCY: 1200.0}
_LINES = 10


def build_world() -> Ports:
    """Ports of such a world; it knows every service that it is asked for."""
    rules, memory = RulesAnalyst(), Memory()
    return Ports(
        services=AnyService(), analyst=rules, rules=rules, chat=Silent(), pager=Silent(), store=memory, ledger=memory
    )


class Patient:
    """One service: all four sources and the rollback target."""

    def __init__(self) -> None:
        self._run: RollbackRun | None = None
        self._sick_since = datetime.now(UTC) - timedelta(minutes=8)

    async def read_metrics(self) -> MetricsReport:
        """Bad readings before the rollback, good ones after it."""
        healthy = self._run is not None
        values = _HEALTHY if healthy else _DEGRADED
        return MetricsReport(
            source=_SOURCE,
            state=SourceState.OK,
            readings=tuple(
                Reading(id=f"metric:{metric}", metric=metric, value=value) for metric, value in values.items()
            ),
            health=Health.HEALTHY if healthy else Health.DEGRADED,
            deployment_id=self._live,
        )

    async def read_logs(self) -> LogsReport:
        """Ten lines."""
        lines = tuple(
            LogLine(
                id=f"log:{number}",
                at=self._sick_since + timedelta(seconds=30 * number),
                level="ERROR",
                message="payment provider refused the charge",
                error_type="ProviderError",
                deployment_id=_BAD,
            )
            for number in range(1, _LINES + 1)
        )
        return LogsReport(source=_SOURCE, state=SourceState.OK, lines=lines)

    async def read_alerts(self) -> AlertsReport:
        """Two firing alerts, none after the rollback."""
        if self._run:
            return AlertsReport(source=_SOURCE, state=SourceState.EMPTY)
        alerts = tuple(
            Alert(
                id=f"alert:{name}",
                summary=f"{name} is over its limit",
                severity="critical",
                state=AlertState.FIRING,
                started_at=self._sick_since + timedelta(minutes=2),
            )
            for name in ("error rate", "latency")
        )
        return AlertsReport(source=_SOURCE, state=SourceState.OK, alerts=alerts)

    async def read_deployments(self) -> DeploymentsReport:
        """A good deployment of a day ago, the bad one, and one from before."""
        return DeploymentsReport(
            source=_SOURCE,
            state=SourceState.OK,
            deployments=tuple(
                Deployment(
                    id=f"deployment:{number}",
                    deployment_id=number,
                    revision=f"c0ffee{number}",
                    message="Move payments to the new provider",
                    live=number == self._live,
                    activated_at=self._sick_since - age,
                    once_healthy=number != _BAD,
                )
                for number, age in ((99, timedelta(days=3)), (_GOOD, timedelta(days=1)), (_BAD, timedelta()))
            ),
        )

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:  # noqa: ARG002 - the port's signature
        """The rollback, once it was made."""
        return self._run if self._run and self._run.correlation_id == order.correlation_id else None

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:  # noqa: ARG002 - the same
        """Mends the service."""
        self._run = RollbackRun(correlation_id=order.correlation_id, state=RunState.SUCCEEDED)
        return self._run

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:  # noqa: ARG002 - the same
        """It has ended long ago."""
        return run

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:  # noqa: ARG002 - the same
        """It cannot be called off any more."""
        return run

    @property
    def _live(self) -> int:
        return _GOOD if self._run else _BAD


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
