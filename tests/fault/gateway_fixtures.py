"""The stack with a gateway and people: a plugin of pytest, which test modules name.

The stack is started once and put right before each case. A case that records the properties `fault`, `way` and `came`
has a row in the approval table.
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
