"""When a service counts as recovered, better or worse after an incident."""

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from incident.evidence import Metric, Normal
from incident.model import Duration, Fact


class RecoveryLimits(Fact):
    """When a service counts as recovered or better (contract.json, recovery; tolerance and stable looks are ours)."""

    error_rate_below: float = Field(default=0.01, gt=0, le=1, description="FULLY_RECOVERED: error ratio under this")
    p99_below: float = Field(default=200, gt=0, description="FULLY_RECOVERED: p99 latency in ms under this")
    significant_error_share: float = Field(
        default=0.5, gt=0, lt=1, description="SIGNIFICANT: error rate under this share of before"
    )
    significant_latency_gain: float = Field(
        default=0.30, gt=0, lt=1, description="SIGNIFICANT: p99 better by more than this share"
    )
    tolerance: float = Field(default=0.05, ge=0, lt=1, description="a change within this share of before is no change")
    stable_looks: int = Field(default=3, ge=1, le=100, description="good looks in a row before it counts as recovered")
    count_requests: bool = Field(
        default=True,
        description="whether error rates are judged by the requests behind them, where looks are seconds apart and the "
        "source gives a request rate; false: good looks alone decide, for numbers that no requests stand behind",
    )
    wrong: float = Field(
        default=0.01,
        ge=0.001,
        le=0.2,
        description="the chance, over all looks together, of wrongly saying that the error rate is under its limit, "
        "or that it is worse",
    )
    worse_by: float = Field(
        default=0.25, ge=0, le=10, description="worse is more than this share above before, and over the limit above"
    )
    slower_by: float = Field(
        default=0.5, ge=0, le=10, description="the same for latencies, of which a look gives one number only"
    )
    noise: Duration = Field(
        default=timedelta(seconds=4),
        ge=timedelta(0),
        le=timedelta(minutes=5),
        description="how far error rates wander beyond chance: their squared relative spread times twice how long that "
        "lasts; the default is 30 % for 22 s",
    )
    stable_for: Duration = Field(
        default=timedelta(minutes=2),
        ge=timedelta(0),
        description="how long it must have been good before a page is closed, where looks are seconds apart",
    )
    unreadable_for: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        description="a source that fails for so long ends the verification as INCONCLUSIVE",
    )
    no_data_for: Duration = Field(
        default=timedelta(minutes=5), gt=timedelta(0), description="the same for numbers without a value"
    )
    low_traffic_for: Duration = Field(
        default=timedelta(minutes=10),
        gt=timedelta(0),
        description="the same for fewer requests in that time than could show a recovery",
    )

    def beside(self, normals: Sequence[Normal]) -> "RecoveryLimits":
        """These limits for a service of which that is normal: what it always has does not keep it from recovering."""
        high = {each.metric: each.high for each in normals if each.high is not None}
        return self.model_copy(
            update={
                "error_rate_below": min(1.0, max(self.error_rate_below, high.get(Metric.ERROR_RATE, 0.0))),
                "p99_below": max(self.p99_below, high.get(Metric.P99_LATENCY, 0.0)),
            }
        )
