import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.anomalies import Kind
from incident.evidence import Evidence, Health, Metric, Reading, SourceState, unseen
from incident.recovery import Classification, Look, Recovery, classify, improvement, look_at
from incident.verifying import RecoveryLimits
from tests.builders import (
    DEGRADED_METRICS,
    ENVIRONMENT,
    NOW,
    SERVICE,
    alert,
    alerts,
    assessment,
    degraded_evidence,
    healthy_evidence,
    look,
    metrics,
)

VECTORS = json.loads((Path(__file__).parents[1] / "contract/seed/contract.json").read_text())["flow"][
    "recovery_vectors"
]
ONE_LOOK = RecoveryLimits(stable_looks=1)

# Where this project classifies otherwise than the seed, and why.
DIFFERENT = {
    # The seed calls a service IMPROVING if either number fell; here one number that got worse is DEGRADED.
    "error better, latency worse": Classification.DEGRADED,
    "error worse, latency better": Classification.DEGRADED,
}


def degraded_look() -> Look:
    return look(seen=degraded_evidence())


def after(values: Mapping[str, float | None] | None = None, **changes: object) -> Look:
    return look(seen=healthy_evidence(NOW, metrics=metrics(values), **changes))


def classified(
    now: Look, before: Look | None = None, limits: RecoveryLimits = ONE_LOOK, earlier: tuple[Look, ...] = ()
) -> Recovery:
    return classify(before or degraded_look(), (*earlier, now), limits)


def vector_look(numbers: dict[str, float]) -> Look:
    return look({"error_rate": numbers["error_rate"], "p99_latency": numbers["p99_latency"]})


def test_the_seed_gives_14_vectors_and_each_difference_is_one_of_them() -> None:
    assert len(VECTORS) == 14
    assert set(DIFFERENT) <= {vector["name"] for vector in VECTORS}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_classification_is_the_seeds_but_for_the_listed_differences(vector: dict[str, Any]) -> None:
    recovery = classify(vector_look(vector["before"]), [vector_look(vector["after"])], ONE_LOOK)
    expected = DIFFERENT.get(vector["name"], vector["status"])
    assert recovery.classification == expected
    if vector["name"] in DIFFERENT:
        assert expected != vector["status"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_improvement_in_percent_is_the_seeds(vector: dict[str, Any]) -> None:
    before, now = vector["before"], vector["after"]
    assert improvement(before["error_rate"] / 100, now["error_rate"] / 100) == vector["error_improvement_pct"]
    assert improvement(before["p99_latency"], now["p99_latency"]) == vector["latency_improvement_pct"]


@pytest.mark.parametrize(("before", "now"), [(None, 1.0), (1.0, None), (None, None)])
def test_an_improvement_over_the_unknown_is_unknown(before: float | None, now: float | None) -> None:
    assert improvement(before, now) is None


# Fully recovered.


def test_recovery_takes_as_many_good_looks_in_a_row_as_the_policy_says() -> None:
    limits = RecoveryLimits(stable_looks=3)
    good, bad = after(), degraded_look()
    for looks, settled in (
        ((good,), False),
        ((good, good), False),
        ((good, good, good), True),
        ((good, good, bad, good), False),
        ((bad, good, good, good), True),
        ((good, good, good, bad), False),
    ):
        recovery = classify(degraded_look(), looks, limits)
        assert recovery.settled is settled
        assert (recovery.classification is Classification.FULLY_RECOVERED) is settled


def test_a_good_look_too_few_says_how_many_there_are() -> None:
    recovery = classify(degraded_look(), [degraded_look(), after()], RecoveryLimits(stable_looks=3))
    assert recovery.classification is Classification.SIGNIFICANT_IMPROVEMENT
    assert recovery.reasons[-1] == "good for 1 of the 3 looks that count as recovered"


def test_without_a_look_nothing_can_be_told() -> None:
    recovery = classify(degraded_look(), [], ONE_LOOK)
    assert recovery == Recovery(
        classification=Classification.INCONCLUSIVE, reasons=("nobody has looked yet",), settled=False
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"error_rate": 1.0}, "error_rate 1.0% is not under 1.0%"),
        ({"p99_latency": 200.0}, "p99_latency 200ms is not under 200ms"),
        ({"cpu_usage": 92.0}, "CRITICAL_CPU: 92.0%"),
        ({"memory_usage": 71.0}, "MINOR_MEMORY: 71.0%"),
        ({"p95_latency": 201.0}, "MINOR_P95_LATENCY: 201ms"),
        ({"error_rate": None}, "error_rate is unknown"),
        ({"p99_latency": None}, "p99_latency is unknown"),
        ({"memory_usage": None}, "MINOR_UNREADABLE: memory_usage"),
    ],
)
def test_no_number_may_be_wanting(values: dict[str, float | None], why: str) -> None:
    recovery = classified(after(values))
    assert recovery.classification is not Classification.FULLY_RECOVERED
    assert not recovery.settled
    assert why in recovery.reasons


