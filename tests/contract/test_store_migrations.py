"""How a database gets the schema of this program, whatever it held before."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from incident.errors import IntegrationError, PermanentError
from incident.ledger import RemediationKind
from integrations.store import SqlStore, StoreSettings, schema, snapshots
from integrations.store.tables import metadata
from tests import builders
from tests.contract.places import Place

pytest_plugins = ["tests.contract.databases"]

_FIRST_RELEASE = (
    """CREATE TABLE incidents (
        incident_id VARCHAR(200) NOT NULL, service VARCHAR(64) NOT NULL, environment VARCHAR(32) NOT NULL,
        opened_at {time} NOT NULL, closed_at {time} NOT NULL, severity VARCHAR(8) NOT NULL,
        outcome VARCHAR(32) NOT NULL, classification VARCHAR(32) NOT NULL, snapshot TEXT NOT NULL,
        schema_version VARCHAR(16) NOT NULL, PRIMARY KEY (incident_id))""",
    "CREATE INDEX incidents_newest ON incidents (opened_at, incident_id)",
    """CREATE TABLE remediations (
        correlation_id VARCHAR(200) NOT NULL, incident_id VARCHAR(200) NOT NULL, service VARCHAR(64) NOT NULL,
        environment VARCHAR(32) NOT NULL, from_deployment BIGINT NOT NULL, to_deployment BIGINT NOT NULL,
        state VARCHAR(16) NOT NULL, at {time} NOT NULL, PRIMARY KEY (correlation_id))""",
    "CREATE INDEX remediations_of_service ON remediations (environment, service, at)",
)
"""What the release before Alembic made."""
_ITS_ENTRY = (
    "INSERT INTO remediations"
    " (correlation_id, incident_id, service, environment, from_deployment, to_deployment, state, at)"
    " VALUES ('ic-old', 'an incident', 'payment-api', 'production', 101, 100, 'succeeded', '{at}')"
)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SqlStore]:
    opened = SqlStore(StoreSettings(url=place.url))
    yield opened
    await opened.close()


def _of_the_first_release(place: Place, *statements: str) -> None:
    time = "DATETIME" if place.url.startswith("sqlite") else "TIMESTAMP WITH TIME ZONE"
    at = f"{builders.NOW:%Y-%m-%d %H:%M:%S.%f}" + ("" if time == "DATETIME" else "+00")
    place.change(*(each.format(time=time, at=at) for each in statements))


def _revision(place: Place) -> str | None:
    with place.somebody_else() as connection:
        return schema.revision(connection)


def _differences(place: Place) -> list[object]:
    """What Alembic would change to make the database what tables.py says."""
    with place.somebody_else() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return found


async def test_an_empty_database_gets_what_the_tables_say(store: SqlStore, place: Place) -> None:
    await store.newest(1)

    assert _revision(place) == schema.revisions()[-1]
    assert _differences(place) == []


async def test_a_database_of_the_first_release_keeps_all_that_it_holds(store: SqlStore, place: Place) -> None:
    _of_the_first_release(place, *_FIRST_RELEASE, _ITS_ENTRY)
    snapshot = builders.snapshot()
    with place.somebody_else() as connection:
        snapshots.save(connection, snapshot)  # that table is as it was

    entry = await store.entry("ic-old")

    assert entry is not None
    assert (entry.kind, entry.from_deployment, entry.at) == (RemediationKind.ROLLBACK, 101, builders.NOW)
    assert await store.load(snapshot.incident_id) == snapshot
    assert (_revision(place), _differences(place)) == (schema.revisions()[-1], [])


async def test_what_the_first_release_had_only_begun_to_make_is_completed(store: SqlStore, place: Place) -> None:
    _of_the_first_release(place, _FIRST_RELEASE[0])

    await store.newest(1)

    assert _differences(place) == []


async def test_a_worker_of_the_first_release_may_go_on_writing(store: SqlStore, place: Place) -> None:
    await store.newest(1)

    _of_the_first_release(place, _ITS_ENTRY)

    entry = await store.entry("ic-old")
    assert entry is not None
    assert entry.kind is RemediationKind.ROLLBACK


async def test_a_database_newer_than_this_program_is_left_alone(store: SqlStore, place: Place) -> None:
    await store.newest(1)
    place.change("UPDATE alembic_version SET version_num = '9999'")
    later = SqlStore(StoreSettings(url=place.url))

    with pytest.raises(PermanentError, match=r"9999.*newer than this program.*update the program"):
        await later.begin(builders.remediation(), None)

    assert _revision(place) == "9999"
    await later.close()


async def test_a_database_that_is_up_to_date_is_not_touched(store: SqlStore, place: Place) -> None:
    await store.begin(builders.remediation(), None)
    again = SqlStore(StoreSettings(url=place.url))

    await again.stops()

    with place.somebody_else() as connection:
        assert connection.exec_driver_sql("SELECT id, turns FROM ledger_guard").all() == [(1, 1)]
    await again.close()


async def test_a_step_that_fails_leaves_the_database_as_it_was(store: SqlStore, place: Place) -> None:
    _of_the_first_release(place, *_FIRST_RELEASE, "CREATE TABLE stops (somebody INTEGER)")

    with pytest.raises(IntegrationError, match="store"):
        await store.newest(1)

    with place.somebody_else() as connection:
        assert sorted(inspect(connection).get_table_names()) == ["incidents", "remediations", "stops"]
        assert "kind" not in {each["name"] for each in inspect(connection).get_columns("remediations")}
    place.change("DROP TABLE stops")
    assert await store.newest(1) == ()


async def test_stores_of_one_process_may_start_at_once(place: Place) -> None:
    stores = [SqlStore(StoreSettings(url=place.url)) for _ in range(4)]

    assert await asyncio.gather(*(each.newest(1) for each in stores)) == [()] * 4

    await asyncio.gather(*(each.close() for each in stores))


async def test_databases_of_one_process_may_be_made_at_once(tmp_path: Path) -> None:
    stores = [SqlStore(StoreSettings(url=f"sqlite:///{tmp_path}/{number}.db")) for number in range(12)]

    assert await asyncio.gather(*(each.newest(1) for each in stores)) == [()] * 12


async def test_the_logging_stays_as_it_is(store: SqlStore) -> None:
    ours = logging.getLogger("incident")
    before = (list(logging.root.handlers), logging.root.level, ours.disabled, ours.level)

    await store.newest(1)

    assert (list(logging.root.handlers), logging.root.level, ours.disabled, ours.level) == before


def test_the_steps_are_one_line_in_the_order_of_their_numbers() -> None:
    assert schema.revisions() == ("0001", "0002", "0003", "0004", "0005")
