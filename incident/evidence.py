"""What was seen of a service: readings, log lines, alerts, deployments.

Every item has an id that a decision can cite, and every source says whether it answered, had nothing, or failed. A
missing value is `None`, which is neither zero nor healthy.
"""

import hashlib
from enum import StrEnum

from pydantic import Field

from incident.burn_rate import BEYOND, Burn, Counted, Objective, Urgency, burning, burns_of, urgency
from incident.cause import Change, Climb, Suspect
from incident.log_templates import LogTemplate
from incident.model import Fact, Moment, canonical, is_default


class SourceState(StrEnum):
    """How a source answered."""

    OK = "ok"
    EMPTY = "empty"
    FAILED = "failed"


class Source(StrEnum):
    """The four sources of an incident's context."""

    METRICS = "metrics"
    LOGS = "logs"
    ALERTS = "alerts"
    DEPLOYMENTS = "deployments"


class Unit(StrEnum):
    """What a metric's number counts."""

    RATIO = "ratio"
    MILLISECONDS = "milliseconds"
    PER_SECOND = "per second"
    COUNT = "count"


class Metric(StrEnum):
    """The metrics that the commander reads."""

    ERROR_RATE = "error_rate"
    P50_LATENCY = "p50_latency"
    P95_LATENCY = "p95_latency"
    P99_LATENCY = "p99_latency"
    REQUESTS_PER_SECOND = "requests_per_second"
    CPU_USAGE = "cpu_usage"
    MEMORY_USAGE = "memory_usage"
    ACTIVE_CONNECTIONS = "active_connections"
    RESTARTS = "restarts"
    """Of the service's processes within the source's window; read only where a source is asked for it."""

    @property
    def unit(self) -> Unit:
        """The unit of every reading of this metric."""
        return _UNITS[self]

    def show(self, value: float | None) -> str:
        """`value` as a person reads it: ratios in percent, latencies in ms, "unknown" where there is none."""
        if value is None:
            return "unknown"
        match self.unit:
            case Unit.RATIO:
                return f"{value * 100:.1f}%"
            case Unit.MILLISECONDS:
                return f"{value:.0f}ms"
            case Unit.PER_SECOND:
                return f"{value:.1f}/s"
            case Unit.COUNT:
                return f"{value:.0f}"


_UNITS = {
    Metric.ERROR_RATE: Unit.RATIO,
    Metric.P50_LATENCY: Unit.MILLISECONDS,
    Metric.P95_LATENCY: Unit.MILLISECONDS,
    Metric.P99_LATENCY: Unit.MILLISECONDS,
    Metric.REQUESTS_PER_SECOND: Unit.PER_SECOND,
    Metric.CPU_USAGE: Unit.RATIO,
    Metric.MEMORY_USAGE: Unit.RATIO,
    Metric.ACTIVE_CONNECTIONS: Unit.COUNT,
    Metric.RESTARTS: Unit.COUNT,
}


