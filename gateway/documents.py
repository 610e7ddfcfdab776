"""What the OpenAPI document says of answers: their examples, and the problems that every route may tell of."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from gateway.problems import Problem
from incident.dossier import Approval, Dossier, Trigger
from incident.evidence import unseen
from incident.identifiers import workflow_id
from incident.policy import Policy
from incident.snapshot import Outcome, close

_NULL = "\x00null"
"""Stands for a null in an example until the document is whole; no text of an example holds it."""

Responses = dict[int | str, dict[str, Any]]

INCIDENT = "production.payment-api.20261124T030405Z.0a1b2c3d"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
AT = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
EVIDENCE = unseen("payment-api", "production", AT, "such as: did not answer in time")
DOSSIER = Dossier(
    incident_id=INCIDENT,
    workflow_id=workflow_id("production", "payment-api"),
    service="payment-api",
    environment="production",
    trigger=Trigger(source="api", by="ada", reason="customers report failed payments"),
    policy=Policy(approvers=("ada",)),
    opened_at=AT,
)
SNAPSHOT = close(DOSSIER, Outcome.CANCELLED, AT + timedelta(minutes=2))
APPROVAL = Approval(digest=DIGEST, approver="ada", approved=True, note="seen in the dashboards too", at=AT)

_PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: Problem(detail="not authorised"),
    HTTPStatus.FORBIDDEN: Problem(detail="the token lacks the scope operate"),
    HTTPStatus.NOT_FOUND: Problem(detail="no such incident"),
    HTTPStatus.REQUEST_TIMEOUT: Problem(detail="the body did not come"),
    HTTPStatus.CONFLICT: Problem(detail="the incident has closed"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Problem(detail="expected at most 1048576 bytes"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Problem(detail="expected application/json, not encoded further"),
    HTTPStatus.UNPROCESSABLE_ENTITY: Problem(detail="not valid", errors=("body.service: Field required",)),
    HTTPStatus.TOO_MANY_REQUESTS: Problem(detail="too many requests"),
    HTTPStatus.SERVICE_UNAVAILABLE: Problem(detail="Temporal does not answer; try again"),
}
_WITH_A_BODY = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


class DocumentedApp(FastAPI):
    """An application whose document keeps the nulls of its examples: FastAPI leaves out every key that holds one."""

    def openapi(self) -> dict[str, Any]:
        """The document."""
        if self.openapi_schema is None:
            self.openapi_schema = _unmarked(super().openapi())
        return self.openapi_schema


def told(status: int, description: str, example: BaseModel, *, model: bool = False) -> Responses:
    """The answer of that status; `model`: it is another than the route's own."""
    content = {"application/json": {"example": _marked(example.model_dump(mode="json"))}}
    extra: dict[str, Any] = {"model": type(example)} if model else {}
    return {status: {"description": description, "content": content, **extra}}


def problems(*statuses: HTTPStatus, body: bool = False, token: bool = True) -> Responses:
    """Those answers, those that any route may give, and those of a route that takes a body."""
    usual = [HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE]
    known = [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN] if token else []
    listed = sorted({*usual, *known, *statuses, *(_WITH_A_BODY if body else ())})
    responses: Responses = {}
    for status in listed:
        responses |= told(status.value, status.phrase, _PROBLEMS[status], model=True)
    return responses


def _marked(value: Any) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    match value:
        case dict():
            return {key: _marked(each) for key, each in value.items()}
        case list():
            return [_marked(each) for each in value]
        case _:
            return _NULL if value is None else value


def _unmarked(value: Any) -> Any:  # noqa: ANN401 - the same
    match value:
        case dict():
            return {key: _unmarked(each) for key, each in value.items()}
        case list():
            return [_unmarked(each) for each in value]
        case _:
            return None if value == _NULL else value
