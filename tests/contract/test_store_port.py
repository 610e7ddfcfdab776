"""What every store of snapshots and every ledger promises, and how the SQL one fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Protocol

import pytest
import structlog

from incident.errors import PermanentError, TransientError
from incident.ledger import Remediation, RunState
from incident.ports import Ledger, SnapshotStore
from incident.snapshot import Outcome, Snapshot
from integrations.store import SqlStore, StoreSettings
from tests import builders
from tests.fakes import InMemoryStore


class Store(SnapshotStore, Ledger, Protocol):
    """Both ports in one."""


def _snapshot(number: int = 0, **changes: object) -> Snapshot:
    """The snapshot of an incident that opened `number` minutes after the first."""
    opened = builders.NOW + timedelta(minutes=number)
    values = {"incident_id": f"production.payment-api.20261124T140000Z.{number:08x}", "opened_at": opened, **changes}
    return builders.snapshot().model_copy(update=values)


def _remediation(number: int = 0, **changes: object) -> Remediation:
    at = builders.NOW + timedelta(minutes=number)
    values = {"correlation_id": f"ic-{number:020x}", "at": at, "state": RunState.PENDING, **changes}
    return builders.remediation(**values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQL store's file will be, in a folder that is not there yet."""
    return tmp_path / "state" / "incidents.db"


@pytest.fixture
async def sql(path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(StoreSettings(url=f"sqlite:///{path}"))
    yield store
    await store.close()


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest) -> Store:
    kept: Store = InMemoryStore() if request.param == "memory" else request.getfixturevalue("sql")
    return kept


async def test_an_empty_store_has_nothing(store: Store) -> None:
    assert await store.load("production.payment-api.20261124T140000Z.00000000") is None
    assert await store.newest(10) == ()
    assert await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 10) == ()


async def test_a_snapshot_comes_back_as_it_was(store: Store) -> None:
    await store.save(_snapshot())

    assert await store.load(_snapshot().incident_id) == _snapshot()


async def test_the_same_incident_again_replaces_it(store: Store) -> None:
    await store.save(_snapshot())
    await store.save(_snapshot(outcome=Outcome.UNRESOLVED))

    found = await store.newest(10)
    assert [each.outcome for each in found] == [Outcome.UNRESOLVED]


async def test_the_newest_come_first_and_no_more_than_asked(store: Store) -> None:
    for number in (1, 3, 0, 2):
        await store.save(_snapshot(number))

    assert await store.newest(3) == (_snapshot(3), _snapshot(2), _snapshot(1))
    assert await store.newest(0) == ()
    assert await store.newest(-1) == ()


async def test_time_decides_the_order_whatever_the_zone(store: Store) -> None:
    east = timezone(timedelta(hours=9))
    await store.save(_snapshot(1))
    await store.save(_snapshot(2, opened_at=_snapshot(2).opened_at.astimezone(east)))

    assert [each.incident_id for each in await store.newest(2)] == [_snapshot(2).incident_id, _snapshot(1).incident_id]


async def test_saves_at_once_all_arrive(store: Store) -> None:
    await asyncio.gather(*(store.save(_snapshot(number % 4)) for number in range(12)))

    assert len(await store.newest(100)) == 4


async def test_a_remediation_comes_back_as_it_was(store: Store) -> None:
    await store.begin(_remediation())

    assert await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 10) == (_remediation(),)


async def test_an_entry_of_the_same_correlation_id_stays_as_it_is(store: Store) -> None:
    await store.begin(_remediation())
    await store.finish(_remediation().correlation_id, RunState.SUCCEEDED)

    await store.begin(_remediation(to_deployment=7))

    (kept,) = await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 10)
    assert (kept.state, kept.to_deployment) == (RunState.SUCCEEDED, 99)


async def test_begun_at_once_it_is_entered_once(store: Store) -> None:
    await asyncio.gather(*(store.begin(_remediation()) for _ in range(8)))

    assert len(await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 10)) == 1


async def test_finishing_sets_that_entry_alone(store: Store) -> None:
    await store.begin(_remediation(0))
    await store.begin(_remediation(1))

    await store.finish(_remediation(0).correlation_id, RunState.FAILED)

    found = await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 10)
    assert [each.state for each in found] == [RunState.PENDING, RunState.FAILED]


async def test_finishing_what_was_never_entered_is_an_error(store: Store) -> None:
    with pytest.raises(PermanentError, match="ic-unknown"):
        await store.finish("ic-unknown", RunState.SUCCEEDED)


