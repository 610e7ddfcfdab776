"""A model whose budget is spent, or cannot be counted, leaves the decision to the rules, and the snapshot says so."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from incident.budget import BudgetLimits
from incident.errors import TransientError
from incident.snapshot import Outcome, Snapshot
from integrations.openai import OpenAIAnalyst, OpenAISettings, build_client
from tests import builders
from tests.fakes import InMemoryStore
from tests.workflow.conftest import Staff
from tests.workflow.shift import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETTINGS = OpenAISettings(base_url="http://localhost:8000/v1", model="standin-model")


class Model:
    """Decides as the builders do, and counts its requests."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, _: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        message = {"role": "assistant", "content": builders.decision().model_dump_json()}
        usage = {"prompt_tokens": 900, "completion_tokens": 80}
        body = {"object": "chat.completion", "choices": [{"index": 0, "message": message}], "usage": usage}
        return httpx2.Response(200, json=body)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest_asyncio.fixture(loop_scope="session")
async def client(model: Model) -> AsyncIterator[AsyncOpenAI]:
    async with build_client(SETTINGS, httpx2.MockTransport(model)) as opened:
        yield opened


def because(snapshot: Snapshot) -> str:
    """Why the rules decided; they did."""
    assert snapshot.analysis
    assert snapshot.analysis.analyst == "rules"
    return snapshot.analysis.because


async def test_what_the_model_took_is_counted_under_the_incident(
    staff: Staff, model: Model, client: AsyncOpenAI
) -> None:
    store = InMemoryStore()
    shift = await staff(analyst=OpenAIAnalyst(client, SETTINGS, store), store=store)
    snapshot = await shift.handle()
    assert snapshot.analysis
    assert (snapshot.analysis.analyst, model.requests) == ("openai", 1)
    (call,) = store.model_calls.values()
    assert (call.incident_id, call.tokens) == (snapshot.incident_id, 980)


async def test_a_spent_budget_leaves_the_decision_to_the_rules_at_once_and_the_snapshot_says_so(
    staff: Staff, model: Model, client: AsyncOpenAI
) -> None:
    store = InMemoryStore()
    shift = await staff(analyst=OpenAIAnalyst(client, SETTINGS, store), store=store)
    handle = await shift.open({"budget": BudgetLimits(calls_per_service_and_day=0)})
    snapshot = await handle.result()
    assert because(snapshot) == (
        "BudgetSpentError: budget: payment-api in production has made 0 of 0 model calls within a day"
    )
    assert model.requests == 0
    assert (await asked(handle))["analyze.decide"] == 2
    assert snapshot.outcome is Outcome.RECOVERED


async def test_the_next_incident_of_the_day_finds_the_services_budget_spent(
    staff: Staff, model: Model, client: AsyncOpenAI
) -> None:
    store = InMemoryStore()
    limits = {"budget": BudgetLimits(calls_per_service_and_day=1)}
    first, second = [await staff(analyst=OpenAIAnalyst(client, SETTINGS, store), store=store) for _ in range(2)]
    assert (await first.handle(limits)).outcome is Outcome.RECOVERED
    snapshot = await second.handle(limits)
    assert "payment-api in production has made 1 of 1 model calls within a day" in because(snapshot)
    assert model.requests == 1


async def test_a_store_that_cannot_count_lets_no_model_be_asked(
    staff: Staff, model: Model, client: AsyncOpenAI
) -> None:
    store = InMemoryStore({"reserve": TransientError("store", "is away")})
    shift = await staff(analyst=OpenAIAnalyst(client, SETTINGS, store), store=store)
    snapshot = await shift.handle()
    assert "cannot be counted now, so that nothing is spent (store: is away)" in because(snapshot)
    assert model.requests == 0
    assert snapshot.outcome is Outcome.RECOVERED
