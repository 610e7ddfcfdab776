"""The production worker on a real server, with fakes for the world: what workflow tests and recorder stand on."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NotRequired, TypedDict, Unpack
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from incident import ports
from incident.dossier import Dossier, Stage
from incident.evidence import Health, Metric, MetricsReport, Reading, Source, SourceState
from incident.ledger import RemediationKind, RollbackOrder, RollbackRun, RunState
from incident.rules import RulesAnalyst
from incident.snapshot import Snapshot
from tests import builders
from tests.fakes import FakeChat, FakePager, FakeReleases, FakeRollback, FakeService, FakeServices, InMemoryStore
from worker.bootstrap import Ports, build_worker
from worker.settings import WorkerSettings
from workflows.incident import IncidentWorkflow
from workflows.messages import IncidentRequest
from workflows.names import SEARCH_ATTRIBUTES

PATIENCE = timedelta(seconds=20)
"""Real time after which a condition counts as never met."""
UNREACHABLE = timedelta(days=1)
"""A `retry_after` past every budget: Temporal gives up at once, as it would at the budget's end."""

Handle = WorkflowHandle[IncidentWorkflow, Snapshot]


def unique() -> str:
    """A name that nothing else on this server has."""
    return uuid4().hex


class Fakes(TypedDict):
    """What stands in for the world; what is not given works well."""

    service: NotRequired[FakeService]
    services: NotRequired[ports.Services]
    surroundings: NotRequired[ports.Surroundings]
    analyst: NotRequired[ports.Analyst]
    chat: NotRequired[FakeChat]
    pager: NotRequired[FakePager]
    store: NotRequired[InMemoryStore]
    stopped: NotRequired[str]
    clock: NotRequired[Callable[[], datetime]]


@dataclass
class Shift:
    """One worker on a task queue of its own, and the world that it sees."""

    environment: WorkflowEnvironment
    service: FakeService = field(default_factory=lambda: FakeService(live=101))
    services: ports.Services | None = None
    surroundings: ports.Surroundings | None = None
    analyst: ports.Analyst = field(default_factory=RulesAnalyst)
    chat: FakeChat = field(default_factory=FakeChat)
    pager: FakePager = field(default_factory=FakePager)
    store: InMemoryStore = field(default_factory=InMemoryStore)
    stopped: str = ""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    name: str = field(default_factory=unique)

    @property
    def world(self) -> Ports:
        """The ports that the worker is built of."""
        return Ports(
            services=self.services or FakeServices(self.service),
            analyst=self.analyst,
            rules=RulesAnalyst(),
            chat=self.chat,
            pager=self.pager,
            store=self.store,
            ledger=self.store,
            surroundings=self.surroundings,
            changes=self.store,
            stopped=self.stopped,
            clock=self.clock,
        )

    def request(self, policy: Mapping[str, object] | None = None, **changes: object) -> IncidentRequest:
        """A look at the service, under the short policy of the builders, three looks at most, and `policy` on top."""
        bounds = builders.policy(**{"max_looks": 3, **(policy or {})})
        given = {"service": builders.SERVICE, "policy": bounds, **changes}
        return IncidentRequest.model_validate(given)

    async def open(
        self, policy: Mapping[str, object] | None = None, *, skipping: bool = True, **changes: object
    ) -> Handle:
        """An incident that was just started. Time is skipped whenever it waits, unless `skipping` is false."""
        real = nullcontext() if skipping else self.environment.with_time_skipping_disabled()
        with real:
            return await self.environment.client.start_workflow(
                IncidentWorkflow.run, self.request(policy, **changes), id=self.name, task_queue=self.name
            )

    async def handle(self, policy: Mapping[str, object] | None = None, **changes: object) -> Snapshot:
        """The snapshot of an incident, run to its end under skipped time."""
        return await ended(await self.open(policy, skipping=True, **changes))

    async def skip(self, handle: Handle, duration: timedelta) -> None:
        """Moves the clock of an incident that was opened with real time."""
        assert await self.environment.fast_forward(handle, duration)

    async def finish(self, handle: Handle) -> Snapshot:
        """Skips time from here on, to the end of an incident that was opened with real time."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await self.environment.fast_forward(handle)
        return await ended(handle)


@asynccontextmanager
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    """A real server that skips time, with this project's search attributes and short timers."""
    started = await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_log_level="error",
        dev_server_extra_args=[
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
            "--dynamic-config-value",
            'history.timerProcessorMaxTimeShift="5ms"',
        ],
        search_attributes=list(SEARCH_ATTRIBUTES),
        data_converter=pydantic_data_converter,
        identity="tests",
    )
    async with started:
        yield started


