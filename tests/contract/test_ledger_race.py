"""Two commanders and one ledger: what holds between processes, whichever is quicker and whichever is killed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from incident.ledger import Quota, Stop
from integrations.store import SqlStore, StoreSettings, schema
from tests import builders
from tests.contract.ledger_process import LedgerProcess
from tests.contract.places import POSTGRESQL, SQLITE, Place
from tests.standins.postgres import Postgres

pytest_plugins = ["tests.contract.databases"]
pytestmark = pytest.mark.slow

UNBOUNDED = Quota(service_per_hour=10**6, fleet_per_hour=10**6)
STOP = Stop(by="ada", at=builders.NOW)
AFTER_A_KILL = 5.0
"""Seconds within which the next commander must get on: well under what a database waits for a lock."""


def _incidents(many: int, *, services: int = 1) -> list[dict[str, Any]]:
    """An entry of each of so many incidents, in turn of so many services."""
    return [
        builders.remediation(
            correlation_id=f"ic-{number:020x}",
            incident_id=f"incident-{number}",
            service=f"service-{number % services}",
            at=builders.NOW,
        ).model_dump(mode="json")
        for number in range(many)
    ]


def _begun(answer: Sequence[dict[str, Any]]) -> list[str]:
    return [each["correlation_id"] for each in answer if not each["refused"]]


@pytest.fixture
def pair() -> Iterator[tuple[LedgerProcess, LedgerProcess]]:
    """Two commanders, of whom neither has opened anything yet."""
    with LedgerProcess() as one, LedgerProcess() as other:
        yield one, other


@pytest.fixture
def opened(pair: tuple[LedgerProcess, LedgerProcess], place: Place) -> tuple[LedgerProcess, LedgerProcess]:
    """Two commanders who have the same database open."""
    for each in pair:
        each.tell("open", place.url)
    for each in pair:
        assert each.answer() == []
    return pair


async def _entered(place: Place, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Which of `entries` the ledger holds, as a third process reads it."""
    store = SqlStore(StoreSettings(url=place.url))
    ids = [each["correlation_id"] for each in entries]
    held = [each for each in ids if await store.entry(each) is not None]
    await store.close()
    return held


@pytest.mark.parametrize(
    ("services", "quota"),
    [
        (1, Quota(service_per_hour=3, fleet_per_hour=1000)),
        (100, Quota(service_per_hour=1, fleet_per_hour=3)),
    ],
)
async def test_of_a_hundred_incidents_exactly_the_quota_begins(
    opened: tuple[LedgerProcess, LedgerProcess], place: Place, services: int, quota: Quota
) -> None:
    entries = _incidents(100, services=services)
    for process, part in zip(opened, (entries[::2], entries[1::2]), strict=True):
        process.tell("begin_together", place.url, entries=part, quota=quota.model_dump())

    begun = [each for process in opened for each in _begun(process.answer())]

    assert len(begun) == 3
    assert sorted(begun) == await _entered(place, entries)


async def test_what_both_ask_for_at_once_is_entered_once(
    opened: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    entries = _incidents(50)
    for process in opened:
        process.tell("begin_together", place.url, entries=entries, quota=UNBOUNDED.model_dump())

    answers = [each for process in opened for each in process.answer()]

    assert len(_begun(answers)) == 100
    fresh = [each["correlation_id"] for each in answers if not each["entered_before"]]
    assert sorted(fresh) == [each["correlation_id"] for each in entries]


async def test_a_kill_switch_waits_for_what_is_just_beginning(
    opened: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    beginner, stopper = opened
    first, later = _incidents(2)
    beginner.hold()
    beginner.tell("begin_together", place.url, entries=[first], quota=None)
    beginner.await_hold()

    stopper.tell("stop", place.url, stop=STOP.model_dump(mode="json"))
    with pytest.raises(TimeoutError):
        stopper.answer(within=0.5)
    beginner.go_on()

    assert _begun(beginner.answer()) == [first["correlation_id"]]
    stopper.answer()
    beginner.tell("begin_together", place.url, entries=[later], quota=None)
    assert [each["refused"] for each in beginner.answer()] == [[STOP.words]]
    assert await _entered(place, [first, later]) == [first["correlation_id"]]


async def test_nothing_begins_once_the_kill_switch_is_pulled(
    opened: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    beginner, stopper = opened
    (entry,) = _incidents(1)
    beginner.tell("begin_until_refused", place.url, entry=entry, quota=UNBOUNDED.model_dump())
    stopper.tell("stop", place.url, stop=STOP.model_dump(mode="json"))

    pulled, asked = stopper.answer()["returned"], beginner.answer()

    assert [each for each in asked if each["asked"] > pulled and not each["refused"]] == []
    assert asked[-1]["refused"] == [STOP.words]
    assert _begun(asked) == await _entered(place, asked)


@pytest.mark.parametrize("kind", [SQLITE, POSTGRESQL])
def test_an_empty_database_may_be_opened_by_both_at_once(
    pair: tuple[LedgerProcess, LedgerProcess], kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for number in range(5):
        if kind == SQLITE:
            _open_at_once(pair, Place(f"sqlite:///{tmp_path / str(number) / 'incidents.db'}"))
            continue
        server: Postgres = request.getfixturevalue("postgres")
        _open_at_once(pair, Place(server.new_place()))


def _open_at_once(pair: tuple[LedgerProcess, LedgerProcess], place: Place) -> None:
    for process in pair:
        process.tell("open", place.url)
    assert [process.answer() for process in pair] == [[], []]
    with place.somebody_else() as connection:
        assert schema.revision(connection) == schema.revisions()[-1]
        assert connection.exec_driver_sql("SELECT count(*) FROM ledger_guard").scalar_one() == 1


async def test_a_commander_killed_amid_an_entry_leaves_neither_the_entry_nor_a_lock(
    opened: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    victim, survivor = opened
    first, second = _incidents(2)
    quota = Quota(service_per_hour=1, fleet_per_hour=1).model_dump()
    victim.hold()
    victim.tell("begin_together", place.url, entries=[first], quota=quota)
    victim.await_hold()

    victim.kill()
    survivor.tell("begin_together", place.url, entries=[second], quota=quota)

    assert _begun(survivor.answer(within=AFTER_A_KILL)) == [second["correlation_id"]]
    assert await _entered(place, [first, second]) == [second["correlation_id"]]


def test_a_commander_killed_amid_the_making_of_the_tables_leaves_none_and_no_lock(
    pair: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    victim, survivor = pair
    victim.hold(at_commit=2)  # the first is that of the look at what is there
    victim.tell("open", place.url)
    victim.await_hold()

    victim.kill()
    with place.somebody_else() as connection:
        assert inspect(connection).get_table_names() == []
    survivor.tell("open", place.url)

    assert survivor.answer(within=AFTER_A_KILL) == []
