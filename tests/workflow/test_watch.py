"""The watcher of a service: one incident for what holds, and little history for what is well."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from incident.anomalies import Kind
from incident.burn_rate import Objective
from incident.dossier import Trigger
from incident.errors import TransientError
from incident.evidence import Source
from incident.gate import Course
from incident.history import History
from incident.identifiers import workflow_id
from incident.policy import Policy
from incident.recovery import Classification
from incident.severity import Severity
from incident.snapshot import Outcome
from integrations.temporal import make_current
from tests import builders
from tests.burns import OBJECTIVE, SLOW, FakeCounters, counted
from tests.fakes import FakeService, FakeServices
from tests.histories import FakeSurroundings, KeptHistory, climbed, history
from tests.workflow.shift import PATIENCE, Handle, Shift, ended, unique, until, until_true
from worker.bootstrap import build_watcher, build_worker
from worker.settings import WorkerSettings
from workflows import names
from workflows.incident import IncidentWorkflow
from workflows.lookout import Lookout
from workflows.messages import IncidentRequest, WatchRequest, WatchStage
from workflows.watch import WatchWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = {"every": "20ms", "bad": 2, "of": 3, "cool_down": "1h"}
_MOST_TURNS = 200
Watching = Callable[..., Awaitable["Watcher"]]


def _policy(limits: Mapping[str, object] | None = None) -> Policy:
    at_once = {"settle": "0s", "look_every": "0s", "max_looks": 3}
    return builders.policy(**at_once, watch={**QUICK, **(limits or {})})


class Watcher:
    """A watcher that runs, with a service of a name of its own."""

    def __init__(self, shift: Shift, service: FakeService, services: FakeServices) -> None:
        self.shift, self.seen, self.services = shift, service, services
        self.name = f"s-{unique()}"
        self.client = shift.environment.client
        self.lookout = Lookout(self.client, shift.name)

    @property
    def handle(self) -> WorkflowHandle[WatchWorkflow, None]:
        return self.client.get_workflow_handle_for(WatchWorkflow.run, names.watch_id(builders.ENVIRONMENT, self.name))

    async def begin(self, limits: Mapping[str, object] | None = None, objective: Objective | None = None) -> None:
        """Has the service watched, under these limits and for that objective."""
        policy = _policy(limits).model_copy(update={"objective": objective})
        request = WatchRequest(service=self.name, environment=builders.ENVIRONMENT, policy=policy)
        with self.shift.environment.with_time_skipping_disabled():
            await self.lookout.watch(request)

    async def until_stands(self, stage: WatchStage) -> None:
        """Returns once the server knows the watcher to be there."""

        async def _stands() -> bool:
            described = await self.handle.describe()
            return described.typed_search_attributes.get(names.STAGE) == stage

        await until_true(_stands)

    async def until_checked(self, times: int = 10) -> None:
        """Returns once it has been checked that many times more."""
        before = self.seen.reads[Source.ALERTS]
        await until(lambda: self.seen.reads[Source.ALERTS] >= before + times)

    async def incidents(self) -> list[str]:
        """The runs of its incidents."""
        id_ = workflow_id(builders.ENVIRONMENT, self.name)
        return [each.run_id async for each in self.client.list_workflows(f'WorkflowId = "{id_}"')]

    async def opened(self) -> bool:
        """Whether there is an incident."""
        return bool(await self.incidents())

    def incident(self, run_id: str) -> Handle:
        """That run of its incidents."""
        id_ = workflow_id(builders.ENVIRONMENT, self.name)
        return self.client.get_workflow_handle_for(IncidentWorkflow.run, id_, run_id=run_id)

    async def somebody_opens(self) -> Handle:
        """An incident that a person has opened."""
        request = IncidentRequest(
            service=self.name,
            environment=builders.ENVIRONMENT,
            policy=_policy(),
            trigger=Trigger(source="cli"),
        )
        with self.shift.environment.with_time_skipping_disabled():
            return await self.client.start_workflow(
                IncidentWorkflow.run,
                request,
                id=workflow_id(builders.ENVIRONMENT, self.name),
                task_queue=self.shift.name,
            )

    async def pending(self) -> list[str]:
        """The activities that it waits for."""
        described = await self.handle.describe()
        return [each.activity_type.name for each in described.raw_description.pending_activities]

    def register(self) -> None:
        """From now on the registry knows the service."""
        self.services.add(self.seen, builders.ENVIRONMENT, self.name)

    async def builds(self) -> list[str]:
        """The builds that completed its workflow tasks, each run of one build as one."""
        builds = [
            event.workflow_task_completed_event_attributes.deployment_version.build_id
            async for event in self.handle.fetch_history_events()
            if event.HasField("workflow_task_completed_event_attributes")
        ]
        return [build for build, _ in groupby(builds)]

    async def events(self) -> int:
        """How long its history is."""
        return (await self.handle.describe()).history_length


@pytest_asyncio.fixture(loop_scope="session")
async def watching(server: WorkflowEnvironment) -> AsyncIterator[Watching]:
    async with AsyncExitStack() as working:

        async def _watching(
            live: int = 100,
            *,
            known: bool = True,
            build_id: str = "only",
            burns: Mapping[str, float] | None = None,
            kept: History | None = None,
        ) -> Watcher:
            service, counters = FakeService(live=live), FakeCounters({})
            services = FakeServices(service)
            surroundings = FakeSurroundings({})
            shift = Shift(server, service=service, services=services, counters=counters, surroundings=surroundings)
            watcher = Watcher(shift, service, services)
            surroundings.histories[watcher.name] = KeptHistory(kept) if kept else None
            counters.answers[watcher.name] = counted(burns)
            if known:
                watcher.register()
            if build_id:
                await working.enter_async_context(_build(watcher, build_id))
            return watcher

        yield _watching


@asynccontextmanager
async def _build(watcher: Watcher, build_id: str) -> AsyncIterator[None]:
    """Workers of that build, which is the current one from then on.

    As members of a deployment: a watch follows it to a new build, which the server takes of no other worker.
    """
    queue, world = watcher.shift.name, watcher.shift.world
    settings = WorkerSettings(deployment=queue, build_id=build_id, drain=timedelta(0))
    async with (
        build_worker(watcher.client, world, settings, task_queue=queue),
        build_watcher(watcher.client, world, settings, task_queue=queue),
    ):
        await make_current(watcher.client, queue, build_id, PATIENCE)
        yield


async def test_what_is_bad_opens_one_incident_that_is_handled_as_any_other(watching: Watching) -> None:
    watcher = await watching(live=101)
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    (run,) = await watcher.incidents()
    record = await ended(watcher.incident(run))
    assert (record.outcome, record.trigger.source) == (Outcome.RECOVERED, "watch")
    assert "CRITICAL" in record.trigger.reason
    assert len(watcher.seen.rollback.begun) == 1


async def test_memory_that_will_soon_be_critical_opens_an_incident_that_pages(watching: Watching) -> None:
    kept = climbed(history(1, until=datetime.now(UTC)), 4, (0.44, 0.67), teeth=0.1)
    watcher = await watching(kept=kept)
    watcher.seen.answer(Source.METRICS, builders.metrics({"memory_usage": 86.0}))
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    (run,) = await watcher.incidents()
    record = await ended(watcher.incident(run))
    assert record.trigger.reason.startswith("MINOR: MINOR_MEMORY: 86.0% (memory has climbed since ")
    assert record.verdict
    assert (record.verdict.severity, record.verdict.course) == (Severity.P2, Course.PAGE)
    assert len(watcher.shift.pager.sent) == 1
    assert record.recovery
    assert record.recovery.classification is not Classification.FULLY_RECOVERED


async def test_a_slow_burn_that_no_fixed_limit_sees_opens_an_incident(watching: Watching) -> None:
    watcher = await watching(burns=SLOW)
    watcher.seen.answer(Source.METRICS, builders.metrics({"error_rate": 1.5}))
    await watcher.begin(objective=OBJECTIVE)
    await watcher.until_stands(WatchStage.RESTING)
    (run,) = await watcher.incidents()
    record = await ended(watcher.incident(run))
    assert "WARNING_BURN_RATE: 14.5x over 1h" in record.trigger.reason
    assert record.severity is Severity.P1
    assert record.outcome is Outcome.ESCALATED
    assert record.evidence
    assert "burn:1h" in record.evidence.ids
    assert {each.kind for look in record.looks for each in look.anomalies} == {Kind.BURN_RATE}


async def test_after_the_cool_down_the_service_is_watched_again(watching: Watching) -> None:
    watcher = await watching(live=101)
    await watcher.begin({"cool_down": "20ms"})
    await until(lambda: watcher.seen.releases.live == 100)
    await watcher.until_checked()
    watcher.seen.deploy(101)

    async def _twice() -> bool:
        return len(await watcher.incidents()) == 2

    await until_true(_twice)


async def test_no_check_is_made_while_it_rests(watching: Watching) -> None:
    watcher = await watching(live=101)
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    watcher.seen.deploy(101)
    assert len(await watcher.incidents()) == 1
    assert (await watcher.pending()) == []


async def test_checks_of_a_healthy_service_leave_no_history(watching: Watching) -> None:
    watcher = await watching()
    await watcher.begin()
    await watcher.until_checked(2)
    before = await watcher.events()
    await watcher.until_checked(20)
    assert (before, await watcher.events()) == (before, before)
    assert await watcher.incidents() == []


async def test_what_cannot_be_seen_opens_an_incident(watching: Watching) -> None:
    watcher = await watching()
    for source in Source:
        watcher.seen.fail(source, TransientError("prometheus", "cannot be reached"))
    await watcher.begin()
    await until_true(watcher.opened)
    (run,) = await watcher.incidents()
    dossier = await watcher.incident(run).query(IncidentWorkflow.dossier)
    assert dossier.trigger.source == "watch"


async def test_an_incident_that_is_open_already_is_left_alone(watching: Watching) -> None:
    watcher = await watching(live=101)
    gate = watcher.seen.hang(Source.DEPLOYMENTS)
    open_ = await watcher.somebody_opens()
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    gate.set()
    assert (await ended(open_)).trigger.source == "cli"
    assert await watcher.incidents() == [open_.result_run_id]


async def test_a_watch_that_is_stopped_ends_and_its_incident_goes_on(watching: Watching) -> None:
    watcher = await watching(live=101)
    gate = watcher.seen.hang(Source.DEPLOYMENTS)
    await watcher.begin()
    await watcher.until_stands(WatchStage.INCIDENT)
    assert await watcher.lookout.stop(builders.ENVIRONMENT, watcher.name)
    await watcher.handle.result()
    gate.set()
    (run,) = await watcher.incidents()
    assert (await ended(watcher.incident(run))).outcome is Outcome.RECOVERED
    assert not await watcher.lookout.stop(builders.ENVIRONMENT, watcher.name)


async def test_whoever_asks_again_changes_the_policy_of_the_one_watch_at_once(watching: Watching) -> None:
    watcher = await watching(live=101)
    await watcher.begin({"every": "1h"})
    await watcher.until_stands(WatchStage.WATCHING)
    first = (await watcher.handle.describe()).run_id
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    assert (await watcher.handle.describe()).run_id == first


async def test_a_long_watch_begins_anew_and_keeps_what_it_knows(watching: Watching) -> None:
    watcher = await watching()
    await watcher.begin()
    await watcher.until_stands(WatchStage.WATCHING)
    first = (await watcher.handle.describe()).run_id
    for turn in range(_MOST_TURNS):
        await watcher.begin({"every": f"{20 + turn % 2}ms"})
        await watcher.until_checked(2)
        if (await watcher.handle.describe()).run_id != first:
            break
    else:
        raise AssertionError("it never begins anew")
    watcher.seen.deploy(101)
    await watcher.until_stands(WatchStage.RESTING)
    assert len(await watcher.incidents()) == 1


async def test_a_watch_that_is_woken_checks_at_once(watching: Watching) -> None:
    watcher = await watching(live=101)
    await watcher.begin({"every": "1h", "bad": 1})
    await watcher.until_stands(WatchStage.WATCHING)
    assert await watcher.lookout.wake(builders.ENVIRONMENT, watcher.name)
    await watcher.until_stands(WatchStage.RESTING)
    assert len(await watcher.incidents()) == 1


async def test_waking_ends_no_cool_down_and_wakes_nobody_where_nobody_watches(watching: Watching) -> None:
    watcher = await watching(live=101)
    assert not await watcher.lookout.wake(builders.ENVIRONMENT, watcher.name)
    await watcher.begin()
    await watcher.until_stands(WatchStage.RESTING)
    before = await watcher.events()
    assert await watcher.lookout.wake(builders.ENVIRONMENT, watcher.name)

    async def _heard() -> bool:
        return await watcher.events() >= before + 4  # the signal, and the workflow task that it caused

    await until_true(_heard)
    assert (await watcher.pending(), await watcher.builds()) == ([], ["only"])


async def test_a_watch_that_runs_moves_to_the_next_build_once_it_is_the_current_one(watching: Watching) -> None:
    watcher = await watching(build_id="")
    async with AsyncExitStack() as working:
        async with _build(watcher, "first"):
            await watcher.begin()
            await watcher.until_checked(2)
            run = (await watcher.handle.describe()).run_id
            await working.enter_async_context(_build(watcher, "second"))
        await watcher.until_checked()
        watcher.seen.deploy(101)
        await watcher.until_stands(WatchStage.RESTING)
        assert await watcher.builds() == ["first", "second"]
        assert (await watcher.handle.describe()).run_id == run
        assert len(await watcher.incidents()) == 1


async def test_a_service_that_the_registry_has_lost_is_watched_once_it_is_back(watching: Watching) -> None:
    watcher = await watching(live=101, known=False)
    await watcher.begin()
    await watcher.until_stands(WatchStage.BLIND)
    watcher.register()
    await watcher.begin({"every": "21ms"})
    await watcher.until_stands(WatchStage.RESTING)


async def test_what_is_watched_is_listed(watching: Watching) -> None:
    watcher = await watching()
    await watcher.begin()

    async def _listed() -> bool:
        found = [each for each in await watcher.lookout.watched() if each.service == watcher.name]
        return [(each.environment, each.stands) for each in found] == [(builders.ENVIRONMENT, "watching")]

    await until_true(_listed)
    await watcher.lookout.stop(builders.ENVIRONMENT, watcher.name)
    await watcher.handle.result()

    async def _gone() -> bool:
        return watcher.name not in {each.service for each in await watcher.lookout.watched()}

    await until_true(_gone)
