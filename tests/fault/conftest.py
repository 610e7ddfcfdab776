"""The stacks of the fault cases, and the table of how they ended.

`world` is a stack whose deployments are the mock service's, `github_world` one whose deployments are GitHub's; each is
started once and put right before each case. A case that records the property `ended` has it in the table.
"""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.fault import matrix
from tests.fault.github_world import GitHubWorld
from tests.fault.oracle import differences, ending
from tests.fault.world import Incident, World
from tests.standins.github.chain import GitHubChain

_HERE = Path(__file__).parent
_TOTAL, _CELLS = pytest.StashKey[int](), pytest.StashKey[int]()


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
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases = [item for item in items if item.path.is_relative_to(_HERE) and item.get_closest_marker("slow")]
    config.stash[_TOTAL] = len(cases)
    config.stash[_CELLS] = sum(matrix.cell_of(item) is not None for item in cases)
    for case in cases:
        case.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc about processes"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith("tests/fault/") and report.when == "call" and "slow" in report.keywords
    ]
    cells = [report for report in ran if "cell" in dict(report.user_properties)]
    cases = [report for report in ran if report not in cells]
    if cases:
        terminalreporter.section("fault cases")
        width = max(len(_case(report)) for report in cases)
        for report in cases:
            line = f"{_case(report):{width}}  {report.outcome}  {report.duration:5.1f} s  {_said(report, 'ended')}"
            terminalreporter.write_line(line.rstrip())
        terminalreporter.write_line(f"{len(cases)} of {config.stash[_TOTAL] - config.stash[_CELLS]} cases ran")
    if cells:
        terminalreporter.section("crash matrix")
        width = max(len(_said(report, "cell")) for report in cells)
        for report in cells:
            terminalreporter.write_line(
                f"{_said(report, 'cell'):{width}}  {report.outcome}  {_said(report, 'ended')}".rstrip()
            )
        terminalreporter.write_line(f"{len(cells)} of {len(matrix.all_cells())} cells ran; {matrix.CHOICE}")


def _said(report: pytest.TestReport, name: str) -> str:
    return str(dict(report.user_properties).get(name, ""))


def _case(report: pytest.TestReport) -> str:
    return report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
