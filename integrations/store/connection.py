"""The way to the database: opened on first use, brought up to date, and its failures in our words.

All that is SQLite's or PostgreSQL's own is here.
"""

import math
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from incident.errors import PermanentError, TransientError
from integrations.store import schema

SYSTEM = "store"
PATIENCE = timedelta(seconds=10)
"""How long one transaction may take, the way to the database included."""

_POOL = {"pool_size": 5, "max_overflow": 5, "pool_pre_ping": True, "pool_recycle": 1800}
_SCHEMA_LOCK = int.from_bytes(b"incident", "big")
"""PostgreSQL's advisory locks are numbers; one that nobody else of the same database will take."""
_SQLITE_PRIMARY_CODE = 0xFF
"""An extended result code's lowest byte: https://www.sqlite.org/rescode.html#extended_result_code_list"""
_ASIDE = re.compile(r"[\"'].*?[\"']")
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When the transaction of this thread must have ended, on `time.monotonic`'s clock."""
_T = TypeVar("_T")


class Database:
    """Transactions for any thread; nothing is opened, made or touched before the first.

    Args:
        url: SQLAlchemy's URL of a SQLite file or of a PostgreSQL database.
        patience: how long one transaction may take; then it is given up.
    """

    def __init__(self, url: str, patience: timedelta = PATIENCE) -> None:
        self._url = url
        self._patience = patience.total_seconds()
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._up_to_date = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction: kept where the block ends, undone where it raises.

        Raises:
            TransientError: the database cannot be opened, read or written now, or does not answer in time.
            PermanentError: the URL names no database that can be used, the file is none, or the schema is too new.
        """
        before = _deadline.set(time.monotonic() + self._patience)
        try:
            with self._ready().begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
            self._up_to_date = False  # so that the next transaction makes the tables anew, should the file be gone
            raise TransientError(SYSTEM, f"cannot be used now: {_words(error)}") from error
        except OSError as error:
            raise TransientError(SYSTEM, f"its folder cannot be made: {error.strerror}") from error
        except ValueError as error:
            raise PermanentError(SYSTEM, "holds a value that cannot be read") from error
        except SQLAlchemyError as error:
            self._up_to_date = False
            raise PermanentError(SYSTEM, f"cannot be used: {_words(error)}") from error
        finally:
            _deadline.reset(before)

    def close(self) -> None:
        """Closes every connection; a later transaction opens anew."""
        engine, self._engine, self._up_to_date = self._engine, None, False
        if engine:
            engine.dispose()

    def _ready(self) -> Engine:
        if not self._lock.acquire(timeout=max(_left(), 0)):
            raise TransientError(SYSTEM, "cannot be used now: another call waits for it already")
        try:
            if self._engine is None:
                self._engine = _open(self._url, self._patience)
            if not self._up_to_date:
                _bring_up_to_date(self._engine)
                self._up_to_date = True
            return self._engine
        finally:
            self._lock.release()


def _open(url_text: str, patience: float) -> Engine:
    """An engine that has not touched anything yet. What the URL's parser says may quote a password: it stays here."""
    try:
        url = make_url(url_text)
        name, driver = url.get_backend_name(), url.get_driver_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise PermanentError(SYSTEM, "its URL is none that SQLAlchemy understands") from None
    if "@" in (url.host or ""):  # else the driver would name the rest of the password as the host that it cannot find
        raise PermanentError(SYSTEM, "its URL holds one @ too many; in a password it is written %40")
    if name == "sqlite" and url.database in {None, "", ":memory:"}:
        raise PermanentError(SYSTEM, "a SQLite database in memory keeps nothing; expected sqlite:///<file>")
    if (name, driver) == ("sqlite", "pysqlite"):
        lite = create_engine(url, poolclass=NullPool, connect_args={"timeout": patience / 2}, hide_parameters=True)
        event.listen(lite, "connect", _set_up_sqlite)
        event.listen(lite, "begin", _begin_in_sqlite)
        return lite
    if (name, driver) == ("postgresql", "psycopg"):
        postgres = create_engine(
            url, isolation_level="READ COMMITTED", pool_timeout=patience / 2, hide_parameters=True, **_POOL
        )
        event.listen(postgres, "do_connect", _connecting(patience))
        return postgres
    raise PermanentError(SYSTEM, "its URL names no database that can be used here; SQLite and PostgreSQL can")


