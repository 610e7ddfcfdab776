"""One stack, one model server and one Kestra of each major for all cases, and the table of how they ended.

A case that records the property `ended` has a row in the table.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from gateway.tokens import mint
from tests.kestra import flows
from tests.kestra.world import KEY, Kestra, KestraWorld, LoneKestra
from tests.standins.aimock.server import Aimock, running_aimock, why_not
from tests.standins.kestra import Execution, KestraEngine, Major, kestra_missing

Noted = Callable[[Execution], Execution]
"""Puts how an execution ended into the table."""


def _or_skip(major: Major) -> object:
    marks = [pytest.mark.skipif(bool(kestra_missing(major)), reason=kestra_missing(major) or "it can run")]
    return pytest.param(major, id=f"kestra-{major}", marks=marks)


@pytest.fixture(scope="session")
def kestra_token() -> tuple[str, str]:
    """What Kestra presents to the gateway, and its hash."""
    return mint()


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[_or_skip(each) for each in Major])
async def engine(
    request: pytest.FixtureRequest, kestra_token: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KestraEngine]:
    """A Kestra with the flows, `ask-agent` by http."""
    secrets = {"COMMANDER_TOKEN": kestra_token[0], "OPENAI_API_KEY": KEY, "ALERT_WEBHOOK_KEY": "nobody-calls"}
    async with KestraEngine(request.param, tmp_path_factory.mktemp("kestra"), secrets) as started:
        await started.load(flows.by_http())
        await started.load(flows.source(flows.COMMANDER))
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kestra_stack(
    kestra_token: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KestraWorld]:
    if sys.platform != "linux":
        pytest.skip("asks Linux's /proc about processes")
    async with KestraWorld(tmp_path_factory.mktemp("kestra-stack"), kestra_token) as started:
        yield started


@pytest.fixture(scope="session")
def model_server() -> Iterator[Aimock]:
    if reason := why_not():
        pytest.skip(reason)
    with running_aimock() as started:
        yield started


@pytest.fixture
def alone(engine: KestraEngine, model_server: Aimock) -> LoneKestra:
    """Kestra and the model server, put right; there is no gateway but the case's own."""
    model_server.reset()
    return LoneKestra(engine, model_server)


@pytest_asyncio.fixture(loop_scope="session")
async def kestra(alone: LoneKestra, kestra_stack: KestraWorld) -> Kestra:
    """Everything, put right."""
    await kestra_stack.put_right()
    return Kestra(alone.engine, alone.model, kestra_stack)


@pytest.fixture
def noted(record_property: Callable[[str, object], None]) -> Noted:
    def _note(execution: Execution) -> Execution:
        left = "not watched" if "incident" in execution.labels else "nothing opened"
        outcome = execution.outputs.get("outcome") or execution.outputs.get("stage") or left
        record_property("ended", f"{execution.state:8} {outcome}")
        return execution

    return _note
