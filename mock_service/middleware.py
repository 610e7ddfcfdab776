"""What happens to a request before and after its handler: metering, the control journal, chaos delay."""

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_service.calls import LONGEST_CORRELATION_ID, CorrelationId
from mock_service.clock import Clock
from mock_service.journal import Journal, JournalEntry
from mock_service.metering import HttpMeter
from mock_service.patience import Sleep
from mock_service.patient import Patient
from mock_service.releases import BAD, GOOD
from mock_service.replies import JsonReply

LARGEST_BODY_BYTES = 65_536
CALL = "mock_service.control_call"
"""The scope key under which a control call's handler finds its ControlCall."""

_CONTROL = re.compile(r"/(deployment|demo|chaos)/")
_ACTIVATE = re.compile(r"/deployment/([^/]+)/activate")
_ACTIONS = {
    "/demo/trigger-incident": ("trigger-incident", BAD),
    "/demo/bad-deployment": ("bad-deployment", BAD),
    "/demo/reset": ("reset", GOOD),
    "/demo/spoil": ("spoil", None),
    "/chaos/latency": ("chaos-latency", None),
    "/chaos/errors": ("chaos-errors", None),
    "/chaos/cpu": ("chaos-cpu", None),
}
_LONGEST_JOURNALED_PATH = 200


@dataclass
class ControlCall:
    """A control call on its way to its handler, which says whether it changed anything."""

    body: bytes
    correlation_id: str | None
    header_too_long: bool = False
    applied: bool = False


class _Correlated(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    correlation_id: CorrelationId | None = None


class Metered:
    """Counts and times every request, chaos delay included."""

    def __init__(self, app: ASGIApp, *, meter: HttpMeter, clock: Clock) -> None:
        self._app = app
        self._meter = meter
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        answer = _Watched(send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", None)
            took = self._clock() - began
            self._meter.observe(method=scope["method"], route=route, status=answer.status, took=took)


class Journaled:
    """Reads a control call's body once, names its correlation id, and writes down how it was answered."""

    def __init__(self, app: ASGIApp, *, journal: Journal, patient: Patient, clock: Clock) -> None:
        self._app = app
        self._journal = journal
        self._patient = patient
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _CONTROL.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        header = _header(scope)
        too_long = header is not None and len(header) > LONGEST_CORRELATION_ID
        named = _named_in(body or b"") or (None if too_long else header)
        call = ControlCall(body or b"", named, header_too_long=too_long)
        scope[CALL] = call
        answer = _Watched(send)
        try:
            if body is None:
                error = f"the body is larger than {LARGEST_BODY_BYTES} bytes, or was cut off"
                too_large = JsonReply({"error": error}, 413)
                await too_large(scope, receive, answer.send)
            else:
                await self._app(scope, receive, answer.send)
        finally:
            self._record(scope["path"], call, answer.status)

    def _record(self, path: str, call: ControlCall, status: int) -> None:
        action, deployment_id = self._action(path)
        self._journal.record(
            JournalEntry(
                at=self._clock(),
                method="POST",
                path=path[:_LONGEST_JOURNALED_PATH],
                action=action,
                deployment_id=deployment_id,
                correlation_id=call.correlation_id,
                applied=call.applied,
                status=status,
            )
        )

    def _action(self, path: str) -> tuple[str, int | None]:
        if named := _ACTIVATE.fullmatch(path):
            release = self._patient.releases.find(named[1])
            return "activate", None if release is None else release.id
        return _ACTIONS.get(path, ("unknown", None))


class Delayed:
    """Makes requests wait as long as the patient's chaos says."""

    def __init__(self, app: ASGIApp, *, patient: Patient, sleep: Sleep) -> None:
        self._app = app
        self._patient = patient
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and (delay := self._patient.delay(scope["method"], scope["path"])):
            await self._sleep(delay)
        await self._app(scope, receive, send)


class _Watched:
    """A sender that remembers the status it sent; 500 until then, as for a handler that died."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too large or its sender is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _header(scope: Scope) -> str | None:
    """The X-Correlation-ID header, None when there is none or it is empty."""
    return dict(scope["headers"]).get(b"x-correlation-id", b"").decode("latin-1").strip() or None


def _named_in(body: bytes) -> str | None:
    """The correlation id in a body, None when there is none; a body that is not valid is its handler's to refuse."""
    try:
        return _Correlated.model_validate_json(body or b"{}").correlation_id
    except ValidationError:
        return None
