"""`/stops`: the kill switches; and `/whoami`."""

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Body, Query
from pydantic import Field

from gateway.access import CallerHere
from gateway.documents import AT, INCIDENT, problems, told
from gateway.office import Office
from gateway.problems import Refusal, not_valid
from gateway.routing import for_scope
from gateway.tokens import Scope
from incident.errors import TransientError
from incident.ledger import Stop
from incident.model import Fact
from incident.redaction import redact

_log = structlog.get_logger()
_ServiceOrAll = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$", description="empty: every service")]
_EnvironmentOrAll = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,31})?$", description="empty: every environment")]


class StopScope(Fact):
    """What a kill switch covers."""

    service: _ServiceOrAll = ""
    environment: _EnvironmentOrAll = ""


class StopOrder(StopScope):
    """Pulls a kill switch; the token says who."""

    reason: str = Field(default="", max_length=500, description="kept in the record")


class StopReceipt(Fact):
    """The kill switch, pulled."""

    stop: Stop
    told: tuple[str, ...] | None = Field(
        description="the open incidents that were told; null: they could not be, and meet it before they act"
    )


class Stops(Fact):
    """Every kill switch that is pulled, oldest first."""

    stops: tuple[Stop, ...]


class Released(Fact):
    """The kill switch that was let go."""

    service: str
    environment: str


class Myself(Fact):
    """Whom the token makes of who presents it."""

    name: str
    scopes: tuple[Scope, ...]


_STOP = Stop(service="payment-api", environment="production", by="ada", reason="we roll back by hand", at=AT)


def build_stops(office: Office) -> APIRouter:
    """The routes of the kill switch, and who one is."""
    router = APIRouter()
    for each in (_reading(office), _operating(office), _anybody(office)):
        router.include_router(each)
    return router


def _reading(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.READ)

    @router.get("/stops", responses=told(200, "What is stopped", Stops(stops=(_STOP,))) | problems())
    async def stops() -> Stops:
        """Every kill switch that is pulled."""
        return Stops(stops=await office.switch.stops())

    return router


def _operating(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.OPERATE)
    example = {"service": _STOP.service, "environment": _STOP.environment, "reason": _STOP.reason}

    @router.post(
        "/stops",
        responses=told(200, "Pulled", StopReceipt(stop=_STOP, told=(INCIDENT,))) | problems(body=True),
    )
    async def stop(
        asked: Annotated[StopOrder, Body(openapi_examples={"asked": {"value": example}})], caller: CallerHere
    ) -> StopReceipt:
        """Pulls a kill switch: nothing that it covers is rolled back until it is let go."""
        pulled = Stop(
            service=asked.service,
            environment=asked.environment,
            by=caller.name,
            reason=redact(asked.reason),
            at=office.clock(),
        )
        if not any(pulled.covers(each.environment, each.name) for each in office.registry.service):
            # A misspelt one would stop nothing.
            raise not_valid(["body.service: expected a service that the registry has in that environment"])
        await office.switch.stop(pulled)
        _log.info("gateway.stopped", by=caller.name, service=asked.service, environment=asked.environment)
        try:
            told_now = await office.desk.stop(pulled)
        except TransientError:
            return StopReceipt(stop=pulled, told=None)
        return StopReceipt(stop=pulled, told=told_now)

    @router.delete(
        "/stops",
        responses=told(200, "Let go", Released(service="payment-api", environment="production"))
        | problems(HTTPStatus.NOT_FOUND),
    )
    async def release(asked: Annotated[StopScope, Query()], caller: CallerHere) -> Released:
        """Lets the kill switch of exactly that scope go."""
        if not await office.switch.release(asked.environment, asked.service):
            raise Refusal(HTTPStatus.NOT_FOUND, "no kill switch of that scope is pulled")
        _log.info("gateway.released", by=caller.name, service=asked.service, environment=asked.environment)
        return Released(service=asked.service, environment=asked.environment)

    return router


def _anybody(office: Office) -> APIRouter:
    router = for_scope(office.tokens, None)
    example = Myself(name="ada", scopes=(Scope.READ, Scope.APPROVE))

    @router.get("/whoami", responses=told(200, "Who you are", example) | problems())
    async def whoami(caller: CallerHere) -> Myself:
        """Whose token it is, and what it is good for."""
        return Myself(name=caller.name, scopes=tuple(scope for scope in Scope if caller.may(scope)))

    return router