@asynccontextmanager
async def at_work(where: WorkflowEnvironment, name: str = "", **fakes: Unpack[Fakes]) -> AsyncIterator[Shift]:
    """A shift whose worker runs meanwhile."""
    shift = Shift(where, name=name or unique(), **fakes)
    settings = WorkerSettings(drain=timedelta(0))
    async with build_worker(where.client, shift.world, settings, task_queue=shift.name, versioned=False):
        yield shift


async def ended(handle: Handle, patience: timedelta = PATIENCE) -> Snapshot:
    """The result of `handle`."""
    async with asyncio.timeout(patience.total_seconds()):
        return await handle.result()


async def until(condition: Callable[[], bool]) -> None:
    """Returns once `condition` holds."""

    async def _now() -> bool:
        return condition()

    await until_true(_now)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns once `condition` gives true."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await condition():  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.01)


async def at_stage(handle: Handle, stage: Stage) -> Dossier:
    """The dossier once the incident has reached `stage`."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        dossier = await handle.query(IncidentWorkflow.dossier)
        while dossier.stage is not stage:
            await asyncio.sleep(0.01)
            dossier = await handle.query(IncidentWorkflow.dossier)
        return dossier


async def under_way(handle: Handle) -> None:
    """Returns once the incident knows of its rollback's run: then no activity is under way that time would outrun."""

    async def known() -> bool:
        record = (await handle.query(IncidentWorkflow.dossier)).remediation
        return record is not None and record.run is not None

    await until_true(known)


async def details(handle: Handle) -> str:
    """The markdown that the Web UI shows of the incident now."""
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def events(handle: Handle, kind: EventType.ValueType) -> list[HistoryEvent]:
    """The events of that kind in the incident's history."""
    return [event for event in (await handle.fetch_history()).events if event.event_type == kind]


