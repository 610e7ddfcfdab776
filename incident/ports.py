"""What the commander needs of the world. Adapters in integrations/ give it; activities are handed it.

Every method raises `TransientError` where another try may help and `PermanentError` where it cannot.
"""

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from incident.analysis import Analysis, Case
from incident.anomalies import Thresholds
from incident.budget import BudgetLimits, DaySpent, ModelCall
from incident.burn_rate import Counted
from incident.cause import Climb
from incident.changes import ToldChange
from incident.evidence import AlertsReport, DeploymentsReport, Evidence, LogsReport, MetricsReport, Normal
from incident.history import History
from incident.labels import Label
from incident.ledger import Admission, LedgerView, Quota, Remediation, RollbackOrder, RollbackRun, RunState, Stop
from incident.messages import Change, ChatMessage, Page
from incident.search import Found, Wanted
from incident.sensitivity import Sensitivity
from incident.snapshot import Snapshot


class MetricSource(Protocol):
    """Gives the readings of now."""

    async def read_metrics(self) -> MetricsReport:
        """The readings; an unreadable one has the value `None`."""
        ...


class MetricHistory(Protocol):
    """Gives what was measured before."""

    async def read_history(self) -> History:
        """The values of the last while, up to now; how long and how fine is the adapter's choice."""
        ...


class RequestCounter(Protocol):
    """Counts the requests of a while, and those of them that failed."""

    async def count_requests(self, windows: Sequence[timedelta]) -> tuple[Counted, ...]:
        """The requests of each window, all of which end now; the unknown ones say why."""
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

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:
        """The run of `order`, or `None` if there is none.

        Args:
            order: what is looked for, by its correlation id.
            asked_at: when it may have been asked for; then this waits as long as the target's lists may lag behind.
                `None`: nobody is known to have asked, so one look is enough.
        """
        ...

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """Starts the rollback, unless another deployment than `order.expected_live` is live: then the run is FAILED.

        REFUSED: the target does not take such orders, and nothing was started. `TransientError`: whether it was
        started is not known.

        Args:
            order: what to do.
            not_after: on `time.monotonic`'s clock; what has not left by then does not leave any more, since another
                worker may have taken over.
        """
        ...

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """How far `run` of `order` is now."""
        ...

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """Calls `run` off if it has not begun, and how far it is then; one that has begun goes on."""
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


class Surroundings(Protocol):
    """Knows what was measured of a service before, and what runs around it."""

    def history(self, environment: str, service: str) -> MetricHistory | None:
        """What was measured of that service; `None`: what measures it keeps nothing.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        ...

    def calls(self, environment: str, service: str) -> tuple[tuple[str, str], ...]:
        """(caller, callee): what the service needs, directly or not, and who needs it directly.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        ...


class Counters(Protocol):
    """Knows what counts the requests of each service."""

    def counter(self, environment: str, service: str) -> RequestCounter | None:
        """What counts the requests of that service; `None`: what measures it does not.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        ...


@dataclass(frozen=True)
class HistoryQuestion:
    """What is asked of a historian."""

    environment: str
    service: str
    limit: timedelta
    """For each source."""
    sensitivity: Sensitivity = field(default_factory=Sensitivity)
    """How readily something is extreme."""
    explains_within: timedelta = timedelta(hours=2)
    """How long before the onset a change may lie and still explain it."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """What is critical, so that memory which soon will be is trouble already."""


@dataclass(frozen=True)
class Usual:
    """What the history of a service says of it while no incident is open."""

    normals: tuple[Normal, ...] = ()
    """What is normal; empty: not known."""
    climb: Climb | None = None
    """What climbs; `None`: nothing is known to."""


class Historian(Protocol):
    """Tells what is normal of a service by its history, and what is around it."""

    async def completed(self, looking: Awaitable[Evidence], asked: HistoryQuestion) -> Evidence:
        """The evidence that `looking` gives, with its background, which is read meanwhile.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        ...

    async def usual(self, asked: HistoryQuestion) -> Usual:
        """What is normal of the service, and what climbs, as it was known lately.

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
            BudgetSpentError: it may not be asked for its cost.
        """
        ...


