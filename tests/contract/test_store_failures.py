"""How the SQL store fails: in time, in our words, and with nothing half done; and what it survives."""

import os
import signal
import socket
import sqlite3
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Connection, update

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.ledger import Admission, Quota, Stop
from integrations.store import SqlStore, StoreSettings
from integrations.store.tables import incidents, metadata
from tests import builders
from tests.contract.places import NEEDS_POSTGRES, Place
from tests.standins.postgres import PASSWORD_IN_A_URL, Postgres

pytest_plugins = ["tests.contract.databases"]

BRIEFLY = timedelta(seconds=1)
SOON = 5.0
"""Seconds: BRIEFLY with what a busy machine adds; libpq rounds the time for connecting up to two."""
AGAIN = 60.0
"""Seconds within which a server that woke up must have answered."""
SNAPSHOTS = tuple(
    builders.snapshot().model_copy(
        update={
            "incident_id": f"production.payment-api.20261124T140000Z.{number:08x}",
            "opened_at": builders.NOW + timedelta(minutes=number),
        }
    )
    for number in range(3)
)
FIRST, SECOND = (
    builders.remediation(correlation_id=name, at=builders.NOW + timedelta(minutes=number))
    for number, name in enumerate(("ic-first", "ic-second"))
)


@pytest.fixture
async def sql(place: Place) -> AsyncIterator[SqlStore]:
    store = SqlStore(StoreSettings(url=place.url), BRIEFLY)
    yield store
    await store.close()


@pytest.fixture
async def file(in_sqlite: Place) -> AsyncIterator[SqlStore]:
    """A store in SQLite."""
    store = SqlStore(StoreSettings(url=in_sqlite.url), BRIEFLY)
    yield store
    await store.close()


@pytest.fixture
async def served(in_postgresql: Place) -> AsyncIterator[SqlStore]:
    """A store in PostgreSQL."""
    store = SqlStore(StoreSettings(url=in_postgresql.url), BRIEFLY)
    yield store
    await store.close()


@contextmanager
def _soon() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def _whole_text(error: BaseException) -> str:
    """All that a log could show of it."""
    return "".join(traceback.format_exception(error))


async def test_nothing_touches_the_disk_before_the_first_use(file: SqlStore, path: Path, tmp_path: Path) -> None:
    before = _files(tmp_path)
    await file.newest(1)

    assert before == []
    assert path.name in _files(tmp_path)


async def test_another_process_sees_what_was_saved(sql: SqlStore, place: Place) -> None:
    await sql.save(SNAPSHOTS[0])
    other = SqlStore(StoreSettings(url=place.url))

    assert await other.load(SNAPSHOTS[0].incident_id) == SNAPSHOTS[0]
    await other.close()


async def test_readers_need_not_wait_for_a_writer(sql: SqlStore, place: Place) -> None:
    await sql.save(SNAPSHOTS[0])
    with place.somebody_else() as connection:
        _hold_the_ledger(connection)

        assert len(await sql.newest(1)) == 1
        assert await sql.entry(FIRST.correlation_id) is None


async def test_a_ledger_that_somebody_holds_is_given_up_in_time_and_usable_afterwards(
    sql: SqlStore, place: Place
) -> None:
    await sql.stops()
    with place.somebody_else() as connection:
        _hold_the_ledger(connection)

        with _soon(), pytest.raises(TransientError, match="store: cannot be used now"):
            await sql.begin(FIRST, None)

    assert not (await sql.begin(FIRST, None)).entered_before


async def test_a_lost_file_is_made_again(file: SqlStore, path: Path) -> None:
    await file.save(SNAPSHOTS[1])
    for each in path.parent.iterdir():
        each.unlink()

    with pytest.raises(TransientError, match="store"):
        await file.save(SNAPSHOTS[2])
    await file.save(SNAPSHOTS[2])

    assert await file.newest(10) == (SNAPSHOTS[2],)


async def test_an_unreadable_snapshot_is_named_when_asked_for_and_left_out_of_lists(
    sql: SqlStore, place: Place
) -> None:
    await sql.save(SNAPSHOTS[1])
    await sql.save(SNAPSHOTS[2])
    with place.somebody_else() as connection:
        connection.execute(
            update(incidents)
            .where(incidents.c.incident_id == SNAPSHOTS[2].incident_id)
            .values(snapshot='{"secret": 1}')
        )

    with structlog.testing.capture_logs() as logs:
        assert await sql.newest(10) == (SNAPSHOTS[1],)
    with pytest.raises(PermanentError, match=SNAPSHOTS[2].incident_id) as raised:
        await sql.load(SNAPSHOTS[2].incident_id)

    assert [(each["event"], each["count"]) for each in logs] == [("store.unreadable", 1)]
    assert "secret" not in str(raised.value)


