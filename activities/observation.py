"""Looking at a service: all its sources at once, each with its own time-out, none able to spoil the others."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from incident.errors import IntegrationError
from incident.evidence import (
    AlertsReport,
    Deployment,
    DeploymentsReport,
    Evidence,
    LogsReport,
    MetricsReport,
    Neighbour,
    Source,
    SourceState,
)
from incident.log_templates import told_apart
from incident.ports import Services, Surroundings

_Report = TypeVar("_Report", MetricsReport, LogsReport, AlertsReport, DeploymentsReport)


class Observer:
    """Collects evidence of the services of a registry.

    Args:
        services: their connections.
        clock: the time, aware.
        surroundings: knows which services are around one; without it none is looked at.
    """

    def __init__(
        self, services: Services, clock: Callable[[], datetime], surroundings: Surroundings | None = None
    ) -> None:
        self._services, self._clock, self._surroundings = services, clock, surroundings

    async def context(self, environment: str, service: str, limit: timedelta) -> Evidence:
        """The whole context. A source that fails or takes longer than `limit` is reported as failed.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        return await self._with_around(
            self._look(environment, service, limit, frozenset(Source)), environment, service, limit
        )

    async def pulse(self, environment: str, service: str, limit: timedelta, *, deployments: bool = False) -> Evidence:
        """Metrics and alerts: what recovery is judged by; and the deployments, if wanted. The others are empty.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        asked = {Source.METRICS, Source.ALERTS} | ({Source.DEPLOYMENTS} if deployments else set())
        return await self._look(environment, service, limit, frozenset(asked))

    async def verification(
        self, environment: str, service: str, limit: timedelta, *, deployments: bool = False
    ) -> Evidence:
        """As `pulse`, with the metrics of the services around: a rollback may move a fault next door.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        looking = self.pulse(environment, service, limit, deployments=deployments)
        return await self._with_around(looking, environment, service, limit)

    async def confirmation(self, environment: str, service: str, limit: timedelta) -> Evidence:
        """Metrics and deployments only: what an action rests on. The other sources are empty and cannot delay it.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        return await self._look(environment, service, limit, frozenset({Source.METRICS, Source.DEPLOYMENTS}))

    async def releases(self, environment: str, service: str, limit: timedelta) -> DeploymentsReport:
        """The deployment history alone; one that fails or takes longer than `limit` says so.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        source = self._services.connect(environment, service).deployments
        return await _read(source.read_deployments, DeploymentsReport, limit, asked=True)

    async def _with_around(
        self, looking: Awaitable[Evidence], environment: str, service: str, limit: timedelta
    ) -> Evidence:
        calls = self._surroundings.calls(environment, service) if self._surroundings else ()
        near = sorted({name for call in calls if service in call for name in call} - {service})
        neighbours = asyncio.gather(*(self._neighbour(environment, name, limit) for name in near))
        seen, around = await asyncio.gather(looking, neighbours)
        return seen.model_copy(update={"around": tuple(around)}) if around else seen

    async def _neighbour(self, environment: str, service: str, limit: timedelta) -> Neighbour:
        source = self._services.connect(environment, service).metrics
        report = await _read(source.read_metrics, MetricsReport, limit, asked=True)
        values = {each.metric: None if each.at_least else each.value for each in report.readings}
        return Neighbour(service=service, values=values)

    async def _look(self, environment: str, service: str, limit: timedelta, asked: frozenset[Source]) -> Evidence:
        known = self._services.connect(environment, service)
        metrics, logs, alerts, deployments = await asyncio.gather(
            _read(known.metrics.read_metrics, MetricsReport, limit, asked=Source.METRICS in asked),
            _read(known.logs.read_logs, LogsReport, limit, asked=Source.LOGS in asked),
            _read(known.alerts.read_alerts, AlertsReport, limit, asked=Source.ALERTS in asked),
            _read(known.deployments.read_deployments, DeploymentsReport, limit, asked=Source.DEPLOYMENTS in asked),
        )
        return Evidence(
            service=service,
            environment=environment,
            collected_at=self._clock(),
            metrics=metrics,
            logs=_told_apart(logs, deployments.live),
            alerts=alerts,
            deployments=deployments,
        )


def _told_apart(logs: LogsReport, live: Deployment | None) -> LogsReport:
    kept = told_apart(logs.templates, live.activated_at if live else None)
    more = logs.more_templates + len(logs.templates) - len(kept)
    return logs.model_copy(update={"templates": kept, "more_templates": more})


async def _read(
    read: Callable[[], Awaitable[_Report]], report: type[_Report], limit: timedelta, *, asked: bool
) -> _Report:
    if not asked:
        return report(source="not asked", state=SourceState.EMPTY)
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await read()
    except TimeoutError:
        problem = f"no answer within {limit.total_seconds():g} s"
        return report(source="unknown", state=SourceState.FAILED, problem=problem)
    except IntegrationError as error:
        return report(source=error.system, state=SourceState.FAILED, problem=error.problem)