@pytest.mark.parametrize("health", [Health.DEGRADED, Health.UNKNOWN])
def test_a_service_that_does_not_call_itself_healthy_has_not_recovered(health: Health) -> None:
    recovery = classified(look(seen=healthy_evidence(metrics=metrics(health=health))))
    assert recovery.classification is not Classification.FULLY_RECOVERED
    assert f"health is {health}" in recovery.reasons


def test_a_service_whose_alert_still_fires_has_not_recovered() -> None:
    recovery = classified(after(alerts=alerts(alert())))
    assert recovery.classification is Classification.SIGNIFICANT_IMPROVEMENT
    assert "MINOR_ALERT: High error rate" in recovery.reasons


def test_a_service_whose_alerts_cannot_be_read_has_not_recovered() -> None:
    now = after(alerts=alerts(state=SourceState.FAILED, problem="timed out"))
    assert now.firing_alerts is None
    recovery = classified(now)
    assert recovery.classification is not Classification.FULLY_RECOVERED
    assert "the alerts could not be read" in recovery.reasons


# Could not tell.


def test_a_look_that_could_not_be_taken_is_inconclusive_and_never_recovery() -> None:
    blind = look(seen=unseen(SERVICE, ENVIRONMENT, NOW, "timed out"))
    for looks in ([blind], [after(), blind], [blind] * 9):
        recovery = classify(degraded_look(), looks, ONE_LOOK)
        assert (recovery.classification, recovery.settled) == (Classification.INCONCLUSIVE, False)


def test_inconclusive_samples_never_count_as_recovery() -> None:
    blind, limits = look(seen=unseen(SERVICE, ENVIRONMENT, NOW, "timed out")), RecoveryLimits(stable_looks=2)
    assert not classify(degraded_look(), [after(), blind, after()], limits).settled
    assert classify(degraded_look(), [blind, after(), after()], limits).settled


@pytest.mark.parametrize("metric", ["error_rate", "p99_latency"])
def test_an_unreadable_metric_is_unknown_and_not_zero(metric: str) -> None:
    recovery = classified(after({metric: None}))
    assert recovery.classification is Classification.INCONCLUSIVE


def test_a_metric_that_opened_the_incident_and_is_unreadable_now_is_unknown() -> None:
    recovery = classified(after({"cpu_usage": None}))
    assert recovery.classification is Classification.INCONCLUSIVE
    assert "cpu_usage 92.0% → unknown" in recovery.reasons


def test_what_is_known_to_be_worse_weighs_more_than_what_is_unknown() -> None:
    recovery = classified(after({"error_rate": None, "p99_latency": 5000.0}))
    assert recovery.classification is Classification.DEGRADED


def test_an_unknown_before_leaves_the_comparison_open_but_not_the_recovery() -> None:
    blind = look(seen=unseen(SERVICE, ENVIRONMENT, NOW, "timed out"))
    assert classified(after({"error_rate": 5.0}), blind).classification is Classification.INCONCLUSIVE
    assert classified(after(), blind).classification is Classification.FULLY_RECOVERED


def test_a_health_that_is_unknown_now_is_inconclusive() -> None:
    now = look(seen=healthy_evidence(metrics=metrics(health=Health.UNKNOWN)))
    assert classified(now).classification is Classification.INCONCLUSIVE


# Better and worse.


def changed(before: dict[str, float | None], now: dict[str, float | None], **limits: float) -> Classification:
    at_work = RecoveryLimits.model_validate({"stable_looks": 1, **limits})
    return classify(after(before), [after(now)], at_work).classification


