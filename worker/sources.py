"""The sources and rollback targets of the registry's services: which adapter stands behind which endpoint."""

from dataclasses import dataclass

import httpx

from incident import ports
from incident.errors import ConfigurationError
from incident.prometheus import PrometheusEndpoint
from incident.services import (
    AlertmanagerEndpoint,
    AnyEndpoint,
    EndpointName,
    GitHubEndpoint,
    JsonLinesEndpoint,
    LokiEndpoint,
    MockEndpoint,
    Service,
    ServiceRegistry,
    calls_around,
)
from integrations.alertmanager import AlertmanagerAlerts
from integrations.credentials import SourceCredentials
from integrations.github import GitHub, GitHubDeployments, GitHubRollback, GitHubSettings
from integrations.json_lines import JsonLines
from integrations.loki import LokiLogs
from integrations.mock_service import MockPaymentApi
from integrations.prometheus import (
    Prometheus,
    PrometheusCounts,
    PrometheusHistory,
    PrometheusMetrics,
    PrometheusSettings,
)

_BY_GITHUB: tuple[EndpointName, ...] = ("deployments", "rollback")
_NO_GITHUB = GitHubSettings()
_PLAIN_PROMETHEUS = PrometheusSettings()
_NO_CREDENTIALS = SourceCredentials()


@dataclass(frozen=True)
class ConnectedService:
    """The connections of one service."""

    metrics: ports.MetricSource
    logs: ports.LogSource
    alerts: ports.AlertSource
    deployments: ports.DeploymentSource
    rollback: ports.RollbackTarget


class ConfiguredServices:
    """The services of the registry, each connected when it is first asked for.

    Args:
        registry: the services.
        client: what every HTTP request goes through.
        github: how GitHub is reached, where a service names it; all of them share one connection to it.
        prometheus: how every Prometheus is asked that a service names; all of them share one limit.
        credentials: what is shown to the other sources.

    Raises:
        ConfigurationError: a service names GitHub, and there is no token for it, or credentials cannot be sent; names
            the variable.
    """

    def __init__(
        self,
        registry: ServiceRegistry,
        client: httpx.AsyncClient,
        github: GitHubSettings = _NO_GITHUB,
        prometheus: PrometheusSettings = _PLAIN_PROMETHEUS,
        credentials: SourceCredentials = _NO_CREDENTIALS,
    ) -> None:
        if problems := credentials.problems():
            raise ConfigurationError(*problems)
        self._registry = registry
        self._client = client
        self._credentials = credentials
        self._connected: dict[tuple[str, str], ConnectedService] = {}
        named = any(isinstance(each.endpoint(name), GitHubEndpoint) for each in registry.service for name in _BY_GITHUB)
        self.github = GitHub(client, github) if named else None
        """The connection to GitHub; `None` where no service names it."""
        measured = any(isinstance(each.endpoint("metrics"), PrometheusEndpoint) for each in registry.service)
        self._prometheus = Prometheus(client, prometheus) if measured else None

    def connect(self, environment: str, service: str) -> ConnectedService:
        """The connections of that service.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        known = self._registry.find(environment, service)
        if (environment, service) not in self._connected:
            self._connected[environment, service] = ConnectedService(
                metrics=self._metrics(known),
                logs=self._logs(known),
                alerts=self._alerts(known),
                deployments=self._deployments(known),
                rollback=self._rollback(known),
            )
        return self._connected[environment, service]

    def calls(self, environment: str, service: str) -> tuple[tuple[str, str], ...]:
        """(caller, callee): what the service needs, directly or not, and who needs it directly.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        return calls_around(self._registry, environment, service)

    def history(self, environment: str, service: str) -> ports.MetricHistory | None:
        """What was measured of that service; `None`: what measures it keeps nothing.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        endpoint = self._registry.find(environment, service).endpoint("metrics")
        if self._prometheus and isinstance(endpoint, PrometheusEndpoint):
            return PrometheusHistory(self._prometheus, endpoint)
        return None

    def counter(self, environment: str, service: str) -> ports.RequestCounter | None:
        """What counts the requests of that service; `None`: what measures it does not.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        endpoint = self._registry.find(environment, service).endpoint("metrics")
        if self._prometheus and isinstance(endpoint, PrometheusEndpoint) and endpoint.set:
            return PrometheusCounts(self._prometheus, endpoint)
        return None

    def _metrics(self, service: Service) -> ports.MetricSource:
        endpoint = service.endpoint("metrics")
        if self._prometheus and isinstance(endpoint, PrometheusEndpoint):
            return PrometheusMetrics(self._prometheus, endpoint)
        return self._mock(endpoint)

    def _logs(self, service: Service) -> ports.LogSource:
        match service.endpoint("logs"):
            case LokiEndpoint() as endpoint:
                return LokiLogs(self._client, endpoint, self._credentials.loki)
            case JsonLinesEndpoint() as endpoint:
                return JsonLines(self._client, endpoint, self._credentials.json_lines)
            case endpoint:
                return self._mock(endpoint)

    def _alerts(self, service: Service) -> ports.AlertSource:
        endpoint = service.endpoint("alerts")
        if isinstance(endpoint, AlertmanagerEndpoint):
            return AlertmanagerAlerts(self._client, endpoint, self._credentials.alertmanager)
        return self._mock(endpoint)

    def _deployments(self, service: Service) -> ports.DeploymentSource:
        endpoint = service.endpoint("deployments")
        if self.github and isinstance(endpoint, GitHubEndpoint):
            return GitHubDeployments(self.github, endpoint, service.environment, service.name)
        return self._mock(endpoint)

    def _rollback(self, service: Service) -> ports.RollbackTarget:
        endpoint = service.endpoint("rollback")
        if self.github and isinstance(endpoint, GitHubEndpoint):
            return GitHubRollback(self.github, endpoint)
        return self._mock(endpoint)

    def _mock(self, endpoint: AnyEndpoint) -> MockPaymentApi:
        if not isinstance(endpoint, MockEndpoint):  # pragma: no cover - the registry's model does not let it come to it
            raise ConfigurationError(f"{endpoint.kind}: gives nothing of this kind")
        return MockPaymentApi(self._client, endpoint.url)
