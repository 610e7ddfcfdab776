"""Looking at a service: all its sources at once, each with its own time-out, none able to spoil the others."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from incident.errors import IntegrationError
from incident.evidence import AlertsReport, DeploymentsReport, Evidence, LogsReport, MetricsReport, SourceState
from incident.ports import Services

_Report = TypeVar("_Report", MetricsReport, LogsReport, AlertsReport, DeploymentsReport)


class Observer:
    """Collects evidence of the services of a registry."""

    def __init__(self, services: Services, clock: Callable[[], datetime]) -> None:
        self._services = services
        self._clock = clock

    async def context(self, environment: str, service: str, limit: timedelta) -> Evidence:
        """The whole context. A source that fails or takes longer than `limit` is reported as failed.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        known = self._services.connect(environment, service)
        metrics, logs, alerts, deployments = await asyncio.gather(
            _read(known.metrics.read_metrics(), MetricsReport, limit),
            _read(known.logs.read_logs(), LogsReport, limit),
            _read(known.alerts.read_alerts(), AlertsReport, limit),
            _read(known.deployments.read_deployments(), DeploymentsReport, limit),
        )
        return Evidence(
            service=service,
            environment=environment,
            collected_at=self._clock(),
            metrics=metrics,
            logs=logs,
            alerts=alerts,
            deployments=deployments,
        )

    async def pulse(self, environment: str, service: str, limit: timedelta) -> Evidence:
        """Metrics and alerts only: what recovery is judged by. Logs and deployments are empty.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        known = self._services.connect(environment, service)
        metrics, alerts = await asyncio.gather(
            _read(known.metrics.read_metrics(), MetricsReport, limit),
            _read(known.alerts.read_alerts(), AlertsReport, limit),
        )
        return Evidence(
            service=service,
            environment=environment,
            collected_at=self._clock(),
            metrics=metrics,
            logs=LogsReport(source="not asked", state=SourceState.EMPTY),
            alerts=alerts,
            deployments=DeploymentsReport(source="not asked", state=SourceState.EMPTY),
        )


async def _read(reading: Awaitable[_Report], report: type[_Report], limit: timedelta) -> _Report:
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await reading
    except TimeoutError:
        problem = f"no answer within {limit.total_seconds():g} s"
        return report(source="unknown", state=SourceState.FAILED, problem=problem)
    except IntegrationError as error:
        return report(source=error.system, state=SourceState.FAILED, problem=error.problem)
