"""Which templates are new since the live deployment, and which of them the evidence keeps."""

from datetime import timedelta

import pytest

from incident.log_templates import MAX_TEMPLATES, LogTemplate, told_apart
from incident.model import Moment
from tests.builders import NOW, log_template

LIVE = NOW - timedelta(minutes=10)


def _seen(text: str, minutes: float, count: int = 1, level: str = "ERROR") -> LogTemplate:
    return log_template(text=text, count=count, level=level, first_at=NOW - timedelta(minutes=minutes))


def test_what_no_line_from_before_the_deployment_says_is_new() -> None:
    told = told_apart((_seen("old", 30), _seen("new", 5), _seen("at once", 10)), LIVE)
    assert {each.text: each.new for each in told} == {"old": False, "new": True, "at once": True}


@pytest.mark.parametrize(("live_since", "why"), [(None, "not known"), (NOW - timedelta(hours=9), "nothing before it")])
def test_where_nothing_from_before_was_read_it_is_not_known_what_is_new(live_since: Moment | None, why: str) -> None:
    told = told_apart((_seen("a", 30), _seen("b", 5)), live_since)
    assert [each.new for each in told] == [None, None], why


def test_new_ones_come_first_then_errors_then_what_is_said_most_often() -> None:
    told = told_apart(
        (
            _seen("usual", 30, 900, "INFO"),
            _seen("old error", 30, 2),
            _seen("new info", 5, 500, "INFO"),
            _seen("new error", 5),
            _seen("new fatal", 5, 3, "FATAL"),
        ),
        LIVE,
    )
    assert [each.text for each in told] == ["new fatal", "new error", "new info", "old error", "usual"]
    assert [each.id for each in told] == [f"log:template-{number}" for number in range(1, 6)]


def test_a_rare_new_error_is_kept_before_all_that_is_usual() -> None:
    usual = tuple(_seen(f"usual {number}", 30, 1000, "INFO") for number in range(200))
    told = told_apart((*usual, _seen("rare", 5)), LIVE)
    assert (len(told), told[0].text) == (MAX_TEMPLATES, "rare")


def test_no_templates_stay_none() -> None:
    assert told_apart((), LIVE) == ()
