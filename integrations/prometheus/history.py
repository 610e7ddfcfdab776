"""What Prometheus has kept of a service's metrics, one range query for each."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from incident.errors import IntegrationError, TransientError
from incident.evidence import Unit
from incident.history import History
from incident.prometheus import PrometheusEndpoint
from integrations.prometheus.answers import SYSTEM, Course
from integrations.prometheus.client import Prometheus, Span
from integrations.prometheus.queries import Figure, plan
from integrations.prometheus.readings import inside


class PrometheusHistory:
    """The history of the service that `endpoint` describes."""

    def __init__(self, prometheus: Prometheus, endpoint: PrometheusEndpoint) -> None:
        self._prometheus, self._endpoint, self._plan = prometheus, endpoint, plan(endpoint)

    async def read_history(self) -> History:
        """The values of every metric that is asked for, at the same times; a metric without any is left out.

        Raises:
            TransientError: no metric could be asked for, and Prometheus may answer if it is asked again.
            PermanentError: no metric could be asked for; the words are those of the first.
        """
        span = self._prometheus.asked_range()
        found = await asyncio.gather(*(self._ask(figure, span) for figure in self._plan.figures))
        known = {
            figure.metric: course
            for figure, course in zip(self._plan.figures, found, strict=True)
            if isinstance(course, Course) and course.points
        }
        problems = tuple(
            f"{figure.metric}: {course.problem}"
            for figure, course in zip(self._plan.figures, found, strict=True)
            if course.problem
        )
        if errors := _refused(found):
            raise next((each for each in errors if isinstance(each, TransientError)), errors[0])
        times = span.times
        values = {metric: _at(course, times) for metric, course in known.items()}
        return History(source=SYSTEM, times=times, values=values, problems=problems)

    async def _ask(self, figure: Figure, span: Span) -> Course | IntegrationError:
        try:
            return self._believed(figure, await self._prometheus.over(self._endpoint.url, figure.query, span))
        except IntegrationError as error:
            return error

    def _believed(self, figure: Figure, course: Course) -> Course:
        """The course in the metric's unit; where its largest value cannot be of the declared unit, none of it."""
        points = {at: None if value is None else inside(figure, value) for at, value in course.points.items()}
        largest = max((value for value in points.values() if value is not None), default=0.0)
        longest = self._endpoint.longest / timedelta(milliseconds=1)
        if figure.metric.unit is Unit.MILLISECONDS and largest > longest:
            return Course({}, f"implausible: up to {figure.metric.show(largest)}")
        return Course(points, course.problem)


def _refused(found: Sequence[Course | IntegrationError]) -> Sequence[IntegrationError]:
    """Why nothing was answered; none: something was, though it may be that nothing has been kept yet."""
    errors = [each for each in found if isinstance(each, IntegrationError)]
    return errors if len(errors) == len(found) else ()


def _at(course: Course, times: tuple[float, ...]) -> tuple[float | None, ...]:
    """The course's values at `times`; Prometheus answers to the millisecond."""
    known = {round(at, 3): value for at, value in course.points.items()}
    return tuple(known.get(at) for at in times)
