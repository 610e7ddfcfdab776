"""The script that walks the documented path, on this stack: it holds where the path does, and says where not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from tests.e2e.documented_path import DocumentedPath, NotAsDocumentedError, Place, rollback_decision
from tests.kestra.world import Kestra
from tests.standins.kestra.rest import PASSWORD, USER, serving

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def path(kestra: Kestra) -> AsyncIterator[DocumentedPath]:
    async with serving(kestra.engine) as url:
        yield DocumentedPath(
            mock=Place(kestra.world.stack.mock_url),
            gateway=Place(kestra.world.stack.gateway_url, token=kestra.world.token),
            kestra=Place(url, auth=(USER, PASSWORD)),
            inputs={name: str(value) for name, value in kestra.inputs().items()},
        )


async def test_the_documented_path_holds_with_the_agents_decision(kestra: Kestra, path: DocumentedPath) -> None:
    kestra.model.script({"content": rollback_decision().model_dump_json()})
    told: list[str] = []
    snapshot = await asyncio.to_thread(replace(path, analyst="kestra").walk, told.append)
    assert snapshot["trigger"]["source"] == "kestra"
    assert told[-1] == "deployment 100 is live again, by one rollback; decided by kestra"


async def test_the_documented_path_holds_without_a_model_by_the_rules(path: DocumentedPath) -> None:
    await asyncio.to_thread(replace(path, analyst="rules").walk, lambda _: None)


async def test_the_script_says_which_step_did_not_hold(path: DocumentedPath) -> None:
    with pytest.raises(NotAsDocumentedError, match="the analyst is the one that was to decide: expected kestra, got r"):
        await asyncio.to_thread(replace(path, analyst="kestra").walk, lambda _: None)


async def test_whom_kestra_does_not_know_is_told_so(path: DocumentedPath) -> None:
    stranger = replace(path, kestra=replace(path.kestra, auth=("eve@example.com", "Commander1")))
    with pytest.raises(NotAsDocumentedError, match="401"):
        await asyncio.to_thread(stranger.walk, lambda _: None)
