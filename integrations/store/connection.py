"""The way to the database: opened on first use, and its failures in our words. All that is SQLite's own is here."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.schema import CreateIndex, CreateTable

from incident.errors import PermanentError, TransientError
from integrations.store.tables import metadata

SYSTEM = "store"
_BUSY_SECONDS = 5
"""How long a SQLite writer waits for another one."""


class Database:
    """Transactions for any thread; nothing is opened, made or touched before the first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction: kept where the block ends, undone where it raises.

        Raises:
            TransientError: the database cannot be opened, read or written now.
            PermanentError: the URL names no database that can be used, or the file is none.
        """
        try:
            with self._ready().begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            self.close()  # so that the next transaction makes the tables anew, should the file be gone
            raise TransientError(SYSTEM, f"cannot be used now: {_words(error)}") from error
        except OSError as error:
            raise TransientError(SYSTEM, f"its folder cannot be made: {error.strerror}") from error
        except SQLAlchemyError as error:
            raise PermanentError(SYSTEM, f"cannot be used: {_words(error)}") from error

    def close(self) -> None:
        """Closes every connection; a later transaction opens anew."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine:
            engine.dispose()

    def _ready(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = _open(self._url)
                _create_tables(engine)
                self._engine = engine
            return self._engine


def _open(text: str) -> Engine:
    try:
        url = make_url(text)
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True, hide_parameters=True)
        if url.database in {None, "", ":memory:"}:
            raise PermanentError(SYSTEM, "a SQLite database in memory keeps nothing; expected sqlite:///<file>")
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise PermanentError(SYSTEM, "its URL names no database that can be used here") from error
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own connection
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _create_tables(engine: Engine) -> None:
    """Each table and index unless it is there, which two starting processes may ask for at once."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))


def _words(error: SQLAlchemyError) -> str:
    """SQLite's own words name no path; a server driver's may hold a user or a host, so of those only the kind."""
    if isinstance(error, DBAPIError) and error.orig is not None and type(error.orig).__module__ == "sqlite3":
        return str(error.orig)
    return type(error).__name__
