"""`/webhooks`: what other systems tell of. 2xx only once Temporal has taken it; 503 otherwise, and they try again."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Header, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.access import by_github_signature, by_secret, guarded
from gateway.alerts import AlertMessage, Tidings, sort
from gateway.documents import problems, told
from gateway.metrics import Metrics
from gateway.office import Office
from gateway.problems import Reason, Refusal
from gateway.routing import for_bearer
from incident.dossier import Trigger
from incident.errors import TransientError
from incident.model import Fact
from incident.services import GitHubEndpoint, Service
from integrations.text import one_line
from workflows.messages import IncidentRequest

_AT_ONCE = 8
"""Calls to Temporal under way for one message."""
_SHOWN = 50
_NAME = 100
_LOOKED_AT = frozenset({"deployment_status", "workflow_run"})
"""GitHub's events that say that something happened to a run."""


class AlertsTaken(Fact):
    """What became of the alerts of one message."""

    accepted: tuple[str, ...] = Field(description="<environment>/<service> of those whose incident has been told")
    unknown: tuple[str, ...] = Field(description="those that the registry does not have; nothing was started")


class EventTaken(Fact):
    """What became of an event."""

    result: str = Field(description="accepted, or ignored")
    told: tuple[str, ...] = Field(default=(), description="<environment>/<service> of the open incidents that look now")


class _Repository(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    full_name: str = Field(max_length=200)


class GitHubEvent(BaseModel):
    """An event of GitHub; what is not named here is not read, for the incident looks itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    repository: _Repository | None = None


_ALERT = {"status": "firing", "labels": {"alertname": "HighErrorRate", "service": "payment-api"}}
_ALERTMANAGER = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "alerts": [_ALERT]}
_GRAFANA = {"version": "1", "orgId": 1, "status": "firing", "state": "alerting", "alerts": [_ALERT]}
_EVENT = {"action": "completed", "repository": {"full_name": "acme/payment-api"}}
_TAKEN = AlertsTaken(accepted=("production/payment-api",), unknown=())


def build_webhooks(office: Office, metrics: Metrics) -> APIRouter:
    """The routes of Alertmanager, Grafana and GitHub."""
    router, settings = APIRouter(), office.settings.gateway
    router.include_router(_alerts(office, metrics, "alertmanager", settings.alertmanager_secret, _ALERTMANAGER))
    router.include_router(_alerts(office, metrics, "grafana", settings.grafana_secret, _GRAFANA))
    router.include_router(_github(office, metrics))
    return router


def _alerts(
    office: Office, metrics: Metrics, source: str, secret: SecretStr | None, example: dict[str, object]
) -> APIRouter:
    router = for_bearer(by_secret(secret), source, f"The secret of {source.capitalize()}'s webhook.")
    registered = {(each.environment, each.name) for each in office.registry.service}

    @router.post(
        f"/webhooks/{source}",
        name=source,
        responses=told(200, "Temporal has them", _TAKEN) | problems(body=True),
    )
    async def take(
        message: Annotated[AlertMessage, Body(openapi_examples={source: {"value": example}})],
    ) -> AlertsTaken:
        """Tells the incidents of the services that the alerts are about, and opens those that are not open."""
        tidings = sort(message, source, office.settings.gateway)
        known = [each for each in tidings if (each.environment, each.service) in registered]
        unknown = [each for each in tidings if (each.environment, each.service) not in registered]
        if unknown:
            metrics.webhook(source, "unknown")
        if not known:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "no alert names a service of the registry", Reason.FIELD)
        await _tell_all(office, metrics, source, known)
        metrics.webhook(source, "accepted")
        return AlertsTaken(
            accepted=tuple(each.about for each in known),
            unknown=tuple(one_line(each.about, _NAME) for each in unknown[:_SHOWN]),
        )

    return router


async def _tell_all(office: Office, metrics: Metrics, source: str, tidings: list[Tidings]) -> None:
    """Tells every service's incident; where one could not be, the sender must send all of it again."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def told_of(each: Tidings) -> None:
        async with room:
            await _tell(office, each)
            metrics.signal("alerted")

    results = await asyncio.gather(*map(told_of, tidings), return_exceptions=True)
    failures = [each for each in results if isinstance(each, BaseException)]
    if failures:
        metrics.webhook(source, "away")
        raise next((each for each in failures if not isinstance(each, TransientError)), failures[0])


async def _tell(office: Office, tidings: Tidings) -> None:
    notice = tidings.notice
    if not notice.firing:
        await office.desk.hear(tidings.environment, tidings.service, notice)
        return
    request = IncidentRequest(
        service=tidings.service,
        environment=tidings.environment,
        policy=office.policies.of(tidings.service, tidings.environment),
        trigger=Trigger(source=notice.source, reason=tidings.reason),
    )
    if await office.desk.alert(request, notice):
        with suppress(TransientError):  # the incident is open, which is more than its watcher could do
            await office.lookout.wake(tidings.environment, tidings.service)


def _github(office: Office, metrics: Metrics) -> APIRouter:
    router = APIRouter(route_class=guarded(by_github_signature(office.settings.gateway.github_secret)))

    @router.post(
        "/webhooks/github",
        responses=told(200, "The open incidents look now", EventTaken(result="accepted", told=_TAKEN.accepted))
        | told(202, "Nothing that matters here", EventTaken(result="ignored"), model=True)
        | problems(HTTPStatus.UNAUTHORIZED, body=True, token=False),
    )
    async def take(
        event: Annotated[GitHubEvent, Body(openapi_examples={"run": {"value": _EVENT}})],
        response: Response,
        x_github_event: Annotated[str, Header(max_length=100, examples=["workflow_run"])] = "",
        x_hub_signature_256: Annotated[str, Header(description="over the raw body, by the webhook's secret")] = "",  # noqa: ARG001 - for the document: it was verified
    ) -> EventTaken:
        """Lets the open incidents of the repository's services look at their rollback's run at once."""
        concerned = _services_of(office, event) if x_github_event in _LOOKED_AT else ()
        if not concerned and x_github_event != "ping":
            metrics.webhook("github", "ignored")
            response.status_code = HTTPStatus.ACCEPTED
            return EventTaken(result="ignored")
        looking = await _look(office, metrics, concerned)
        metrics.webhook("github", "accepted")
        return EventTaken(result="accepted", told=looking)

    return router


def _services_of(office: Office, event: GitHubEvent) -> tuple[Service, ...]:
    name = event.repository.full_name.lower() if event.repository else ""
    return tuple(each for each in office.registry.service if name in _repositories(each))


def _repositories(service: Service) -> set[str]:
    endpoints = (service.endpoint("deployments"), service.endpoint("rollback"))
    return {each.repository.lower() for each in endpoints if isinstance(each, GitHubEndpoint)}


async def _look(office: Office, metrics: Metrics, services: tuple[Service, ...]) -> tuple[str, ...]:
    looking = []
    try:
        for each in services:
            if await office.desk.look_now(each.environment, each.name):
                metrics.signal("look_now")
                looking.append(f"{each.environment}/{each.name}")
    except TransientError:
        metrics.webhook("github", "away")
        raise
    return tuple(looking)
