"""Freeze windows: a window of its own, and weekly hours in whoever's time."""

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from incident.errors import ConfigurationError
from incident.freeze import Freeze, Weekday
from incident.policy import Policy, parse_policy
from tests.builders import NOW

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
BERLIN = "Europe/Berlin"
YEAR_END = Freeze(name="year end", begins=NOW, ends=NOW + HOUR)
# 2026-11-24, the builders' NOW, is a Tuesday.
NIGHT = Freeze.model_validate({"days": ["tue"], "daily_from": "22:00", "daily_until": "06:00"})
OFFICE = Freeze.model_validate({"days": ["mon", "fri"], "daily_from": "09:00", "daily_until": "17:00"})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def refused(**values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Freeze.model_validate(values)
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]


# A window of its own.


@pytest.mark.parametrize(
    ("now", "holds"),
    [(NOW - SECOND, False), (NOW, True), (NOW + HOUR - SECOND, True), (NOW + HOUR, False)],
    ids=["before", "at its beginning", "within", "at its end"],
)
def test_a_window_holds_from_its_beginning_until_its_end(now: datetime, holds: bool) -> None:  # noqa: FBT001 - the case
    assert YEAR_END.holds(now) is holds
    assert YEAR_END.holds(now.astimezone(timezone(timedelta(hours=9)))) is holds


def test_a_window_may_be_given_in_any_zone() -> None:
    east = Freeze.model_validate({"begins": "2026-11-24T23:00:00+09:00", "ends": "2026-11-25T00:00:00+09:00"})
    assert (east.begins, east.ends) == (NOW, NOW + HOUR)


# Weekly hours.


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        ("2026-11-23T08:59:59Z", False),
        ("2026-11-23T09:00:00Z", True),
        ("2026-11-23T16:59:59Z", True),
        ("2026-11-23T17:00:00Z", False),
        ("2026-11-24T12:00:00Z", False),
        ("2026-11-27T12:00:00Z", True),
        ("2026-11-30T12:00:00Z", True),
    ],
)
def test_weekly_hours_hold_on_their_days_alone(now: str, holds: bool) -> None:  # noqa: FBT001 - the case
    assert OFFICE.holds(at(now)) is holds


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        ("2026-11-24T05:00:00Z", False),
        ("2026-11-24T21:59:59Z", False),
        ("2026-11-24T22:00:00Z", True),
        ("2026-11-24T23:59:59Z", True),
        ("2026-11-25T00:00:00Z", True),
        ("2026-11-25T05:59:59Z", True),
        ("2026-11-25T06:00:00Z", False),
        ("2026-11-25T22:00:00Z", False),
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_begin(now: str, holds: bool) -> None:  # noqa: FBT001 - the case
    assert NIGHT.holds(at(now)) is holds


def test_hours_that_end_when_they_began_are_a_whole_day() -> None:
    day = Freeze.model_validate({"days": ["tue"], "daily_from": "08:00", "daily_until": "08:00"})
    assert [day.holds(at(f"2026-11-{each}:00Z")) for each in ("24T07:59", "24T08:00", "25T07:59", "25T08:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_hours_from_midnight_to_midnight_are_that_day() -> None:
    day = Freeze.model_validate({"days": ["sun"], "daily_from": "00:00", "daily_until": "00:00"})
    assert [day.holds(at(f"2026-11-{each}:00Z")) for each in ("28T23:59", "29T00:00", "29T23:59", "30T00:00")] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(("day", "date"), list(zip(Weekday, range(23, 30), strict=True)))
def test_every_day_of_the_week_has_its_name(day: Weekday, date: int) -> None:
    week = [datetime(2026, 11, each, 12, tzinfo=UTC) for each in range(23, 30)]
    freeze = Freeze(days=(day,), daily_from=time(11), daily_until=time(13))
    assert [each.day for each in week if freeze.holds(each)] == [date]


# Time zones.


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        ("2026-11-24T12:59:59Z", False),
        ("2026-11-24T13:00:00Z", True),
        ("2026-11-25T00:59:59+14:00", False),
        ("2026-07-14T11:59:59Z", False),
        ("2026-07-14T12:00:00Z", True),
    ],
    ids=["winter, before", "winter, at", "another zone's clock", "summer, before", "summer, at"],
)
def test_weekly_hours_are_those_of_their_zone_in_summer_and_winter(now: str, holds: bool) -> None:  # noqa: FBT001 - the case
    freeze = Freeze.model_validate({"days": ["tue"], "daily_from": "14:00", "daily_until": "15:00", "timezone": BERLIN})
    assert freeze.holds(at(now)) is holds


