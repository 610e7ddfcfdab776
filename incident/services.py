"""The registry of services: who is watched, where its sources are, how it is rolled back."""

import tomllib
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from incident.errors import ConfigurationError, UnknownServiceError
from incident.identifiers import workflow_id
from incident.matchers import narrowing, parse_matcher, parse_selector
from incident.model import Duration, EnvironmentName, Fact, ServiceName, field_errors
from incident.prometheus import PrometheusEndpoint

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$", description="http(s), without credentials")]


class MockEndpoint(Fact):
    """A payment-api of mock_service."""

    kind: Literal["mock"]
    url: HttpUrl


class GitHubEndpoint(Fact):
    """A repository on GitHub: its deployments are the history, its rollback workflow makes an earlier one live."""

    kind: Literal["github"]
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", description="owner/name")
    environment: str = Field(
        default="", max_length=255, description="GitHub's name of the environment; empty: the service's environment"
    )
    task: str = Field(
        default="deploy", min_length=1, max_length=100, description="the task that this service's deployments carry"
    )
    workflow: str = Field(
        default="rollback.yml", pattern=r"^[A-Za-z0-9._-]+\.ya?ml$", description="file name of the rollback workflow"
    )
    ref: str = Field(default="main", pattern=r"^[A-Za-z0-9._/-]{1,200}$", description="the branch that it runs from")


def _selector(text: str) -> str:
    narrowing(parse_selector(text))
    return text


def _matchers(texts: tuple[str, ...]) -> tuple[str, ...]:
    narrowing(tuple(map(parse_matcher, texts)))
    return texts


_FieldName = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=100)]


class LokiEndpoint(Fact):
    """The streams of a Grafana Loki that one selector names."""

    kind: Literal["loki"]
    url: HttpUrl
    selector: Annotated[str, AfterValidator(_selector)] = Field(
        max_length=2000, description='which streams are read, such as {app="payment-api"}'
    )
    tenant: str = Field(
        default="", pattern=r"^[A-Za-z0-9!_.*'()|-]{0,150}$", description="sent as X-Scope-OrgID; empty: none is"
    )
    window: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=1),
        description="how far back lines are read; what is new can be told of deployments within it",
    )
    lines: int = Field(
        default=1000, ge=10, le=5000, description="the most that one question asks for; Loki's own limit is 5,000"
    )


class JsonLinesEndpoint(Fact):
    """An address that answers with the newest log lines, a JSON object on each; `a.b` is the field b of a."""

    kind: Literal["jsonlines"]
    url: HttpUrl
    time: _FieldName = Field(default="time", description="the field with the time: RFC 3339, or a number since 1970")
    time_unit: Literal["s", "ms", "us", "ns"] = Field(default="s", description="the unit of a time that is a number")
    level: _FieldName = "level"
    message: _FieldName = "message"
    error_type: _FieldName = "error.type"


class AlertmanagerEndpoint(Fact):
    """The alerts of a Prometheus Alertmanager that every matcher holds for."""

    kind: Literal["alertmanager"]
    url: HttpUrl
    peers: tuple[HttpUrl, ...] = Field(
        default=(), max_length=8, description="its other members, asked at the same time; one answer is enough"
    )
    matchers: Annotated[tuple[str, ...], AfterValidator(_matchers)] = Field(
        max_length=20, description="""such as 'service="payment-api"'; all of them hold"""
    )


MetricsEndpoint = Annotated[MockEndpoint | PrometheusEndpoint, Field(discriminator="kind")]
"""One outside system that has a service's metrics."""
Endpoint = Annotated[MockEndpoint | GitHubEndpoint, Field(discriminator="kind")]
"""One outside system that knows a service's deployments."""
LogsEndpoint = Annotated[MockEndpoint | LokiEndpoint | JsonLinesEndpoint, Field(discriminator="kind")]
"""Where a service's log lines are."""
AlertsEndpoint = Annotated[MockEndpoint | AlertmanagerEndpoint, Field(discriminator="kind")]
"""Where a service's alerts are."""
AnyEndpoint = (
    MockEndpoint | GitHubEndpoint | PrometheusEndpoint | LokiEndpoint | JsonLinesEndpoint | AlertmanagerEndpoint
)
"""Every kind of outside system that a service may name."""
EndpointName = Literal["metrics", "logs", "alerts", "deployments", "rollback"]
Owner = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,99}$", description="a team or a person")]


