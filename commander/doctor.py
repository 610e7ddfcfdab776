"""`commander doctor`: asks every configured system whether it would work."""

import asyncio
from collections.abc import Awaitable, Collection
from datetime import UTC, datetime, timedelta

from rich import box
from rich.table import Table
from rich.text import Text
from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.burning import BurnQuestion, ErrorBudgets
from activities.observation import Observer
from commander.finding import Finding, asked, unusable
from commander.in_force import examine_policy, judged_metrics, policy_of
from commander.reach import examine_chat, examine_gateway, examine_pager
from commander.settings import PersonSettings
from commander.view import plain
from incident.burn_rate import Objective
from incident.errors import ConfigurationError, PermanentError
from incident.evidence import (
    AlertsReport,
    AlertState,
    Evidence,
    Health,
    LogsReport,
    Metric,
    Reading,
    SourceReport,
    SourceState,
)
from incident.services import GitHubEndpoint, ServiceRegistry
from incident.services import Service as RegisteredService
from integrations.egress import Egress, build_guarded_client
from integrations.files import read_registry
from integrations.github import Checked, GitHub, GitHubDeployments, inspect_deployments, inspect_rollback
from integrations.pagerduty import PagerDutySettings
from integrations.prometheus import NO_QUERY, PrometheusMetrics
from integrations.slack import SlackSettings
from integrations.store import SqlStore
from integrations.temporal import connect
from worker.bootstrap import build_ports
from worker.settings import Settings
from worker.sources import ConfiguredServices
from workflows.names import SEARCH_ATTRIBUTES, TASK_QUEUE

_ANSWER_WITHIN = timedelta(seconds=10)


def table(findings: list[Finding]) -> Table:
    """The findings, a row each."""
    shown = Table(box=box.SIMPLE_HEAVY)
    for column in ("system", "works", "seen, or what to set"):
        shown.add_column(column, overflow="fold")
    for finding in findings:
        mark = Text("yes", "green") if finding.works else Text("no", "bold red")
        shown.add_row(finding.system, mark, Text(plain(finding.words)))
    return shown


async def examine(settings: Settings, only: str = "", person: PersonSettings | None = None) -> list[Finding]:
    """A finding for each system that the settings name; settings that cannot be used are findings too.

    Args:
        settings: what is examined.
        only: one service by name; empty: every one.
        person: who asks; left out, nobody whom the gateway would know.

    Raises:
        PermanentError: the registry has no service of that name.
    """
    findings = [
        await _asked("temporal", _temporal(settings)),
        await _asked("worker", _worker(settings)),
        await _asked("store", _store(settings)),
        *await _gateway(person or PersonSettings.model_construct()),
        *await examine_chat(settings.slack),
        *examine_pager(settings.pagerduty),
    ]
    try:
        registry = read_registry(settings.services_file)
    except ConfigurationError as error:
        return [*findings, *unusable("services", error.lines)]
    findings.append(Finding("services", works=True, words=f"{', '.join(registry.names)} in {settings.services_file}"))
    findings += examine_policy(settings, registry)
    return [*findings, *await _examine_services(settings, registry, only)]


