"""Whether the worker lives and whether it is ready, over HTTP."""

import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Response

Probe = Callable[[], Awaitable[bool]]


def build_app(ready: Probe) -> FastAPI:
    """`/healthz` answers 200 while the process runs; `/readyz` 200 while `ready` holds, else 503."""
    app = FastAPI(title="Incident Commander worker", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz")
    async def readiness(response: Response) -> dict[str, str]:
        if await ready():
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "not ready"}

    return app


class HealthServer(uvicorn.Server):
    """Uvicorn as a guest: the process's signals belong to the worker."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Takes no signal."""
        yield


def build_server(ready: Probe, bind: str) -> tuple[HealthServer, socket.socket]:
    """A server and its listening socket; `serve(sockets=[socket])` runs it until `should_exit`.

    Args:
        ready: asked at each `/readyz`.
        bind: host:port; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    host, _, port = bind.rpartition(":")
    listening = socket.create_server((host, int(port)))
    config = uvicorn.Config(build_app(ready), log_config=None, access_log=False, lifespan="off")
    return HealthServer(config), listening
