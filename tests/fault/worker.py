"""`python -m tests.fault.worker`: the production worker, with a fuse at every boundary and a trace of them all."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from integrations.files import read_registry
from integrations.http import Fence, build_client
from integrations.telemetry import configure_logging
from integrations.temporal import connect
from tests.fault.boundary import Boundary, Moment
from tests.fault.fuse import Fuse
from tests.fault.network import FaultTransport, tapped
from tests.fault.trace import Trace
from worker.bootstrap import build_ports, build_worker
from worker.health import build_server
from worker.settings import Settings, load_settings

FUSE_DIRECTORY = "FAULT_FUSE_DIRECTORY"


class Points:
    """Every point that this process passes: noted in the trace, then the fuse may burn."""

    def __init__(self, directory: Path) -> None:
        self._fuse, self._trace = Fuse(directory), Trace(directory)

    def activity(self, moment: Moment) -> None:
        """The activity that runs now passes `moment`."""
        info = activity.info()
        ids = (info.activity_type, info.activity_id, info.workflow_run_id or "")
        point = Boundary(moment, info.activity_type, self._trace.nth(*ids)).point
        self._trace.note(point, *ids)
        self._fuse.burn(point)

    def call(self, moment: Moment, what: str) -> bool:
        """A call passes `moment`; whether its connection is to be cut."""
        point = Boundary(moment, what).point
        if activity.in_activity():
            info = activity.info()
            self._trace.note(point, info.activity_type, info.activity_id, info.workflow_run_id or "")
        return self._fuse.burn(point)

    def completed(self, activity_type: str, nth: int) -> None:
        """The workflow learns that the activity has been completed."""
        point = Boundary(Moment.COMPLETED, activity_type, nth).point
        self._trace.note(point)
        self._fuse.burn(point)


class FaultInterceptor(ClientInterceptor, Interceptor):
    """Stands outside of the production guard, and in front of the workflow."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        return _Activity(next, self._points)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002, ARG002 - Temporal's signature
    ) -> type[WorkflowInboundInterceptor]:
        return type("_BoundWorkflow", (_Workflow,), {"points": self._points})


class _Activity(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, points: Points) -> None:
        super().__init__(inner)
        self._points = points

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - Temporal's signature
        self._points.activity(Moment.BEFORE)
        result = await super().execute_activity(input)
        self._points.activity(Moment.AFTER)
        return result


class _Workflow(WorkflowInboundInterceptor):
    points: Points

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self.points))


class _Outbound(WorkflowOutboundInterceptor):
    """Watches activities end, in the workflow task that follows their completion; it adds no command to a history."""

    def __init__(self, inner: WorkflowOutboundInterceptor, points: Points) -> None:
        super().__init__(inner)
        self._points = points
        self._count: Counter[str] = Counter()

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:  # noqa: A002 - Temporal's name
        return self._watched(super().start_activity(input), input.activity)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:  # noqa: A002 - the same
        return self._watched(super().start_local_activity(input), input.activity)

    def _watched(self, handle: ActivityHandle[Any], activity_type: str) -> ActivityHandle[Any]:
        self._count[activity_type] += 1
        nth = self._count[activity_type]

        def _done(task: asyncio.Task[Any]) -> None:
            if task.cancelled() or task.exception() is not None or workflow.unsafe.is_replaying():
                return
            with workflow.unsafe.sandbox_unrestricted():
                self._points.completed(activity_type, nth)

        handle.add_done_callback(_done)
        return handle


async def _serve(settings: Settings, points: Points) -> None:
    configure_logging(settings.worker.log_level)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    transport = FaultTransport(Fence(tapped(points.call)), points.call)
    async with build_client(settings.http, transport) as http:
        world = build_ports(settings, read_registry(settings.services_file), http)
        config = (await connect(settings.temporal)).config()
        config["interceptors"] = [FaultInterceptor(points)]
        client = Client(**config)
        server, listening = build_server(client.service_client.check_health, settings.worker.health_bind)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with build_worker(client, world, settings.worker):
            await stop.wait()
        server.should_exit = True
        await serving


def main() -> None:
    """Takes work until SIGTERM."""
    asyncio.run(_serve(load_settings(), Points(Path(os.environ[FUSE_DIRECTORY]))))


if __name__ == "__main__":
    main()
