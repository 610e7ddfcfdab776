"""`/changes`: what people and programs tell of changes that can be read nowhere, such as of a configuration."""

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Body, Query
from pydantic import Field

from gateway.access import CallerHere
from gateway.documents import AT, problems, told
from gateway.office import Office
from gateway.problems import Refusal, not_valid
from gateway.routing import for_scope
from gateway.tokens import Scope
from incident.changes import KEPT, ChangeId, ToldChange, ToldKind, contradiction, told_description, untimely
from incident.errors import UnknownServiceError
from incident.model import EnvironmentName, Fact, Moment, ServiceName

_log = structlog.get_logger()


class ChangesOf(Fact):
    """One service in one environment."""

    service: ServiceName
    environment: EnvironmentName = "production"


class ChangeOrder(ChangesOf):
    """A change that was made, or is about to be; the token says who tells."""

    id: ChangeId
    kind: ToldKind = Field(description="config_change: of a configuration; other: anything else but a deployment")
    at: Moment | None = Field(
        default=None, description="when it was made: at most 7 days ago, 5 minutes in the future at most; null: now"
    )
    description: str = Field(
        default="", max_length=10_000, description="what was changed; its first 500 characters are kept, on one line"
    )


class Changes(Fact):
    """What is known of a service's changes, newest first."""

    changes: tuple[ToldChange, ...]


_CHANGE = ToldChange(
    id="payments-config/4711",
    service="payment-api",
    environment="production",
    kind=ToldKind.CONFIGURATION,
    at=AT,
    description="database pool from 20 to 10",
    by="config-pipeline",
    told_at=AT,
)
_ORDER = {
    "service": _CHANGE.service,
    "environment": _CHANGE.environment,
    "id": _CHANGE.id,
    "kind": _CHANGE.kind,
    "description": _CHANGE.description,
}


def build_changes(office: Office) -> APIRouter:
    """The routes of told changes."""
    router = APIRouter()
    for each in (_reading(office), _operating(office)):
        router.include_router(each)
    return router


def _reading(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.READ)

    @router.get("/changes", responses=told(200, "What was told of", Changes(changes=(_CHANGE,))) | problems())
    async def changes(asked: Annotated[ChangesOf, Query()]) -> Changes:
        """The newest 50 changes that were told of a service, newest first; those of more than 40 days ago are gone."""
        _check_registered(office, asked, "query")
        since = office.clock() - KEPT
        return Changes(changes=await office.changes.told(asked.environment, (asked.service,), since))

    return router


def _operating(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.OPERATE)

    @router.post(
        "/changes",
        responses=told(200, "Known, now or before", _CHANGE) | problems(HTTPStatus.CONFLICT, body=True),
    )
    async def change(
        asked: Annotated[ChangeOrder, Body(openapi_examples={"asked": {"value": _ORDER}})], caller: CallerHere
    ) -> ToldChange:
        """Tells of a change; the same again is kept once, and one of the same id that says otherwise is 409."""
        _check_registered(office, asked, "body")
        now = office.clock()
        if asked.at is not None and (wrong := untimely(asked.at, now)):
            raise not_valid([f"body.at: {wrong}"])
        said = ToldChange(
            id=asked.id,
            service=asked.service,
            environment=asked.environment,
            kind=asked.kind,
            at=asked.at or now,
            description=told_description(asked.description),
            by=caller.name,
            told_at=now,
        )
        kept = await office.changes.tell(said)
        if other := contradiction(kept, said, dated=asked.at is not None):
            raise Refusal(HTTPStatus.CONFLICT, other)
        _log.info("gateway.change_told", by=caller.name, service=asked.service, change=asked.id, kind=asked.kind)
        return kept

    return router


def _check_registered(office: Office, asked: ChangesOf, where: str) -> None:
    """A change of a misspelt service would accuse nobody, so it is refused."""
    try:
        office.registry.find(asked.environment, asked.service)
    except UnknownServiceError as error:
        raise not_valid([f"{where}.service: {error.problem}"]) from error
