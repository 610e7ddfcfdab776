"""A service's metrics, as Prometheus has them."""

import asyncio
from datetime import datetime

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.evidence import Metric, MetricsReport, SourceState
from incident.prometheus import PrometheusEndpoint
from integrations.prometheus.answers import SYSTEM, Answer
from integrations.prometheus.client import Prometheus
from integrations.prometheus.queries import plan
from integrations.prometheus.readings import Judged, judge


class PrometheusMetrics:
    """The metrics of the service that `endpoint` describes."""

    def __init__(self, prometheus: Prometheus, endpoint: PrometheusEndpoint) -> None:
        self._prometheus, self._endpoint, self._plan = prometheus, endpoint, plan(endpoint)

    async def read_metrics(self) -> MetricsReport:
        """The readings, all of one moment behind the newest scrapes.

        Raises:
            TransientError: no metric has a value, and Prometheus may answer if it is asked again.
            PermanentError: no metric has a value; the words are those of the error rate.
        """
        answers, judged = await self._look()
        if all(each.value is None for each in judged.readings):
            errors = [each for each in answers.values() if isinstance(each, IntegrationError)]
            if errors:
                raise next((each for each in errors if isinstance(each, TransientError)), errors[0])
            why = next(each.problem for each in judged.readings if each.metric is Metric.ERROR_RATE)
            raise PermanentError(SYSTEM, why)
        return MetricsReport(source=SYSTEM, state=SourceState.OK, readings=judged.readings, health=judged.health)

    async def inspect(self) -> Judged:
        """What may be believed of each metric and of the health, with the reasons: for `commander doctor`."""
        return (await self._look())[1]

    async def _look(self) -> tuple[dict[str, Answer | IntegrationError], Judged]:
        at, asked = self._prometheus.asked_time(), self._plan.asked
        found = await asyncio.gather(*(self._ask(query, at) for query in asked))
        answers = dict(zip(asked, found, strict=True))
        return answers, judge(self._endpoint, self._plan, answers, at)

    async def _ask(self, query: str, at: datetime) -> Answer | IntegrationError:
        try:
            return await self._prometheus.instant(self._endpoint.url, query, at)
        except IntegrationError as error:
            return error
