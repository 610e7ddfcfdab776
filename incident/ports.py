"""What the commander needs of the world. Adapters in integrations/ give it; activities are handed it.

Every method raises `TransientError` where another try may help and `PermanentError` where it cannot.
"""

from typing import Protocol

from incident.analysis import Analysis, Case
from incident.evidence import AlertsReport, DeploymentsReport, LogsReport, MetricsReport
from incident.ledger import Remediation, RollbackOrder, RollbackRun, RunState
from incident.messages import ChatMessage, Page
from incident.snapshot import Snapshot


class MetricSource(Protocol):
    """Gives the readings of now."""

    async def read_metrics(self) -> MetricsReport:
        """The readings; an unreadable one has the value `None`."""
        ...


class LogSource(Protocol):
    """Gives the newest log lines."""

    async def read_logs(self) -> LogsReport:
        """The newest lines, oldest first, capped by the adapter."""
        ...


class AlertSource(Protocol):
    """Gives the service's alerts."""

    async def read_alerts(self) -> AlertsReport:
        """The alerts, firing and lately resolved."""
        ...


class DeploymentSource(Protocol):
    """Gives the deployment history."""

    async def read_deployments(self) -> DeploymentsReport:
        """The history; never an invented one."""
        ...


class RollbackTarget(Protocol):
    """Makes an earlier deployment live again. One correlation id is one rollback, however often it is asked for."""

    async def find(self, correlation_id: str) -> RollbackRun | None:
        """The run of that correlation id, or `None` if there is none (yet)."""
        ...

    async def start(self, order: RollbackOrder) -> RollbackRun:
        """Starts the rollback, unless another deployment than `order.expected_live` is live: then the run is FAILED."""
        ...

    async def look(self, run: RollbackRun) -> RollbackRun:
        """How far `run` is now."""
        ...


class Service(Protocol):
    """The connections of one service."""

    @property
    def metrics(self) -> MetricSource: ...  # noqa: D102 - named for what it gives
    @property
    def logs(self) -> LogSource: ...  # noqa: D102 - the same
    @property
    def alerts(self) -> AlertSource: ...  # noqa: D102 - the same
    @property
    def deployments(self) -> DeploymentSource: ...  # noqa: D102 - the same
    @property
    def rollback(self) -> RollbackTarget: ...  # noqa: D102 - the same


class Services(Protocol):
    """The connections of every service of the registry."""

    def connect(self, environment: str, service: str) -> Service:
        """The connections of that service.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        ...


class Analyst(Protocol):
    """Turns a case into a decision."""

    async def decide(self, case: Case) -> Analysis:
        """The decision, validated.

        Raises:
            AnalystUnusableError: no decision can be made of what the analyst answered.
        """
        ...


class Chat(Protocol):
    """A channel where people read."""

    async def post(self, message: ChatMessage) -> None:
        """Posts `message`."""
        ...


class Pager(Protocol):
    """Wakes the person on call."""

    async def page(self, page: Page) -> None:
        """Opens the page; the same key again is the same page."""
        ...

    async def resolve(self, key: str) -> None:
        """Closes the page of that key."""
        ...


class SnapshotStore(Protocol):
    """Keeps the record of every incident."""

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it."""
        ...

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`."""
        ...

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest snapshots, newest first, at most `limit`."""
        ...


class Ledger(Protocol):
    """Remembers every remediation."""

    async def begin(self, remediation: Remediation) -> None:
        """Enters `remediation`; an entry of the same correlation id stays as it is."""
        ...

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state in which that remediation ended."""
        ...

    async def of_service(self, environment: str, service: str, limit: int) -> tuple[Remediation, ...]:
        """The service's remediations, newest first, at most `limit`."""
        ...