def test_improving_needs_one_better_and_none_worse() -> None:
    before: dict[str, float | None] = {"error_rate": 10.0, "p99_latency": 1000.0}
    assert changed(before, {"error_rate": 8.0, "p99_latency": 1000.0}) is Classification.IMPROVING
    assert changed(before, {"error_rate": 8.0, "p99_latency": 1200.0}) is Classification.DEGRADED
    assert changed(before, {"error_rate": 12.0, "p99_latency": 500.0}) is Classification.DEGRADED


@pytest.mark.parametrize(
    ("error_rate", "p99", "expected"),
    [
        (10.4, 1040.0, Classification.STABLE),
        (9.6, 960.0, Classification.STABLE),
        (10.6, 1000.0, Classification.DEGRADED),
        (9.4, 1000.0, Classification.IMPROVING),
        (10.0, 1060.0, Classification.DEGRADED),
        (10.0, 940.0, Classification.IMPROVING),
    ],
)
def test_a_change_within_the_tolerance_is_none(error_rate: float, p99: float, expected: Classification) -> None:
    before: dict[str, float | None] = {"error_rate": 10.0, "p99_latency": 1000.0}
    assert changed(before, {"error_rate": error_rate, "p99_latency": p99}) is expected


def test_the_tolerance_is_the_policys() -> None:
    before: dict[str, float | None] = {"error_rate": 10.0, "p99_latency": 1000.0}
    now: dict[str, float | None] = {"error_rate": 10.6, "p99_latency": 1000.0}
    assert changed(before, now, tolerance=0.1) is Classification.STABLE
    assert changed(before, now, tolerance=0.01) is Classification.DEGRADED


@pytest.mark.parametrize(
    ("metric", "before", "stable", "worse"),
    [
        ("error_rate", 1.1, 1.25, 1.35),
        ("p99_latency", 100.0, 109.0, 111.0),
    ],
)
def test_a_change_of_a_small_number_needs_a_smallest_size(
    metric: str, before: float, stable: float, worse: float
) -> None:
    start: dict[str, float | None] = {"error_rate": 1.1, "p99_latency": 100.0, metric: before}
    assert changed(start, {**start, metric: stable}) is Classification.STABLE
    assert changed(start, {**start, metric: worse}) is Classification.DEGRADED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"cpu_usage": 95.0}, Classification.STABLE),
        ({"cpu_usage": 98.0}, Classification.DEGRADED),
        ({"cpu_usage": 80.0}, Classification.IMPROVING),
        ({"memory_usage": 95.0}, Classification.DEGRADED),
        ({"p95_latency": 900.0}, Classification.DEGRADED),
    ],
)
def test_every_metric_that_opened_the_incident_is_compared(
    values: dict[str, float | None], expected: Classification
) -> None:
    thresholds_of_p95 = {"p95_latency": 390.0}
    before = look(seen=degraded_evidence(metrics=metrics({**DEGRADED_METRICS, **thresholds_of_p95})))
    same = metrics({**DEGRADED_METRICS, **thresholds_of_p95, **values})
    recovery = classified(look(seen=degraded_evidence(metrics=same)), before)
    assert recovery.classification is expected


def test_an_unchanged_cpu_incident_is_no_recovery_however_good_the_rest() -> None:
    before = after({"cpu_usage": 92.0})
    assert classified(after({"cpu_usage": 92.0}), before).classification is Classification.STABLE


def test_a_new_measured_anomaly_is_worse() -> None:
    before = after({"error_rate": 15.5})
    recovery = classified(after({"error_rate": 5.0, "cpu_usage": 86.0}), before)
    assert recovery.classification is Classification.DEGRADED
    assert recovery.reasons[0] == "new: WARNING_CPU: 86.0%"


def test_an_anomaly_that_was_there_before_is_not_new() -> None:
    before = after({"error_rate": 15.5, "cpu_usage": 86.0})
    assert classified(after({"error_rate": 5.0, "cpu_usage": 86.0}), before).classification is Classification.IMPROVING


def test_a_health_that_became_degraded_is_worse() -> None:
    before = after({"error_rate": 15.5})
    recovery = classified(look(seen=healthy_evidence(metrics=metrics(health=Health.DEGRADED))), before)
    assert recovery.classification is Classification.DEGRADED
    assert "health became degraded" in recovery.reasons


