"""A plan and its answers → readings: which number may be believed, and what keeps the others from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from incident.errors import IntegrationError
from incident.evidence import Health, Metric, Reading, Unit
from incident.prometheus import PrometheusEndpoint, QueryUnit
from integrations.prometheus.answers import Answer, Unknown, last_bucket, number
from integrations.prometheus.queries import Figure, Plan, label_matchers

Answers = Mapping[str, Answer | IntegrationError]
"""What each query of a plan gave, or why it gave nothing."""

NO_QUERY = "services.toml has no query for it"
_INSIDE = {
    QueryUnit.RATIO: 1.0,
    QueryUnit.PERCENT: 0.01,
    QueryUnit.SECONDS: 1000.0,
    QueryUnit.MILLISECONDS: 1.0,
    QueryUnit.PER_SECOND: 1.0,
    QueryUnit.COUNT: 1.0,
}
"""What a number of that unit is multiplied by, to be in its metric's."""
_MOST_OF_ALL = {Metric.ERROR_RATE: 1.000_001, Metric.CPU_USAGE: 1.5, Metric.MEMORY_USAGE: 1.5}
"""Ratios above are none: rates are estimates, and a container may for a moment use more than its limit."""
_INSTEAD = {
    QueryUnit.RATIO: "percent",
    QueryUnit.PERCENT: "another unit",
    QueryUnit.SECONDS: "milliseconds",
    QueryUnit.MILLISECONDS: "microseconds",
}
_LEAST_MILLISECONDS = 1.0
"""A latency below it, declared in milliseconds, is taken for seconds; a service that is so fast declares seconds."""

_ROUNDING = 1.0
"""Seconds: no sample is newer than the time that was asked for, which is told to the millisecond."""


class _Implausible(Unknown):
    """That the number cannot be in the unit that is declared."""


@dataclass(frozen=True)
class Judged:
    """What may be believed of the answers."""

    readings: tuple[Reading, ...]
    """One for each metric, whether there is a query for it or not; of restarts only where there is."""
    health: Health
    health_problem: str
    """Why the health is not known; empty: it is."""


@dataclass(frozen=True)
class _Look:
    """The answers of one look, and what they are held against."""

    endpoint: PrometheusEndpoint
    answers: Answers
    at: datetime

    def number(self, query: str) -> float | Unknown:
        answer = self.answers[query]
        return Unknown(answer.problem) if isinstance(answer, IntegrationError) else number(answer)

    def age(self, newest: str) -> Unknown | None:
        """Why the series says nothing of now; `None`: it does."""
        answer = self.answers[newest]
        if isinstance(answer, Answer) and not answer.samples and not answer.warnings:
            return Unknown(f"not seen: no fresh sample of {{{label_matchers(self.endpoint.selector)}}}")
        taken = self.number(newest)
        if isinstance(taken, Unknown):
            return Unknown(f"how old it is cannot be told: {taken.why}")
        return too_old(taken, self.at, self.endpoint.stale_after)

    def value(self, figure: Figure) -> float | Unknown:
        """The figure's number in its own unit, fresh and believable."""
        found = self.number(figure.query)
        if isinstance(self.answers[figure.query], IntegrationError):
            return found
        if old := self.age(figure.newest):
            return old
        if isinstance(found, Unknown):
            return found
        if found < 0:
            return Unknown(f"negative ({found:g})")
        if figure.buckets and self.top(figure) is None:
            return Unknown("whether it lies beyond the histogram's last bucket cannot be told")
        return self._implausible(figure, found) or found

    def _implausible(self, figure: Figure, found: float) -> _Implausible | None:
        unit, instead = figure.unit, _INSTEAD.get(figure.unit, "another unit")
        within = found * _INSIDE[unit]
        if figure.metric.unit is Unit.MILLISECONDS:
            mean = self.number(figure.mean) if figure.mean else found
            largest = max(within, 0.0 if isinstance(mean, Unknown) else mean * _INSIDE[unit])
            if largest > self.endpoint.longest.total_seconds() * 1000:
                return _Implausible(f"implausible: {largest / _INSIDE[unit]:g} {unit}; is it {instead}?")
            if unit is QueryUnit.MILLISECONDS and 0 < within < _LEAST_MILLISECONDS:
                return _Implausible(f"implausible: {found:g} {unit}; is it seconds?")
        if within > _MOST_OF_ALL.get(figure.metric, within):
            return _Implausible(f"implausible: {found:g} as a {unit}; is it {instead}?")
        return None

    def top(self, figure: Figure) -> float | None:
        """From where on the figure's value is a lower bound; `None`: it is none, or that is not known."""
        if figure.saturates_at is not None:
            return figure.saturates_at
        answer = self.answers.get(figure.buckets)
        return last_bucket(answer) if isinstance(answer, Answer) and not answer.warnings else None