async def asked(handle: Handle) -> Counter[str]:
    """How often each activity was asked for, those within a workflow task included."""
    scheduled = await events(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    marked = await events(handle, EventType.EVENT_TYPE_MARKER_RECORDED)
    local = [event.marker_recorded_event_attributes for event in marked]
    return Counter(
        [event.activity_task_scheduled_event_attributes.activity_type.name for event in scheduled]
        + [json.loads(each.details["data"].payloads[0].data)["activity_type"] for each in local]
    )


async def decided_together(handle: Handle, *activities: str) -> bool:
    """Whether the workflow asked for all these activities in one and the same workflow task."""
    tasks: dict[str, set[int]] = {}
    for event in await events(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED):
        scheduled = event.activity_task_scheduled_event_attributes
        tasks.setdefault(scheduled.activity_type.name, set()).add(scheduled.workflow_task_completed_event_id)
    return bool(set.intersection(*(tasks.get(each, set()) for each in activities)))


async def summaries(handle: Handle, kind: EventType.ValueType) -> list[str]:
    """The summary of every event of that kind; empty where it has none."""
    shown: list[str] = []
    for event in await events(handle, kind):
        payload = event.user_metadata.summary
        shown += await pydantic_data_converter.decode([payload], [str]) if payload.data else [""]
    return shown


def why_paged(shift: Shift) -> str:
    """What the one page gives as its reason."""
    (page,) = shift.pager.sent
    return next(detail.text for detail in page.details if detail.label == "why")


def noted(snapshot: Snapshot, text: str) -> bool:
    """Whether the timeline has an entry that holds `text`."""
    return any(text in entry.text for entry in snapshot.timeline)


def sick(values: Mapping[str, float | None], deployment_id: int = 100) -> MetricsReport:
    """Metrics with these values (percent and ms) of a service that calls itself healthy."""
    return builders.metrics(values, deployment_id=deployment_id)


def well(deployment_id: int = 100) -> MetricsReport:
    """Healthy metrics."""
    return builders.metrics(deployment_id=deployment_id)


def unreadable(problem: str = "no answer") -> MetricsReport:
    """Metrics that could not be read."""
    none: tuple[Reading, ...] = ()
    return builders.metrics(
        state=SourceState.FAILED, problem=problem, readings=none, health=Health.UNKNOWN, deployment_id=None
    )


P0: Mapping[str, float | None] = {Metric.ERROR_RATE: 15.5, Metric.P99_LATENCY: 1200.0}
P1: Mapping[str, float | None] = {Metric.ERROR_RATE: 7.0, Metric.P99_LATENCY: 600.0}
P2: Mapping[str, float | None] = {Metric.ERROR_RATE: 3.0}
WORSE: Mapping[str, float | None] = {**builders.DEGRADED_METRICS, Metric.ERROR_RATE: 40.0, Metric.P99_LATENCY: 3000.0}
"""Worse than what the builders call degraded."""


class ByDeployment(FakeService):
    """A service whose numbers (percent and ms) follow from what is live: healthy where `values` says nothing."""

    def __init__(self, values: Mapping[int, Mapping[str, float | None]], live: int = 101) -> None:
        super().__init__(live, bad=tuple(values))
        self.values = dict(values)

    async def read_metrics(self) -> MetricsReport:
        """The readings of what is live."""
        live = self.releases.live
        if live not in self.values:
            return await super().read_metrics()
        self.reads[Source.METRICS] += 1
        return builders.metrics(self.values[live], health=Health.DEGRADED, deployment_id=live)


class ScriptedRollback(FakeRollback):
    """A rollback target whose undoings run by a script of their own."""

    def __init__(
        self,
        releases: FakeReleases,
        states: Sequence[RunState] = (RunState.SUCCEEDED,),
        undo: Sequence[RunState] = (RunState.SUCCEEDED,),
    ) -> None:
        super().__init__(releases, states)
        self._scripts = {RemediationKind.ROLLBACK: list(states), RemediationKind.UNDO: list(undo)}

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """Begins the run, by the script of its kind."""
        self.states = list(self._scripts[order.kind])
        return await super().start(order, not_after)


class SlowRollback(FakeRollback):
    """A rollback target that can be held at its start, and whose looks can fail."""

    def __init__(
        self,
        releases: FakeReleases,
        states: Sequence[RunState] = (RunState.SUCCEEDED,),
        gate: asyncio.Event | None = None,
        look_failures: Sequence[Exception] = (),
    ) -> None:
        super().__init__(releases, states)
        self.gate = gate
        self.look_failures = list(look_failures)

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """Begins the run once the gate is open."""
        if self.gate:
            await self.gate.wait()
        return await super().start(order, not_after)

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """The run one step further, after the failures."""
        if self.look_failures:
            raise self.look_failures.pop(0)
        return await super().look(order, run)


class FailingServices:
    """A registry that cannot be read, from the first time on, or after it was read `good` times."""

    def __init__(self, service: FakeService, error: Exception, good: int = 0) -> None:
        self._service = service
        self._error = error
        self._good = good

    def connect(self, environment: str, service: str) -> Any:  # noqa: ANN401, ARG002 - the port's signature
        """The service, while it is good."""
        if self._good <= 0:
            raise self._error
        self._good -= 1
        return self._service
