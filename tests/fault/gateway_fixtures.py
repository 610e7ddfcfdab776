"""The stack with a gateway and people, and the approval table: a plugin of pytest, which test modules name.

The stack is started once and put right before each case. A case that records the properties `fault`, `way` and `came`
has a row in the table: what happened between a question and its answer, how it was answered, and what came of it.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Unpack

import pytest
import pytest_asyncio
import structlog
from temporalio.testing import WorkflowEnvironment

from tests.fault.gateway_world import GatewayWorld
from tests.fault.people_shift import Commission, PeopleShift, Surroundings, Wishes, at_work
from tests.standins.github.toxics import poisoning
from tests.standins.pagerduty import PagerDutyStandin, running_pagerduty
from tests.standins.slack import SlackStandin, running_slack
from tests.workflow.shift import environment

_COLUMNS = ("fault", "way", "came")


@pytest.fixture(scope="session")
def people_slack() -> Iterator[SlackStandin]:
    """Slack, for all cases."""
    with running_slack() as standin:
        yield standin


@pytest.fixture(scope="session")
def people_pagerduty() -> Iterator[PagerDutyStandin]:
    """PagerDuty, for all cases."""
    with running_pagerduty() as standin:
        yield standin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway_stack(
    people_slack: SlackStandin, people_pagerduty: PagerDutyStandin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GatewayWorld]:
    directory = tmp_path_factory.mktemp("gateway-fault")
    async with GatewayWorld(directory, people_slack, people_pagerduty) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def gateway_world(gateway_stack: GatewayWorld) -> GatewayWorld:
    """The stack with its gateway, put right."""
    await gateway_stack.put_right()
    return gateway_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people_server() -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal server that skips time."""
    async with environment() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def people_surroundings(
    people_slack: SlackStandin, people_pagerduty: PagerDutyStandin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Surroundings]:
    """Slack and PagerDuty, each behind a network that can go bad."""
    directories = (tmp_path_factory.mktemp("network") for _ in range(2))
    async with (
        poisoning(people_slack.url, next(directories)) as slack,
        poisoning(people_pagerduty.url, next(directories)) as pagerduty,
    ):
        yield Surroundings(people_slack, people_pagerduty, slack, pagerduty)


@pytest.fixture
def muted() -> Iterator[None]:
    """No log lines: structlog's own renderer shows every local of every frame, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest_asyncio.fixture(loop_scope="session")
async def people(
    people_server: WorkflowEnvironment,
    people_surroundings: Surroundings,
    muted: None,  # noqa: ARG001 - for as long as the workers run
) -> AsyncIterator[Commission]:
    """Puts a worker to work, before stand-ins that have been put right."""
    await people_surroundings.put_right()
    async with AsyncExitStack() as open_shifts:

        async def _commission(**wishes: Unpack[Wishes]) -> PeopleShift:
            return await open_shifts.enter_async_context(at_work(people_server, people_surroundings, wishes))

        yield _commission


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        (*(str(dict(report.user_properties).get(name, "")) for name in _COLUMNS), str(report.outcome))
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and "fault" in dict(report.user_properties)
    ]
    if not rows:
        return
    terminalreporter.section("approval table")
    fault, way = (max(len(row[column]) for row in rows) for column in (0, 1))
    for row in rows:
        terminalreporter.write_line(f"{row[0]:{fault}}  {row[1]:{way}}  {row[3]}  {row[2]}".rstrip())
    wrong = sum(row[3] == "failed" for row in rows)
    terminalreporter.write_line(f"{len(rows)} cells, {wrong} wrong")
