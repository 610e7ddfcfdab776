"""The stacks of the fault cases, and the oracle that holds their ends.

`world` is a stack whose deployments are the mock service's, `github_world` one whose deployments are GitHub's; each is
started once and put right before each case. A case that records the property `ended` has it in the table.
"""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.fault.github_world import GitHubWorld
from tests.fault.oracle import differences, ending
from tests.fault.world import Incident, World
from tests.standins.github.chain import GitHubChain

_HERE = Path(__file__).parent


class Verdict(Protocol):
    """Holds an incident to the oracle."""

    async def __call__(self, incident: Incident, *, paged: bool = False) -> None:
        """Waits for its end, notes it for the table, and judges it."""
        ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("fault")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def world(stack: World) -> World:
    """The stack, put right."""
    await stack.put_right()
    return stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def github_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitHubWorld]:
    directory = tmp_path_factory.mktemp("github-fault")
    async with GitHubChain(directory / "github", judged=False) as github, GitHubWorld(directory, github) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def github_world(github_stack: GitHubWorld) -> GitHubWorld:
    """The stack whose deployments are GitHub's, put right."""
    await github_stack.put_right()
    return github_stack


@pytest.fixture
def ends_well(world: World, record_property: Callable[[str, object], None]) -> Verdict:
    async def _judge(incident: Incident, *, paged: bool = False) -> None:
        end = await ending(world, incident)
        record_property("ended", str(end))
        found = differences(end, paged=paged)
        assert not found, "; ".join(found)

    return _judge


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cases = [item for item in items if item.path.is_relative_to(_HERE) and item.get_closest_marker("slow")]
    for case in cases:
        case.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc about processes"))