class Chat(Protocol):
    """A channel where people read."""

    async def post(self, message: ChatMessage) -> str:
        """Posts `message`, or changes the one that stands where it says; where it stands now.

        Empty: this chat cannot change a message or put one under another; then those that would are not sent. A key
        that was posted before is not posted twice, where the message says `again` and the chat can look for it.
        """
        ...


class Pager(Protocol):
    """Wakes the person on call."""

    async def page(self, page: Page) -> None:
        """Opens the page; the same key again is the same page."""
        ...

    async def resolve(self, key: str) -> None:
        """Closes the page of that key."""
        ...

    async def record_change(self, change: Change) -> None:
        """Shows `change` beside the service's pages; nobody is woken, and a second time it is shown twice."""
        ...


class SnapshotStore(Protocol):
    """Keeps the record of every incident."""

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it, unless what is kept closed later."""
        ...

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`."""
        ...

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest snapshots, newest first, at most `limit`."""
        ...


class IncidentArchive(Protocol):
    """Finds the records of closed incidents."""

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`."""
        ...

    async def search(self, wanted: Wanted) -> Found:
        """Those that are wanted, newest first."""
        ...


class LabelBook(Protocol):
    """Keeps what people say afterwards of incidents."""

    async def label(self, label: Label) -> None:
        """Keeps `label`; one of the same person on the same incident replaces it."""
        ...

    async def labels(self, since: datetime | None) -> tuple[Label, ...]:
        """The labels that were given at `since` or later, oldest first; `None`: every one."""
        ...


class ChangeBook(Protocol):
    """Keeps the changes that people and programs tell of."""

    async def tell(self, change: ToldChange) -> ToldChange:
        """What is kept of the change of that id: `change`, unless one was kept before. Those of long ago go with it."""
        ...

    async def told(
        self, environment: str, services: Collection[str], since: datetime, until: datetime | None = None
    ) -> tuple[ToldChange, ...]:
        """The changes to those services that were made from `since` to `until`, newest first, at most 50 of each.

        Both moments count in; `until` is `None`: however late.
        """
        ...


class Ledger(Protocol):
    """Remembers every remediation, and who has pulled the kill switch."""

    async def entry(self, correlation_id: str) -> Remediation | None:
        """The entry of that correlation id, or `None`."""
        ...

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        """Enters `remediation`, unless a kill switch covers it or the quota is used up; an entry stays as it is.

        The switch is read and the quota counted in the transaction that enters it: of any number that ask at once,
        no more begin than the quota allows.

        Args:
            remediation: the entry; an undoing is not held to the service's quota, and there is one per incident.
            quota: `None`: a person allowed it, whatever is used up; a kill switch holds all the same.
        """
        ...

    async def claim(self, correlation_id: str, seen: datetime, now: datetime) -> bool:
        """Whether the caller alone may start what was entered before: its time goes from `seen` to `now`.

        `False`: its time is another one than `seen`, for another attempt has entered or claimed it since.
        """
        ...

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state in which that remediation ended."""
        ...

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What is known of the service, newest first, and of the fleet's last hour."""
        ...

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch; the same scope again replaces it."""
        ...

    async def release(self, environment: str, service: str) -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        ...

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled, oldest first."""
        ...


class Budget(Protocol):
    """Counts the calls to models, each before it is sent."""

    async def reserve(self, call: ModelCall, limits: BudgetLimits) -> tuple[str, ...]:
        """Counts `call` in at its most, unless that is beyond `limits`: then why, in words, and nothing is counted.

        What is spent is summed in the transaction that counts the call in: of any number that ask at once, no more
        are let through than the limits allow. Calls that are older than `KEPT` then count nowhere any more.
        """
        ...

    async def settle(self, call_id: str, tokens: int, cost: int) -> None:
        """Sets what that call took in place of what it might have taken; `cost` in millionths."""
        ...


class BudgetBook(Budget, Protocol):
    """A budget that tells what is spent of it."""

    async def spent(self, now: datetime) -> DaySpent:
        """What was counted in within the day that ends now."""
        ...
