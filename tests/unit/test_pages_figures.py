"""The page of figures: of which incidents, and what is not known."""

import re
from datetime import timedelta

import pytest
from starlette.requests import Request

from gateway.pages.door import Visit
from gateway.pages.rendering import Renderer
from gateway.pages.report import Report
from gateway.pages.sessions import Session
from incident.errors import TransientError
from incident.snapshot import Outcome, Snapshot
from tests import builders
from tests.builders import NOW
from tests.e2e.pages_hostile import numbered
from tests.e2e.pages_office import Desktop


def past(number: int, days: float, **changes: object) -> Snapshot:
    snapshot = builders.snapshot(outcome=Outcome.RECOVERED)
    opened_at = NOW - timedelta(days=days)
    return snapshot.model_copy(update={"incident_id": numbered(number), "opened_at": opened_at, **changes})


async def words(ours: Desktop, query: str = "", status: int = 200) -> str:
    async with ours.visitor("ben") as ben:
        shown = await ben.get(f"/ui/figures{query}")
    assert shown.status_code == status
    return " ".join(re.sub("<[^>]*>", " ", shown.text).split())


async def test_the_figures_are_of_the_period_and_the_service_that_were_asked_for() -> None:
    ours = Desktop(snapshots=[past(1, 1), past(2, 20), past(3, 100), past(4, 1, service="other")])
    assert "3 closed incidents opened in the last 90 days." in await words(ours)
    assert "1 closed incident opened" in await words(ours, "?days=7&service=payment-api")
    assert "4 closed incidents" in await words(ours, "?days=365&service=&environment=production")


async def test_what_took_how_long_is_shown_and_what_is_not_known_is_called_so() -> None:
    shown = await words(Desktop(snapshots=[past(1, 1, looks=())]))
    assert "detect not known not known 0 1" in shown
    assert "recover not known not known 0 1" in shown
    assert "0 of 0 opened by an alert" in shown
    assert re.search(r"P0 0 1 0 0 0 P1 0 0 0 0 0", shown)


@pytest.mark.parametrize(
    ("kept", "counted", "capped"), [(3, "3", False), (7, "7", False), (8, "8", False), (10, "8", True)]
)
async def test_the_store_is_read_on_to_the_end_or_to_what_can_be_counted_and_then_says_so(
    kept: int, counted: str, *, capped: bool
) -> None:
    ours = Desktop(snapshots=[past(number, number / 1000) for number in range(kept)])
    report = Report(ours.office, Renderer(), at_once=2, most=8)
    caller = ours.office.tokens.find(ours.tokens["ben"])
    assert caller
    session = Session(id="x", caller=caller, expires=NOW)
    request = Request({"type": "http", "query_string": b"", "headers": []})
    shown = bytes((await report.show(Visit(request, session, "", {}))).body).decode()
    assert f"{counted} closed incidents" in shown
    assert ("are left out" in shown) is capped


@pytest.mark.parametrize("query", ["?days=8", "?days=x", "?service=%3C", "?environment=A"])
async def test_a_period_or_a_service_that_there_cannot_be_is_refused(query: str) -> None:
    await words(Desktop(), query, status=422)


async def test_without_the_store_there_are_no_figures() -> None:
    ours = Desktop()
    ours.store.errors["search"] = TransientError("store", "away")
    assert "Not known at the moment" in await words(ours, status=503)
