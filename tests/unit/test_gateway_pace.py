"""How fast requests may come, on a clock that is moved by hand."""

from gateway.pace import Pace
from gateway.settings import GatewaySettings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_taken_and_then_what_the_rate_gives() -> None:
    clock = Clock()
    pace = Pace(2, 3, clock)
    assert [pace.take("api", "ada") for _ in range(3)] == [0, 0, 0]
    assert pace.take("api", "ada") == 0.5
    clock.now += 0.5
    assert pace.take("api", "ada") == 0
    assert pace.take("api", "ada") == 0.5


def test_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    pace = Pace(1, 1, clock)
    assert pace.take("api", "ada") == 0
    for _ in range(10):
        assert pace.take("api", "ada") == 1
    clock.now += 1
    assert pace.take("api", "ada") == 0


def test_a_pause_never_gives_more_than_a_burst() -> None:
    clock = Clock()
    pace = Pace(100, 2, clock)
    clock.now += 3600
    assert [pace.take("api", "ada") > 0 for _ in range(3)] == [False, False, True]


def test_senders_and_kinds_are_counted_apart() -> None:
    pace = Pace(1, 1, Clock())
    assert pace.take("api", "ada") == 0
    assert pace.take("api", "ada") > 0
    assert pace.take("page", "ada") == 0
    assert pace.take("api", "grace") == 0


def test_no_number_of_senders_fills_the_memory() -> None:
    pace = Pace(1, 1, Clock())
    for number in range(10_500):
        assert pace.take("api", str(number)) == 0
    assert len(pace._buckets) == 10_000
    assert pace.take("api", "10499") > 0
    assert pace.take("api", "0") == 0


def test_the_default_pace_sits_above_a_storm_of_a_thousand_alerts_in_ten_seconds() -> None:
    clock, settings = Clock(), GatewaySettings()
    pace = Pace(settings.requests_per_second, settings.burst, clock)
    assert all(pace.take("webhook", "10.0.0.1") == 0 for _ in range(1_000))
