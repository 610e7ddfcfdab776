"""The versions of the database's schema, kept by Alembic: which one a database has, and the way to the newest."""

import threading
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, inspect, select, table

_VERSION = table("alembic_version", column("version_num"))
_ONE_AT_A_TIME = threading.Lock()
"""Alembic hands the connection to its scripts through globals of the process."""


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that is known here, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return tuple(script.revision for script in reversed(list(scripts.walk_revisions())))


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; `None`: it is empty, or of the time before revisions."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return ", ".join(sorted(connection.scalars(select(_VERSION.c.version_num)))) or None


def upgrade(connection: Connection) -> None:
    """The newest schema, made in the transaction that `connection` is in."""
    config = _config()
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")


def _config() -> Config:
    """Without a file, which Alembic would also configure the logging from."""
    config = Config()
    config.set_main_option("script_location", "integrations.store:migrations")
    return config