class Service(Fact):
    """One service in one environment."""

    name: ServiceName
    environment: EnvironmentName = "production"
    source: MockEndpoint | None = Field(default=None, description="stands for each of the five below that is not given")
    metrics: MetricsEndpoint | None = None
    logs: LogsEndpoint | None = None
    alerts: AlertsEndpoint | None = None
    deployments: Endpoint | None = None
    rollback: Endpoint | None = None
    owners: tuple[Owner, ...] = Field(default=(), max_length=20, description="who is responsible for it")
    depends_on: tuple[ServiceName, ...] = Field(
        default=(), max_length=100, description="the services of the same environment that it needs"
    )

    @model_validator(mode="after")
    def _every_source_is_given(self) -> Self:
        for name in ("metrics", "logs", "alerts", "deployments", "rollback"):
            if getattr(self, name) is None and self.source is None:
                raise ValueError(
                    f'{name}: expected an endpoint, such as {{kind = "mock", url = "http://…"}}, or `source`'
                )
        return self

    def endpoint(self, name: EndpointName) -> AnyEndpoint:
        """The endpoint of that name, or the one that stands for it."""
        given: AnyEndpoint | None = getattr(self, name)
        endpoint = given or self.source
        if endpoint is None:  # pragma: no cover - the validator above does not let it come to this
            raise ValueError(f"{self.name}: no endpoint for {name}")
        return endpoint


class ServiceRegistry(Fact):
    """Every known service: what `services.toml` holds."""

    version: Literal[1] = 1
    service: tuple[Service, ...] = Field(description="`[[service]]` tables, at least one")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.service:
            raise ValueError("service: expected at least one [[service]] table")
        ids = [workflow_id(service.environment, service.name) for service in self.service]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(f"service: expected each name once in an environment; twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _dependencies_are_known(self) -> Self:
        place = {(each.environment, each.name): f"service[{n}].depends_on" for n, each in enumerate(self.service)}
        needed = {(each.environment, each.name): each.depends_on for each in self.service}
        for (environment, name), others in needed.items():
            if unknown := [other for other in others if (environment, other) not in needed]:
                here = place[environment, name]
                raise ValueError(f"{here}: expected services of {environment}; not among them: {', '.join(unknown)}")
        try:
            TopologicalSorter(
                {each: [(each[0], other) for other in others] for each, others in needed.items()}
            ).prepare()
        except CycleError as error:
            circle: list[tuple[str, str]] = error.args[1][::-1]
            names = " -> ".join(name for _, name in circle)
            raise ValueError(f"{place[circle[0]]}: expected no circle, and there is one: {names}") from None
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all services."""
        return tuple(service.name for service in self.service)

    def find(self, environment: str, name: str) -> Service:
        """The service of that name in that environment.

        Raises:
            UnknownServiceError: there is none.
        """
        for service in self.service:
            if (service.environment, service.name) == (environment, name):
                return service
        raise UnknownServiceError(
            environment, name, tuple(f"{service.name} ({service.environment})" for service in self.service)
        )


def calls_around(registry: ServiceRegistry, environment: str, name: str) -> tuple[tuple[str, str], ...]:
    """(caller, callee): what `name` needs, directly or not, and who needs it directly.

    Raises:
        UnknownServiceError: there is no such service.
    """
    known = {each.name: each for each in registry.service if each.environment == environment}
    below: dict[str, None] = {}
    waiting = [registry.find(environment, name).name]
    while waiting:
        here = waiting.pop()
        if here not in below:
            below[here] = None
            waiting += known[here].depends_on
    callers = [each.name for each in known.values() if name in each.depends_on]
    down = [(here, other) for here in below for other in known[here].depends_on]
    return (*((caller, name) for caller in callers), *down)


def parse_registry(text: str, where: str) -> ServiceRegistry:
    """The registry that the TOML `text` holds.

    Raises:
        ConfigurationError: a line for each key that is malformed or missing, beginning with `where`.
    """
    try:
        return ServiceRegistry.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(*field_errors(error, where)) from error
