"""`/watches`: which services are watched."""

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Body, Query

from gateway.access import CallerHere
from gateway.documents import problems, told
from gateway.office import Office
from gateway.problems import Refusal, not_valid
from gateway.routing import for_scope
from gateway.tokens import Scope
from incident.errors import UnknownServiceError
from incident.model import EnvironmentName, Fact, ServiceName
from incident.watching import WatchedService
from workflows.messages import WatchRequest

_log = structlog.get_logger()


class WatchOrder(Fact):
    """One service in one environment."""

    service: ServiceName
    environment: EnvironmentName = "production"


class Watches(Fact):
    """Every service that is watched, by name."""

    watched: tuple[WatchedService, ...]


_ORDER = WatchOrder(service="payment-api", environment="production")


def build_watches(office: Office) -> APIRouter:
    """The routes of watched services."""
    router = APIRouter()
    for each in (_reading(office), _operating(office)):
        router.include_router(each)
    return router


def _reading(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.READ)
    example = Watches(watched=(WatchedService(**_ORDER.model_dump(), stands="watching"),))

    @router.get("/watches", responses=told(200, "What is watched", example) | problems())
    async def watches() -> Watches:
        """Every service that is watched."""
        return Watches(watched=await office.lookout.watched())

    return router


def _operating(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.OPERATE)
    example = _ORDER.model_dump()

    @router.post("/watches", responses=told(200, "Watched from now on", _ORDER) | problems(body=True))
    async def watch(
        asked: Annotated[WatchOrder, Body(openapi_examples={"asked": {"value": example}})], caller: CallerHere
    ) -> WatchOrder:
        """Has a service watched under its policy as it is now; one that is watched already takes that over."""
        try:
            office.registry.find(asked.environment, asked.service)
        except UnknownServiceError as error:
            raise not_valid([f"body.service: {error.problem}"]) from error
        policy = office.policies.of(asked.service, asked.environment)
        await office.lookout.watch(WatchRequest(service=asked.service, environment=asked.environment, policy=policy))
        _log.info("gateway.watched", by=caller.name, service=asked.service, environment=asked.environment)
        return asked

    @router.delete("/watches", responses=told(200, "Watched no longer", _ORDER) | problems(HTTPStatus.NOT_FOUND))
    async def unwatch(asked: Annotated[WatchOrder, Query()], caller: CallerHere) -> WatchOrder:
        """Ends the watch of a service; an incident that it opened goes on."""
        if not await office.lookout.stop(asked.environment, asked.service):
            raise Refusal(HTTPStatus.NOT_FOUND, "that service is not watched")
        _log.info("gateway.unwatched", by=caller.name, service=asked.service, environment=asked.environment)
        return asked

    return router