def test_a_health_that_stayed_degraded_is_not_worse() -> None:
    now = look(seen=healthy_evidence(metrics=metrics(health=Health.DEGRADED)))
    assert classified(now).classification is Classification.SIGNIFICANT_IMPROVEMENT


@pytest.mark.parametrize(
    ("error_rate", "p99", "expected"),
    [
        (4.9, 690.0, Classification.SIGNIFICANT_IMPROVEMENT),
        (5.0, 690.0, Classification.IMPROVING),
        (4.9, 700.0, Classification.IMPROVING),
    ],
)
def test_significant_takes_both_halved_errors_and_lower_latency(
    error_rate: float, p99: float, expected: Classification
) -> None:
    before: dict[str, float | None] = {"error_rate": 10.0, "p99_latency": 1000.0}
    assert changed(before, {"error_rate": error_rate, "p99_latency": p99}) is expected


def test_significant_is_what_the_policy_says() -> None:
    before: dict[str, float | None] = {"error_rate": 10.0, "p99_latency": 1000.0}
    now: dict[str, float | None] = {"error_rate": 6.0, "p99_latency": 800.0}
    assert changed(before, now) is Classification.IMPROVING
    lower = {"significant_error_share": 0.7, "significant_latency_gain": 0.1}
    assert changed(before, now, **lower) is Classification.SIGNIFICANT_IMPROVEMENT


numbers = st.one_of(st.none(), st.floats(0, 100))
any_values = st.fixed_dictionaries(
    {"error_rate": numbers, "p99_latency": st.one_of(st.none(), st.floats(0, 3000)), "cpu_usage": numbers}
)


def any_look(values: dict[str, float | None], health: Health, firing: int) -> Look:
    items = [alert(str(number)) for number in range(firing)]
    return look(seen=healthy_evidence(metrics=metrics(values, health=health), alerts=alerts(*items)))


looks = st.builds(any_look, any_values, st.sampled_from(Health), st.integers(0, 1))


@settings(deadline=None)
@given(looks, st.lists(looks, max_size=4), st.integers(1, 3))
def test_recovered_means_that_the_last_looks_were_good_in_every_respect(
    before: Look, seen: list[Look], stable: int
) -> None:
    recovery = classify(before, seen, RecoveryLimits(stable_looks=stable))
    good = [
        (each.values[Metric.ERROR_RATE] or 0) < 0.01
        and (each.values[Metric.P99_LATENCY] or 0) < 200
        and None not in each.values.values()
        and each.health is Health.HEALTHY
        and each.firing_alerts == 0
        and (each.values[Metric.CPU_USAGE] or 0) <= 0.70
        for each in seen
    ]
    recovered = len(good) >= stable and all(good[-stable:])
    assert (recovery.classification is Classification.FULLY_RECOVERED) == recovered
    assert recovery.settled == recovered
    assert recovery.reasons or recovery.classification is Classification.STABLE


def test_a_look_keeps_what_recovery_is_judged_by() -> None:
    seen: Evidence = degraded_evidence(at=NOW + timedelta(minutes=3))
    taken = look_at(seen, assessment(seen))
    assert taken.at == NOW + timedelta(minutes=3)
    assert (taken.health, taken.firing_alerts, taken.deployment_id) == (Health.DEGRADED, 2, 101)
    assert taken.values[Metric.ERROR_RATE] == 0.155
    assert {anomaly.kind for anomaly in taken.anomalies} >= {Kind.ERROR_RATE, Kind.HEALTH, Kind.ALERT}
    empty = healthy_evidence(alerts=alerts(state=SourceState.EMPTY))
    assert look_at(empty, assessment(empty)).firing_alerts == 0


@pytest.mark.parametrize(("bound", "kept"), [(2000, 2000), (200, None)])
def test_a_lower_bound_that_is_not_bad_yet_is_unknown_and_no_recovery(bound: float, kept: float | None) -> None:
    reading = Reading(id="metric:p99_latency", metric=Metric.P99_LATENCY, value=bound, at_least=True)
    rest = tuple(each for each in metrics().readings if each.metric is not Metric.P99_LATENCY)
    seen = healthy_evidence(metrics=metrics(readings=(*rest, reading)))

    taken = look_at(seen, assessment(seen))

    assert taken.values[Metric.P99_LATENCY] == kept
    assert classify(look(DEGRADED_METRICS), [taken], ONE_LOOK).classification is not Classification.FULLY_RECOVERED
