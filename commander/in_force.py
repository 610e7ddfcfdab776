"""What the doctor says of the policy: whether it can be used, and what is in force for each service."""

import json

from commander.finding import Finding, unusable
from incident.errors import ConfigurationError
from incident.evidence import Metric
from incident.policy import Policy, PolicyBook
from incident.services import Service, ServiceRegistry
from integrations.files import read_policies
from worker.settings import Settings


def examine_policy(settings: Settings, registry: ServiceRegistry) -> list[Finding]:
    """The mode of each service and what the registry sets for it, or each line that cannot be used."""
    path = settings.policy_file
    try:
        policies = read_policies(path, registry, settings.services_file)
    except ConfigurationError as error:
        return unusable("policy", error.lines)
    modes = ", ".join(f"{each.name}: {_in_force(policies, each)}" for each in registry.service)
    return [
        Finding("policy", works=True, words=f"{path if path.exists() else f'no {path}: the defaults hold'}; {modes}")
    ]


def _in_force(policies: PolicyBook, service: Service) -> str:
    policy = policies.of(service.name, service.environment).model_dump(mode="json")
    own = ", ".join(f"{key} {json.dumps(policy.get(key, False))}" for key in service.policy)
    return f"{policy['mode']}{f' (of the registry: {own})' if own else ''}"


def judged_metrics(settings: Settings, registry: ServiceRegistry, service: Service) -> frozenset[Metric]:
    """The metrics without which the service is never well; by the defaults, where the policy cannot be read."""
    thresholds = policy_of(settings, registry, service).thresholds
    return frozenset(metric for metric, _, _ in thresholds.judged())


def policy_of(settings: Settings, registry: ServiceRegistry, service: Service) -> Policy:
    """The policy in force for the service; the defaults, where the policy cannot be read."""
    try:
        policies = read_policies(settings.policy_file, registry, settings.services_file)
    except ConfigurationError:
        return Policy()
    return policies.of(service.name, service.environment)
