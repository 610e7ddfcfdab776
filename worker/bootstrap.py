"""The composition root: which adapter stands behind which port, and the worker made of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.analyze import Analyze
from activities.background import MetricHistorian
from activities.burning import ErrorBudgets
from activities.changes import Tidings
from activities.detect import Detect
from activities.interceptor import ActivityGuard
from activities.memory import Memory
from activities.notify import Notify
from activities.observation import Observer
from activities.record import Record
from activities.remediate import Remediate
from activities.verify import Verify
from activities.watch import Watch
from incident import ports
from incident.errors import ConfigurationError
from incident.rules import RulesAnalyst
from incident.services import (
    ServiceRegistry,
)
from integrations.console import ConsoleChat, ConsolePager
from integrations.openai import OpenAIAnalyst
from integrations.openai import build_client as build_openai_client
from integrations.pagerduty import PagerDutyPager
from integrations.slack import SlackChat, SlackSettings, SlackWebhook
from integrations.store import SqlStore
from integrations.variables import as_variable
from worker.settings import AnalystKind, Settings, Versioning, WorkerSettings
from worker.sources import ConfiguredServices
from workflows.incident import IncidentWorkflow
from workflows.names import TASK_QUEUE, act_queue, watch_queue
from workflows.record import LateRecordWorkflow
from workflows.watch import WatchWorkflow

_VERSIONING = {
    Versioning.AUTO_UPGRADE: VersioningBehavior.AUTO_UPGRADE,
    Versioning.PINNED: VersioningBehavior.PINNED,
}
_THROUGH = ("activities", "incident", "pydantic", "pydantic_core", "annotated_types", "structlog")
"""Modules that the workflow sandbox does not load anew: ours are held to determinism by lint."""
_WORKFLOW_TASKS = 4
"""Workflow tasks at once: they share one interpreter, and when 200 incidents opened together with more, each outlasted
the server's time-out and all were tried again."""


