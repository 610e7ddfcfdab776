"""Every port of incident/ports.py in memory, as real code: what a fake promises, the contract tests hold it to."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TypeVar

from incident.analysis import Analysis, Case
from incident.budget import DAY, KEPT, BudgetLimits, DaySpent, ModelCall, ServiceSpent, Spending, Spent
from incident.budget import objections as budget_objections
from incident.changes import KEPT as CHANGES_KEPT
from incident.changes import NEWEST, ToldChange
from incident.decision import Decision
from incident.errors import PermanentError, TransientError, UnknownServiceError
from incident.evidence import (
    AlertsReport,
    Deployment,
    DeploymentsReport,
    Health,
    LogsReport,
    MetricsReport,
    Source,
    SourceReport,
    SourceState,
)
from incident.labels import Label
from incident.ledger import (
    HOUR,
    NOTHING_DONE,
    Admission,
    LedgerView,
    Quota,
    Remediation,
    RemediationKind,
    RollbackOrder,
    RollbackRun,
    RunState,
    Stop,
    objections,
)
from incident.messages import Change, ChatMessage, Page
from incident.ports import Service
from incident.search import Found, Place, Wanted
from incident.snapshot import Snapshot
from tests import builders

_Report = TypeVar("_Report", MetricsReport, LogsReport, AlertsReport, DeploymentsReport)
Clock = Callable[[], datetime]
_REMEMBERED = 50
"""How many remediations of a service a view holds."""


def _now() -> datetime:
    return datetime.now(UTC)


class FakeReleases:
    """Deployments 99, 100 and 101, which one is live, and which are bad; deployment 101 went live 5 minutes ago.

    Every deployment before the live one was healthy in its time, so `bad=(100, 101)` is a rollback that does not help.
    """

    def __init__(self, live: int = 100, bad: Collection[int] = (101,), clock: Clock = _now) -> None:
        self._clock = clock
        self.live = live
        self.bad = frozenset(bad)
        started = clock()
        ages = {99: timedelta(days=7), 100: timedelta(days=1), 101: timedelta(minutes=5)}
        self.activated_at: dict[int, datetime] = {
            number: started - age for number, age in ages.items() if number <= live
        }
        self.rolled_back_from_at: dict[int, datetime] = {}
        self.known = list(ages)
        self.once_healthy = {number for number in self.activated_at if number != live or number not in self.bad}

    @property
    def degraded(self) -> bool:
        """Whether a bad deployment is live."""
        return self.live in self.bad

    @property
    def alerting_since(self) -> datetime:
        """When the alerts of a bad live deployment began: 2 minutes after it went live, at most now."""
        return min(self.activated_at[self.live] + timedelta(minutes=2), self._clock())

    def activate(self, number: int) -> None:
        """Makes that deployment live, as a rollback or a new deployment does."""
        if number == self.live:
            return
        now = self._clock()
        if number < self.live:
            self.rolled_back_from_at[self.live] = now
        if number not in self.known:
            self.known.append(number)
        self.live = number
        self.activated_at[number] = now
        if number not in self.bad:
            self.once_healthy.add(number)

    def history(self) -> tuple[Deployment, ...]:
        """The deployments as a source tells of them."""
        return tuple(
            builders.deployment(
                number,
                live=number == self.live,
                activated_at=self.activated_at.get(number),
                once_healthy=number in self.once_healthy,
                rolled_back_from_at=self.rolled_back_from_at.get(number),
            )
            for number in self.known
        )


class FakeRollback:
    """A rollback target over `releases`: one correlation id is one rollback, and the live deployment is compared.

    Args:
        releases: what a rollback changes; it does when a run reaches SUCCEEDED.
        states: what `start` and each `look` after it say in turn; the last one stays.
        failures: raised by the next starts, one each, before anything is done.
        lost_replies: raised by the next starts that come through, one each, after the run has begun.
    """

    def __init__(
        self,
        releases: FakeReleases,
        states: Sequence[RunState] = (RunState.SUCCEEDED,),
        failures: Sequence[Exception] = (),
        lost_replies: Sequence[Exception] = (),
    ) -> None:
        self._releases = releases
        self.states = list(states)
        self.failures = list(failures)
        self.lost_replies = list(lost_replies)
        self.starts: list[RollbackOrder] = []
        self.begun: list[RollbackOrder] = []
        self.sought: list[datetime | None] = []
        self.search_failures: list[Exception] = []
        """Raised by the next searches, one each."""
        self.deadlines: list[float] = []
        """The `not_after` of each start."""
        self.cancels: list[str] = []
        self._runs: dict[str, RollbackRun] = {}
        self._script: dict[str, list[RunState]] = {}

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:
        """The run of that correlation id; not a refused one. Its list never lags."""
        self.sought.append(asked_at)
        if self.search_failures:
            raise self.search_failures.pop(0)
        return self._runs.get(order.correlation_id)

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """Begins the run, once; refuses where another deployment than the expected one is live."""
        self.starts.append(order)
        self.deadlines.append(not_after)
        if self.failures:
            raise self.failures.pop(0)
        if monotonic() > not_after:
            raise TransientError("fake", "was not sent: it is too late")
        if known := self._runs.get(order.correlation_id):
            return known
        if order.target not in self._releases.known:
            return self._refused(order, f"there is no deployment {order.target} to activate")
        if order.expected_live != self._releases.live:
            return self._refused(order, f"refused: deployment {self._releases.live} is live")
        self.begun.append(order)
        self._script[order.correlation_id] = list(self.states)
        run = self._step(order.correlation_id)
        if self.lost_replies:
            raise self.lost_replies.pop(0)
        return run

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """Calls a run off that has not begun."""
        known = self._runs.get(order.correlation_id, run)
        if known.state.may_be_cancelled:
            known = known.model_copy(update={"state": RunState.CANCELLED, "detail": "called off"})
            self._runs[order.correlation_id] = known
        self.cancels.append(order.correlation_id)
        return known

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:  # noqa: ARG002 - the port's signature
        """The run one step further in its script."""
        if run.state.ended or run.correlation_id not in self._runs:
            return run
        known = self._runs[run.correlation_id]
        return known if known.state.ended else self._step(run.correlation_id)

    def _step(self, correlation_id: str) -> RollbackRun:
        script = self._script[correlation_id]
        state = script.pop(0) if len(script) > 1 else script[0]
        run = RollbackRun(correlation_id=correlation_id, state=state, detail=f"the script says {state}")
        self._runs[correlation_id] = run
        if state is RunState.SUCCEEDED:
            order = next(each for each in self.begun if each.correlation_id == correlation_id)
            self._releases.activate(order.target)
        return run

    @staticmethod
    def _refused(order: RollbackOrder, why: str) -> RollbackRun:
        return RollbackRun(correlation_id=order.correlation_id, state=RunState.FAILED, detail=why)


class FakeService:
    """A service whose every source follows `releases`: degraded while a bad deployment is live, healthy otherwise.

    `FakeService(live=101)` is degraded by deployment 101 until it is rolled back. Each source can be told what to say
    instead: `answer`, `fail`, `hang`, and `restore`.
    """

    def __init__(
        self,
        live: int = 100,
        bad: Collection[int] = (101,),
        states: Sequence[RunState] = (RunState.SUCCEEDED,),
        failures: Sequence[Exception] = (),
        clock: Clock = _now,
    ) -> None:
        self._clock = clock
        self.releases = FakeReleases(live, bad, clock)
        self.rollback = FakeRollback(self.releases, states, failures)
        self.reads: Counter[Source] = Counter()
        self._answers: dict[Source, list[SourceReport]] = {}
        self._errors: dict[Source, Exception] = {}
        self._gates: dict[Source, asyncio.Event] = {}

    @property
    def metrics(self) -> "FakeService":
        """Itself, as the source of metrics."""
        return self

    @property
    def logs(self) -> "FakeService":
        """Itself, as the source of logs."""
        return self

    @property
    def alerts(self) -> "FakeService":
        """Itself, as the source of alerts."""
        return self

    @property
    def deployments(self) -> "FakeService":
        """Itself, as the source of deployments."""
        return self

    def deploy(self, number: int) -> None:
        """Makes that deployment live."""
        self.releases.activate(number)

    def answer(self, source: Source, *reports: SourceReport) -> None:
        """Makes `source` give these reports in turn; the last one stays."""
        self.restore(source)
        self._answers[source] = list(reports)

    def fail(self, source: Source, error: Exception) -> None:
        """Makes `source` raise `error`."""
        self.restore(source)
        self._errors[source] = error

    def hang(self, source: Source) -> asyncio.Event:
        """Makes `source` wait until the event is set; then it says what it would have said."""
        return self._gates.setdefault(source, asyncio.Event())

    def restore(self, source: Source) -> None:
        """Makes `source` follow the releases again."""
        for told in (self._answers, self._errors, self._gates):
            told.pop(source, None)

    async def read_metrics(self) -> MetricsReport:
        """Healthy or degraded readings."""
        degraded = self.releases.degraded
        report = builders.metrics(
            builders.DEGRADED_METRICS if degraded else None,
            health=Health.DEGRADED if degraded else Health.HEALTHY,
            deployment_id=self.releases.live,
        )
        return await self._read(Source.METRICS, report)

    async def read_logs(self) -> LogsReport:
        """One line: of an error, or of a payment that was settled."""
        live = {"at": self._clock(), "deployment_id": self.releases.live}
        degraded = builders.log_line(1, "database pool exhausted", error_type="PoolTimeout", **live)
        line = degraded if self.releases.degraded else builders.log_line(1, "payment settled", level="INFO", **live)
        return await self._read(Source.LOGS, builders.logs(line))

    async def read_alerts(self) -> AlertsReport:
        """Two alerts while degraded, none otherwise."""
        if not self.releases.degraded:
            return await self._read(Source.ALERTS, builders.alerts(state=SourceState.EMPTY))
        since = self.releases.alerting_since
        alerts = (builders.alert(key, started_at=since) for key in ("high-error-rate", "high-latency"))
        return await self._read(Source.ALERTS, builders.alerts(*alerts))

    async def read_deployments(self) -> DeploymentsReport:
        """The releases."""
        return await self._read(Source.DEPLOYMENTS, builders.deployments(*self.releases.history()))

    async def _read(self, source: Source, usual: _Report) -> _Report:
        self.reads[source] += 1
        if gate := self._gates.get(source):
            await gate.wait()
        if error := self._errors.get(source):
            raise error
        told = self._answers.get(source)
        if not told:
            return usual
        report = told.pop(0) if len(told) > 1 else told[0]
        if not isinstance(report, type(usual)):
            raise TypeError(f"{source} was told to answer with a {type(report).__name__}")
        return report


class FakeServices:
    """A registry of one service, or of those added to it."""

    def __init__(self, service: Service, environment: str = builders.ENVIRONMENT, name: str = builders.SERVICE) -> None:
        self._known: dict[tuple[str, str], Service] = {(environment, name): service}

    def add(self, service: Service, environment: str, name: str) -> None:
        """Registers another one."""
        self._known[environment, name] = service

    def connect(self, environment: str, service: str) -> Service:
        """The connections of that service."""
        if found := self._known.get((environment, service)):
            return found
        raise UnknownServiceError(environment, service, tuple(f"{name} ({where})" for where, name in self._known))


class FakeAnalyst:
    """Gives what its script says in turn: a decision, or an exception to raise; the last one stays."""

    def __init__(self, *script: Decision | Exception, gate: asyncio.Event | None = None) -> None:
        self._script: list[Decision | Exception] = list(script) or [builders.decision()]
        self._gate = gate
        self.cases: list[Case] = []

    async def decide(self, case: Case) -> Analysis:
        """What comes next in the script, once the gate is open."""
        self.cases.append(case)
        if self._gate:
            await self._gate.wait()
        says = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(says, Exception):
            raise says
        return Analysis(decision=says, analyst="fake")


class FakeChat:
    """Keeps what is posted; raises its `failures` first, one for each post, and `error`, while it is set, always.

    Args:
        failures: raised by the next posts, one each.
        error: raised by every post while it is set.
        places: whether a message has a place, where it can be changed and have others under it.
    """

    def __init__(self, *failures: Exception, error: Exception | None = None, places: bool = False) -> None:
        self.failures = list(failures)
        self.error = error
        self.places = places
        self.posted: list[ChatMessage] = []
        """Every message and every change, in order."""

    async def post(self, message: ChatMessage) -> str:
        """Keeps `message`; where it stands, if messages have places."""
        _raise_next(self.failures, self.error)
        known = [
            place for place, each in self.shown.items() if message.again and message.key and each.key == message.key
        ]
        if known:
            return known[0]
        self.posted.append(message)
        return (message.stands or f"C1/{len(self.posted)}") if self.places else ""

    @property
    def shown(self) -> Mapping[str, ChatMessage]:
        """What stands in the channel now, by place."""
        places = ((each.stands or f"C1/{number}", each) for number, each in enumerate(self.posted, start=1))
        return dict(places) if self.places else {}


class FakePager:
    """Keeps pages by key; raises its `failures` first, one for each call, and `error`, while it is set, always."""

    def __init__(self, *failures: Exception, error: Exception | None = None) -> None:
        self.failures = list(failures)
        self.error = error
        self.sent: list[Page] = []
        self.open: dict[str, Page] = {}
        self.resolved: list[str] = []
        self.changes: list[Change] = []

    async def page(self, page: Page) -> None:
        """Opens `page`; the same key again is the same page."""
        _raise_next(self.failures, self.error)
        self.sent.append(page)
        self.open[page.key] = page

    async def resolve(self, key: str) -> None:
        """Closes the page of that key; an unknown key is accepted, as PagerDuty accepts it."""
        _raise_next(self.failures, self.error)
        self.open.pop(key, None)
        self.resolved.append(key)

    async def record_change(self, change: Change) -> None:
        """Keeps `change`."""
        _raise_next(self.failures, self.error)
        self.changes.append(change)


class InMemoryStore:
    """Snapshots, ledger, labels, changes and budget; `errors` holds, by method name, what that raises instead."""

    def __init__(self, errors: Mapping[str, Exception] | None = None) -> None:
        self.errors = dict(errors or {})
        self.snapshots: dict[str, Snapshot] = {}
        self.remediations: dict[str, Remediation] = {}
        self.model_calls: dict[str, ModelCall] = {}
        self._stops: dict[tuple[str, str], Stop] = {}
        self._labels: dict[tuple[str, str], Label] = {}
        self.changes: dict[tuple[str, str, str], ToldChange] = {}

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it, unless what is kept closed later."""
        self._may("save")
        kept = self.snapshots.setdefault(snapshot.incident_id, snapshot)
        if kept.closed_at <= snapshot.closed_at:
            self.snapshots[snapshot.incident_id] = snapshot

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`."""
        self._may("load")
        return self.snapshots.get(incident_id)

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest snapshots, newest first."""
        self._may("newest")
        ordered = sorted(self.snapshots.values(), key=lambda each: (each.opened_at, each.incident_id), reverse=True)
        return tuple(ordered[: max(limit, 0)])

    async def search(self, wanted: Wanted) -> Found:
        """Those that are wanted, newest first."""
        self._may("search")
        found = [each for each in await self.newest(len(self.snapshots)) if wanted.holds(each)]
        page = tuple(found[: wanted.limit])
        return Found(snapshots=page, next=Place.of(page[-1]) if len(page) == wanted.limit else None)

    async def entry(self, correlation_id: str) -> Remediation | None:
        """The entry of that correlation id, or `None`."""
        self._may("entry")
        return self.remediations.get(correlation_id)

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        """Enters `remediation`, unless a kill switch covers it or the quota is used up; an entry stays as it is."""
        self._may("begin")
        known = remediation.correlation_id in self.remediations
        past = [each for each in self.remediations.values() if each.at > remediation.at - HOUR]
        refused = objections(
            remediation,
            None if known else quota,
            past,
            self._stops.values(),
            undone=not known and any(_undoes(each, remediation.incident_id) for each in self.remediations.values()),
        )
        if not refused:
            self.remediations.setdefault(remediation.correlation_id, remediation)
        return Admission(refused=refused, entered_before=known)

    async def claim(self, correlation_id: str, seen: datetime, now: datetime) -> bool:
        """Whether the caller alone may start what was entered before: its time goes from `seen` to `now`."""
        self._may("claim")
        known = self.remediations.get(correlation_id)
        if known is None or known.at != seen:
            return False
        self.remediations[correlation_id] = known.model_copy(update={"at": now})
        return True

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state in which that remediation ended."""
        self._may("finish")
        known = self.remediations.get(correlation_id)
        if known is None:
            raise PermanentError("store", f"there is no remediation {correlation_id} to finish")
        self.remediations[correlation_id] = known.model_copy(update={"state": state})

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What is known of the service, newest first, and of the fleet's last hour."""
        self._may("view")
        done = self.remediations.values()
        mine = [each for each in done if (each.environment, each.service) == (environment, service)]
        mine.sort(key=lambda each: (each.at, each.correlation_id), reverse=True)
        return LedgerView(
            state=SourceState.OK if mine else SourceState.EMPTY,
            at=now,
            remediations=tuple(mine[:_REMEMBERED]),
            fleet_last_hour=sum(each.at > now - HOUR and each.state not in NOTHING_DONE for each in done),
            stops=tuple(
                each
                for each in sorted(self._stops.values(), key=lambda each: each.at)
                if each.covers(environment, service)
            ),
        )

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch; the same scope again replaces it."""
        self._may("stop")
        self._stops[stop.environment, stop.service] = stop

    async def release(self, environment: str, service: str) -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        self._may("release")
        return self._stops.pop((environment, service), None) is not None

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled, oldest first."""
        self._may("stops")
        return tuple(sorted(self._stops.values(), key=lambda each: each.at))

    async def label(self, label: Label) -> None:
        """Keeps `label`; one of the same person on the same incident replaces it."""
        self._may("label")
        self._labels[label.incident_id, label.by] = label

    async def labels(self, since: datetime | None) -> tuple[Label, ...]:
        """The labels that were given at `since` or later, oldest first."""
        self._may("labels")
        found = [each for each in self._labels.values() if since is None or each.at >= since]
        return tuple(sorted(found, key=lambda each: (each.at, each.incident_id, each.by)))

    async def tell(self, change: ToldChange) -> ToldChange:
        """What is kept of the change of that id: `change`, unless one was kept before. Those of long ago go with it."""
        self._may("tell")
        self.changes = {key: each for key, each in self.changes.items() if each.at >= change.told_at - CHANGES_KEPT}
        return self.changes.setdefault((change.environment, change.service, change.id), change)

    async def told(
        self, environment: str, services: Collection[str], since: datetime, until: datetime | None = None
    ) -> tuple[ToldChange, ...]:
        """The changes to those services that were made from `since` to `until`, newest first, at most 50 of each."""
        self._may("told")
        found = [
            each
            for service in services
            for each in sorted(
                (
                    each
                    for each in self.changes.values()
                    if (each.environment, each.service) == (environment, service)
                    and (until is None or each.at <= until)
                ),
                key=lambda each: (each.at, each.id),
            )[-NEWEST:]
            if each.at >= since
        ]
        return tuple(sorted(found, key=lambda each: (each.at, each.id), reverse=True))

    async def reserve(self, call: ModelCall, limits: BudgetLimits) -> tuple[str, ...]:
        """Counts `call` in at its most, unless that is beyond `limits`: then why, in words."""
        self._may("reserve")
        lately = [each for each in self.model_calls.values() if each.at > call.at - DAY]
        spending = Spending(
            incident=_sum(each for each in self.model_calls.values() if each.incident_id == call.incident_id),
            service=_sum(
                each for each in lately if (each.environment, each.service) == (call.environment, call.service)
            ),
            fleet=_sum(lately),
        )
        refused = budget_objections(call, limits, spending)
        if not refused:
            self.model_calls[call.call_id] = call
            self.model_calls = {id_: each for id_, each in self.model_calls.items() if each.at >= call.at - KEPT}
        return refused

    async def settle(self, call_id: str, tokens: int, cost: int) -> None:
        """Sets what that call took in place of what it might have taken."""
        self._may("settle")
        known = self.model_calls.get(call_id)
        if known is None:
            raise PermanentError("store", f"there is no model call {call_id} to settle")
        self.model_calls[call_id] = known.model_copy(update={"tokens": tokens, "cost": cost})

    async def spent(self, now: datetime) -> DaySpent:
        """What was counted in within the day that ends now."""
        self._may("spent")
        lately = [each for each in self.model_calls.values() if each.at > now - DAY]
        places = sorted({(each.environment, each.service) for each in lately})
        services = [
            ServiceSpent(
                environment=environment,
                service=service,
                spent=_sum(each for each in lately if (each.environment, each.service) == (environment, service)),
            )
            for environment, service in places
        ]
        return DaySpent(at=now, fleet=_sum(lately), services=tuple(services))

    def _may(self, method: str) -> None:
        if error := self.errors.get(method):
            raise error


def _sum(calls: Iterable[ModelCall]) -> Spent:
    counted = list(calls)
    return Spent(
        calls=len(counted), tokens=sum(each.tokens for each in counted), cost=sum(each.cost for each in counted)
    )


def _undoes(entry: Remediation, incident_id: str) -> bool:
    return entry.incident_id == incident_id and entry.kind is RemediationKind.UNDO


def _raise_next(failures: list[Exception], always: Exception | None) -> None:
    if failures:
        raise failures.pop(0)
    if always:
        raise always