async def _examine_services(settings: Settings, registry: ServiceRegistry, only: str) -> list[Finding]:
    examined = [service for service in registry.service if only in {"", service.name}]
    if not examined:
        raise PermanentError(
            str(settings.services_file), f"no service {only!r}; known: {', '.join(sorted(set(registry.names)))}"
        )
    async with build_guarded_client(settings.http, settings.destinations(registry)) as http:
        try:
            services = ConfiguredServices(registry, http, settings.github, settings.prometheus, settings.credentials)
        except ConfigurationError as error:
            return [each for line in error.lines for each in unusable(_system_of(line), (line,))]
        try:
            # The chat and the pager are findings of their own.
            alone = settings.model_copy(update={"slack": SlackSettings(), "pagerduty": PagerDutySettings()})
            analyst = build_ports(alone, registry, http).analyst
        except ConfigurationError as error:
            findings = unusable("analyst", error.lines)
        else:
            findings = [Finding("analyst", works=True, words=f"{type(analyst).__name__}")]
        observer = Observer(services, lambda: datetime.now(UTC))
        looks = await asyncio.gather(
            *(observer.context(service.environment, service.name, _ANSWER_WITHIN) for service in examined)
        )
        findings += [finding for evidence in looks for finding in _sources(evidence)]
        for service in examined:
            findings += await _on_prometheus(services, service, judged_metrics(settings, registry, service))
            findings += await _on_burn(services, service, policy_of(settings, registry, service).objective)
            findings += await _on_github(services.github, service) if services.github else []
    return findings


async def _on_prometheus(
    services: ConfiguredServices, service: RegisteredService, judged: Collection[Metric]
) -> list[Finding]:
    """Each value that Prometheus has of the service, with its unit, or why there is none."""
    metrics = services.connect(service.environment, service.name).metrics
    if not isinstance(metrics, PrometheusMetrics):
        return []
    seen = await metrics.inspect()
    found = [_value(service.name, reading, judged) for reading in seen.readings]
    why = f" ({seen.health_problem})" if seen.health_problem else ""
    known = seen.health is not Health.UNKNOWN
    return [*found, Finding(f"{service.name} health", works=known, words=f"prometheus: {seen.health}{why}")]


def _value(service: str, reading: Reading, judged: Collection[Metric]) -> Finding:
    unasked, wanted = reading.problem == NO_QUERY, reading.metric in judged
    words = f"prometheus: {reading.shown}{f' ({reading.problem})' if reading.problem else ''}"
    if unasked and wanted:
        words += f"; the policy judges it: give a query, or set {reading.metric} = false among its thresholds"
    works = reading.value is not None or (unasked and not wanted)
    return Finding(f"{service} {reading.metric}", works=works, words=words)


async def _on_burn(
    services: ConfiguredServices, service: RegisteredService, objective: Objective | None
) -> list[Finding]:
    """How fast the service burns what its objective allows, or why that is not known; nothing where it has none."""
    if objective is None:
        return []
    question = BurnQuestion(service.environment, service.name, _ANSWER_WITHIN, objective)
    seen = await ErrorBudgets(services, lambda: datetime.now(UTC)).report(question)
    known = bool(seen.burns) and not any(None in (each.long_burn, each.short_burn) for each in seen.paging().burns)
    shown = "; ".join((*(each.words for each in seen.burns), *((seen.problem,) if seen.problem else ())))
    return [Finding(f"{service.name} burn rate", works=known, words=f"{shown}, of {objective.words}")]


async def _on_github(github: GitHub, service: RegisteredService) -> list[Finding]:
    deployments, rollback = service.endpoint("deployments"), service.endpoint("rollback")
    checked: list[Checked] = []
    if isinstance(rollback, GitHubEndpoint):
        checked += await inspect_rollback(github, rollback)
    if isinstance(deployments, GitHubEndpoint):
        source = GitHubDeployments(github, deployments, service.environment, service.name)
        checked += await inspect_deployments(source)
    return [Finding(f"{service.name} {each.subject}", each.works, f"github: {each.words}") for each in checked]


async def _gateway(person: PersonSettings) -> list[Finding]:
    async with build_guarded_client(person.http, Egress({"COMMANDER__URL": [person.commander.url]})) as http:
        return await examine_gateway(person, http)


async def _asked(system: str, answer: Awaitable[str]) -> Finding:
    try:
        return await asked(system, answer)
    except RPCError as error:
        return Finding(system, works=False, words=error.message)