def too_old(taken: float, at: datetime, stale_after: timedelta) -> Unknown | None:
    """Why a sample that was taken then, in seconds since 1970, says nothing of `at`; `None`: it does."""
    old, most = at.timestamp() - taken, stale_after.total_seconds()
    if old < -_ROUNDING:
        return Unknown("how old it is cannot be told: the newest sample lies ahead of the time that was asked for")
    return Unknown(f"stale: the newest sample is {old:.0f} s old, {most:.0f} s are allowed") if old > most else None


def inside(figure: Figure, number: float) -> float:
    """A number of that figure in its metric's unit."""
    return round(number * _INSIDE[figure.unit], 8)


def judge(endpoint: PrometheusEndpoint, asked: Plan, answers: Answers, at: datetime) -> Judged:
    """The readings that `answers` give, in the metrics' units.

    Args:
        endpoint: what the registry declares of units, ages and the longest request.
        asked: the plan, each query of which has its answer.
        answers: to them.
        at: the time that was asked for.
    """
    look = _Look(endpoint, answers, at)
    values = {figure: look.value(figure) for figure in asked.figures}
    readings = {figure.metric: _reading(look, figure, found) for figure, found in _alike(values)}
    wanted = [metric for metric in Metric if metric in readings or metric is not Metric.RESTARTS]
    every = tuple(readings.get(metric) or _unread(metric, NO_QUERY) for metric in wanted)
    return Judged(_explained(every), *_health(look.age(asked.newest) or look.number(asked.health)))


def _alike(values: Mapping[Figure, float | Unknown]) -> Iterator[tuple[Figure, float | Unknown]]:
    """Where one latency is implausible, every other one of its unit is as doubtful, whatever its size."""
    doubted = {
        figure.unit: found
        for figure, found in values.items()
        if isinstance(found, _Implausible) and figure.metric.unit is Unit.MILLISECONDS
    }
    for figure, found in values.items():
        yield figure, found if isinstance(found, Unknown) else doubted.get(figure.unit, found)


def _reading(look: _Look, figure: Figure, found: float | Unknown) -> Reading:
    if isinstance(found, Unknown):
        return _unread(figure.metric, found.why)
    value, top = inside(figure, found), look.top(figure)
    if top is None or found < top:
        return Reading(id=f"metric:{figure.metric}", metric=figure.metric, value=value)
    return Reading(
        id=f"metric:{figure.metric}",
        metric=figure.metric,
        value=value,
        at_least=True,
        problem=f"at least {figure.metric.show(value)}: it lies beyond the histogram's last bucket",
    )


def _unread(metric: Metric, why: str) -> Reading:
    return Reading(id=f"metric:{metric}", metric=metric, value=None, problem=why)


def _explained(readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """The readings, and where there were no requests, that this is why nothing is known of them."""
    rate = next(each.value for each in readings if each.metric is Metric.REQUESTS_PER_SECOND)
    if rate != 0:
        return readings
    of_requests = {Metric.ERROR_RATE, Metric.P50_LATENCY, Metric.P95_LATENCY, Metric.P99_LATENCY}
    return tuple(
        each.model_copy(update={"problem": f"there were no requests: {each.problem}"})
        if each.metric in of_requests and each.value is None
        else each
        for each in readings
    )


def _health(found: float | Unknown) -> tuple[Health, str]:
    if isinstance(found, Unknown):
        return Health.UNKNOWN, found.why
    if found in {0.0, 1.0}:
        return (Health.HEALTHY if found else Health.DEGRADED), ""
    return Health.UNKNOWN, f"{found:g} is neither 0 nor 1"
