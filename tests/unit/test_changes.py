"""What is taken of a told change, and when two of one id are the same."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from incident.cause import Change, ChangeKind
from incident.changes import DESCRIPTION, Telling
from tests.builders import NOW, ONSET, SERVICE, told_change


def telling(**changes: object) -> Telling:
    given = {"id": "pool", "service": SERVICE, "kind": "config_change", "description": "pool from 20 to 10"}
    return Telling.model_validate(given | changes)


def contradiction(first: Telling, again: Telling) -> str:
    """In what `again`, told an hour later by somebody else, says otherwise than `first`."""
    return again.contradiction(again.by("bob", NOW + timedelta(hours=1)), first.by("ada", NOW))


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
    assert telling(at=NOW + offset).untimely(NOW) == wrong
    assert telling().untimely(NOW) == ""


def test_the_same_told_again_contradicts_nothing_whoever_tells_it() -> None:
    assert contradiction(telling(at=ONSET), telling(at=ONSET)) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "other"}, "kind"),
        ({"description": "pool from 20 to 5"}, "description"),
        ({"at": NOW}, "at"),
        ({"kind": "other", "at": NOW}, "kind, at"),
    ],
    ids=["kind", "description", "at", "two"],
)
def test_what_says_otherwise_under_one_id_is_named(changes: dict[str, object], named: str) -> None:
    said = contradiction(telling(at=ONSET), telling(**{"at": ONSET, **changes}))
    assert said == f"change pool of {SERVICE} is known with another {named}"


def test_a_time_that_nobody_gave_contradicts_none() -> None:
    assert contradiction(telling(at=ONSET), telling()) == ""


def test_a_description_is_kept_on_one_line_without_secrets_and_capped() -> None:
    secret = "AKIA" + "CANARY7890123456"
    kept = telling(description=f"  pool\u202e\n\tfrom 20 to 10 by {secret} " + "x" * 1000).by("ada", NOW).description
    assert kept.startswith("pool from 20 to 10 by [REDACTED:")
    assert len(kept) == DESCRIPTION
    assert telling(description=kept).by("ada", NOW).description == kept


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
