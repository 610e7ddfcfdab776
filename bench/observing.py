"""What looking costs: four sources against the slowest of them, and durable watchers against bare tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from activities.observation import Observer
from bench.bare import ENVIRONMENT
from bench.fakes import Patient, build_world
from bench.measure import Once
from commander.attacks.corpus import Scene
from incident.anomalies import assess
from incident.evidence import AlertsReport, DeploymentsReport, LogsReport, MetricsReport
from incident.policy import Policy
from incident.watching import WatchLimits
from integrations.temporal import make_current
from worker.bootstrap import build_watcher, build_worker
from worker.settings import WorkerSettings
from worker.sources import ConnectedService
from workflows.lookout import Lookout
from workflows.messages import WatchRequest

EVIDENCE, SLOWEST = "evidence of four sources", "the slowest of them alone"
WATCHED, BARE = "checks of 200 watched services", "the same checks, bare asyncio"
_WATCHES = 200
_EVERY = timedelta(milliseconds=100)
"""Between two checks of one service: 2,000 a second in all, which leaves the server some of the same cores."""
_DELAYS = {"metrics": 0.04, "alerts": 0.03, "logs": 0.02, "deployments": 0.01}
"""Seconds that each source takes."""
_ROUNDS, _ROUND = 3, timedelta(seconds=3)
_LIMIT = timedelta(seconds=10)
_WITHIN = timedelta(seconds=60)
_POLICY = Policy(watch=WatchLimits(every=_EVERY))
_QUEUE = "bench-watch"


class _Slow(Patient):
    async def read_metrics(self) -> MetricsReport:
        await asyncio.sleep(_DELAYS["metrics"])
        return await super().read_metrics()

    async def read_alerts(self) -> AlertsReport:
        await asyncio.sleep(_DELAYS["alerts"])
        return await super().read_alerts()

    async def read_logs(self) -> LogsReport:
        await asyncio.sleep(_DELAYS["logs"])
        return await super().read_logs()

    async def read_deployments(self) -> DeploymentsReport:
        await asyncio.sleep(_DELAYS["deployments"])
        return await super().read_deployments()


class _Well(Patient):
    """Its readings are good, and it counts how often it is asked for them."""

    def __init__(self) -> None:
        super().__init__(Scene.HEALTHY)
        self.checks = 0

    async def read_metrics(self) -> MetricsReport:
        self.checks += 1
        return await super().read_metrics()


class _Every:
    """Every service is the same one."""

    def __init__(self, patient: Patient) -> None:
        self._connected = ConnectedService(patient, patient, patient, patient, patient)

    def connect(self, environment: str, service: str) -> ConnectedService:
        del environment, service
        return self._connected


def evidence_rows() -> Mapping[str, Once]:
    """One look at all sources, and one at the slowest."""
    slow = _Slow()
    observer = Observer(_Every(slow), lambda: datetime.now(UTC))
    return {EVIDENCE: lambda: observer.context(ENVIRONMENT, "slow", _LIMIT), SLOWEST: slow.read_metrics}


async def check_rates(client: Client) -> dict[str, list[float]]:
    """Checks a second, one number a round: of durable watchers, and of tasks that do nothing but check."""
    rates: dict[str, list[float]] = {WATCHED: [], BARE: []}
    for _ in range(_ROUNDS):
        async with _watched(client) as well:
            rates[WATCHED].append(await _rate(lambda: well.checks))
        async with _bare() as well:
            rates[BARE].append(await _rate(lambda: well.checks))
    return rates


async def _rate(checks: Callable[[], int]) -> float:
    begun, before = time.perf_counter(), checks()
    await asyncio.sleep(_ROUND.total_seconds())
    return (checks() - before) / (time.perf_counter() - begun)


@asynccontextmanager
async def _watched(client: Client) -> AsyncIterator[_Well]:
    """A service whom that many watchers check, once all of them do."""
    well = _Well()
    world = replace(build_world(), services=_Every(well))
    settings = WorkerSettings(deployment=_QUEUE, drain=timedelta(0))
    lookout = Lookout(client, _QUEUE)
    names = [f"watched-{number}" for number in range(_WATCHES)]
    async with (
        build_worker(client, world, settings, task_queue=_QUEUE),
        build_watcher(client, world, settings, task_queue=_QUEUE),
    ):
        await make_current(client, _QUEUE, settings.build_id, _WITHIN)
        for name in names:
            await lookout.watch(WatchRequest(service=name, environment=ENVIRONMENT, policy=_POLICY))
        try:
            await _until(lookout, _WATCHES)
            yield well
        finally:
            for name in names:
                await lookout.stop(ENVIRONMENT, name)
            await _until(lookout, 0)


async def _until(lookout: Lookout, watching: int) -> None:
    async with asyncio.timeout(_WITHIN.total_seconds()):
        while sum(each.stands == "watching" for each in await lookout.watched()) != watching:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _bare() -> AsyncIterator[_Well]:
    well = _Well()
    observer, turn = (
        Observer(_Every(well), lambda: datetime.now(UTC)),
        asyncio.Semaphore(WorkerSettings().checks_at_once),
    )

    async def _check() -> None:
        while True:
            async with turn:
                seen = await observer.pulse(ENVIRONMENT, "bare", _LIMIT)
            assess(seen, _POLICY.thresholds)
            await asyncio.sleep(_POLICY.watch.every.total_seconds())

    tasks = [asyncio.create_task(_check()) for _ in range(_WATCHES)]
    try:
        yield well
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