@dataclass(frozen=True)
class Ports:
    """Everything that the activities need of the world."""

    services: ports.Services
    analyst: ports.Analyst
    rules: ports.Analyst
    chat: ports.Chat
    pager: ports.Pager
    store: ports.SnapshotStore
    ledger: ports.Ledger
    surroundings: ports.Surroundings | None = None
    """Without, nothing is known of how a service was before."""
    changes: ports.ChangeBook | None = None
    """Without, nobody tells of a change."""
    counters: ports.Counters | None = None
    """Without, no objective is judged."""
    stopped: str = ""
    """The setting that keeps this worker from acting; empty: it may."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    closing: Sequence[Callable[[], Awaitable[None]]] = ()
    """What ends the connections that the adapters hold by themselves."""

    def historian(self) -> ports.Historian | None:
        """What tells how a service was before, and what was changed, if anything does."""
        if self.surroundings is None:
            return None
        return MetricHistorian(self.services, self.surroundings, self.clock, self.tidings())

    def tidings(self) -> Tidings | None:
        """What tells which changes were told of, if anything does."""
        return Tidings(self.changes, self.surroundings) if self.changes and self.surroundings else None

    def budgets(self) -> ErrorBudgets | None:
        """What tells how fast a service burns what its objective allows, if anything does."""
        return ErrorBudgets(self.counters, self.clock) if self.counters else None

    async def close(self) -> None:
        """Ends every connection; the client that was handed in stays open."""
        for each in self.closing:
            await each()


def build_ports(settings: Settings, registry: ServiceRegistry, client: httpx.AsyncClient) -> Ports:
    """The adapters that the settings choose; the console stands in for a chat and a pager without an account."""
    store, chat = SqlStore(settings.store), _chat(settings, client)
    rules = RulesAnalyst()
    services = ConfiguredServices(registry, client, settings.github, settings.prometheus, settings.credentials)
    return Ports(
        services=services,
        surroundings=services,
        changes=store,
        counters=services,
        analyst=_analyst(settings, rules, store),
        rules=rules,
        chat=chat,
        pager=_pager(settings, client),
        store=store,
        ledger=store,
        stopped="WORKER__STOPPED" if settings.worker.stopped else "",
        closing=(store.close, *((chat.close,) if isinstance(chat, SlackChat) else ())),
    )


def _chat(settings: Settings, client: httpx.AsyncClient) -> ports.Chat:
    slack = settings.slack
    if slack == SlackSettings():
        return ConsoleChat()
    if slack.by_bot:
        return SlackChat(slack, settings.incident_url)
    return SlackWebhook(client, slack, settings.incident_url)


def _pager(settings: Settings, client: httpx.AsyncClient) -> ports.Pager:
    if settings.pagerduty.routing_key is None:
        return ConsolePager()
    return PagerDutyPager(client, settings.pagerduty, settings.incident_url)


def _analyst(settings: Settings, rules: RulesAnalyst, budget: ports.Budget) -> ports.Analyst:
    kind = settings.worker.analyst
    if kind is AnalystKind.RULES or (kind is AnalystKind.AUTO and settings.openai.api_key is None):
        return rules
    try:
        client = build_openai_client(settings.openai)
    except ConfigurationError as error:
        raise ConfigurationError(*map(as_variable, error.lines)) from error
    return OpenAIAnalyst(client, settings.openai, budget)


def build_activities(world: Ports) -> Sequence[Callable[..., Any]]:
    """Every activity of an incident that may wait, ready to be registered."""
    observer = Observer(world.services, world.clock, world.surroundings)
    analyze = Analyze(world.analyst, world.rules, Memory(world.ledger, world.stopped), world.clock)
    detect = Detect(observer, world.historian(), world.budgets())
    notify = Notify(world.chat, world.pager)
    return (
        detect.collect,
        detect.live,
        analyze.decide,
        analyze.judge,
        Verify(observer).look,
        notify.chat,
        notify.resolve,
        notify.change,
        Record(world.store).save,
    )


def build_actions(world: Ports) -> Sequence[Callable[..., Any]]:
    """The activities that wait for no other: remediations, and what wakes people."""
    observer = Observer(world.services, world.clock)
    memory = Memory(world.ledger, world.stopped)
    remediate = Remediate(world.services, observer, memory, world.clock, world.tidings())
    return (
        remediate.rollback,
        remediate.undo,
        remediate.follow,
        remediate.cancel,
        Notify(world.chat, world.pager).page,
    )


def build_checks(world: Ports, at_once: int) -> Sequence[Callable[..., Any]]:
    """The checks of watched services, of which that many are made at once."""
    observer = Observer(world.services, world.clock)
    return (Watch(observer, at_once, historian=world.historian(), budgets=world.budgets()).stretch,)


@asynccontextmanager
async def build_worker(
    client: Client, world: Ports, settings: WorkerSettings, *, task_queue: str = TASK_QUEUE, versioned: bool = True
) -> AsyncIterator[Worker]:
    """The worker, while the context lasts, and beside it the one that acts: its slots are never taken by anything else.

    Args:
        client: connected to the server whose work it takes.
        world: its adapters.
        settings: of the process.
        task_queue: where it takes work from.
        versioned: whether it belongs to a worker deployment; then somebody must make its build the current one.
    """
    deployment = _deployment(settings) if versioned else None
    worker = Worker(
        client,
        task_queue=task_queue,
        workflows=[IncidentWorkflow, LateRecordWorkflow, WatchWorkflow],
        activities=build_activities(world),
        interceptors=[ActivityGuard()],
        workflow_runner=workflow_runner(),
        max_concurrent_workflow_tasks=_WORKFLOW_TASKS,
        max_concurrent_activities=settings.activities,
        sticky_queue_schedule_to_start_timeout=settings.sticky_timeout,
        graceful_shutdown_timeout=settings.drain,
        deployment_config=deployment,
    )
    acting = Worker(
        client,
        task_queue=act_queue(task_queue),
        activities=build_actions(world),
        interceptors=[ActivityGuard()],
        graceful_shutdown_timeout=settings.drain,
        deployment_config=deployment,
    )
    async with worker, acting:
        try:
            yield worker
        finally:
            await asyncio.gather(worker.shutdown(), acting.shutdown())  # together: each may take as long as `drain`


def build_watcher(
    client: Client, world: Ports, settings: WorkerSettings, *, task_queue: str = TASK_QUEUE, versioned: bool = True
) -> Worker:
    """The worker beside it that checks watched services; the arguments are as for `build_worker`."""
    return Worker(
        client,
        task_queue=watch_queue(task_queue),
        activities=build_checks(world, settings.checks_at_once),
        interceptors=[ActivityGuard()],
        max_concurrent_activities=settings.watches,
        graceful_shutdown_timeout=settings.drain,
        deployment_config=_deployment(settings) if versioned else None,
    )


def _deployment(settings: WorkerSettings) -> WorkerDeploymentConfig:
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=settings.deployment, build_id=settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=_VERSIONING[settings.versioning],
    )


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox that workflows run in, here and in replays."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_THROUGH))
