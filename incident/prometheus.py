"""What the registry says of a Prometheus that measures a service: which series are the service's, and what is asked.

A unit is always declared: by a metric's name in a ready-made set, or beside a query of one's own. An entry that cannot
work is refused with its key.
"""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from incident.evidence import Metric, Unit
from incident.model import Duration, Fact

SELECTOR, WINDOW = "$selector", "$window"
"""What a query of one's own may hold: the service's label matchers without braces, and the window of its rates."""
_PLACE = re.compile(r"\$[A-Za-z_]\w*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class QuerySet(StrEnum):
    """Ready-made queries, by how the service's metrics are named."""

    CLASSIC = "classic"
    OTEL = "otel"


class QueryUnit(StrEnum):
    """What a query's number counts."""

    RATIO = "ratio"
    PERCENT = "percent"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    PER_SECOND = "per second"
    COUNT = "count"


_FITTING = {
    Unit.RATIO: (QueryUnit.RATIO, QueryUnit.PERCENT),
    Unit.MILLISECONDS: (QueryUnit.SECONDS, QueryUnit.MILLISECONDS),
    Unit.PER_SECOND: (QueryUnit.PER_SECOND,),
    Unit.COUNT: (QueryUnit.COUNT,),
}
"""The units of each kind of metric; the first, Prometheus's base unit, is meant where none is given."""


def _promql(query: str) -> str:
    unknown = sorted({place for place in _PLACE.findall(query) if place not in {SELECTOR, WINDOW}})
    if unknown:
        raise ValueError(f"expected {SELECTOR} and {WINDOW} only, and not {', '.join(unknown)}")
    return query


def _one_line(value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ValueError("expected text without control characters")
    return value


PromQL = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_promql)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_]{0,99}$")]
LabelValue = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]


class OwnQuery(Fact):
    """A query of one's own for one metric; a text alone is the query, in Prometheus's base unit."""

    query: PromQL = Field(description="gives one series; may hold $selector and $window")
    unit: QueryUnit | None = Field(
        default=None, description="of its number; left out: seconds, ratio, per second or count, as the metric is"
    )
    saturates_at: float | None = Field(
        default=None, gt=0, description="in that unit: a latency from here on is only known to be at least that"
    )


_Own = Annotated[OwnQuery | None, BeforeValidator(lambda value: {"query": value} if isinstance(value, str) else value)]


class OwnQueries(Fact):
    """Queries of one's own; each goes before the ready-made one."""

    error_rate: _Own = None
    p50_latency: _Own = None
    p95_latency: _Own = None
    p99_latency: _Own = None
    requests_per_second: _Own = None
    cpu_usage: _Own = None
    memory_usage: _Own = None
    active_connections: _Own = None
    restarts: _Own = None
    health: PromQL = Field(
        default=f"min(up{{{SELECTOR}}})",
        description="1: the service is healthy, 0: it is not, anything else: not known",
    )
    newest_sample: PromQL = Field(
        default=f"max(timestamp(up{{{SELECTOR}}}) and (up{{{SELECTOR}}} == 1))",
        description="when these queries' newest sample was taken, in seconds since 1970",
    )

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        for metric in Metric:
            own = self.of(metric)
            if own is None:
                continue
            if own.unit and own.unit not in _FITTING[metric.unit]:
                fitting = " or ".join(_FITTING[metric.unit])
                raise ValueError(f"{metric}.unit: expected {fitting}, and not {own.unit}")
            if own.saturates_at and metric.unit is not Unit.MILLISECONDS:
                raise ValueError(f"{metric}.saturates_at: expected for a latency only")
        return self

    def of(self, metric: Metric) -> OwnQuery | None:
        """The query for `metric`, or `None`."""
        own: OwnQuery | None = getattr(self, metric.value)
        return own

    def unit(self, metric: Metric) -> QueryUnit:
        """The unit of the query for `metric`; without a query, the one that is meant where none is given."""
        own = self.of(metric)
        return (own.unit if own else None) or _FITTING[metric.unit][0]


class Containers(Fact):
    """The service's containers in Kubernetes: their use by cAdvisor, their limits by kube-state-metrics."""

    namespace: LabelValue
    pod: LabelValue = Field(description="a regular expression over whole names, such as checkout-.*")


class ProcessLimits(Fact):
    """What each process of the service may use; its use is what its client library tells."""

    cpu_cores: float = Field(gt=0)
    memory_bytes: int = Field(gt=0)


class PrometheusEndpoint(Fact):
    """A Prometheus, or what speaks its HTTP API, that has a service's metrics."""

    kind: Literal["prometheus"]
    url: str = Field(
        pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$", description="below it is /api/v1; http(s), without credentials"
    )
    selector: dict[LabelName, LabelValue] = Field(
        min_length=1, max_length=20, description="the labels that the service's series carry"
    )
    set: QuerySet | None = Field(
        default=None, description="the ready-made queries; left out: only queries of one's own"
    )
    status_label: LabelName = Field(
        default="", validate_default=False, description="holds a request's HTTP status; empty: as the set has it"
    )
    window: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=5),
        le=timedelta(hours=1),
        description="over which rates are taken; at least four scrapes",
    )
    stale_after: Duration = Field(
        default=timedelta(minutes=2), gt=timedelta(0), description="an older sample says nothing of now"
    )
    longest: Duration = Field(
        default=timedelta(seconds=60),
        gt=timedelta(0),
        description="the longest that a request can take; a latency above it is a mistake of units",
    )
    containers: Containers | None = Field(default=None, description="gives cpu and memory, as shares of the limits")
    process: ProcessLimits | None = Field(default=None, description="gives cpu and memory, instead of containers")
    queries: OwnQueries = OwnQueries()

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        for metric in (Metric.ERROR_RATE, Metric.P99_LATENCY):
            if self.set is None and self.queries.of(metric) is None:
                raise ValueError(f"queries.{metric}: expected a query, or a `set`, since recovery is judged by it")
        if self.process and self.set is None:
            raise ValueError("process: expected only with a `set`, which knows how a process's use is named")
        if self.process and self.containers:
            raise ValueError("process: expected this or `containers`, not both")
        if self.status_label and self.set is None:
            raise ValueError("status_label: expected only with a `set`")
        return self
