"""A page where a service spends its errors too fast in a long and a short window; unknown where too little is known."""

from datetime import UTC, datetime, timedelta

import pytest

from incident.burn_rate import Counted, Objective, Urgency, burning

NOW = datetime(2026, 11, 24, 14, tzinfo=UTC)
OBJECTIVE = Objective(success=0.999)


def samples(*spells: tuple[timedelta, float], total: int = 600) -> list[Counted]:
    """A sample a minute, spell after spell up to now: how long, and the share that failed."""
    ratios = [ratio for length, ratio in spells for _ in range(length // timedelta(minutes=1))]
    return [
        Counted(at=NOW - timedelta(minutes=len(ratios) - 1 - place), total=total, failed=round(ratio * total))
        for place, ratio in enumerate(ratios)
    ]


DAYS = timedelta(days=3, minutes=1)


@pytest.mark.parametrize(
    ("spells", "urgency"),
    [
        (((DAYS, 0.0),), Urgency.NONE),
        (((DAYS, 0.0), (timedelta(hours=1), 0.02)), Urgency.PAGE),
        (((DAYS, 0.0), (timedelta(hours=6), 0.007)), Urgency.PAGE),
        (((DAYS, 0.0017),), Urgency.TICKET),
        (((DAYS, 0.0), (timedelta(hours=1), 0.02), (timedelta(minutes=6), 0.0)), Urgency.NONE),
        (((DAYS, 0.0), (timedelta(minutes=2), 0.02)), Urgency.NONE),
    ],
    ids=["healthy", "an hour", "six hours", "three days", "over already", "two minutes"],
)
def test_both_windows_must_burn(spells: tuple[tuple[timedelta, float], ...], urgency: Urgency) -> None:
    assert burning(samples(*spells), OBJECTIVE, NOW).urgency is urgency


def test_low_traffic_is_not_judged() -> None:
    assert burning(samples((DAYS, 0.5), total=2), OBJECTIVE, NOW).rates[0] is None


def test_samples_that_begin_late_prove_no_health() -> None:
    assert burning(samples((timedelta(hours=2), 0.0)), OBJECTIVE, NOW).urgency is Urgency.UNKNOWN


def test_samples_that_begin_late_prove_a_burn() -> None:
    assert burning(samples((timedelta(minutes=30), 0.5)), OBJECTIVE, NOW).urgency is Urgency.PAGE


def test_without_samples_nothing_is_known() -> None:
    assert burning([], OBJECTIVE, NOW).urgency is Urgency.UNKNOWN
