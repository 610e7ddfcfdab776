"""What the registry says of a service, as callers may repeat it and must not contradict it."""

from pydantic import Field

from incident.model import EnvironmentName, Fact, ServiceName
from incident.policy import Policy
from incident.services import EndpointName, GitHubEndpoint, MockEndpoint, Service
from integrations.mock_service import ALERTS_PATH, LOGS_PATH, METRICS_PATH

_MOST = 300
_PERCENT = 100
_REPEATED = ("service_url", "metrics_url", "logs_url", "alerts_url", "deployments_repo")
_AS_REGISTERED = "as the registry says it; empty: whatever that says"


class Expectations(Fact):
    """What a caller believes of a service: where it is looked at, and from which confidence on it is rolled back."""

    service_url: str = Field(default="", max_length=_MOST, description=_AS_REGISTERED)
    metrics_url: str = Field(default="", max_length=_MOST, description=_AS_REGISTERED)
    logs_url: str = Field(default="", max_length=_MOST, description=_AS_REGISTERED)
    alerts_url: str = Field(default="", max_length=_MOST, description=_AS_REGISTERED)
    deployments_repo: str = Field(default="", max_length=_MOST, description=f"owner/name, {_AS_REGISTERED}")
    min_confidence_for_rollback: int | None = Field(
        default=None,
        ge=0,
        le=_PERCENT,
        strict=True,
        description="percent; raises the policy's for this incident, and never lowers it",
    )


class RegisteredService(Fact):
    """One service of the registry, and from which confidence on it would be rolled back without a person."""

    service: ServiceName
    environment: EnvironmentName
    service_url: str
    metrics_url: str
    logs_url: str
    alerts_url: str
    deployments_repo: str = Field(description="owner/name on GitHub; empty: its deployments are not GitHub's")
    chaos_url: str = Field(description="below it chaos may be injected; empty: nowhere")
    min_confidence: float = Field(description="percent, in force for this request")


def registered(service: Service, policy: Policy) -> RegisteredService:
    """What the registry says of `service`, under `policy`."""
    deployments = service.endpoint("deployments")
    metrics = service.endpoint("metrics")
    mock = metrics if isinstance(metrics, MockEndpoint) else service.source
    base = mock.url.rstrip("/") if mock else ""
    return RegisteredService(
        service=service.name,
        environment=service.environment,
        service_url=base,
        metrics_url=_address(service, "metrics", METRICS_PATH),
        logs_url=_address(service, "logs", LOGS_PATH),
        alerts_url=_address(service, "alerts", ALERTS_PATH),
        deployments_repo=deployments.repository if isinstance(deployments, GitHubEndpoint) else "",
        chaos_url=base,
        min_confidence=round(policy.min_confidence * _PERCENT, 1),
    )


def _address(service: Service, name: EndpointName, path: str) -> str:
    """Where that source is, at `path` of a mock service; of another kind, the address that the registry has."""
    endpoint = service.endpoint(name)
    if isinstance(endpoint, GitHubEndpoint):
        return ""
    return endpoint.url.rstrip("/") + (path if isinstance(endpoint, MockEndpoint) else "")


def _same(name: str, said: str, known: str) -> bool:
    if name == "deployments_repo":  # GitHub's names do not tell capitals from small letters
        return said.lower() == known.lower()
    return said.rstrip("/") == known


def contradictions(expected: Expectations, found: RegisteredService) -> list[str]:
    """A line for each field that says otherwise than the registry."""
    pairs = {name: (getattr(expected, name), getattr(found, name)) for name in _REPEATED}
    return [
        f"body.{name}: expected {f'{known}, as the registry says, or nothing' if known else 'nothing: there is none'}"
        for name, (said, known) in pairs.items()
        if said and not _same(name, said, known)
    ]


def tightened(policy: Policy, expected: Expectations) -> Policy:
    """`policy`, wanting at least the confidence that the caller wants."""
    percent = expected.min_confidence_for_rollback
    if percent is None or percent <= policy.min_confidence * _PERCENT:
        return policy
    return policy.model_copy(update={"min_confidence": percent / _PERCENT})
