"""What is extreme is learnt from healthy history, and from nothing else."""

from datetime import timedelta

import numpy as np
import pytest

from incident.baselines import Baseline, interval_of, learn_baseline
from incident.sensitivity import Sensitivity
from incident.series import Column, Frame, Quantity
from tests.series import COLUMNS, CPU, ENTRY, ERRORS, LATENCY, START, TRAFFIC, changed, frame, healthy

SENSITIVITY = Sensitivity()
HOUR = 3600.0


def learnt(history: Frame) -> Baseline:
    return learn_baseline(history, ENTRY, SENSITIVITY)


def deviation(baseline: Baseline, column: Column, value: float, *, at: float = START) -> float:
    row = np.full((1, len(baseline.columns)), np.nan)
    row[0, baseline.columns.index(column)] = value
    return float(baseline.deviations(np.array([at]), row)[0, baseline.columns.index(column)])


def limit(baseline: Baseline, column: Column) -> float:
    return float(baseline.limit[baseline.columns.index(column)])


def one(values: list[float], quantity: Quantity = Quantity.LATENCY, metric: str = "p99_s") -> Frame:
    times = START + 60.0 * np.arange(len(values))
    return frame(times, (Column("web", metric, quantity),), np.array(values)[:, None])


def test_only_the_bad_direction_counts() -> None:
    baseline = learnt(healthy(400))

    assert deviation(baseline, LATENCY, 2.0) > limit(baseline, LATENCY)
    assert deviation(baseline, LATENCY, 0.001) < 0
    assert np.isnan(deviation(baseline, TRAFFIC, 1e6))


def test_less_success_is_worse() -> None:
    history = one([99.9 + 0.01 * (place % 5) for place in range(200)], Quantity.SUCCESS, "success_pct")

    baseline = learnt(history)

    assert deviation(baseline, history.columns[0], 90.0) > limit(baseline, history.columns[0])
    assert deviation(baseline, history.columns[0], 100.0) < 1


def test_healthy_rows_of_another_day_stay_within_the_limits() -> None:
    baseline, later = learnt(healthy(480)), healthy(2000, seed=7)

    deviations = baseline.deviations(later.times, later.values)
    lasting = np.minimum(deviations[1:], deviations[:-1])

    assert np.nanmax(lasting / baseline.limit) < 1


def test_a_column_that_never_varied_needs_a_change_that_matters() -> None:
    baseline = learnt(one([0.2] * 100))

    assert deviation(baseline, baseline.columns[0], 0.21) < limit(baseline, baseline.columns[0])
    assert deviation(baseline, baseline.columns[0], 2.0) > limit(baseline, baseline.columns[0])


def test_columns_without_values_are_not_judged() -> None:
    history = changed(healthy(200), 0, 200, {LATENCY: np.nan})
    history = changed(history, 5, 200, {CPU: np.nan})

    baseline = learnt(history)

    assert np.isnan(deviation(baseline, LATENCY, 99.0))
    assert np.isnan(deviation(baseline, CPU, 99.0)), "five values are no norm"
    assert deviation(baseline, ERRORS, 0.5) > limit(baseline, ERRORS)


@pytest.mark.parametrize("rows", [0, 1, 2, 11])
def test_too_short_a_history_knows_nothing_and_says_so(rows: int) -> None:
    assert learnt(healthy(rows)).knows == 0


def test_the_shorter_the_history_the_wider_the_limits() -> None:
    short, long = (learnt(one([0.2, 0.21, 0.19, 0.2] * rows)) for rows in (10, 2000))

    assert limit(short, short.columns[0]) > 3 * limit(long, long.columns[0])


def test_a_spell_that_the_rest_of_the_history_did_not_show_widens_the_limit() -> None:
    calm = healthy(480)
    wild = changed(calm, 100, 104, {LATENCY: 20.0})

    assert limit(learnt(wild), LATENCY) > 20 * limit(learnt(calm), LATENCY)


def test_a_metric_that_is_wild_on_other_services_is_trusted_on_none() -> None:
    noise = np.random.default_rng(3)
    names = tuple(Column(f"s{place}", "client_p99_s", Quantity.LATENCY) for place in range(20))
    calm = frame(START + 60 * np.arange(480), names, 0.1 * noise.lognormal(0, 0.1, (480, 20)))
    wild = calm
    for place in range(1, 6):
        wild = changed(wild, 80 * place, 80 * place + 3, {names[place]: 50.0})

    assert limit(learnt(wild), names[0]) > 20 * limit(learnt(calm), names[0])


def test_load_excuses_what_it_usually_brings() -> None:
    noise = np.random.default_rng(5)
    load = 100 + 50 * np.sin(np.arange(600) / 50)
    history = changed(healthy(600), 0, 600, {TRAFFIC: load, CPU: 0.2 * load + noise.normal(0, 0.5, 600)})
    baseline = learnt(history)
    cpu, traffic = COLUMNS.index(CPU), COLUMNS.index(TRAFFIC)
    row = np.full((2, len(COLUMNS)), np.nan)
    row[:, cpu], row[:, traffic] = 90.0, (450.0, 100.0)

    busy, idle = baseline.deviations(np.array([START, START]), row)[:, cpu]

    assert busy < 1
    assert idle > baseline.limit[cpu]


def test_an_unknown_load_excuses_nothing() -> None:
    load = 100 + 50 * np.sin(np.arange(600) / 50)
    history = changed(healthy(600), 0, 600, {TRAFFIC: load, CPU: 0.2 * load})

    baseline = learnt(history)

    assert deviation(baseline, CPU, 90.0) > limit(baseline, CPU)


def weeks(count: float) -> Frame:
    """A latency that is ten times as high from 09:00 to 17:00 UTC, a value each quarter of an hour."""
    times = START + 900 * np.arange(int(count * 7 * 96))
    busy = (times // 3600 % 24 >= 9) & (times // 3600 % 24 < 17)
    noise = np.random.default_rng(2).lognormal(0, 0.05, len(times))
    return frame(times, (LATENCY,), (np.where(busy, 1.0, 0.1) * noise)[:, None])


def test_two_weeks_show_the_hours_of_the_week() -> None:
    history = weeks(3)
    baseline = learnt(history)
    midnight = np.floor(history.times[-1] / 86400) * 86400

    assert deviation(baseline, LATENCY, 1.0, at=midnight + 12 * HOUR) < limit(baseline, LATENCY) / 2
    assert deviation(baseline, LATENCY, 1.0, at=midnight + 3 * HOUR) > limit(baseline, LATENCY)


def test_less_than_two_weeks_show_no_hours() -> None:
    assert learnt(weeks(1.9)).expectation.season is None


def test_the_interval_is_that_of_most_rows() -> None:
    times = np.concatenate([START + 60 * np.arange(50), START + 90_000 + 60 * np.arange(50)])

    assert interval_of(frame(times, (), np.empty((100, 0)))) == 60


def test_how_often_is_put_up_with_widens_the_limits() -> None:
    history = healthy(480)
    patient = learn_baseline(history, ENTRY, Sensitivity(false_opening_every=timedelta(hours=10_000)))

    assert limit(patient, LATENCY) > 2 * limit(learnt(history), LATENCY)


def test_more_rows_than_are_looked_at_cannot_be_needed() -> None:
    with pytest.raises(ValueError, match="rows_needed: expected at most rows_within"):
        Sensitivity(rows_needed=3, rows_within=2)
