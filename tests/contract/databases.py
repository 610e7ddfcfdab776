"""The databases that the store's tests run over; a test module takes these fixtures in as a plugin of pytest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.places import POSTGRESQL, SQLITE, Place
from tests.standins.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where SQLite's file will be, in a folder that is not there yet."""
    return tmp_path / "state" / "incidents.db"


@pytest.fixture
def in_sqlite(path: Path) -> Place:
    return Place(f"sqlite:///{path}")


@pytest.fixture
def in_postgresql(postgres: Postgres) -> Place:
    return Place(postgres.new_place())


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the databases in turn."""
    found: Place = request.getfixturevalue(f"in_{request.param}")
    return found
