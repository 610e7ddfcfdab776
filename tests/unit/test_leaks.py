"""When memory is said to have climbed, since when, and what only looks like it."""

import numpy as np
import pytest

from incident.leaks import Rise, find_rise
from incident.series import Array

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR
SEEDS = range(6)


class Course:
    """A service's memory by the minute up to now, as a ratio; hours are counted from its end."""

    def __init__(self, seed: int, hours: float, noise: float = 0.01) -> None:
        self.draw = np.random.default_rng(seed)
        self.ago: Array = np.arange(hours * 60, dtype=np.float64)[::-1] / 60
        self.times = 1.7e9 - HOUR * self.ago
        self.memory = 0.4 + self.draw.normal(0, noise, len(self.ago))
        self.load = 100 + self.draw.normal(0, 4, len(self.ago))

    def leak(self, since: float, until: float = 0.0, taken: float = 0.25) -> "Course":
        """Grows by `taken` from then on, and is given back in one go at `until`."""
        self.memory += np.where(
            (self.ago <= since) & (self.ago > until), taken * (since - self.ago) / (since - until), 0.0
        )
        if until == 0.0:
            self.memory[-1] += taken
        return self

    def found(self) -> Rise | None:
        return find_rise(self.times, self.memory, self.load)

    def off(self, rise: Rise, since: float) -> float:
        """Seconds by which `rise` begins later than that."""
        return rise.since - float(self.times[-1] - HOUR * since)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("hours", "since"), [(10, 1), (10, 5), (30, 7), (14 * 24, 60)])
def test_a_leak_is_found_and_its_beginning_lies_within_what_is_told(hours: float, since: float, seed: int) -> None:
    course = Course(seed, hours).leak(since)
    rise = course.found()
    assert rise is not None
    assert abs(course.off(rise, since)) <= rise.within <= max(0.25 * since * HOUR, 5 * MINUTE)


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_odd_samples_and_the_teeth_of_a_garbage_collector_do_not_hide_a_leak(seed: int) -> None:
    course = Course(seed, 12).leak(4)
    course.memory += 0.05 * (np.arange(len(course.memory)) % 7) / 7
    course.memory[course.draw.random(len(course.memory)) < 0.01] = 0.99
    course.memory[course.draw.random(len(course.memory)) < 0.1] = np.nan
    course.memory[-400:-340] = np.nan
    rise = course.found()
    assert rise is not None
    assert abs(course.off(rise, 4)) <= rise.within


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_for_the_deployment_that_brings_the_leak_is_its_beginning(seed: int) -> None:
    course = Course(seed, 12)
    course.memory[course.ago <= 3] -= 0.2
    rise = course.leak(3, taken=0.5).found()
    assert rise is not None
    assert abs(course.off(rise, 3)) <= rise.within


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leak_that_is_older_than_a_restart_did_not_begin_with_it(seed: int) -> None:
    assert Course(seed, 24).leak(20, 12, taken=0.15).leak(12, 5, taken=0.12).leak(5, taken=0.25).found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_climbs_every_day_is_no_leak(seed: int) -> None:
    course = Course(seed, 48)
    habit = np.maximum(np.sin(2 * np.pi * (18 - course.ago) / 24), -0.2)
    course.memory += 0.2 * habit
    assert course.found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_load_explains_is_no_leak(seed: int) -> None:
    course = Course(seed, 10).leak(3)
    course.load *= 1 + np.maximum(3 - course.ago, 0) / 3
    assert course.found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_under_an_unknown_load_a_day_must_be_known(seed: int) -> None:
    short, long = Course(seed, 10).leak(3), Course(seed, 30).leak(3)
    short.load[:] = long.load[:] = np.nan
    assert short.found() is None
    assert long.found() is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cache_that_fills_after_a_restart_is_no_leak(seed: int) -> None:
    course = Course(seed, 10)
    course.memory += np.where(course.ago <= 4, 0.25 * (1 - np.exp((course.ago - 4) / 1.0)), 0.0)
    assert course.found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_given_back_climbs_no_more(seed: int) -> None:
    assert Course(seed, 10).leak(6, 1).found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_is_no_climb(seed: int) -> None:
    course = Course(seed, 10)
    course.memory[course.ago <= 3] += 0.25
    assert course.found() is None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_has_climbed_as_long_as_it_is_known_has_no_beginning(seed: int) -> None:
    assert Course(seed, 8).leak(8, taken=0.4).found() is None


def test_steady_memory_never_climbs() -> None:
    found = [Course(seed, hours, noise).found() for seed in range(40) for hours in (6, 24) for noise in (0.005, 0.05)]
    assert found == [None] * len(found)


def test_constant_empty_and_short_histories_tell_nothing() -> None:
    times = MINUTE * np.arange(600, dtype=np.float64)
    unknown, level = np.full(600, np.nan), np.full(600, 0.4)
    assert find_rise(times, unknown, level) is None
    assert find_rise(times, level, level) is None
    assert find_rise(times[:5], level[:5], level[:5]) is None
    assert find_rise(times[:0], level[:0], level[:0]) is None
