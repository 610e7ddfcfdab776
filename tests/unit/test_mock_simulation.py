from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_service.chaos import Chaos, ChaosKind
from mock_service.noise import chance, wobble
from mock_service.readings import Reading
from mock_service.simulation import Simulation
from mock_service.track import Track

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
RAMP = timedelta(seconds=4)
SECONDS = st.floats(min_value=0, max_value=86_400, allow_nan=False)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def simulation(seed: int = 0, ramp: timedelta = RAMP) -> Simulation:
    return Simulation(seed=seed, ramp=ramp)


def degraded(seed: int = 0) -> Simulation:
    made = simulation(seed)
    made.degradation.aim(1.0, START)
    return made


@pytest.mark.parametrize("seed", [0, 1, 7, 12_345])
def test_a_healthy_service_stays_within_its_bounds_for_a_whole_day(seed: int) -> None:
    healthy = simulation(seed)
    for second in range(0, 86_400, 7):
        reading = healthy.reading(after(second + 0.37))
        assert 0.3 <= reading.error_rate_percent <= 0.9
        assert 150 <= reading.p99_latency_ms <= 195
        assert reading.p50_latency_ms < reading.p95_latency_ms < reading.p99_latency_ms
        assert reading.well
        assert reading.serving


@given(seed=st.integers(), seconds=SECONDS)
def test_a_healthy_service_never_leaves_the_recovery_bounds_at_any_instant(seed: int, seconds: float) -> None:
    reading = simulation(seed).reading(after(seconds))
    assert 0.3 <= reading.error_rate_percent <= 0.9
    assert 150 <= reading.p99_latency_ms <= 195


@given(seed=st.integers(), seconds=st.floats(min_value=4, max_value=86_400))
def test_a_degraded_service_stays_clearly_over_every_critical_limit(seed: int, seconds: float) -> None:
    reading = degraded(seed).reading(after(seconds))
    assert reading.error_rate_percent > 12
    assert reading.p99_latency_ms > 1000
    assert reading.cpu_usage_percent > 90.5
    assert 85 < reading.memory_usage_percent < 90
    assert not reading.well
    assert not reading.serving


@given(seed=st.integers(), reads=st.lists(SECONDS, max_size=5), seconds=SECONDS)
def test_an_instant_reads_the_same_however_often_the_service_was_read(
    seed: int, reads: list[float], seconds: float
) -> None:
    often, once = degraded(seed), degraded(seed)
    for earlier in reads:
        often.reading(after(earlier))
    assert often.reading(after(seconds)) == once.reading(after(seconds))


def test_values_move_and_seeds_differ() -> None:
    errors = {simulation().reading(after(second)).error_rate_percent for second in range(60)}
    assert len(errors) > 10
    assert simulation(1).reading(START) != simulation(2).reading(START)


@given(name=st.text(), seed=st.integers(), seconds=SECONDS)
def test_noise_is_bounded_and_smooth(name: str, seed: int, seconds: float) -> None:
    now, next_instant = wobble(seed, name, after(seconds)), wobble(seed, name, after(seconds + 0.001))
    assert -1 <= now <= 1
    assert abs(now - next_instant) < 0.01
    assert 0 <= chance(seed, name, int(seconds)) < 1


def test_a_deployment_shows_gradually() -> None:
    errors = [degraded().reading(after(second)).error_rate_percent for second in (0, 1, 2, 3, 4)]
    assert errors == sorted(errors)
    assert errors[0] < 1
    assert 5 < errors[2] < 12


def test_latency_chaos_adds_to_every_quantile_and_to_nothing_else() -> None:
    calm, hurt = simulation(), simulation()
    hurt.chaos.begin(ChaosKind.LATENCY, 600, at=START, lasting=timedelta(seconds=60))
    before, during = calm.reading(after(10)), hurt.reading(after(10))
    for field in fields(Reading):
        added = 600 if field.name.endswith("_latency_ms") else 0
        assert getattr(during, field.name) == pytest.approx(getattr(before, field.name) + added)