async def test_a_ledger_with_an_unreadable_entry_is_not_passed_for_whole(sql: SqlStore, place: Place) -> None:
    await sql.begin(FIRST, None)
    await sql.begin(SECOND, None)
    place.change("UPDATE remediations SET state = 'perhaps' WHERE correlation_id = 'ic-second'")
    third = builders.remediation(correlation_id="ic-third", at=builders.NOW)

    for asked in (
        sql.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW),
        sql.entry("ic-second"),
        sql.begin(third, Quota(service_per_hour=9, fleet_per_hour=9)),
    ):
        with pytest.raises(PermanentError, match="ic-second"):
            await asked

    assert await sql.entry("ic-third") is None
    assert await sql.entry("ic-first") == FIRST


async def test_nothing_begins_while_a_kill_switch_cannot_be_read(file: SqlStore, in_sqlite: Place) -> None:
    await file.stop(Stop(by="ada", at=builders.NOW))
    in_sqlite.change("UPDATE stops SET at = 'noon'")

    for asked in (file.stops(), file.begin(FIRST, None)):
        with pytest.raises(PermanentError, match="store"):
            await asked
    assert await file.entry(FIRST.correlation_id) is None


async def test_nothing_begins_without_the_guard(sql: SqlStore, place: Place) -> None:
    await sql.stops()
    place.change("DELETE FROM ledger_guard")

    with pytest.raises(PermanentError, match="guard"):
        await sql.begin(FIRST, None)
    assert await sql.entry(FIRST.correlation_id) is None