class Health(StrEnum):
    """What the service says of itself."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


class Reading(Fact):
    """One metric at one time."""

    id: str = Field(description="`metric:<name>`, for citation")
    metric: Metric
    value: float | None = Field(description="in the metric's unit (ratios 0..1, latencies in ms); null: unreadable")
    problem: str = Field(default="", description="why the value is unreadable, or a bound only")
    at_least: bool = Field(
        default=False,
        description="whether the value is a lower bound: it may be any larger one; left out: it is the value itself",
        exclude_if=lambda bound: not bound,  # evidence from before there were bounds keeps its digest
    )

    @property
    def shown(self) -> str:
        """The value as a person reads it, and whether it is a bound only."""
        return f"{'at least ' if self.at_least else ''}{self.metric.show(self.value)}"


class LogLine(Fact):
    """One log line."""

    id: str = Field(description="`log:<n>`, for citation")
    at: Moment
    level: str
    message: str
    error_type: str = ""
    deployment_id: int | None = None
    nanoseconds: int = Field(
        default=0, ge=0, le=999, exclude_if=is_default, description="what `at`, which ends at microseconds, leaves out"
    )


class AlertState(StrEnum):
    """Whether an alert is firing."""

    FIRING = "firing"
    SUPPRESSED = "suppressed"
    """Somebody silenced it, or another alert speaks for it: it does not count as firing."""
    RESOLVED = "resolved"


class Alert(Fact):
    """One alert of the service."""

    id: str = Field(description="`alert:<key>`, for citation")
    summary: str
    severity: str = Field(description="as the alerting system words it")
    state: AlertState
    started_at: Moment


class Deployment(Fact):
    """One deployment of the service."""

    id: str = Field(description="`deployment:<number>`, for citation")
    deployment_id: int
    revision: str
    message: str = ""
    live: bool
    activated_at: Moment | None = Field(description="when it last went live; null: never, or not known")
    once_healthy: bool | None = Field(description="whether it ever served in good health; null: not known")
    rolled_back_from_at: Moment | None = Field(default=None, description="when an earlier deployment replaced it")


class SourceReport(Fact):
    """How one source answered."""

    source: str = Field(description="the system that was asked, such as `mock-service`")
    state: SourceState
    problem: str = Field(default="", description="why it failed, or what its answer lacks")


class MetricsReport(SourceReport):
    """The readings of one moment, with what the service says of its health and of what is live."""

    readings: tuple[Reading, ...] = ()
    health: Health = Health.UNKNOWN
    deployment_id: int | None = None

    def reading(self, metric: Metric) -> Reading | None:
        """The reading of `metric`; `None` where it is missing."""
        return next((reading for reading in self.readings if reading.metric is metric), None)

    def value(self, metric: Metric) -> float | None:
        """The reading of `metric` in its unit; `None` where it is missing or unreadable."""
        reading = self.reading(metric)
        return reading.value if reading else None


class LogsReport(SourceReport):
    """The newest log lines, oldest first."""

    lines: tuple[LogLine, ...] = ()
    omitted: int = Field(default=0, description="lines that the source had and this report has not")
    templates: tuple[LogTemplate, ...] = Field(
        default=(),
        exclude_if=is_default,
        description="what all lines that were read have in common, these and omitted ones: new ones first",
    )
    more_templates: int = Field(default=0, exclude_if=is_default, description="templates that are left out")
    read_since: Moment | None = Field(
        default=None, exclude_if=is_default, description="lines from here on were looked for; null: not known"
    )
    capped: bool = Field(
        default=False, exclude_if=is_default, description="whether the source had more lines than were read"
    )
    unreadable: int = Field(default=0, exclude_if=is_default, description="of the omitted, those that are no log lines")

    @property
    def new_errors(self) -> tuple[LogTemplate, ...]:
        """The templates of errors that are new since the live deployment."""
        return tuple(each for each in self.templates if each.new and each.grave)


class AlertsReport(SourceReport):
    """The alerts of the service."""

    alerts: tuple[Alert, ...] = ()
    omitted: int = Field(
        default=0, exclude_if=is_default, description="alerts that the source had and this report has not"
    )

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire now."""
        return tuple(alert for alert in self.alerts if alert.state is AlertState.FIRING)


class DeploymentsReport(SourceReport):
    """The deployment history."""

    deployments: tuple[Deployment, ...] = ()

    @property
    def live(self) -> Deployment | None:
        """The one live deployment; `None` where the history names none, or more than one."""
        live = [deployment for deployment in self.deployments if deployment.live]
        return live[0] if len(live) == 1 else None

    def find(self, deployment_id: int | None) -> Deployment | None:
        """The deployment of that number, or `None`."""
        return next((known for known in self.deployments if known.deployment_id == deployment_id), None)


