"""`/changes`: what people and programs tell of changes that can be read nowhere, such as of a configuration."""

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Body, Query

from gateway.access import CallerHere
from gateway.documents import AT, problems, told
from gateway.office import Office
from gateway.problems import Refusal, not_valid
from gateway.routing import for_scope
from gateway.tokens import Scope
from incident.changes import KEPT, ChangesOf, Telling, ToldChange, ToldKind
from incident.errors import UnknownServiceError
from incident.model import Fact

_log = structlog.get_logger()


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
        asked: Annotated[Telling, Body(openapi_examples={"asked": {"value": _ORDER}})], caller: CallerHere
    ) -> ToldChange:
        """Tells of a change; the same again is kept once, and one of the same id that says otherwise is 409."""
        _check_registered(office, asked, "body")
        now = office.clock()
        if wrong := asked.untimely(now):
            raise not_valid([f"body.at: {wrong}"])
        said = asked.by(caller.name, now)
        kept = await office.changes.tell(said)
        if other := asked.contradiction(said, kept):
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
