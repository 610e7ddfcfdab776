"""Wires the stand-in: Slack's addresses, a control API, and the faults and the journal before them."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.standins.github.behaviour import Fault, FaultKind, Moment
from tests.standins.github.clock import Clock, wall_clock
from tests.standins.slack.methods import WebApi
from tests.standins.slack.records import Journal, RequestEntry
from tests.standins.slack.sockets import Hub
from tests.standins.slack.state import Slack
from tests.standins.slack.world import CHANNEL, WEBHOOK

CONTROL = "/_control"
_LINK = "/link"
_SOCKETS = ("push", "disconnect", "cut")
_RESET = struct.pack("ii", 1, 0)  # linger for no time: the connection ends with a reset
_MAX_BODY = 16 * 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(clock: Clock = wall_clock) -> web.Application:
    """The stand-in; all that it knows lives and dies with the returned app."""
    slack = Slack(clock)
    hub = Hub(slack)
    front = _Front(slack, hub)
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_route("*", "/api/{method}", front.api)
    app.router.add_post("/services/{rest:.*}", front.webhook)
    app.router.add_get(_LINK, hub.serve)
    for path, act in _controls(slack, hub).items():
        app.router.add_route("GET" if path == "journal" else "POST", f"{CONTROL}/{path}", act)
    return app


class _Front:
    """Slack's addresses, with the journal of calls, and the faults."""

    def __init__(self, slack: Slack, hub: Hub) -> None:
        self._slack, self._hub = slack, hub

    async def api(self, request: web.Request) -> web.StreamResponse:
        """The Web API."""
        web_api = WebApi(self._slack, lambda: f"ws://{request.host}{_LINK}?ticket={self._hub.ticket()}")
        return await self._answer(request, lambda body: web_api.answer(request.match_info["method"], request, body))

    async def webhook(self, request: web.Request) -> web.StreamResponse:
        """Incoming webhooks, of which there is one."""
        if request.path != WEBHOOK:
            return await self._answer(request, lambda _: web.Response(text="no_service", status=404))
        return await self._answer(request, WebApi(self._slack, self._hub.ticket).webhook)

    async def _answer(self, request: web.Request, act: Callable[[bytes], web.Response]) -> web.StreamResponse:
        requests, at, body = self._slack.requests, self._slack.clock(), await request.read()
        fault = self._slack.faults.take("POST", request.path)
        entry = RequestEntry(
            at=at, method=request.method, path=request.path, query=request.query_string, status=None, body=body
        )
        requests.append(entry)
        place = len(requests) - 1
        answer = act(body) if fault is None or fault.when is Moment.AFTER else None
        if fault is not None:
            answer = await _misbehave(fault, request)
        assert answer is not None
        requests[place] = entry.model_copy(update={"status": answer.status})
        return answer


async def _misbehave(fault: Fault, request: web.Request) -> web.Response:
    if fault.kind in {FaultKind.HANG, FaultKind.RESET}:
        transport = request.transport
        if fault.kind is FaultKind.RESET and transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - aiohttp has no event for it
            await asyncio.sleep(0.01)
        raise ConnectionResetError
    if fault.kind is FaultKind.HTML:
        return web.Response(text=str(fault.body), status=fault.status, content_type="text/html")
    text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
    headers = {"Content-Type": "application/json; charset=utf-8", **fault.headers}
    return web.Response(body=text.encode(), status=fault.status, headers=headers)


def _controls(slack: Slack, hub: Hub) -> dict[str, Handler]:
    """The control API, which Slack does not have."""

    async def journal(_: web.Request) -> web.Response:
        told = Journal(
            messages=slack.messages,
            posts=slack.posts,
            ephemerals=slack.ephemerals,
            requests=slack.requests,
            envelopes=list(slack.envelopes.values()),
            connections=hub.connections,
            connected=hub.connected,
        )
        return web.Response(text=told.model_dump_json(), content_type="application/json")

    async def act(request: web.Request) -> web.Response:
        wish = await request.json() if request.can_read_body else None
        what = request.path.rpartition("/")[2]
        if what in _SOCKETS:
            return web.json_response(await _connect(what, wish, hub))
        _obey(what, wish, slack)
        return web.json_response(None)

    return {"journal": journal, **dict.fromkeys(("behave", "chatter", "faults", "reset", *_SOCKETS), act)}


def _obey(what: str, wish: Any, slack: Slack) -> None:  # noqa: ANN401 - JSON
    match what:
        case "faults":
            slack.faults.add([Fault.model_validate(each) for each in wish])
        case "reset":
            slack.reset()
        case "chatter":
            for _ in range(wish):
                slack.post(CHANNEL, "bot", {"text": "chatter"})
        case "behave":
            slack.limiting = wish.get("limiting", slack.limiting)
            slack.scopes = wish.get("scopes", slack.scopes)
            slack.people.update(wish.get("people", {}))


async def _connect(what: str, wish: Any, hub: Hub) -> str | None:  # noqa: ANN401 - JSON
    match what:
        case "push":
            return hub.push(wish)
        case "disconnect":
            await hub.disconnect()
        case "cut":
            hub.cut()
    return None
