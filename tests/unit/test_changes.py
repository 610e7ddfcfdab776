"""What is taken of a told change, and when two of one id are the same."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.cause import Change, ChangeKind
from incident.changes import DESCRIPTION, contradiction, told_description, untimely
from tests.builders import NOW, SERVICE, told_change


@pytest.mark.parametrize(
    ("offset", "wrong"),
    [
        (timedelta(minutes=5), ""),
        (timedelta(minutes=5, seconds=1), "expected at most 5 minutes in the future"),
        (-timedelta(days=7), ""),
        (-timedelta(days=7, seconds=1), "expected at most 7 days ago"),
    ],
    ids=str,
)
def test_a_change_may_be_a_week_old_and_a_little_ahead(offset: timedelta, wrong: str) -> None:
    assert untimely(NOW + offset, NOW) == wrong


def test_the_same_told_again_contradicts_nothing_whoever_tells_it() -> None:
    again = told_change(by="bob", told_at=NOW + timedelta(hours=1))
    assert contradiction(told_change(), again, dated=True) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "other"}, "kind"),
        ({"description": "pool from 20 to 5"}, "description"),
        ({"at": NOW}, "at"),
        ({"kind": "other", "at": NOW}, "kind, at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_says_otherwise_under_one_id_is_named(changes: dict[str, object], named: str) -> None:
    said = contradiction(told_change(), told_change("pool", **changes), dated=True)
    assert said == f"change pool of {SERVICE} is known with another {named}"


def test_a_time_that_nobody_gave_contradicts_none() -> None:
    assert contradiction(told_change(), told_change(at=NOW), dated=False) == ""


def test_a_description_is_kept_on_one_line_without_secrets_and_capped() -> None:
    secret = "AKIA" + "CANARY7890123456"
    kept = told_description(f"  pool\u202e\n\tfrom 20 to 10 by {secret} " + "x" * 1000)
    assert kept.startswith("pool from 20 to 10 by [REDACTED:")
    assert len(kept) == DESCRIPTION
    assert told_description(kept) == kept


@pytest.mark.parametrize("id_", ["", "two words", "é", "-x", "x" * 101, "a\nb", "<b>"], ids=ascii)
def test_an_id_holds_no_sentence(id_: str) -> None:
    with pytest.raises(ValidationError):
        told_change(id_)


@pytest.mark.parametrize(("service", "id_"), [(SERVICE, "change:pool"), ("checkout", f"{SERVICE}/change:pool")])
def test_seen_from_another_service_its_id_names_its_own(service: str, id_: str) -> None:
    told = told_change()
    assert told.seen_from(service) == Change(
        id=id_,
        service=SERVICE,
        kind=ChangeKind.CONFIGURATION,
        at=told.at,
        description="database pool from 20 to 10",
    )