class Normal(Fact):
    """How one metric is while the service is well, by its own history."""

    id: str = Field(description="`normal:<metric>`, for citation")
    metric: Metric
    typical: float = Field(description="the median, in the metric's unit")
    low: float | None = Field(default=None, description="below it is not normal; null: low values are no trouble")
    high: float | None = Field(default=None, description="above it is not normal; null: high values are no trouble")
    samples: int = Field(ge=1, description="of the history that it was learnt from")

    def holds(self, value: float) -> bool:
        """Whether `value` is a normal one."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    @property
    def words(self) -> str:
        """What is normal, as a person reads it."""
        least = f"at least {self.metric.show(self.low)}" if self.low is not None else ""
        most = f"at most {self.metric.show(self.high)}" if self.high is not None else ""
        bounds = " and ".join(bound for bound in (least, most) if bound)
        return f"normally {self.metric.show(self.typical)}, {bounds or 'anything'}"


class Background(SourceReport):
    """What the history of the metrics tells, of the service and of those around it, and what was changed of late.

    EMPTY: there is no history, or none that tells what is normal; changes may be known all the same.
    """

    since: Moment | None = Field(default=None, description="where the history begins; null: there is none")
    normals: tuple[Normal, ...] = ()
    onset: Moment | None = Field(
        default=None, description="since when a metric of the service is not normal; null: none is, or it is not known"
    )
    climb: Climb | None = Field(
        default=None,
        exclude_if=is_default,
        description="since 1.3: what climbs and explains the trouble, whose onset is then its beginning; null: nothing",
    )
    suspects: tuple[Suspect, ...] = Field(
        default=(), description="the service and those around it, the most suspected first; empty: nothing moved"
    )
    seen: tuple[str, ...] = Field(default=(), description="the services around it whose metrics are known")
    changes: tuple[Change, ...] = Field(
        default=(),
        description="what was deployed to the services around it, and what somebody told of: of them and of its own",
    )

    def normal(self, metric: Metric) -> Normal | None:
        """What is normal of `metric`; `None`: it is not known."""
        return next((each for each in self.normals if each.metric is metric), None)


class BurnReport(SourceReport):
    """How fast the service spends the errors that its objective allows.

    It is no source that a decision needs: where it fails, a decision is none the less sure.
    """

    objective: Objective
    counted: tuple[Counted, ...] = Field(default=(), description="the requests of each window, the shortest first")

    @property
    def burns(self) -> tuple[Burn, ...]:
        """The burn of each pair of windows that was counted, the most urgent first."""
        return burns_of(self.counted, self.objective)

    def burning(self, errors_now: float | None) -> tuple[Burn, ...]:
        """Those that go on, where the error ratio of now is `errors_now` (`None`: unknown), the most urgent first."""
        return burning(self.burns, errors_now, self.objective)

    def urgency(self, errors_now: float | None) -> Urgency:
        """What the burns call for; UNKNOWN is not healthy."""
        return urgency(self.burns, errors_now, self.objective)

    def paging(self) -> "BurnReport":
        """The same without what only a ticket is opened for, which opens no incident and keeps none open."""
        return self.model_copy(update={"counted": tuple(each for each in self.counted if each.over not in BEYOND)})


class Neighbour(Fact):
    """One look at a service next door."""

    service: str
    values: dict[Metric, float | None] = Field(description="in the metrics' units; null: unreadable")


class Evidence(Fact):
    """Everything that was seen of one service at one time."""

    service: str
    environment: str
    collected_at: Moment
    metrics: MetricsReport
    logs: LogsReport
    alerts: AlertsReport
    deployments: DeploymentsReport
    background: Background | None = Field(
        default=None,
        exclude_if=is_default,
        description="since 1.3; null: no source has a history of the metrics, and nobody told of a change",
    )

    around: tuple[Neighbour, ...] = Field(
        default=(), exclude_if=is_default, description="since 1.3; the services that it needs or that need it directly"
    )
    burn: BurnReport | None = Field(
        default=None, exclude_if=is_default, description="since 1.3; null: the service has no objective"
    )

    @property
    def normals(self) -> tuple[Normal, ...]:
        """What is known to be normal."""
        return self.background.normals if self.background else ()

    @property
    def climb(self) -> Climb | None:
        """What climbs and explains the trouble; `None`: nothing is known to."""
        return self.background.climb if self.background else None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed around the service, and what somebody told of."""
        return self.background.changes if self.background else ()

    def with_normals(self, normals: tuple[Normal, ...], climb: Climb | None = None) -> "Evidence":
        """This evidence, judged by what is known to be normal, and to climb; without any, it is as it was."""
        if not normals and climb is None:
            return self
        known = Background(source="history", state=SourceState.OK, normals=normals, climb=climb)
        return self.model_copy(update={"background": known})

    @property
    def burns(self) -> tuple[Burn, ...]:
        """How fast the service spends what its objective allows, where it has one and requests were counted."""
        return self.burn.burns if self.burn else ()

    def with_burn(self, burn: BurnReport | None) -> "Evidence":
        """This evidence, judged by that burn as well."""
        return self.model_copy(update={"burn": burn})

    def promised(self, objective: Objective | None) -> "Evidence":
        """This evidence, judged by another objective; requests that were not counted stay so."""
        if objective is None or self.burn is None:
            return self.with_burn(None)
        return self.with_burn(self.burn.model_copy(update={"objective": objective}))

    @property
    def missing(self) -> tuple[str, ...]:
        """The sources that failed, each with its reason."""
        return tuple(
            f"{name}: {report.problem}"
            for name, report in (
                ("metrics", self.metrics),
                ("logs", self.logs),
                ("alerts", self.alerts),
                ("deployments", self.deployments),
                ("history", self.background),
            )
            if report and report.state is SourceState.FAILED
        )

    @property
    def ids(self) -> frozenset[str]:
        """Every id that a decision may cite."""
        return frozenset(
            item.id
            for items in (
                self.metrics.readings,
                self.logs.lines,
                self.logs.templates,
                self.alerts.alerts,
                self.deployments.deployments,
                self.normals,
                self.changes,
                self.burns,
            )
            for item in items
        )

    def describe(self, item_id: str) -> str:
        """What is known of the item of that id, on one line."""
        known = {
            **{each.id: each.shown for each in self.metrics.readings},
            **{each.id: f"{each.level} {each.message}" for each in self.logs.lines},
            **{each.id: each.words for each in self.logs.templates},
            **{
                each.id: f"{each.state} since {each.started_at:%H:%M:%SZ}: {each.summary}"
                for each in self.alerts.alerts
            },
            **{each.id: f"{each.revision} {each.message}".rstrip() for each in self.deployments.deployments},
            **{each.id: each.words for each in self.normals},
            **{each.id: each.words for each in self.changes},
            **{each.id: each.words for each in self.burns},
        }
        return known.get(item_id, "not among the evidence")

    @property
    def onset(self) -> Moment:
        """When the trouble began, as far as can be told.

        When the metrics left what is normal; else the start of the oldest firing alert; else the look itself.
        """
        if self.background and self.background.onset:
            return self.background.onset
        return min((*(alert.started_at for alert in self.alerts.firing), self.collected_at))

    def digest(self) -> str:
        """SHA-256 of the evidence, 64 hex digits: what a person approved was decided on exactly this."""
        return hashlib.sha256(canonical(self)).hexdigest()


def unseen(service: str, environment: str, at: Moment, problem: str) -> Evidence:
    """The evidence of a look that could not be taken: every source failed."""
    failed = {"source": "commander", "state": SourceState.FAILED, "problem": problem}
    return Evidence(
        service=service,
        environment=environment,
        collected_at=at,
        metrics=MetricsReport.model_validate(failed),
        logs=LogsReport.model_validate(failed),
        alerts=AlertsReport.model_validate(failed),
        deployments=DeploymentsReport.model_validate(failed),
    )
