"""What stands before the routes: the journal of calls, the faults, and the headers that every reply carries."""

import secrets
from datetime import timedelta

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.standins.github.behaviour import Moment, RequestEntry
from tests.standins.github.control_api import CONTROL
from tests.standins.github.faults import misbehave
from tests.standins.github.guard import accepted_permissions
from tests.standins.github.repository_api import RATE_LIMIT
from tests.standins.github.state import GitHub


class Front:
    """Middleware around everything but the control API."""

    def __init__(self, app: ASGIApp, github: GitHub) -> None:
        self._app = app
        self._github = github

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call, or lets it go wrong."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        call = _Call(self._github, scope, send)
        fault = self._github.faults.take(scope["method"], scope["path"])
        try:
            if fault is None:
                await self._app(scope, receive, call.send)
                return
            if fault.when is Moment.AFTER:
                await self._app(scope, receive, _to_nobody)
            await misbehave(fault, scope, receive, call.send)
        finally:
            call.note()


class _Call:
    """One call, on its way to the journal."""

    def __init__(self, github: GitHub, scope: Scope, send: Send) -> None:
        self._requests = github.requests  # taken now: a call that ends after a reset belongs to the world before
        self._scope = scope
        self._send = send
        self._at = github.clock()
        self._status: int | None = None

    async def send(self, message: Message) -> None:
        """Passes a part of the reply on."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        await self._send(message)

    def note(self) -> None:
        """Enters the call in the journal."""
        entry = RequestEntry(
            at=self._at,
            method=self._scope["method"],
            path=self._scope["path"],
            query=self._scope["query_string"].decode(),
            status=self._status,
            authorization="present" if "authorization" in Headers(scope=self._scope) else "absent",
        )
        self._requests.append(entry)

    def _add_headers(self, headers: MutableHeaders) -> None:
        reset = int((self._at + timedelta(hours=1)).timestamp())
        headers["X-GitHub-Request-Id"] = secrets.token_hex(8)
        for name, value in {
            "X-Accepted-GitHub-Permissions": accepted_permissions(self._scope["method"], self._scope["path"]),
            "X-RateLimit-Limit": str(RATE_LIMIT),
            "X-RateLimit-Remaining": str(RATE_LIMIT - 1),
            "X-RateLimit-Reset": str(reset),
        }.items():
            headers.setdefault(name, value)


async def _to_nobody(_: Message) -> None:
    """The reply is lost."""
