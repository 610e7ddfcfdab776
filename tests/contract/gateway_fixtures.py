"""The gateway over a desk without Temporal, a fresh one to each test, and Ada who calls it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.contract.gateway_desk import FakeDesk, Gate


@pytest.fixture(scope="module")
def built() -> Gate:
    return Gate(FakeDesk())


@pytest.fixture
def gate(built: Gate) -> Gate:
    built.reset()
    return built


@pytest.fixture
def desk(gate: Gate) -> FakeDesk:
    assert isinstance(gate.desk, FakeDesk)
    return gate.desk


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with gate.client() as client:
        yield client
