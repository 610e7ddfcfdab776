"""One stack for all fault cases, and the table of how they ended."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.fault.oracle import differences, ending
from tests.fault.world import Incident, World

_HERE = Path(__file__).parent
_TOTAL = pytest.StashKey[int]()


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
    for case in cases:
        case.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc about processes"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = [
        (_case(report), outcome, dict(report.user_properties).get("ended", ""), report.duration)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith("tests/fault/") and report.when == "call" and "slow" in report.keywords
    ]
    if not rows:
        return
    terminalreporter.section("fault cases")
    width = max(len(case) for case, *_ in rows)
    for case, outcome, ended, seconds in rows:
        terminalreporter.write_line(f"{case:{width}}  {outcome}  {seconds:5.1f} s  {ended}".rstrip())
    terminalreporter.write_line(f"{len(rows)} of {config.stash[_TOTAL]} cases ran")


def _case(report: pytest.TestReport) -> str:
    return report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