async def test_a_file_that_is_no_database_cannot_be_used(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and longer than a header of one hundred bytes. " * 4)

    with pytest.raises(PermanentError):
        await SqlStore(StoreSettings(url=f"sqlite:///{text}")).newest(1)


async def test_a_folder_that_cannot_be_made_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqlStore(StoreSettings(url=f"sqlite:///{tmp_path}/file/incidents.db"))

    with pytest.raises(TransientError) as raised:
        await store.save(SNAPSHOTS[0])

    assert str(tmp_path) not in str(raised.value)


async def test_an_empty_file_that_somebody_holds_is_worth_another_try(in_sqlite: Place, path: Path) -> None:
    path.parent.mkdir()
    maker = sqlite3.connect(path, isolation_level=None)
    maker.execute("BEGIN EXCLUSIVE")
    store = SqlStore(StoreSettings(url=in_sqlite.url), BRIEFLY)

    with _soon(), pytest.raises(TransientError, match="locked"):
        await store.newest(1)
    maker.execute("COMMIT")
    maker.close()

    assert await store.newest(1) == ()
    await store.close()


async def test_a_file_that_others_keep_from_the_quicker_journal_is_read_all_the_same(
    file: SqlStore, in_sqlite: Place, path: Path
) -> None:
    await file.save(SNAPSHOTS[0])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("PRAGMA journal_mode = DELETE")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM incidents").fetchall()
    store = SqlStore(StoreSettings(url=in_sqlite.url), BRIEFLY)

    assert await store.newest(1) == (SNAPSHOTS[0],)

    reader.close()
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "no url, s3cret",
        "nosuchdialect://user:s3cret@db/incidents",
        "mysql://user:s3cret@db/incidents",
        "postgresql+nosuchdriver://user:s3cret@db/incidents",
        "postgresql+psycopg://user:s3cret@db:port/incidents",
        "postgresql+psycopg://user:pass@s3cret@db/incidents",
        "postgresql+psycopg://user:s3cret@127.0.0.1:1/incidents?nosuchoption=1",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///s3cret",
    ],
)
async def test_a_url_that_names_no_usable_database_is_refused_without_its_password(url: str) -> None:
    store = SqlStore(StoreSettings(url=url))

    with structlog.testing.capture_logs() as logs, pytest.raises(PermanentError) as raised:
        await store.newest(1)

    assert "s3cret" not in _whole_text(raised.value)
    assert "s3cret" not in repr(StoreSettings(url=url))
    assert logs == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg://user:s3cret@127.0.0.1:1/incidents", "Connection refused"),
        ("postgresql://user:s3cret@127.0.0.1:1/incidents", "Connection refused"),
        ("postgresql+psycopg://user:s3cret@/incidents?host=/nowhere", "No such file or directory"),
    ],
)
async def test_a_server_that_is_not_there_is_worth_another_try(
    url: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    store = SqlStore(StoreSettings(url=url), BRIEFLY)

    with _soon(), pytest.raises(TransientError, match=words) as raised:
        await store.newest(1)

    assert "s3cret" not in _whole_text(raised.value) + caplog.text
    assert "127.0.0.1" not in str(raised.value)
    assert "/nowhere" not in str(raised.value)
    await store.close()


async def test_a_server_that_takes_the_call_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://user:s3cret@127.0.0.1:{silent.getsockname()[1]}/incidents"
        store = SqlStore(StoreSettings(url=url), BRIEFLY)

        with _soon(), pytest.raises(TransientError, match="timeout expired"):
            await store.newest(1)

        await store.close()


class TestInPostgres:
    pytestmark = NEEDS_POSTGRES

    async def test_lost_tables_are_made_again(self, served: SqlStore, in_postgresql: Place) -> None:
        await served.save(SNAPSHOTS[1])
        in_postgresql.change(*(f"DROP TABLE {each}" for each in (*metadata.tables, "alembic_version")))

        with pytest.raises(IntegrationError, match="UndefinedTable"):
            await served.save(SNAPSHOTS[2])
        await served.save(SNAPSHOTS[2])

        assert await served.newest(10) == (SNAPSHOTS[2],)

    async def test_a_wrong_password_is_not_repeated(
        self, in_postgresql: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        wrong = in_postgresql.url.replace(PASSWORD_IN_A_URL, "wr0ng")
        assert wrong != in_postgresql.url
        store = SqlStore(StoreSettings(url=wrong))

        with pytest.raises(TransientError, match="password authentication failed") as raised:
            await store.newest(1)

        assert "wr0ng" not in _whole_text(raised.value) + caplog.text
        await store.close()

    async def test_a_password_is_in_no_log(self, served: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        await served.save(SNAPSHOTS[0])

        assert "s3cret" not in caplog.text

    async def test_a_frozen_server_is_given_up_in_time_and_used_again_once_it_answers(
        self, served: SqlStore, postgres: Postgres
    ) -> None:
        await served.stops()
        frozen = _sessions(postgres)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            with _soon(), pytest.raises(TransientError, match="store: cannot be used now"):
                await served.begin(FIRST, None)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        assert len(frozen) == 1
        assert not (await _begun_once_it_answers(served)).refused

    async def test_a_connection_that_was_cut_while_it_was_idle_is_replaced(
        self, served: SqlStore, postgres: Postgres
    ) -> None:
        await served.stops()
        (pid,) = _sessions(postgres)
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        assert await served.stops() == ()

    async def test_a_lock_that_a_vanished_client_left_is_let_go_by_the_server(self, served: SqlStore) -> None:
        with served._database.transaction() as connection:
            limits = [
                connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
            ]

        assert limits == ["500ms", "1s", "1s"]

    async def test_a_place_where_no_table_may_be_made_is_named_by_its_kind(self, in_postgresql: Place) -> None:
        store = SqlStore(StoreSettings(url=in_postgresql.url.replace("search_path%3Dtest", "search_path%3Dnowhere")))

        with pytest.raises(PermanentError, match="InvalidSchemaName"):
            await store.newest(1)

        await store.close()


async def _begun_once_it_answers(store: SqlStore) -> Admission:
    """What the ledger says of the first; a busy machine may take longer than BRIEFLY for a new connection."""
    deadline = time.monotonic() + AGAIN
    while True:
        try:
            return await store.begin(FIRST, None)
        except TransientError:
            if time.monotonic() > deadline:
                raise


def _files(folder: Path) -> list[str]:
    return [each.name for each in folder.rglob("*")]


def _hold_the_ledger(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE ledger_guard SET turns = turns")


def _sessions(postgres: Postgres) -> list[int]:
    """The server's processes that serve the store."""
    served = "SELECT pid FROM pg_stat_activity WHERE application_name = 'incident-commander'"
    with postgres.connect() as connection:
        return [pid for (pid,) in connection.execute(served).fetchall()]