def test_error_and_cpu_chaos_compose_with_latency_on_a_degraded_service() -> None:
    hurt = degraded()
    for kind, amount in ((ChaosKind.LATENCY, 200), (ChaosKind.ERRORS, 30), (ChaosKind.CPU, 99)):
        hurt.chaos.begin(kind, amount, at=START, lasting=timedelta(seconds=60))
    reading = hurt.reading(after(10))
    assert 44 <= reading.error_rate_percent <= 47
    assert reading.p99_latency_ms > 1300
    assert 98 <= reading.cpu_usage_percent <= 100


def test_cpu_chaos_below_the_present_load_changes_nothing() -> None:
    hurt = degraded()
    hurt.chaos.begin(ChaosKind.CPU, 30, at=START, lasting=timedelta(seconds=60))
    assert hurt.reading(after(10)) == degraded().reading(after(10))


def test_percentages_never_pass_a_hundred() -> None:
    hurt = degraded()
    hurt.chaos.begin(ChaosKind.ERRORS, 100, at=START, lasting=timedelta(seconds=60))
    hurt.chaos.begin(ChaosKind.CPU, 100, at=START, lasting=timedelta(seconds=60))
    reading = hurt.reading(after(10))
    assert reading.error_rate_percent == 100
    assert reading.cpu_usage_percent <= 100


def test_chaos_ends_by_itself_and_ramps_away() -> None:
    chaos = Chaos(RAMP)
    chaos.begin(ChaosKind.LATENCY, 600, at=START, lasting=timedelta(seconds=10))
    assert chaos.level(ChaosKind.LATENCY, after(9.9)) == 600
    assert 0 < chaos.level(ChaosKind.LATENCY, after(12)) < 600
    assert chaos.active(after(12))
    assert chaos.level(ChaosKind.LATENCY, after(14)) == 0
    assert not chaos.active(after(14))


def test_an_old_timer_never_ends_a_newer_chaos() -> None:
    chaos = Chaos(timedelta())
    chaos.begin(ChaosKind.LATENCY, 100, at=START, lasting=timedelta(seconds=2))
    chaos.begin(ChaosKind.LATENCY, 200, at=after(1), lasting=timedelta(seconds=6))
    assert chaos.level(ChaosKind.LATENCY, after(6.9)) == 200
    assert chaos.level(ChaosKind.LATENCY, after(7)) == 0


def test_an_old_timer_does_not_survive_a_reset() -> None:
    chaos = Chaos(timedelta())
    chaos.begin(ChaosKind.LATENCY, 100, at=START, lasting=timedelta(seconds=2))
    chaos.clear(after(1))
    chaos.begin(ChaosKind.LATENCY, 300, at=after(1.5), lasting=timedelta(seconds=10))
    assert chaos.level(ChaosKind.LATENCY, after(2.5)) == 300


def test_a_new_chaos_leaves_the_other_kinds_alone() -> None:
    chaos = Chaos(timedelta())
    chaos.begin(ChaosKind.CPU, 95, at=START, lasting=timedelta(seconds=30))
    chaos.begin(ChaosKind.ERRORS, 15, at=after(1), lasting=timedelta(seconds=1))
    assert chaos.level(ChaosKind.CPU, after(20)) == 95


@given(
    aims=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 30)), min_size=1, max_size=20),
    ramp=st.floats(min_value=0.5, max_value=10),
)
def test_a_track_is_continuous_and_stays_between_its_targets(aims: list[tuple[float, float]], ramp: float) -> None:
    track = Track(timedelta(seconds=ramp))
    for target, seconds in sorted(aims, key=lambda aim: aim[1]):
        before = track.value(after(seconds))
        track.aim(target, after(seconds))
        assert track.value(after(seconds)) == before
    assert all(0 <= track.value(after(second)) <= 100 for second in range(60))
    last = max(seconds for _, seconds in aims)
    finals = {target for target, seconds in aims if seconds == last}
    assert track.value(after(last + ramp + 1)) in finals


def test_a_long_history_of_aims_is_forgotten_but_its_level_is_not() -> None:
    track = Track(timedelta())
    for second in range(1000):
        track.aim(float(second), after(second))
    assert track.value(after(999)) == 999
    assert len(track._steps) <= 64
