"""An early end of the verification, and the page that stays open until the whole window has passed."""

from datetime import UTC, datetime, timedelta

import pytest

from incident.evidence import Source
from incident.identifiers import page_key
from incident.recovery import Classification
from incident.snapshot import Outcome
from tests.fakes import FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import P1, noted, sick, well

pytestmark = pytest.mark.asyncio(loop_scope="session")

WINDOW = timedelta(seconds=40)
RULES = {
    "look_every": "0s",
    "settle": "0s",
    "max_looks": 20,
    "recovery": {"stable_looks": 2, "stable_for": "40s", "count_requests": False},
}


class Ticking:
    """Five seconds later whenever it is looked at."""

    def __init__(self) -> None:
        self._at = datetime.now(UTC)

    def __call__(self) -> datetime:
        self._at += timedelta(seconds=5)
        return self._at


async def test_a_page_closes_only_after_the_whole_stability_window(staff: Staff) -> None:
    service = FakeService()
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service, clock=Ticking())
    snapshot = await shift.handle(RULES)
    assert snapshot.outcome is Outcome.RECOVERED
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]
    assert snapshot.looks[-1].at - snapshot.looks[0].at >= WINDOW
    assert noted(snapshot, "recovered; the page closes once it has been so for 0:00:40")


async def test_without_a_page_an_early_stop_is_the_end(staff: Staff) -> None:
    shift = await staff(clock=Ticking())
    snapshot = await shift.handle(RULES)
    assert snapshot.outcome is Outcome.RECOVERED
    assert snapshot.recovery is not None
    assert (len(snapshot.looks), snapshot.recovery.stable, shift.pager.sent) == (2, False, [])


async def test_what_falls_back_within_the_window_keeps_its_page(staff: Staff) -> None:
    service = FakeService()
    service.answer(Source.METRICS, sick(P1), well(), well(), well(), sick(P1))
    shift = await staff(service=service, clock=Ticking())
    snapshot = await shift.handle(RULES)
    assert snapshot.outcome is Outcome.ESCALATED
    assert shift.pager.resolved == []
    assert len(snapshot.looks) == 20


async def test_a_window_that_outlasts_the_looks_is_waited_for(staff: Staff) -> None:
    service = FakeService()
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service, clock=Ticking())
    snapshot = await shift.handle({**RULES, "max_looks": 5})
    assert shift.pager.resolved == [page_key(snapshot.incident_id)]
    assert 5 < len(snapshot.looks) <= 10


async def test_a_window_that_cannot_be_waited_for_leaves_the_page_open(staff: Staff) -> None:
    service = FakeService()
    service.answer(Source.METRICS, sick(P1), well())
    shift = await staff(service=service, clock=Ticking())
    snapshot = await shift.handle({**RULES, "max_looks": 3})
    assert snapshot.recovery is not None
    assert snapshot.recovery.classification is Classification.FULLY_RECOVERED
    assert shift.pager.resolved == []
    assert noted(snapshot, "the page stays open")
