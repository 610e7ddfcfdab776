"""`/codec`: encrypts and decrypts payloads for Temporal's Web UI and command line, which have no keys.

The shape is the one of Temporal's codec servers (docs.temporal.io/codec-server): Payloads as protobuf's JSON has them.
"""

import binascii
from base64 import b64decode, b64encode
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from temporalio.api.common.v1 import Payload

from gateway.access import Admission, by_token
from gateway.documents import problems, told
from gateway.office import Office
from gateway.pages.sessions import build_sessions, cookie_name
from gateway.problems import not_valid
from gateway.routing import for_bearer, for_scope
from gateway.tokens import Scope
from incident.errors import PermanentError
from integrations.codec import EncryptionCodec

_PATH = "/codec/"
_MOST = 1000
"""Payloads at once: more than a page of a history holds."""


class SentPayload(BaseModel):
    """One payload; what is not named here is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metadata: dict[str, str] = Field(default={}, max_length=20, description="each value in base64")
    data: str = Field(default="", description="in base64")


class SentPayloads(BaseModel):
    """Payloads, in their order."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    payloads: tuple[SentPayload, ...] = Field(default=(), max_length=_MOST)


_PLAIN = SentPayloads(
    payloads=(SentPayload(metadata={"encoding": b64encode(b"json/plain").decode()}, data=b64encode(b'"ok"').decode()),)
)
_EXAMPLES = {"plain": {"value": _PLAIN.model_dump(mode="json")}}


def build_codec(office: Office, codec: EncryptionCodec) -> APIRouter:
    """The routes that encrypt and decrypt; who may read incidents may read what is decrypted."""
    needs = f"A token with the scope `{Scope.READ}`; or, of a page of the Web UI, a login that has it."
    reading = for_bearer(_by_token_or_login(office), Scope.READ, needs)
    writing = for_scope(office.tokens, Scope.OPERATE)

    @reading.post("/codec/decode", responses=told(200, "Decrypted", _PLAIN) | problems(body=True))
    async def decode(asked: Annotated[SentPayloads, Body(openapi_examples=_EXAMPLES)]) -> SentPayloads:
        """The payloads as they were before they were encrypted; others stay as they are."""
        try:
            return _shown(await codec.decode(_read(asked)))
        except PermanentError as error:
            raise not_valid([f"body.payloads: {error.problem}"]) from error

    @writing.post("/codec/encode", responses=told(200, "Encrypted", _PLAIN) | problems(body=True))
    async def encode(asked: Annotated[SentPayloads, Body(openapi_examples=_EXAMPLES)]) -> SentPayloads:
        """The payloads encrypted, as a worker takes them."""
        return _shown(await codec.encode(_read(asked)))

    router = APIRouter()
    for each in (reading, writing):
        router.include_router(each)
    return router


def _by_token_or_login(office: Office) -> Admission:
    """Lets in whose token may read, and who is logged in to our pages and asks from a page of the Web UI.

    The cookie is strict: a browser sends it along only where the Web UI and the gateway are of the same site.
    """
    settings = office.settings
    by_bearer = by_token(office.tokens, Scope.READ)
    sessions = build_sessions(settings.gateway.session_key, office.tokens, office.clock)
    cookie, ui = cookie_name(secure=settings.gateway.secure_cookies), _origin(settings.temporal.ui_url)

    async def admit(request: Request) -> None:
        from_ui = request.headers.get("origin") == ui and "authorization" not in request.headers
        session = sessions.read(request.cookies.get(cookie, "")) if sessions and from_ui else None
        if session is None or not session.may(Scope.READ):
            return await by_bearer(request)
        request.state.caller = session.caller
        return None

    return admit


class CodecOrigin:
    """Lets pages of the Web UI, and of no other origin, read what `/codec` answers, also by a login's cookie.

    Args:
        app: what stands behind it.
        ui_url: where people find the Web UI.
    """

    def __init__(self, app: ASGIApp, ui_url: str) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=[_origin(ui_url)],
            allow_methods=["POST"],
            allow_headers=["authorization", "content-type", "x-namespace"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answers one request."""
        there = scope["type"] == "http" and scope["path"].startswith(_PATH)
        await (self._open if there else self._app)(scope, receive, send)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _read(sent: SentPayloads) -> list[Payload]:
    try:
        return [
            Payload(
                metadata={name: b64decode(value, validate=True) for name, value in each.metadata.items()},
                data=b64decode(each.data, validate=True),
            )
            for each in sent.payloads
        ]
    except (binascii.Error, ValueError) as error:
        raise not_valid(["body.payloads: expected metadata and data in base64"]) from error


def _shown(payloads: list[Payload]) -> SentPayloads:
    return SentPayloads(
        payloads=tuple(
            SentPayload(
                metadata={name: b64encode(value).decode() for name, value in each.metadata.items()},
                data=b64encode(each.data).decode(),
            )
            for each in payloads
        )
    )
