"""`python -m tests.fault.worker`: the production worker, with a fuse around its activities and its rollback's POST."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
from temporalio import activity
from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from integrations.http import build_client
from integrations.telemetry import configure_logging
from integrations.temporal import connect
from tests.fault.fuse import POST_ACCEPTED, POST_LEAVES, Fuse, after, before
from worker.bootstrap import build_ports, build_worker, load_registry
from worker.health import build_server
from worker.settings import Settings, load_settings

FUSE_DIRECTORY = "FAULT_FUSE_DIRECTORY"


class FusedActivities(ClientInterceptor, Interceptor):
    """Burns the fuse before and after each activity, outside of the production guard."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        return _FusedActivity(next, self._fuse)


class _FusedActivity(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, fuse: Fuse) -> None:
        super().__init__(inner)
        self._fuse = fuse

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - Temporal's signature
        name = activity.info().activity_type
        self._fuse.burn(before(name))
        result = await super().execute_activity(input)
        self._fuse.burn(after(name))
        return result


class FusedTransport(httpx.AsyncBaseTransport):
    """Burns the fuse before the rollback's POST leaves, and between its answer and whoever awaits it."""

    def __init__(self, inner: httpx.AsyncBaseTransport, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        rollback = request.method == "POST" and request.url.path.endswith("/activate")
        if rollback:
            self._fuse.burn(POST_LEAVES)
        response = await self._inner.handle_async_request(request)
        if not rollback:
            return response
        content = await response.aread()  # so that the service has done all that it does
        if self._fuse.burn(POST_ACCEPTED):
            raise httpx.ReadError("the connection was cut", request=request)
        return httpx.Response(response.status_code, headers=response.headers, content=content)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _serve(settings: Settings, fuse: Fuse) -> None:
    configure_logging(settings.worker.log_level)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    transport = FusedTransport(httpx.AsyncHTTPTransport(retries=0, trust_env=False), fuse)
    async with build_client(settings.http, transport) as http:
        world = build_ports(settings, load_registry(settings), http)
        config = (await connect(settings.temporal)).config()
        config["interceptors"] = [FusedActivities(fuse)]
        client = Client(**config)
        server, listening = build_server(client.service_client.check_health, settings.worker.health_bind)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with build_worker(client, world, settings.worker):
            await stop.wait()
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(_serve(load_settings(), Fuse(Path(os.environ[FUSE_DIRECTORY]))))
