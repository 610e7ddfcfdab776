"""One Temporal server and one GitHub for all scenarios: a plugin of pytest, which a test module names."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Unpack

import pytest
import pytest_asyncio
import structlog
from temporalio.testing import WorkflowEnvironment

from tests.fault.github_shift import Commission, GitHubShift, Repository, Wishes, at_work
from tests.standins.github.chain import GitHubChain
from tests.workflow.shift import environment


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def github_server() -> AsyncIterator[WorkflowEnvironment]:
    """One Temporal server for all scenarios."""
    async with environment() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def github_network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitHubChain]:
    """One stand-in for GitHub for all scenarios, behind Prism and Toxiproxy."""
    async with GitHubChain(tmp_path_factory.mktemp("github-scenarios"), poisoned=True) as chain:
        yield chain


@pytest.fixture
def muted() -> Iterator[None]:
    """No log lines: structlog's own renderer shows every local of every frame, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest_asyncio.fixture(loop_scope="session")
async def repository(github_network: GitHubChain) -> AsyncIterator[Repository]:
    """The repository, in which the bad deployment has just gone live.

    Whatever a scenario does, in the end at most one rollback took effect, and the judge had nothing against any call.
    """
    repository = Repository(github_network)
    await repository.begin()
    yield repository
    await github_network.toxics.clear()
    assert len((await repository.journal()).effective) <= 1
    assert repository.wrongs() == []


@pytest_asyncio.fixture(loop_scope="session")
async def commission(
    github_server: WorkflowEnvironment,
    repository: Repository,
    record_property: Callable[[str, object], None],
    muted: None,  # noqa: ARG001 - for as long as the workers run
) -> AsyncIterator[Commission]:
    """Puts workers to work."""
    async with AsyncExitStack() as open_shifts:

        async def _commission(**wishes: Unpack[Wishes]) -> GitHubShift:
            return await open_shifts.enter_async_context(at_work(github_server, repository, record_property, wishes))

        yield _commission


@pytest_asyncio.fixture(loop_scope="session")
async def shift(commission: Commission) -> GitHubShift:
    """The usual shift."""
    return await commission()