def _bring_up_to_date(engine: Engine) -> None:
    """The schema of this program, whatever was there; any number of processes may ask for it at once."""
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        if not _behind(connection):
            return
    with engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _SCHEMA_LOCK})
        if _behind(connection):  # nobody else was quicker
            schema.upgrade(connection)


def _behind(connection: Connection) -> bool:
    found, known = schema.revision(connection), schema.revisions()
    if found is not None and found not in known:
        problem = f"its schema ({found:.40}) is newer than this program, which knows {known[-1]}: update the program"
        raise PermanentError(SYSTEM, problem)
    return found != known[-1]


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # every BEGIN is ours: Python would set none before a CREATE TABLE
    try:
        connection.execute("PRAGMA journal_mode = WAL").close()
    except sqlite3.OperationalError as error:
        # Another process is turning the empty file into a database; it stays in the mode that either of them sets.
        if error.sqlite_errorcode & _SQLITE_PRIMARY_CODE != sqlite3.SQLITE_BUSY:
            raise


def _begin_in_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")


class _PatientConnection(psycopg.Connection[Any]):
    """Gives a server up that does not answer until the deadline; its own time-outs do not help where it hangs."""

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """What `gen` gives; the connection is closed where it gives nothing in time, for it may be amid an answer."""
        left = max(_left(), 0)
        given = left if timeout is None else min(left, timeout)
        try:
            return super().wait(gen, interval, None if math.isinf(given) else given)
        except psycopg.OperationalError:
            if _left() <= 0:
                self.close()
            raise


def _connecting(patience: float) -> Callable[..., _PatientConnection]:
    """Opens PostgreSQL's connections, with the server's own time-outs set.

    Those end what a client has left behind: a lock that a vanished machine holds would refuse every remediation.
    """
    milliseconds = {
        "lock_timeout": patience * 500,
        "statement_timeout": patience * 1000,
        "idle_in_transaction_session_timeout": patience * 1000,
    }
    settings = ", ".join(f"set_config('{name}', '{value:.0f}', false)" for name, value in milliseconds.items())

    def _connect(_dialect: object, _record: object, arguments: tuple[Any, ...], options: Any) -> _PatientConnection:  # noqa: ANN401 - the driver's own options
        connection = _PatientConnection.connect(
            *arguments,
            **{"fallback_application_name": "incident-commander"} | options | {"connect_timeout": _whole(patience / 2)},
        )
        try:
            connection.autocommit = True
            connection.execute(f"SELECT {settings}".encode())
            connection.autocommit = False
        except psycopg.Error:
            connection.close()
            raise
        return connection

    return _connect


def _whole(seconds: float) -> int:
    """What libpq takes: whole seconds, two at least (for each address that a host name stands for)."""
    return max(math.ceil(min(seconds, max(_left(), 0))), 2)


def _left() -> float:
    """Seconds until the deadline of this thread's transaction."""
    return _deadline.get() - time.monotonic()


def _words(error: SQLAlchemyError) -> str:
    """What went wrong, without the names of hosts, users and paths, and without any value of a row."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return str(cause)  # SQLite's own words name no path
    if not isinstance(cause, psycopg.Error):
        return type(error).__name__
    if cause.sqlstate or not isinstance(cause, psycopg.OperationalError):
        return type(cause).__name__
    reason = str(cause).replace("FATAL:", "failed:").rpartition("failed:")[2].strip().partition("\n")[0]
    return _ASIDE.sub("…", reason) or type(cause).__name__