async def test_the_ledger_gives_one_service_newest_first_and_no_more_than_asked(store: Store) -> None:
    for number in (1, 0, 2):
        await store.begin(_remediation(number))
    await store.begin(_remediation(3, service="other-api"))
    await store.begin(_remediation(4, environment="staging"))

    found = await store.of_service(builders.ENVIRONMENT, builders.SERVICE, 2)

    assert found == (_remediation(2), _remediation(1))


async def test_a_failing_memory_store_raises_what_it_was_told() -> None:
    store = InMemoryStore(errors={"save": TransientError("store", "full")})
    with pytest.raises(TransientError):
        await store.save(_snapshot())

    store.errors.clear()
    await store.save(_snapshot())


async def test_nothing_touches_the_disk_before_the_first_use(sql: SqlStore, tmp_path: Path) -> None:
    before = _files(tmp_path)
    await sql.newest(1)

    assert before == []
    assert "incidents.db" in _files(tmp_path)


async def test_another_process_sees_what_was_saved(sql: SqlStore, path: Path) -> None:
    await sql.save(_snapshot())
    other = SqlStore(StoreSettings(url=f"sqlite:///{path}"))

    assert await other.load(_snapshot().incident_id) == _snapshot()


async def test_readers_need_not_wait_for_a_writer(sql: SqlStore, path: Path) -> None:
    await sql.save(_snapshot())
    with _open(path) as connection:
        connection.execute("BEGIN IMMEDIATE")

        assert len(await sql.newest(1)) == 1


async def test_a_lost_file_is_made_again(sql: SqlStore, path: Path) -> None:
    await sql.save(_snapshot(1))
    for file in path.parent.iterdir():
        file.unlink()

    with pytest.raises(TransientError, match="store"):
        await sql.save(_snapshot(2))
    await sql.save(_snapshot(2))

    assert await sql.newest(10) == (_snapshot(2),)


async def test_an_unreadable_snapshot_is_named_when_asked_for_and_left_out_of_lists(sql: SqlStore, path: Path) -> None:
    await sql.save(_snapshot(1))
    await sql.save(_snapshot(2))
    with _open(path) as connection:
        connection.execute("UPDATE incidents SET snapshot = '{\"secret\": 1}' WHERE opened_at LIKE '%14:02%'")

    with structlog.testing.capture_logs() as logs:
        assert await sql.newest(10) == (_snapshot(1),)
    with pytest.raises(PermanentError, match=_snapshot(2).incident_id) as raised:
        await sql.load(_snapshot(2).incident_id)

    assert [(each["event"], each["count"]) for each in logs] == [("store.unreadable", 1)]
    assert "secret" not in str(raised.value)


async def test_a_ledger_with_an_unreadable_entry_is_not_passed_for_whole(sql: SqlStore, path: Path) -> None:
    await sql.begin(_remediation(1))
    await sql.begin(_remediation(2))
    with _open(path) as connection:
        connection.execute("UPDATE remediations SET state = 'perhaps' WHERE at LIKE '%14:02%'")

    with pytest.raises(PermanentError, match=_remediation(2).correlation_id):
        await sql.of_service(builders.ENVIRONMENT, builders.SERVICE, 10)


@pytest.fixture
def no_database(tmp_path: Path) -> SqlStore:
    """A store whose file is something else."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, and longer than a header of one hundred bytes. " * 4)
    return SqlStore(StoreSettings(url=f"sqlite:///{file}"))


async def test_a_file_that_is_no_database_cannot_be_used(no_database: SqlStore) -> None:
    with pytest.raises(PermanentError):
        await no_database.newest(1)


async def test_a_folder_that_cannot_be_made_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqlStore(StoreSettings(url=f"sqlite:///{tmp_path}/file/incidents.db"))

    with pytest.raises(TransientError) as raised:
        await store.save(_snapshot())

    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "no url, s3cret",
        "nosuchdialect://user:s3cret@db/incidents",
        "postgresql+nosuchdriver://user:s3cret@db/incidents",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
async def test_a_url_that_names_no_usable_database_is_refused_without_its_password(url: str) -> None:
    store = SqlStore(StoreSettings(url=url))

    with pytest.raises(PermanentError) as raised:
        await store.newest(1)

    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in repr(StoreSettings(url=url))


def _files(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*")]


def _open(path: Path) -> "_Opened":
    return _Opened(path)


class _Opened:
    """A connection of another process: committed and closed at the end of its block."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.commit()
        self._connection.close()
