import pytest

from incident.anomalies import Thresholds, Tier, judge_metrics
from incident.evidence import Metric
from incident.policy import parse_policy
from tests.builders import background, degraded_evidence, evidence, metrics, normal

BUSY = normal(Metric.P99_LATENCY, 650.0, high=900.0)
"""A service whose slowest requests always take longer than the limits allow."""


@pytest.mark.parametrize(
    ("p99", "tier"), [(650.0, None), (900.0, None), (901.0, Tier.CRITICAL)], ids=["typical", "at most", "above"]
)
def test_what_is_normal_by_history_is_no_anomaly_whatever_the_limits_say(p99: float, tier: Tier | None) -> None:
    found = judge_metrics(metrics({"p99_latency": p99}), Thresholds(), [BUSY])
    assert [each.tier for each in found] == ([tier] if tier else [])


def test_what_is_not_normal_is_an_anomaly_though_no_limit_is_reached() -> None:
    found = judge_metrics(metrics({"error_rate": 1.5}), Thresholds(), [normal(Metric.ERROR_RATE, 0.001, high=0.004)])
    assert [(each.tier, each.label) for each in found] == [
        (Tier.MINOR, "MINOR_ERROR_RATE: 1.5% (normally 0.1%, at most 0.4%)")
    ]
    assert found[0].evidence_ids == ("metric:error_rate", "normal:error_rate")


def test_the_limits_say_how_bad_it_is() -> None:
    found = judge_metrics(metrics({"error_rate": 15.0}), Thresholds(), [normal(Metric.ERROR_RATE, 0.001, high=0.004)])
    assert [each.tier for each in found] == [Tier.CRITICAL]


def test_a_limit_that_a_services_own_policy_states_opens_alone() -> None:
    book = parse_policy("[services.api.thresholds]\np99_latency = {minor = {above = 500}}\n", "policy.toml", ["api"])
    assert book.default.thresholds.alone == ()
    assert book.of("api").thresholds.alone == (Metric.P99_LATENCY,)
    assert judge_metrics(metrics({"p99_latency": 650.0}), book.of("api").thresholds, [BUSY])
    assert not judge_metrics(metrics({"p99_latency": 650.0}), book.default.thresholds, [BUSY])


def test_a_history_of_critical_errors_is_no_healthy_one() -> None:
    sick = normal(Metric.ERROR_RATE, 0.2, high=0.4)
    assert [each.tier for each in judge_metrics(metrics({"error_rate": 20.0}), Thresholds(), [sick])] == [Tier.CRITICAL]


def test_too_little_is_an_anomaly_where_it_is_not_normal() -> None:
    known = normal(Metric.CPU_USAGE, 0.4, low=0.2, high=0.7)
    assert known.words == "normally 40.0%, at least 20.0% and at most 70.0%"
    assert [each.tier for each in judge_metrics(metrics({"cpu_usage": 10.0}), Thresholds(), [known])] == [Tier.MINOR]


def test_the_evidence_names_what_is_normal_for_citation() -> None:
    seen = evidence(background=background(BUSY))
    assert BUSY.id in seen.ids
    assert seen.describe(BUSY.id) == "normally 650ms, at most 900ms"


def test_evidence_without_a_history_keeps_its_digest_and_its_onset() -> None:
    seen = degraded_evidence()
    assert "background" not in seen.model_dump(mode="json")
    assert seen.onset == degraded_evidence(background=background()).onset
