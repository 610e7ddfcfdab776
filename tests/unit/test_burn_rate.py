"""A page where a service spends its errors too fast in a long and a short window; unknown where too little is known."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.burn_rate import BEYOND, Counted, Objective, Urgency, burning, burns_of, urgency
from tests.burns import LENGTHS, NAMED, OBJECTIVE, counted


def without(name: str, problem: str, shares: Mapping[str, float] | None = None) -> list[Counted]:
    """The same, but that window's requests are unknown."""
    unknown = {"requests": None, "failed": None, "problem": problem}
    return [each.model_copy(update=unknown) if each.over == NAMED[name] else each for each in counted(shares)]


def found(windows: Sequence[Counted], errors_now: float | None = None, objective: Objective = OBJECTIVE) -> Urgency:
    return urgency(burns_of(windows, objective), errors_now, objective)


@pytest.mark.parametrize(
    ("shares", "called_for"),
    [
        ({}, Urgency.NONE),
        ({"1h": 0.0145, "5m": 0.02}, Urgency.PAGE),
        ({"1h": 0.0144, "5m": 0.0144}, Urgency.PAGE),
        ({"1h": 0.0143, "5m": 0.9}, Urgency.NONE),
        ({"1h": 0.9, "5m": 0.0143}, Urgency.NONE),
        ({"6h": 0.007, "30m": 0.007}, Urgency.PAGE),
        ({"3d": 0.0011, "6h": 0.0012}, Urgency.TICKET),
        ({"3d": 0.0011, "6h": 0.0009}, Urgency.NONE),
        ({"3d": 0.01, "6h": 0.02, "1h": 0.03, "30m": 0.03, "5m": 0.03}, Urgency.PAGE),
    ],
    ids=["healthy", "hour", "at the limit", "long under", "short under", "six hours", "days", "over", "all"],
)
def test_both_windows_must_burn_and_the_most_urgent_speaks(shares: Mapping[str, float], called_for: Urgency) -> None:
    assert found(counted(shares)) is called_for


def test_a_burn_is_counted_in_what_the_objective_allows() -> None:
    hour = burns_of(counted({"1h": 0.02, "5m": 0.03}), Objective(success=0.99))[0]
    assert (hour.id, hour.long_burn, hour.short_burn, hour.reached) == ("burn:1h", 2.0, 3.0, False)


@pytest.mark.parametrize(
    ("rate", "objective", "called_for"),
    [
        (0.3, 0.999, Urgency.UNKNOWN),  # 90 requests in five minutes
        (0.4, 0.9999, Urgency.UNKNOWN),  # 1440 in an hour: two failures would be a page
        (0.4, 0.999, Urgency.PAGE),
    ],
    ids=["short", "long", "enough"],
)
def test_low_traffic_is_not_judged(rate: float, objective: float, called_for: Urgency) -> None:
    windows = counted({"1h": 0.0145, "5m": 0.0145}, rate)
    assert found(windows, objective=Objective(success=objective)) is called_for


def test_too_few_requests_are_named_with_what_is_needed() -> None:
    hour = burns_of(counted(rate=0.1), OBJECTIVE)[0]
    assert hour.problem == (
        "too few requests: 360 in 1h, 694 are needed to tell; too few requests: 30 in 5m, 100 are needed to tell"
    )
    assert "unknown over 1h and unknown over 5m" in hour.words


def test_no_requests_are_no_health() -> None:
    assert found(counted(rate=0)) is Urgency.UNKNOWN


def test_nothing_counted_is_unknown() -> None:
    assert found([]) is Urgency.UNKNOWN


@pytest.mark.parametrize("name", list(NAMED))
def test_a_window_that_is_unknown_proves_no_health(name: str) -> None:
    windows = without(name, "stale")
    assert found(windows) is Urgency.UNKNOWN
    assert any("stale" in each.problem for each in burns_of(windows, OBJECTIVE))


def test_a_window_that_is_unknown_hides_no_burn_of_others() -> None:
    assert found(without("6h", "stale", {"1h": 0.02, "5m": 0.02})) is Urgency.PAGE


@pytest.mark.parametrize(
    ("share", "called_for"), [(0.0, Urgency.UNKNOWN), (0.02, Urgency.PAGE)], ids=["no health", "a burn"]
)
def test_samples_that_begin_late_prove_a_burn_and_no_health(share: float, called_for: Urgency) -> None:
    late = [each.model_copy(update={"whole": False}) for each in counted({"1h": share, "5m": share})]
    assert found(late) is called_for


@pytest.mark.parametrize(
    ("errors_now", "goes_on"), [(0.0, False), (0.0143, False), (0.0144, True), (None, True)], ids=str
)
def test_a_page_goes_on_while_the_errors_of_now_spend_as_fast(errors_now: float | None, goes_on: bool) -> None:  # noqa: FBT001 - a case
    burns = burns_of(counted({"1h": 0.02, "5m": 0.02}), OBJECTIVE)
    assert bool(burning(burns, errors_now, OBJECTIVE)) is goes_on


def test_a_ticket_is_not_over_because_it_is_quiet_now() -> None:
    assert found(counted({"3d": 0.002, "6h": 0.002}), errors_now=0.0) is Urgency.TICKET


def test_only_what_pages_was_counted_where_only_that_was_asked() -> None:
    asked = [each for each in counted() if each.over not in BEYOND]
    assert [each.id for each in burns_of(asked, OBJECTIVE)] == ["burn:1h", "burn:6h"]


@pytest.mark.parametrize("success", [0, 1, 99.9])
def test_an_objective_is_a_share_that_leaves_room_for_errors(success: float) -> None:
    with pytest.raises(ValidationError):
        Objective(success=success)


def test_the_short_windows_are_a_twelfth_of_the_long_ones() -> None:
    assert tuple(timedelta(minutes=each) for each in (5, 30, 60, 360, 4320)) == LENGTHS
