"""Who may come in: a bearer token with a scope, a webhook's secret, a signature over the raw body."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import SecretStr

from gateway.bodies import StrictRequest, must_be_json
from gateway.problems import Reason, Refusal, unknown_caller
from gateway.tokens import Caller, Scope, TokenBook

Admission = Callable[[Request], Awaitable[None]]
"""Returns where the request may come in, and raises a `Refusal` otherwise."""


def guarded(admit: Admission) -> type[APIRoute]:
    """Routes that nobody comes into unless `admit` lets them, before anything of the body is understood."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def admitted(request: Request) -> Response:
                strict = StrictRequest(request.scope, request.receive)
                await admit(strict)
                if self.body_field is not None:
                    must_be_json(strict)
                return await handle(strict)

            return admitted

    return GuardedRoute


def by_token(tokens: TokenBook, scope: Scope | None) -> Admission:
    """Lets callers in whose token is good for `scope`; `None`: any known token."""

    async def admit(request: Request) -> None:
        caller = tokens.find(bearer(request.headers.get("authorization", "")))
        if caller is None:
            raise unknown_caller()
        if scope is not None and not caller.may(scope):
            raise Refusal(HTTPStatus.FORBIDDEN, f"the token lacks the scope {scope}", Reason.SCOPE)
        request.state.caller = caller

    return admit


def by_secret(secret: SecretStr | None) -> Admission:
    """Lets in who presents `secret` as bearer token; nobody where there is none."""

    async def admit(request: Request) -> None:
        presented = bearer(request.headers.get("authorization", ""))
        if secret is None or not _same(presented, secret.get_secret_value()):
            raise unknown_caller()

    return admit


def by_github_signature(secret: SecretStr | None) -> Admission:
    """Lets in what GitHub signed with `secret` (docs.github.com, "Validating webhook deliveries")."""

    async def admit(request: Request) -> None:
        presented = request.headers.get("x-hub-signature-256", "")
        if secret is None or not _same(presented, github_signature(await request.body(), secret.get_secret_value())):
            raise unknown_caller(Reason.SIGNATURE)

    return admit


def github_signature(body: bytes, secret: str) -> str:
    """What GitHub sends as X-Hub-Signature-256 along with exactly these bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def bearer(authorization: str) -> str:
    """The token in an Authorization header; empty: there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CallerHere = Annotated[Caller, Depends(_caller)]
"""Who calls, on a route that asks for a token."""


def _same(presented: str, expected: str) -> bool:
    # Of hashes, so that the time says nothing of the length either.
    left, right = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (presented, expected))
    return hmac.compare_digest(left, right)
