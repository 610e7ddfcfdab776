from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from incident.model import Duration, EnvironmentName, Fact, Moment, Ratio, ServiceName, canonical, field_errors

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
RATIO: TypeAdapter[float] = TypeAdapter(Ratio)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class Inner(Fact):
    names: tuple[int, ...] = ()


class Outer(Fact):
    inner: Inner = Inner()
    share: float = 0.0
    note: str = ""


def refused(value: dict[str, object]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return field_errors(caught.value, "file")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        (" 5 m ", timedelta(minutes=5)),
        ("1.5h", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("PT2H", timedelta(hours=2)),
    ],
)
def test_a_duration_is_written_with_its_unit(text: str, meant: timedelta) -> None:
    assert DURATION.validate_python(text) == meant


def test_a_duration_survives_json() -> None:
    for duration in (timedelta(seconds=90), timedelta(days=3, milliseconds=5), timedelta(0)):
        assert DURATION.validate_json(DURATION.dump_json(duration)) == duration


@pytest.mark.parametrize("value", [30, 1.5, True, "30", "5 parsecs", "", "s", "-5s", "10:00", "9999999999d", "1e3s"])
def test_a_duration_without_a_usable_unit_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValidationError, match='expected a duration with its unit, such as "30s"'):
        DURATION.validate_python(value)


@pytest.mark.parametrize("value", [-0.01, 1.01, 92, True, "0.9", float("nan")])
def test_a_share_is_a_number_from_0_to_1(value: object) -> None:
    with pytest.raises(ValidationError):
        RATIO.validate_python(value)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1])
def test_a_share_includes_both_ends(value: float) -> None:
    assert RATIO.validate_python(value) == value


def test_a_moment_needs_a_zone_and_is_turned_to_utc() -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python("2026-11-24T14:00:00")
    moment = MOMENT.validate_python(datetime(2026, 11, 24, 16, 0, tzinfo=timezone(timedelta(hours=2))))
    assert moment.tzinfo is UTC
    assert moment == datetime(2026, 11, 24, 14, 0, tzinfo=UTC)


def test_a_fact_is_immutable_closed_and_without_nan() -> None:
    fact = Outer()
    with pytest.raises(ValidationError):
        fact.note = "changed"  # type: ignore[misc]  # that it is refused is the point
    assert "extra" in refused({"surprise": 1})[0].lower()
    assert refused({"share": float("inf")})
    assert refused({"share": float("nan")})


def test_a_field_error_names_file_path_and_value() -> None:
    assert refused({"inner": {"names": [1, "x"]}}) == [
        "file: inner.names[1]: Input should be a valid integer, unable to parse string as an integer (got 'x')"
    ]


def test_a_field_error_shows_no_tables_and_cuts_long_values() -> None:
    assert "(got" not in refused({"inner": [1]})[0]
    assert len(refused({"share": "x" * 500})[0]) < 200


def test_a_field_error_shows_no_secret() -> None:
    assert "hunter2" not in refused({"share": "https://ada:hunter2@example.org"})[0]


def test_equal_values_have_equal_canonical_bytes() -> None:
    assert canonical(Outer(note="a", share=1)) == canonical(Outer(share=1.0, note="a"))
    assert canonical(Outer(note="a")) != canonical(Outer(note="b"))
    assert canonical(Outer()) == b'{"inner":{"names":[]},"note":"","share":0.0}'


@pytest.mark.parametrize("name", ["a-b", "A", "", "1a", "a" * 33])
def test_an_environment_has_no_hyphen(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(EnvironmentName).validate_python(name)


@pytest.mark.parametrize("name", ["-a", "A", "", "a_b", "a.b", "a" * 64, "a\n"])
def test_a_service_name_fits_an_id(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ServiceName).validate_python(name)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="expected a time that UTC has"):
        MOMENT.validate_python(text)
