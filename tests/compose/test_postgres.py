"""The store on PostgreSQL 17, in a container of its own."""

import asyncio
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from testcontainers.community.postgres import PostgresContainer

from integrations.store import SqlStore, StoreSettings, schema
from integrations.store.tables import metadata
from tests import builders
from tests.contract.places import Place


@pytest.fixture
def place(engine_answers: None) -> Iterator[Place]:
    del engine_answers
    with PostgresContainer("postgres:17", driver="psycopg") as server:
        yield Place(server.get_connection_url())


async def test_many_processes_that_begin_at_once_make_one_schema_and_keep_what_is_saved(place: Place) -> None:
    stores = [SqlStore(StoreSettings(url=place.url)) for _ in range(4)]
    snapshot = builders.snapshot()
    try:
        await asyncio.gather(*(each.newest(1) for each in stores))
        await stores[0].save(snapshot)
        assert await stores[1].load(snapshot.incident_id) == snapshot
    finally:
        for each in stores:
            await each.close()

    with place.somebody_else() as connection:
        assert "PostgreSQL 17." in connection.exec_driver_sql("SELECT version()").scalar_one()
        assert schema.revision(connection) == schema.revisions()[-1]
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
