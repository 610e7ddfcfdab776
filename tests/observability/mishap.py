"""`python -m tests.observability.mishap TEMPORAL METRICS`: a worker to which everything happens that an alert is about.

It takes the workflow tasks of the queue on a Temporal server of its own, and nobody there takes activities.
"""

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from incident.errors import TransientError
from integrations.temporal import TemporalSettings, connect, runtime_with_metrics
from workflows.names import INCIDENT, TASK_QUEUE

_READY_WITHIN = 40
_AT_ONCE = timedelta(seconds=1)
_LONG = timedelta(minutes=10)


@activity.defn(name="record.save")
async def refuse() -> None:
    """As where the store is gone."""
    raise ApplicationError("the store is gone", non_retryable=True)


@workflow.defn(name=INCIDENT)
class Mishap:
    """Goes wrong in the way that it is told."""

    @workflow.run
    async def run(self, way: str) -> None:
        """Ends well, or never, or fails."""
        if way == "broken":
            raise ValueError("a bug: the task is tried again and again")
        if way == "untaken":
            await workflow.execute_activity("detect.collect", schedule_to_close_timeout=_LONG)
        once = RetryPolicy(maximum_attempts=1)
        try:
            await workflow.execute_local_activity(refuse, start_to_close_timeout=_AT_ONCE, retry_policy=once)
        except (ActivityError, ApplicationError):
            if way == "failed":
                raise


async def _work(temporal: str, metrics: str) -> None:
    settings = TemporalSettings(address=f"127.0.0.1:{temporal}")
    runtime = runtime_with_metrics(f"127.0.0.1:{metrics}")
    async with asyncio.timeout(_READY_WITHIN):
        while True:
            try:
                client = await connect(settings, runtime)
                break
            except TransientError:
                await asyncio.sleep(0.1)
    ways = ("broken", "untaken", "failed")
    for way in ways:
        await client.start_workflow(Mishap.run, way, id=way, task_queue=TASK_QUEUE)
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[Mishap],
        activities=[refuse],
        workflow_runner=UnsandboxedWorkflowRunner(),
        no_remote_activities=True,
    )
    await asyncio.gather(worker.run(), _go_on(client))


async def _go_on(client: Client) -> None:
    """Asks something every second, so that each look finds the server at work, until that is gone."""
    with suppress(RPCError):
        while True:
            await client.count_workflows()
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