def test_the_day_is_that_of_the_zone() -> None:
    freeze = Freeze.model_validate(
        {"days": ["wed"], "daily_from": "00:00", "daily_until": "01:00", "timezone": "Pacific/Auckland"}
    )
    assert freeze.holds(at("2026-11-24T11:30:00Z"))
    assert not freeze.holds(at("2026-11-25T00:30:00Z"))


def test_an_hour_that_comes_twice_is_frozen_twice() -> None:
    freeze = Freeze.model_validate({"days": ["sun"], "daily_from": "02:00", "daily_until": "03:00", "timezone": BERLIN})
    quarters = [at("2026-10-25T00:00:00Z") + QUARTER * each for each in range(-1, 9)]
    assert [freeze.holds(each) for each in quarters] == [False, *[True] * 8, False]


def test_an_hour_that_does_not_come_is_not_frozen() -> None:
    freeze = Freeze.model_validate({"days": ["sun"], "daily_from": "02:00", "daily_until": "03:00", "timezone": BERLIN})
    quarters = [at("2026-03-29T00:00:00Z") + QUARTER * each for each in range(12)]
    assert not any(freeze.holds(each) for each in quarters)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        pytest.param("2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z", id="an hour longer"),
        pytest.param("2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z", id="an hour shorter"),
    ],
)
def test_a_night_over_a_change_of_the_clock_keeps_its_hours(begins: str, ends: str) -> None:
    freeze = Freeze.model_validate({"days": ["sat"], "daily_from": "22:00", "daily_until": "06:00", "timezone": BERLIN})
    edges = (at(begins) - SECOND, at(begins), at(ends) - SECOND, at(ends))
    assert [freeze.holds(each) for each in edges] == [False, True, True, False]


def test_every_half_hour_of_a_year_is_judged_by_the_clock_on_the_wall() -> None:
    freeze = Freeze.model_validate(
        {"days": ["sat", "sun"], "daily_from": "22:30", "daily_until": "03:30", "timezone": BERLIN}
    )
    zone = ZoneInfo(BERLIN)
    for step in range(0, 366 * 24 * 60, 30):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=step)
        wall = now.astimezone(zone)
        evening = wall.weekday() in {5, 6} and (wall.hour, wall.minute) >= (22, 30)
        morning = wall.weekday() in {6, 0} and (wall.hour, wall.minute) < (3, 30)
        assert freeze.holds(now) is (evening or morning)


# What people read.


def test_a_window_is_said_in_words() -> None:
    assert YEAR_END.words == "year end (2026-11-24 14:00:00Z to 2026-11-24 15:00:00Z)"
    assert OFFICE.words == "mon, fri 09:00:00 to 17:00:00 UTC"
    named = NIGHT.model_copy(update={"name": "night", "timezone": BERLIN})
    assert named.words == "night (tue 22:00:00 to 06:00:00 Europe/Berlin)"


def test_a_window_survives_json() -> None:
    for freeze in (YEAR_END, OFFICE, NIGHT):
        assert Freeze.model_validate_json(freeze.model_dump_json()) == freeze


# What is refused.

OWN = {"begins": NOW, "ends": NOW + HOUR}
WEEKLY = {"days": ["mon"], "daily_from": "09:00", "daily_until": "17:00"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "nothing"},
        {"begins": NOW},
        {"ends": NOW},
        {"days": ["mon"]},
        {"days": ["mon"], "daily_from": "09:00"},
        {"daily_from": "09:00", "daily_until": "17:00"},
        {**WEEKLY, "days": []},
        {**OWN, "days": ["mon"]},
        {**OWN, "daily_from": "00:00"},
        {**OWN, "daily_until": "17:00"},
        {**WEEKLY, "begins": NOW},
        {**WEEKLY, "ends": NOW},
        {**OWN, **WEEKLY},
    ],
)
def test_a_window_has_one_form_and_all_of_it(values: dict[str, object]) -> None:
    assert refused(**values) == [": Value error, expected either begins and ends, or days, daily_from and daily_until"]


