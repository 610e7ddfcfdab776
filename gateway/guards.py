"""What stands before every route: it bounds size and pace, counts, and lets no failure out as it is."""

import asyncio
import time
from collections.abc import MutableMapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access import bearer
from gateway.metrics import Metrics
from gateway.pace import Pace
from gateway.problems import Reason, Refusal, failed
from gateway.tokens import TokenBook

BODY_WITHIN = timedelta(seconds=10)
"""How long a body may take to come: a sender that dribbles must not hold a connection."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Set where the answer does not say otherwise."""
_KINDS = {"webhooks": "webhook", "slack": "webhook", "ui": "page", "healthz": "probe", "readyz": "probe"}


class Observed:
    """Counts every answer, gives it its headers, and answers 500 where `app` raises.

    Args:
        app: what stands behind it.
        metrics: where it counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # whatever it is - the caller learns nothing of it
            response = failed(error)
            if status:
                raise  # half an answer went out: the server must break the connection off
            await response(scope, receive, watched)
        finally:
            self._metrics.answered(_template(scope), scope["method"], status, time.perf_counter() - began)


class Bounded:
    """Refuses bodies that are too large, without reading on, and those that do not come.

    Args:
        app: what stands behind it; it gets the whole body at once.
        limit: bytes.
        metrics: where refusals are counted.
        within: how long a body may take to come.
    """

    def __init__(self, app: ASGIApp, limit: int, metrics: Metrics, within: timedelta = BODY_WITHIN) -> None:
        self._app, self._limit, self._metrics, self._within = app, limit, metrics, within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._within.total_seconds()):
                body = await self._body(scope, receive)
        except TimeoutError:
            refusal = Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not come", Reason.TIME)
            await self._refuse(refusal, scope, receive, send)
            return
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; `None`: the sender went away."""
        too_large = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {self._limit} bytes", Reason.SIZE)
        declared = Headers(scope=scope).get("content-length", "0")
        # Whether the header is a number and the only one is the server's concern; here the bytes count as well.
        if declared.isdecimal() and int(declared[:20]) > self._limit:
            raise too_large
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise too_large
            more = message.get("more_body", False)
        return bytes(body)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.refuse(refusal.reason)
        response = refusal.response()
        response.headers["Connection"] = "close"  # what was not read must not pass for the next request
        await response(scope, receive, send)


class Paced:
    """Refuses senders that come too fast: 429, or 503 to a webhook's, which tries again only after a 5xx.

    Args:
        app: what stands behind it.
        pace: the buckets.
        tokens: by which callers are told apart; whoever is not known is counted by address.
        metrics: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, pace: Pace, tokens: TokenBook, metrics: Metrics) -> None:
        self._app, self._pace, self._tokens, self._metrics = app, pace, tokens, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kind = _KINDS.get(scope["path"].strip("/").partition("/")[0], "api")
        wait = self._pace.take(kind, self._sender(scope))
        if not wait:
            await self._app(scope, receive, send)
            return
        self._metrics.refuse(Reason.RATE)
        await _too_fast(kind, wait)(scope, receive, send)

    def _sender(self, scope: Scope) -> str:
        caller = self._tokens.find(bearer(Headers(scope=scope).get("authorization", "")))
        if caller is not None:
            return caller.fingerprint
        return str((scope.get("client") or ("",))[0])


def _too_fast(kind: str, wait: float) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE if kind == "webhook" else HTTPStatus.TOO_MANY_REQUESTS
    return Refusal(status, "too many requests", retry_after=wait).response()


def _template(scope: MutableMapping[str, Any]) -> str:
    return str(getattr(scope.get("route"), "path", "unmatched"))


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives `body` first, and then what `receive` gives: that the caller went away."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
