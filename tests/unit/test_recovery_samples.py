"""Before and after on the requests of all looks, where looks are seconds apart."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from incident.evidence import Health, Metric, Neighbour, unseen
from incident.recovery import Classification, Look, Recovery, classify
from incident.samples import Samples
from incident.verifying import RecoveryLimits
from tests.builders import ENVIRONMENT, NOW, SERVICE, alerts, healthy_evidence, look, metrics
from tests.builders import degraded_evidence as sick

LIMITS = RecoveryLimits()
EVERY = timedelta(seconds=5)
BAD = look(seen=sick())
Values = dict[str, float | None]


def at(number: float, every: timedelta = EVERY) -> dict[str, object]:
    return {"at": NOW + number * every}


def seen(number: float, values: Values | None = None, every: timedelta = EVERY, **changes: object) -> Look:
    shown = {"error_rate": 0.2, "requests_per_second": 100.0, **(values or {})}
    return look(seen=healthy_evidence(NOW + number * every, metrics=metrics(shown), **changes))


def many(values: Values | None = None, looks: int = 120, every: timedelta = EVERY, first: int = 1) -> list[Look]:
    return [seen(number, values, every) for number in range(first, first + looks)]


def judged(looks: Sequence[Look], before: Look = BAD, limits: RecoveryLimits = LIMITS) -> Iterator[Recovery]:
    so_far: Samples | None = None
    for each in looks:
        recovery = classify(before, (each,), limits, so_far)
        so_far = recovery.samples
        yield recovery


def first(
    said: Classification, looks: Sequence[Look], before: Look = BAD, limits: RecoveryLimits = LIMITS
) -> int | None:
    """Which look it is that is the first with which `said` is said; `None`: none."""
    found = (number for number, each in enumerate(judged(looks, before, limits), 1) if each.classification is said)
    return next(found, None)


def last(looks: Sequence[Look], before: Look = BAD, limits: RecoveryLimits = LIMITS) -> Recovery:
    return list(judged(looks, before, limits))[-1]


# Recovered.


def test_a_recovery_is_known_long_before_a_fixed_wait_is_over() -> None:
    found = first(Classification.FULLY_RECOVERED, many())
    assert found is not None
    assert 3 < found < 30


def test_three_good_looks_are_no_recovery_where_so_few_requests_were_behind_them() -> None:
    looks = many({"error_rate": 0.0, "requests_per_second": 5.0}, looks=20)
    assert first(Classification.FULLY_RECOVERED, looks) is None
    recovery = last(looks)
    assert recovery.classification is Classification.SIGNIFICANT_IMPROVEMENT
    assert "of 475 requests" in recovery.reasons[-1]
    assert "100 to 1 are needed" in recovery.reasons[-1]


def test_an_error_rate_at_its_limit_is_never_a_recovery() -> None:
    assert first(Classification.FULLY_RECOVERED, many({"error_rate": 1.0})) is None


def test_one_look_with_errors_by_chance_does_not_begin_it_all_anew() -> None:
    looks = many()
    looks[6] = seen(7, {"error_rate": 3.0})
    found, without = first(Classification.FULLY_RECOVERED, looks), first(Classification.FULLY_RECOVERED, many())
    assert found is not None
    assert without is not None
    assert without < found < without + 12


def test_errors_that_come_back_are_no_recovery_however_long_it_was_good() -> None:
    blocked = [seen(number, {"p99_latency": 250.0}) for number in range(1, 101)]
    assert first(Classification.FULLY_RECOVERED, [*blocked, *many({"error_rate": 8.0}, looks=20, first=101)]) is None


@pytest.mark.parametrize(
    "wanting",
    [
        {"metrics": metrics({"error_rate": 0.2, "p99_latency": 250.0})},
        {"metrics": metrics({"error_rate": 0.2, "cpu_usage": 92.0})},
        {"metrics": metrics({"error_rate": 0.2}, health=Health.DEGRADED)},
        {"metrics": metrics({"error_rate": 0.2, "p99_latency": None})},
        {"alerts": alerts(state="failed", problem="timed out")},
    ],
    ids=["latency", "cpu", "health", "unknown latency", "alerts"],
)
def test_few_errors_alone_are_no_recovery(wanting: dict[str, object]) -> None:
    looks = [look(seen=healthy_evidence(**{**at(number), **wanting})) for number in range(1, 60)]  # type: ignore[arg-type]  # the builder's keywords
    assert first(Classification.FULLY_RECOVERED, looks) is None


def test_the_last_looks_must_be_good_in_everything_else() -> None:
    looks = [seen(number, {"p99_latency": 250.0}) for number in range(1, 61)]
    assert first(Classification.FULLY_RECOVERED, [*looks, *many(looks=10, first=61)]) == 63


def test_without_a_request_rate_good_looks_decide() -> None:
    assert first(Classification.FULLY_RECOVERED, many({"requests_per_second": None})) == 3


def test_good_looks_decide_where_the_policy_says_that_no_requests_stand_behind_the_numbers() -> None:
    by_looks = RecoveryLimits(count_requests=False)
    assert first(Classification.FULLY_RECOVERED, many(), limits=by_looks) == 3


def test_looks_that_are_no_seconds_apart_count_no_request_twice() -> None:
    close = timedelta(seconds=1)
    assert first(Classification.FULLY_RECOVERED, many(every=close), look(seen=sick(at=NOW))) == 3


def test_a_stricter_policy_takes_longer() -> None:
    strict, lax = (
        first(Classification.FULLY_RECOVERED, many(), limits=RecoveryLimits(wrong=each)) for each in (0.001, 0.1)
    )
    assert strict is not None
    assert lax is not None
    assert strict > lax


def test_a_recovery_is_stable_once_it_was_good_for_the_whole_window() -> None:
    recovered = [each for each in judged(many()) if each.classification is Classification.FULLY_RECOVERED]
    assert (recovered[0].settled, recovered[0].stable) == (True, False)
    assert recovered[-1].stable
    unstable = sum(not each.stable for each in recovered)
    begun = first(Classification.FULLY_RECOVERED, many()) or 0
    assert (begun - 1 + unstable) * EVERY == LIMITS.stable_for
    assert recovered[-1].good_since == NOW + EVERY


def test_looks_that_come_one_by_one_are_judged_as_all_at_once() -> None:
    looks = many(looks=30)
    assert classify(BAD, looks, LIMITS) == last(looks)


# Worse.


CALM = look(seen=sick(metrics=metrics({"error_rate": 0.5, "p99_latency": 1200.0}), alerts=alerts()))


def test_one_bad_look_is_not_worse() -> None:
    looks = [seen(1, {"error_rate": 4.0}), *many(looks=20, first=2)]
    assert first(Classification.DEGRADED, looks, CALM) is None


def test_errors_that_stay_are_worse_and_soon_found() -> None:
    found = first(Classification.DEGRADED, many({"error_rate": 10.0}), CALM)
    assert found is not None
    assert 1 < found < 10


def test_more_errors_than_before_are_not_worse_while_they_are_as_few_as_a_recovery_wants() -> None:
    before = look(seen=sick(metrics=metrics({"error_rate": 0.0, "p99_latency": 1200.0}), alerts=alerts()))
    assert first(Classification.DEGRADED, many({"error_rate": 0.8}), before) is None


def test_errors_within_the_practical_margin_are_not_worse() -> None:
    before = look({"error_rate": 10.0})
    assert first(Classification.DEGRADED, many({"error_rate": 12.0}), before) is None
    assert first(Classification.DEGRADED, many({"error_rate": 20.0}), before) is not None


@pytest.mark.parametrize(
    "values", [{"p99_latency": 2500.0}, {"cpu_usage": 99.0}], ids=["latency", "a metric that opened the incident"]
)
def test_what_has_no_counts_is_worse_once_it_has_lasted(values: Values) -> None:
    assert first(Classification.DEGRADED, many(values)) == 6
    five = [seen(number, values if number % 6 else None) for number in range(1, 61)]
    assert first(Classification.DEGRADED, five) is None


def test_worse_that_is_not_known_to_last_is_said_and_is_no_improvement() -> None:
    recovery = last(many({"p99_latency": 2500.0}, looks=4))
    assert recovery.classification is Classification.STABLE
    assert "not known to last: p99_latency 1200ms → 2500ms" in recovery.reasons


def test_without_a_request_rate_errors_are_worse_once_they_have_lasted() -> None:
    assert first(Classification.DEGRADED, many({"error_rate": 10.0, "requests_per_second": None}), CALM) == 6


# Next door.


def beside(number: float, error_rate: float) -> Look:
    neighbour = Neighbour(service="checkout", values={Metric.ERROR_RATE: error_rate, Metric.P99_LATENCY: 100.0})
    return seen(number).model_copy(update={"around": (neighbour,)})


def test_a_fault_that_moved_next_door_is_no_recovery() -> None:
    before = BAD.model_copy(update={"around": beside(0, 0.001).around})
    looks = [beside(number, 0.2) for number in range(1, 60)]
    assert first(Classification.FULLY_RECOVERED, looks, before) is None
    assert first(Classification.DEGRADED, looks, before) == 6
    assert "next door: checkout error_rate 0.1% → 20.0%" in last(looks, before).reasons


def test_a_neighbour_that_was_as_bad_before_holds_up_no_recovery() -> None:
    before = BAD.model_copy(update={"around": beside(0, 0.2).around})
    assert first(Classification.FULLY_RECOVERED, [beside(number, 0.2) for number in range(1, 60)], before)


def test_a_neighbour_that_nobody_had_looked_at_before_says_nothing() -> None:
    assert first(Classification.FULLY_RECOVERED, [beside(number, 0.2) for number in range(1, 60)])


# Could not tell: each by its own limit and in its own words.


def test_a_source_that_goes_on_failing_ends_the_verification() -> None:
    blind = [look(seen=unseen(SERVICE, ENVIRONMENT, NOW + number * EVERY, "timed out")) for number in range(1, 80)]
    recoveries = list(judged(blind))
    ended = next(number for number, each in enumerate(recoveries) if each.settled)
    assert ended * EVERY == LIMITS.unreadable_for
    assert {each.classification for each in recoveries} == {Classification.INCONCLUSIVE}
    assert recoveries[ended].reasons[0] == "a source has been failing for 0:05:00: timed out"


def test_a_source_that_goes_on_having_no_value_ends_the_verification() -> None:
    recoveries = list(judged(many({"error_rate": None}), limits=RecoveryLimits(no_data_for=timedelta(minutes=2))))
    ended = next(number for number, each in enumerate(recoveries) if each.settled)
    assert ended * EVERY == timedelta(minutes=2)
    assert recoveries[ended].classification is Classification.INCONCLUSIVE
    assert recoveries[ended].reasons[0] == "no data for 0:02:00: the source answers, and has no value"


def test_a_source_that_comes_back_in_time_ends_nothing() -> None:
    blind = [look(seen=unseen(SERVICE, ENVIRONMENT, NOW + number * EVERY, "timed out")) for number in range(1, 50)]
    assert last([*blind, *many(looks=40, first=50)]).classification is Classification.FULLY_RECOVERED


def test_traffic_too_low_to_show_a_recovery_is_inconclusive_and_ends_the_verification() -> None:
    slow = many({"error_rate": 0.0, "requests_per_second": 0.5}, looks=125)
    recoveries = list(judged(slow))
    assert recoveries[1].classification is Classification.INCONCLUSIVE
    assert recoveries[1].reasons[0] == (
        "low traffic, 0.5 requests a second: 458 without a failure would have to come within 0:10:00"
    )
    ended = next(number for number, each in enumerate(recoveries) if each.settled)
    assert ended * EVERY == LIMITS.low_traffic_for


def test_what_is_worse_is_worse_at_low_traffic_too() -> None:
    found = first(Classification.DEGRADED, many({"p99_latency": 2500.0, "requests_per_second": 0.5}))
    assert found == 6


def test_a_gap_between_looks_counts_no_requests_that_nobody_saw() -> None:
    recovery = classify(BAD, [seen(1), seen(2), seen(200)], LIMITS)
    assert recovery.samples is not None
    assert recovery.samples.requests == pytest.approx(100 * (5 + 60))


def test_times_that_go_backwards_count_nothing() -> None:
    recovery = classify(BAD, [seen(5), seen(1), seen(1)], LIMITS)
    assert recovery.samples is not None
    assert recovery.samples.requests == 0
