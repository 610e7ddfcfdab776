"""One server for all workflow tests, one worker for each."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Protocol, Unpack

import pytest
import pytest_asyncio
import structlog
from temporalio.testing import WorkflowEnvironment

from tests.workflow import shift
from tests.workflow.shift import Fakes, Shift


class Staff(Protocol):
    """Puts a worker to work."""

    async def __call__(self, **fakes: Unpack[Fakes]) -> Shift:
        """A shift with these fakes; its worker stops when the test ends."""
        ...


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """No log lines: structlog's own renderer shows every local of every frame, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with shift.environment() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def staff(server: WorkflowEnvironment) -> AsyncIterator[Staff]:
    async with AsyncExitStack() as open_shifts:

        async def _open(**fakes: Unpack[Fakes]) -> Shift:
            return await open_shifts.enter_async_context(shift.at_work(server, **fakes))

        yield _open
