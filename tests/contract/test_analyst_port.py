"""What every analyst owes whoever asks it: a decision that holds to the case, and word of where it came from."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
import pytest
from pydantic import SecretStr

from incident.analysis import Case
from incident.decision import Action, parse_decision_json
from incident.ports import Analyst
from incident.rules import RulesAnalyst
from incident.severity import priority_of
from integrations.openai import OpenAIAnalyst, OpenAISettings, build_client
from tests import builders
from tests.fakes import FakeAnalyst, InMemoryStore

Opened = Callable[[], AbstractAsyncContextManager[Analyst]]


@asynccontextmanager
async def rules() -> AsyncIterator[Analyst]:
    yield RulesAnalyst()


@asynccontextmanager
async def fake() -> AsyncIterator[Analyst]:
    yield FakeAnalyst(builders.decision())


@asynccontextmanager
async def openai() -> AsyncIterator[Analyst]:
    content = {"role": "assistant", "content": builders.decision().model_dump_json()}
    reply = {
        "object": "chat.completion",
        "model": "standin-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": content}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 80, "total_tokens": 980},
    }
    settings = OpenAISettings(api_key=SecretStr("sk-canary"), base_url="http://localhost:8000/v1")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=reply))
    async with build_client(settings, transport) as client:
        yield OpenAIAnalyst(client, settings, InMemoryStore())


@pytest.fixture(params=[rules, fake, openai], ids=["rules", "fake", "openai"])
def opened(request: pytest.FixtureRequest) -> Opened:
    chosen: Opened = request.param
    return chosen


async def test_a_decision_holds_to_the_case_and_to_its_own_schema(opened: Opened) -> None:
    case: Case = builders.case()
    async with opened() as analyst:
        analysis = await analyst.decide(case)
    decision = analysis.decision
    assert parse_decision_json(decision.model_dump_json()) == decision
    assert decision.action is Action.ROLLBACK
    assert decision.rollback_to in case.candidates
    assert set(decision.evidence_ids) <= case.evidence.ids
    assert decision.pagerduty_priority == priority_of(decision.severity)


async def test_an_analysis_says_who_decided_and_what_it_cost(opened: Opened) -> None:
    async with opened() as analyst:
        analysis = await analyst.decide(builders.case())
    assert analysis.analyst
    assert bool(analysis.model) == bool(analysis.tokens)
    assert analysis.because == ""
