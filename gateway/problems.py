"""What a caller is told where a request is not taken, and why that is counted; nothing that was sent comes back."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.exceptions import HTTPException

from gateway.metrics import Metrics
from incident.errors import IntegrationError, NotOpenError, RefusedError, TransientError
from incident.model import Fact

_log = structlog.get_logger()
_RETRY_AFTER = 5
"""Seconds after which another try is worth it, where nobody knows better."""
_MOST_ERRORS = 50
_LONGEST_NAME = 64
_CALLED = {"temporal": "Temporal", "store": "the store", "incident": "a worker", "slack": "Slack"}


class Reason(StrEnum):
    """Why a request was refused."""

    TOKEN = "token"  # noqa: S105 - a word for what is wrong, no password
    SCOPE = "scope"
    SIGNATURE = "signature"
    TIME = "time"
    """It was signed too long ago, or came too slowly."""
    SIZE = "size"
    DEPTH = "depth"
    ENCODING = "encoding"
    RATE = "rate"
    FIELD = "field"


class Problem(Fact):
    """Why it was not done."""

    detail: str
    errors: tuple[str, ...] = Field(default=(), description="one line for each field: its path, and what was expected")


class Refusal(HTTPException):
    """The request is not taken.

    Args:
        status: what is answered.
        detail: what the caller is told.
        reason: as what it is counted; `None`: nothing is wrong with the request itself.
        errors: a line for each field.
        retry_after: seconds after which another try is worth it; `None`: it is not said.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        reason: Reason | None = None,
        errors: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, ceil(retry_after)))}
        if status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, detail, headers)
        self.reason, self.errors = reason, tuple(errors)

    def response(self) -> JSONResponse:
        """What is answered."""
        return answer(self.status_code, self.detail, self.errors, self.headers)


def unknown_caller(reason: Reason = Reason.TOKEN) -> Refusal:
    """Whoever calls is not known; the same words whatever is missing or wrong."""
    return Refusal(HTTPStatus.UNAUTHORIZED, "not authorised", reason)


def answer(
    status: int, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem as JSON."""
    body = Problem(detail=detail, errors=tuple(errors)).model_dump(mode="json")
    return JSONResponse(body, status, headers=dict(headers or {}))


def field_lines(errors: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """One line for each of pydantic's errors: the path and what was expected, without what stood there."""
    lines = tuple(f"{_path(each['loc'])}: {_expected(each)}" for each in errors[:_MOST_ERRORS])
    return (*lines, f"and {len(errors) - len(lines)} more") if len(errors) > len(lines) else lines


def _path(location: Sequence[object]) -> str:
    path = ""
    for part in location:
        name = "".join(each if each.isprintable() else "?" for each in str(part)[:_LONGEST_NAME])
        path += f"[{name}]" if isinstance(part, int) else f".{name}" if path else name
    return path


def _expected(error: Mapping[str, Any]) -> str:
    # Texts of our own validators may quote what they were given.
    return "not a usable value" if error["type"] in {"value_error", "assertion_error"} else str(error["msg"])


class Answers:
    """Answers every exception that a route may raise, and counts what was refused.

    Args:
        metrics: where it counts.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def install(self, app: FastAPI) -> None:
        """Makes `app` answer so."""
        app.add_exception_handler(HTTPException, self._refused)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(IntegrationError, self._not_done)

    async def _refused(self, _: Request, error: Exception) -> Response:
        if isinstance(error, Refusal):
            self._metrics.refuse(error.reason)
            return error.response()
        if isinstance(error, HTTPException):
            return answer(error.status_code, HTTPStatus(error.status_code).phrase.lower(), headers=error.headers)
        return failed(error)

    async def _invalid(self, _: Request, error: Exception) -> Response:
        errors = error.errors() if isinstance(error, RequestValidationError) else ()
        return await self._refused(_, not_valid(field_lines(errors)))

    async def _not_done(self, _: Request, error: Exception) -> Response:
        match error:
            case TransientError():
                return unanswered(error)
            case NotOpenError():
                return answer(409, "the incident has closed")
            case RefusedError(errors=()):
                return answer(409, error.problem)
            case RefusedError():
                # What stood in a field comes last in its line, as field_errors words it.
                return await self._refused(_, not_valid([line.partition(" (got ")[0] for line in error.errors]))
            case _:
                return failed(error)


def not_valid(errors: Sequence[str]) -> Refusal:
    """Fields that cannot be used."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "not valid", Reason.FIELD, errors)


def unanswered(error: TransientError) -> Response:
    """503: what stands behind the gateway does not answer; the log says more."""
    _log.warning("gateway.unanswered", problem=str(error))
    who = _CALLED.get(error.system, error.system)
    wait = error.retry_after.total_seconds() if error.retry_after else _RETRY_AFTER
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{who} does not answer; try again", retry_after=wait).response()


def failed(error: Exception) -> Response:
    """500: something that the caller can do nothing about; the log says what."""
    _log.error("gateway.failed", problem=type(error).__name__, exc_info=error)
    return answer(500, "something went wrong here")