async def _temporal(settings: Settings) -> str:
    client = await connect(settings.temporal)
    missing = await _unregistered(client)
    if missing:
        words = " ".join(f"--name {name} --type Keyword" for name in missing)
        raise PermanentError(
            "temporal", f"lacks search attributes; register them: temporal operator search-attribute create {words}"
        )
    return settings.temporal.address


async def _unregistered(client: Client) -> list[str]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [key.name for key in SEARCH_ATTRIBUTES if answer.custom_attributes.get(key.name) != keyword]


async def _worker(settings: Settings) -> str:
    client = await connect(settings.temporal)
    queue = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=TASK_QUEUE),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    if not queue.pollers:
        raise PermanentError("worker", f"none takes work from the queue {TASK_QUEUE}; start one: python -m worker")
    deployment = settings.worker.deployment
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
    answer = await client.workflow_service.describe_worker_deployment(request)
    build = answer.worker_deployment_info.routing_config.current_deployment_version.build_id
    if not build:
        raise PermanentError(
            "worker",
            f"no build of {deployment} is current, so no incident would start: python -m worker.promote",
        )
    return f"new incidents go to build {build}"


async def _store(settings: Settings) -> str:
    store = SqlStore(settings.store)
    kept = len(await store.newest(1000))
    await store.close()
    return f"{kept} snapshots can be read"


def _sources(evidence: Evidence) -> list[Finding]:
    failed = {name for name, report in _reports(evidence).items() if report.state is SourceState.FAILED}
    return [
        Finding(f"{evidence.service} {name}", works=name not in failed, words=words)
        for name, words in seen_of(evidence).items()
    ]


def seen_of(evidence: Evidence) -> dict[str, str]:
    """What was read of each source, in words: who gave it, how much, in which unit; or why nothing was."""
    seen = {
        "metrics": _readings(evidence),
        "logs": _log(evidence.logs),
        "alerts": _alerts(evidence.alerts),
        "deployments": f"{len(evidence.deployments.deployments)} known",
    }
    return {name: f"{report.source}: {_told(report, seen[name])}" for name, report in _reports(evidence).items()}


def _reports(evidence: Evidence) -> dict[str, SourceReport]:
    return {
        "metrics": evidence.metrics,
        "logs": evidence.logs,
        "alerts": evidence.alerts,
        "deployments": evidence.deployments,
    }


def _told(report: SourceReport, seen: str) -> str:
    if report.state is SourceState.FAILED:
        return report.problem
    return f"{seen}; {report.problem}" if report.problem else seen


def _log(logs: LogsReport) -> str:
    read = len(logs.lines) + logs.omitted - logs.unreadable
    if not logs.templates:
        return _count(read, "line") if read else "no lines"
    new = [each.new for each in logs.templates]
    since = f" since {logs.read_since:%Y-%m-%d %H:%M:%SZ}" if logs.read_since else ""
    more = ", of more that there are" if logs.capped else ""
    odd = f", and {_count(logs.unreadable, 'line')} that cannot be read" if logs.unreadable else ""
    told = f"{new.count(True)} of them new since the live deployment" if None not in new else "what is new is not known"
    return f"{_count(read, 'line')}{since}{more}{odd}; {_count(len(new) + logs.more_templates, 'template')}, {told}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _alerts(alerts: AlertsReport) -> str:
    counts = [(state, sum(each.state is state for each in alerts.alerts)) for state in AlertState]
    counted = [f"{count} {state}" for state, count in counts if count or state is AlertState.FIRING]
    return ", ".join([*counted, *([f"{alerts.omitted} left out"] if alerts.omitted else [])])


def _system_of(line: str) -> str:
    """The system that a setting's name begins with."""
    return line.partition("__")[0].lower()


def _readings(evidence: Evidence) -> str:
    shown = (Metric.ERROR_RATE, Metric.P99_LATENCY, Metric.CPU_USAGE, Metric.MEMORY_USAGE)
    return ", ".join(f"{metric.value} {metric.show(evidence.metrics.value(metric))}" for metric in shown)
