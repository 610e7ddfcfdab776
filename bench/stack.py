"""What is measured: an in-memory dev server, the production worker, and one of its kind for no-op workflows."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from bench.bare import ENVIRONMENT
from bench.fakes import build_world
from bench.no_op import NoOpWorkflow
from incident.dossier import Trigger
from incident.identifiers import workflow_id
from incident.policy import Policy
from incident.recovery import Classification
from incident.snapshot import Snapshot
from integrations.temporal import make_current
from worker.bootstrap import build_worker
from worker.settings import WorkerSettings
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import IncidentRequest
from workflows.names import DEPLOYMENT, SEARCH_ATTRIBUTES, TASK_QUEUE

_NO_OPS = "bench-no-op"
_KNOWN_WITHIN = timedelta(seconds=20)
_UNTIL_THREADS_END = timedelta(seconds=0.3)
"""The SDK's threads may abort an interpreter that ends while they do (temporalio/sdk-python#300)."""


@dataclass(frozen=True)
class Recorded:
    """One event of a history."""

    what: str
    about: str
    """The activity or the summary, where there is one."""
    size: int
    """Bytes."""


class Stack:
    """Runs incidents and no-op workflows, each under a name of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._desk = IncidentDesk(client)
        self._numbers = count()

    @property
    def client(self) -> Client:
        """Connected to the server."""
        return self._client

    async def no_op(self, *, eager: bool = False) -> None:
        """Starts a no-op workflow and waits for its end."""
        name = self.next_name("no-op")
        await self._client.execute_workflow(
            NoOpWorkflow.run, id=name, task_queue=_NO_OPS, static_summary=name, request_eager_start=eager
        )

    async def incident(self, policy: Policy, *, eager: bool = False) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
        """Starts a P0 incident as a no-op workflow is started, and waits until it has closed.

        Raises:
            RuntimeError: it did not recover, so that its time would say nothing.
        """
        request = self._request(policy)
        handle = await self._client.start_workflow(
            IncidentWorkflow.run,
            request,
            id=workflow_id(request.environment, request.service),
            task_queue=TASK_QUEUE,
            static_summary=request.service,
            request_eager_start=eager,
        )
        return await _recovered(handle)

    async def incident_from_desk(self, policy: Policy) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
        """Opens a P0 incident as the product does, with an update that joins it, and waits until it has closed.

        Raises:
            RuntimeError: it did not recover.
        """
        _, handle = await self._desk.open(self._request(policy))
        return await _recovered(handle)

    async def history(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> tuple[Recorded, ...]:
        """What Temporal recorded of that incident."""
        return tuple([self._recorded(event) async for event in handle.fetch_history_events()])

    def _request(self, policy: Policy) -> IncidentRequest:
        name = self.next_name("bench")
        return IncidentRequest(service=name, environment=ENVIRONMENT, policy=policy, trigger=Trigger(source="bench"))

    def _recorded(self, event: HistoryEvent) -> Recorded:
        words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").replace("_", " ").capitalize()
        about = []
        if event.HasField("activity_task_scheduled_event_attributes"):
            about.append(event.activity_task_scheduled_event_attributes.activity_type.name)
        if event.user_metadata.HasField("summary"):
            about.append(str(self._client.data_converter.payload_converter.from_payload(event.user_metadata.summary)))
        return Recorded(what=words, about=": ".join(about), size=event.ByteSize())

    def next_name(self, prefix: str) -> str:
        """A name that nothing else has: incidents of one service would join each other."""
        return f"{prefix}-{next(self._numbers)}"


@asynccontextmanager
async def running() -> AsyncIterator[Stack]:
    """A server with a production worker, and a worker of the same kind for no-op workflows, as long as it lasts."""
    async with await _silently_started() as server:
        settings = WorkerSettings()
        async with build_worker(server.client, build_world(), settings) as production:
            config = production.config()
            config["workflows"], config["activities"], config["task_queue"] = [NoOpWorkflow], [], _NO_OPS
            async with Worker(**config):
                await make_current(server.client, DEPLOYMENT, settings.build_id, _KNOWN_WITHIN)
                yield Stack(server.client)
    await asyncio.sleep(_UNTIL_THREADS_END.total_seconds())


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The address of a server without any worker, as long as it lasts."""
    async with await _silently_started() as server:
        yield server.client.service_client.config.target_host
    await asyncio.sleep(_UNTIL_THREADS_END.total_seconds())


async def _silently_started() -> WorkflowEnvironment:
    """The dev server, whose banner would otherwise stand in front of our JSON: it inherits stdout when it starts."""
    ours, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        return await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
            dev_server_log_level="never",
            search_attributes=SEARCH_ATTRIBUTES,
            data_converter=pydantic_data_converter,
        )
    finally:
        os.dup2(ours, 1)
        os.close(ours)
        os.close(nowhere)


async def _recovered(
    handle: WorkflowHandle[IncidentWorkflow, Snapshot],
) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
    health = (await handle.result()).health_status
    if health is not Classification.FULLY_RECOVERED:
        raise RuntimeError(f"{handle.id} is {health}: a measurement of another story would mislead")
    return handle
