"""Wires the stand-in: PagerDuty's two routes, a control API, and the server that both processes and threads run."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.standins.github.behaviour import Fault, Moment
from tests.standins.github.clock import Clock, wall_clock
from tests.standins.github.faults import TRANSPORT, misbehave
from tests.standins.pagerduty.contract import CHANGES, EVENTS, errors
from tests.standins.pagerduty.records import Journal, RequestEntry
from tests.standins.pagerduty.state import HIDDEN, PagerDuty

CONTROL = "/_control"
MAX_BODY = 512 * 1024
_GRACE_SECONDS = 1  # for calls that a fault leaves hanging


def create_app(clock: Clock = wall_clock) -> FastAPI:
    """The stand-in; all that it knows lives and dies with the returned app."""
    pagerduty = PagerDuty(clock)
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.add_api_route(EVENTS, _Route(pagerduty, EVENTS).answer, methods=["POST"])
    app.add_api_route(CHANGES, _Route(pagerduty, CHANGES).answer, methods=["POST"])
    app.include_router(_control(pagerduty))
    app.add_middleware(_Front, pagerduty=pagerduty)
    return app


def server(port: int) -> uvicorn.Server:
    """A server of a new stand-in on the loopback; 0: whatever socket it is given."""
    config = uvicorn.Config(
        create_app(),
        port=port,
        http=_Protocol,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=600,  # longer than Prism keeps a connection, or the two race for who closes it
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


class _Protocol(H11Protocol):
    """Lets the application get at the connection, which it must for a reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's annotation
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class _Route:
    """One of PagerDuty's two addresses."""

    def __init__(self, pagerduty: PagerDuty, path: str) -> None:
        self._pagerduty, self._path = pagerduty, path

    async def answer(self, request: Request) -> JSONResponse:
        """Takes an event, or says what is wrong with it."""
        content = await request.body()
        if len(content) > MAX_BODY:  # the documentation names the size, not the status
            return _invalid("the event is larger than 512 KB")
        try:
            event = json.loads(content)
        except ValueError:
            return _invalid("the event is not JSON")
        if found := errors(self._path, event):
            return _invalid(*found)
        if not self._pagerduty.takes(event["routing_key"]):
            return JSONResponse({}, 429)
        if self._path == CHANGES:
            self._pagerduty.record(event)
            return JSONResponse({"status": "success", "message": "Change event processed"}, 202)
        key = self._pagerduty.take(event)
        return JSONResponse({"status": "success", "message": "Event processed", "dedup_key": key}, 202)


def _invalid(*found: str) -> JSONResponse:
    return JSONResponse({"status": "invalid event", "message": "Event object is invalid", "errors": list(found)}, 400)


class _Front:
    """Middleware before PagerDuty's routes: the journal of calls, and the faults."""

    def __init__(self, app: ASGIApp, pagerduty: PagerDuty) -> None:
        self._app, self._pagerduty = app, pagerduty

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call, or lets it go wrong."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        requests = self._pagerduty.requests  # taken now: a call that ends after a reset belongs to the world before
        at, statuses = self._pagerduty.clock(), []
        body = await _whole(receive)
        fault = self._pagerduty.faults.take(scope["method"], scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            if fault is None or fault.when is Moment.AFTER:
                await self._app(scope, _again(body, receive), sending if fault is None else _to_nobody)
            if fault is not None:
                await misbehave(fault, scope, receive, sending)
        finally:
            status = statuses[0] if statuses else None
            entry = {"at": at, "path": scope["path"], "status": status, "size": len(body), "body": _without_key(body)}
            requests.append(RequestEntry.model_validate(entry))


async def _whole(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read already, then what comes after it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again


async def _to_nobody(_: Message) -> None:
    """The reply is lost."""


def _without_key(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        event = json.loads(body)
    except ValueError:
        return text
    key = event.get("routing_key") if isinstance(event, dict) else None
    return text.replace(key, HIDDEN) if isinstance(key, str) and key else text


def _control(pagerduty: PagerDuty) -> APIRouter:
    """The control API, which PagerDuty does not have."""
    router = APIRouter(prefix=CONTROL)

    async def journal() -> Journal:
        return pagerduty.journal()

    async def reset() -> None:
        pagerduty.reset()

    async def faults(wished: Sequence[Fault]) -> None:
        pagerduty.faults.add(wished)

    async def acknowledge(wish: dict[str, str]) -> bool:
        return pagerduty.acknowledge(wish["dedup_key"])

    async def limit(wish: dict[str, Any]) -> None:
        pagerduty.limit = wish["calls"]

    router.add_api_route("/journal", journal, methods=["GET"])
    for path, act in (("reset", reset), ("faults", faults), ("acknowledge", acknowledge), ("limit", limit)):
        router.add_api_route(f"/{path}", act, methods=["POST"])
    return router
