"""Starts a PostgreSQL server of its own from the machine's binaries; nothing in it outlives the run."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

PASSWORD = "pa/s3cret@word"  # noqa: S105 - of a server that nobody else reaches
PASSWORD_IN_A_URL = "pa%2Fs3cret%40word"  # noqa: S105 - the same
_DATABASE = "postgres"
_USER = "commander"
_NOT_ROOT = ("postgres", "nobody")
"""Whom the server may run as where the tests run as root, which it refuses."""
_QUICK = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "synchronous_commit": "off",
}
_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 10.0


def why_not() -> str:
    """Why PostgreSQL cannot be started here; empty: it can."""
    if _binaries() is None:
        return "PostgreSQL needs its server's binaries, initdb and postgres"
    return "" if os.geteuid() or _someone() else "PostgreSQL does not run as root, and there is no other user here"


class Postgres:
    """A running server, reached through a socket in its own directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def new_place(self) -> str:
        """SQLAlchemy's URL of a new, empty schema: as good as a database of its own, and made in milliseconds."""
        name = f"test_{uuid4().hex}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        options = f"host={self._directory}&options=-csearch_path%3D{name}"
        return f"postgresql+psycopg://{_USER}:{PASSWORD_IN_A_URL}@/{_DATABASE}?{options}"

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection of somebody else, without transactions."""
        with psycopg.connect(
            host=str(self._directory), user=_USER, password=PASSWORD, dbname=_DATABASE, autocommit=True
        ) as connection:
            yield connection


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with nothing in it. Its directory is short, for a socket's path may have 107 bytes."""
    binaries = _binaries()
    assert binaries is not None
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        someone = None if os.geteuid() else _someone()
        if someone:
            os.chown(directory, someone.pw_uid, someone.pw_gid)
        _initialize(binaries, directory, someone)
        with _serving(binaries, directory, someone):
            yield Postgres(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _initialize(binaries: Path, directory: Path, someone: pwd.struct_passwd | None) -> None:
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)  # in a directory that is closed to others
    options = [f"--pwfile={password}", f"--username={_USER}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    command = [str(binaries / "initdb"), "--no-sync", *options, "--pgdata", str(directory / "data")]
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        cwd="/",
        user=someone and someone.pw_uid,
        group=someone and someone.pw_gid,
        extra_groups=[] if someone else None,
    )
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def _serving(binaries: Path, directory: Path, someone: pwd.struct_passwd | None) -> Iterator[None]:
    options = [f"--{name}={value}" for name, value in _QUICK.items()]
    setpriv = shutil.which("setpriv")  # of Linux: with it, the server ends also where the tests are killed
    with_us = [setpriv, "--pdeathsig", "INT"] if setpriv else []
    command = [*with_us, str(binaries / "postgres"), "-D", str(directory / "data"), "-k", str(directory), *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            user=someone and someone.pw_uid,
            group=someone and someone.pw_gid,
            extra_groups=[] if someone else None,
        )
    try:
        _await_answer(process, directory)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # "fast": whoever is still connected is cut off
        try:
            process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOPS_WITHIN)


def _await_answer(process: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError), Postgres(directory).connect():
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise AssertionError(f"PostgreSQL did not start: {(directory / 'log').read_text()}")


def _binaries() -> Path | None:
    """The folder of the newest server's binaries."""
    on_path = shutil.which("postgres")
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(debian, key=lambda each: float(each.parent.name), reverse=True)
    folders = [Path(on_path).resolve().parent, *newest_first] if on_path else newest_first
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def _someone() -> pwd.struct_passwd | None:
    for name in _NOT_ROOT:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None
