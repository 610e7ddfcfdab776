"""One look at a service: the part of its evidence that recovery is judged by."""

from pydantic import Field

from incident.anomalies import Anomaly, Assessment
from incident.evidence import Evidence, Health, Metric, Neighbour, SourceState
from incident.model import Fact, Moment, is_default


class Look(Fact):
    """One look at a service."""

    at: Moment
    values: dict[Metric, float | None] = Field(description="in the metrics' units; null: unreadable")
    health: Health
    firing_alerts: int | None = Field(description="null: the alerts could not be read")
    anomalies: tuple[Anomaly, ...]
    deployment_id: int | None = Field(default=None, description="what the service says is live")
    problem: str = Field(
        default="", exclude_if=is_default, description="why the metrics could not be read at all; left out: they could"
    )
    around: tuple[Neighbour, ...] = Field(
        default=(),
        exclude_if=is_default,
        description="the services that it needs or that need it; left out: nobody looked at them",
    )


def look_at(evidence: Evidence, assessment: Assessment) -> Look:
    """The part of `evidence` that recovery is judged by. A lower bound that is not bad yet is unknown."""
    bad = {anomaly.metric for anomaly in assessment.anomalies if anomaly.measured}
    failed = evidence.metrics.state is SourceState.FAILED
    return Look(
        at=evidence.collected_at,
        values={
            reading.metric: None if reading.at_least and reading.metric not in bad else reading.value
            for reading in evidence.metrics.readings
        },
        health=evidence.metrics.health,
        firing_alerts=None if evidence.alerts.state is SourceState.FAILED else len(evidence.alerts.firing),
        anomalies=assessment.anomalies,
        deployment_id=evidence.metrics.deployment_id,
        problem=(evidence.metrics.problem or "no reason is given") if failed else "",
        around=evidence.around,
    )