@pytest.mark.parametrize("ends", [NOW, NOW - SECOND])
def test_a_window_begins_before_it_ends(ends: datetime) -> None:
    assert refused(begins=NOW, ends=ends) == [": Value error, begins: expected a moment before ends"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({**WEEKLY, "timezone": "Europe/Atlantis"}, "timezone"),
        ({**WEEKLY, "timezone": ""}, "timezone"),
        ({**WEEKLY, "timezone": "Europe"}, "timezone"),
        ({**WEEKLY, "timezone": "../UTC"}, "timezone"),
        ({**WEEKLY, "timezone": "é"}, "timezone"),
        ({**WEEKLY, "timezone": "UTC\0"}, "timezone"),
        ({**WEEKLY, "days": ["monday"]}, "days.0"),
        ({**WEEKLY, "days": "mon"}, "days"),
        ({**WEEKLY, "daily_from": "25:00"}, "daily_from"),
        ({**WEEKLY, "daily_until": "noon"}, "daily_until"),
        ({**WEEKLY, "daily_from": 9}, "daily_from"),
        ({**WEEKLY, "daily_until": 17.5}, "daily_until"),
        ({**WEEKLY, "daily_from": "9"}, "daily_from"),
        ({**WEEKLY, "daily_from": "09:00Z"}, "daily_from"),
        ({**WEEKLY, "daily_until": "17:00+02:00"}, "daily_until"),
        ({**OWN, "begins": "2026-11-24T14:00:00"}, "begins"),
        ({**OWN, "ends": "2026-12-24"}, "ends"),
        ({**OWN, "begins": 20261124}, "begins"),
        ({**OWN, "name": "x" * 101}, "name"),
        ({**OWN, "surprise": 1}, "surprise"),
    ],
)
def test_what_is_malformed_is_refused_by_its_field(values: dict[str, object], field: str) -> None:
    (line,) = refused(**values)
    assert line.startswith(f"{field}: ")


def test_a_number_is_no_time_of_day() -> None:
    assert refused(**WEEKLY | {"daily_from": 2200}) == ["daily_from: Value error, expected a time, not a number"]


def test_weekly_hours_bear_no_offset_of_their_own() -> None:
    (line,) = refused(**WEEKLY | {"daily_from": "09:00Z"})
    assert line.endswith("expected a time of day, such as 22:00, without an offset: `timezone` says whose")


@pytest.mark.parametrize(
    ("text", "key", "expectation"),
    [
        ("begins = 2026-12-24T00:00:00Z", "freezes[0]", "expected either begins and ends, or days, daily_from"),
        (
            'days = ["fri"]\ndaily_from = 18:00:00\ndaily_until = 23:59:00\ntimezone = "Berlin"',
            "freezes[0].timezone",
            "expected an IANA time zone, such as UTC or Europe/Berlin (got 'Berlin')",
        ),
        ('days = ["friday"]\ndaily_from = "18:00"\ndaily_until = "23:59"', "freezes[0].days[0]", "'mon', 'tue', 'wed'"),
        ('days = ["fri"]\ndaily_from = 18\ndaily_until = "23:59"', "freezes[0].daily_from", "not a number (got 18)"),
    ],
)
def test_a_policy_file_names_the_window_and_its_field(text: str, key: str, expectation: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(f"[[freezes]]\n{text}", "policy.toml", [])
    (line,) = caught.value.lines
    assert line.startswith(f"policy.toml: {key}: ")
    assert expectation in line


def test_a_policy_file_gives_windows_as_toml_and_as_text() -> None:
    book = parse_policy(
        """
        [[freezes]]
        name = "year end"
        begins = 2026-11-24T14:00:00Z
        ends = "2026-11-24T15:00:00Z"
        [[freezes]]
        days = ["mon", "fri"]
        daily_from = 09:00:00
        daily_until = "17:00"
        """,
        "policy.toml",
        [],
    )
    assert book.default.freezes == (YEAR_END, OFFICE)
    assert Policy.model_validate_json(book.default.model_dump_json()) == book.default
