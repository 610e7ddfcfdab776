"""The P0 incident as a Kestra flow alone makes it: the same stages and calls, on Kestra's own engine.

It makes 17 calls: what `bench.bare` asks of the service (14), what it tells the chat (2), and the record. The world
answers it by HTTP, as Kestra has no other way; the workflow asks the same world in process. What the incident keeps in
its ledger is no part of the flow, which keeps none.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI, Request, Response

from bench.bare import ENVIRONMENT
from bench.fakes import AnyService
from bench.measure import Once
from incident.ledger import RollbackOrder
from tests.standins.kestra import KestraEngine, Major, State, kestra_missing

FLOW = Path(__file__).with_name("kestra_stages.yaml")
_WARM_UP = 10
_WITHIN = timedelta(seconds=60)


def why_not(major: Major = Major.V2) -> str:
    """Why Kestra cannot be measured here; empty: it can."""
    return kestra_missing(major)


@asynccontextmanager
async def kestra_story(major: Major = Major.V2) -> AsyncIterator[Once]:
    """What runs one story on a warm engine, as long as that lasts.

    Raises:
        KestraError: the engine is not built, or does not come up.
        RuntimeError: by the story, where it did not end recovered, so that its time would say nothing.
    """
    numbers = count()
    with TemporaryDirectory() as directory:
        async with _world() as world, KestraEngine(major, Path(directory), long_lived=True) as kestra:
            await kestra.load(FLOW.read_text(encoding="utf-8"))

            async def story() -> None:
                started = await kestra.run("bench", "p0-incident", {"world": world, "service": f"k-{next(numbers)}"})
                ended = await kestra.wait(started, _WITHIN)
                if ended.state is not State.SUCCESS or ended.outputs != {"health": "healthy"}:
                    raise RuntimeError(f"a measurement of another story would mislead: {ended.story}")

            for _ in range(_WARM_UP):
                await story()
            yield story


@asynccontextmanager
async def _world() -> AsyncIterator[str]:
    """The address of the world that answers at once, as long as it lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(build_app(), log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def build_app() -> FastAPI:
    """The world of `bench.fakes` by HTTP: every service, sick when it is first asked for."""
    app, services = FastAPI(docs_url=None, redoc_url=None), AnyService()

    @app.get("/{service}/{what}")
    async def read(service: str, what: str) -> Response:
        asked = services.connect(ENVIRONMENT, service)
        reads = {
            "metrics": asked.metrics.read_metrics,
            "logs": asked.logs.read_logs,
            "alerts": asked.alerts.read_alerts,
            "deployments": asked.deployments.read_deployments,
        }
        if what not in reads:
            found = await asked.rollback.find(_order(service, ""), None)
            return _json(found.model_dump_json() if found else "null")
        return _json((await reads[what]()).model_dump_json())

    @app.post("/{service}/{what}")
    async def write(service: str, what: str, request: Request) -> Response:
        said = await request.json()
        if what != "rollback":
            return _json("{}")
        target = services.connect(ENVIRONMENT, service).rollback
        return _json((await target.start(_order(service, said["correlation_id"]), 0)).model_dump_json())

    return app


def _json(content: str) -> Response:
    return Response(content, media_type="application/json")


def _order(service: str, correlation_id: str) -> RollbackOrder:
    return RollbackOrder(
        correlation_id=correlation_id,
        incident_id="",
        execution_id="",
        service=service,
        environment=ENVIRONMENT,
        target=100,
        expected_live=101,
        reason="",
        confidence=1,
    )
