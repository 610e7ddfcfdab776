"""The part of Kestra's web API that starts executions and tells of them, in front of the engine, which has none.

Paths, the form of the inputs and the names in the answers are those of a 1.3 server.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import JsonValue

from tests.standins.kestra.engine import KestraEngine, KestraError, KestraRefusedError
from tests.standins.kestra.records import Execution

USER, PASSWORD = "admin@example.com", "Commander1"


@asynccontextmanager
async def serving(engine: KestraEngine) -> AsyncIterator[str]:
    """The base URL, for as long as it is served."""
    application = web.Application(middlewares=[_known])
    executions = _Executions(engine)
    application.router.add_post("/api/v1/main/executions/{namespace}/{flow}", executions.start)
    application.router.add_get("/api/v1/main/executions/{execution}", executions.tell)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@web.middleware
async def _known(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}":
        return web.json_response({"message": "Unauthorized"}, status=401)
    return await handler(request)


class _Executions:
    def __init__(self, engine: KestraEngine) -> None:
        self._engine = engine

    async def start(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            return web.json_response({"message": "expected a form of parts"}, status=415)
        inputs: dict[str, JsonValue] = {name: str(value) for name, value in (await request.post()).items()}
        try:
            begun = await self._engine.run(request.match_info["namespace"], request.match_info["flow"], inputs)
        except KestraRefusedError as error:
            return web.json_response({"message": str(error)}, status=422)
        return web.json_response(_as_json(await self._engine.execution(begun)))

    async def tell(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(_as_json(await self._engine.execution(request.match_info["execution"])))
        except KestraError as error:
            return web.json_response({"message": str(error)}, status=404)


def _as_json(execution: Execution) -> dict[str, JsonValue]:
    return {
        "id": execution.id,
        "namespace": execution.namespace,
        "flowId": execution.flow,
        "state": {"current": execution.state},
        "outputs": dict(execution.outputs),
    }
