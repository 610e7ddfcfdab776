"""A database that the store's tests run over, and the marks of a test that needs PostgreSQL.

Apart from the fixtures in databases.py, since pytest wants to be the first to import those.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from tests.standins.postgres import why_not

NEEDS_POSTGRES = [pytest.mark.needs_postgres, pytest.mark.skipif(bool(why_not()), reason=why_not())]
SQLITE = "sqlite"
POSTGRESQL = pytest.param("postgresql", marks=NEEDS_POSTGRES)


@dataclass(frozen=True)
class Place:
    """An empty database."""

    url: str

    @contextmanager
    def somebody_else(self) -> Iterator[Connection]:
        """A transaction of another program, kept where the block ends."""
        engine = create_engine(self.url, poolclass=NullPool)
        if engine.dialect.name == SQLITE:
            Path(str(engine.url.database)).parent.mkdir(exist_ok=True)
        with engine.begin() as connection:
            yield connection

    def change(self, *statements: str) -> None:
        """Lets another program do `statements`, in SQL that both databases know."""
        with self.somebody_else() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
