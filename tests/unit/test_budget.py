"""What a model may take: the limits, and how the OpenAI analyst holds itself to them."""

import json
from collections.abc import Callable
from datetime import timedelta

import httpx2
import pytest
from structlog.testing import capture_logs

from incident.analysis import Analysis, Case
from incident.budget import UNBOUNDED, BudgetLimits, ModelCall, Spending, Spent, objections
from incident.errors import AnalystUnusableError, BudgetSpentError, PermanentError, TransientError
from incident.policy import parse_policy
from integrations.openai import OpenAIAnalyst, OpenAISettings, build_client
from integrations.openai.analyst import MAX_REPAIRS
from integrations.openai.api import Question, Turn
from integrations.openai.instructions import INSTRUCTIONS
from integrations.openai.meter import most_tokens
from integrations.openai.prompt import MAX_ANSWER, MAX_SOURCE
from integrations.openai.schema import MAX_CHOICE_LENGTH, MAX_CHOICES, decision_schema
from tests import builders
from tests.fakes import InMemoryStore

ASKED = ModelCall(
    call_id="c1",
    incident_id=builders.INCIDENT_ID,
    service=builders.SERVICE,
    environment=builders.ENVIRONMENT,
    at=builders.NOW,
    tokens=1_000,
    cost=2_000,
)
NONE_SPENT = Spending(incident=Spent(), service=Spent(), fleet=Spent())
PRICED = OpenAISettings(base_url="http://localhost:8000/v1", model="standin-model", input_price=1.5, output_price=3)
GOOD = builders.decision().model_dump_json()
INVALID = GOOD.replace('"P0"', '"SEV1"')


def test_a_call_within_every_limit_may_be_made() -> None:
    assert objections(ASKED, BudgetLimits(), NONE_SPENT) == ()


@pytest.mark.parametrize("scope", ["incident", "service", "fleet"])
@pytest.mark.parametrize(
    ("limit", "most", "spent"),
    [
        ("calls", 3, Spent(calls=2)),
        ("tokens", 5_000, Spent(tokens=4_000)),
        ("cost", 0.01, Spent(cost=8_000)),
    ],
    ids=["calls", "tokens", "cost"],
)
def test_each_limit_holds_by_itself_and_to_the_last_unit(scope: str, limit: str, most: float, spent: Spent) -> None:
    name = f"{limit}_per_incident" if scope == "incident" else f"{limit}_per_{scope}_and_day"
    limits = BudgetLimits.model_validate({name: most})
    within = NONE_SPENT.model_copy(update={scope: spent})
    beyond = NONE_SPENT.model_copy(update={scope: Spent.model_validate({limit: getattr(spent, limit) + 1})})
    assert objections(ASKED, limits, within) == ()
    assert len(objections(ASKED, limits, beyond)) == 1


@pytest.mark.parametrize(
    "limits", [{"calls_per_incident": 0}, {"tokens_per_fleet_and_day": 0}, {"cost_per_service_and_day": 0}], ids=str
)
def test_nothing_is_spent_where_nothing_is_allowed(limits: dict[str, object]) -> None:
    assert len(objections(ASKED, BudgetLimits.model_validate(limits), NONE_SPENT)) == 1


def test_an_objection_says_who_has_spent_what_of_how_much() -> None:
    limits = BudgetLimits(calls_per_incident=2, tokens_per_service_and_day=9_500, cost_per_fleet_and_day=0.5)
    spending = Spending(incident=Spent(calls=2), service=Spent(tokens=9_000), fleet=Spent(cost=499_000))
    assert objections(ASKED, limits, spending) == (
        "this incident has made 2 of 2 model calls",
        "payment-api in production has taken 9,000 of 9,500 tokens within a day, and the next call may take 1,000",
        "the fleet has paid 0.4990 of 0.5000 within a day for its model, and the next call may cost 0.0020",
    )


def test_the_policy_file_holds_the_limits_and_a_service_may_have_its_own() -> None:
    text = "[budget]\ncalls_per_incident = 7\n[services.payment-api.budget]\ncost_per_incident = 0.25\n"
    book = parse_policy(text, "policy.toml", ["payment-api"])
    assert book.default.budget == BudgetLimits(calls_per_incident=7)
    assert book.of("payment-api", "production").budget == BudgetLimits(calls_per_incident=7, cost_per_incident=0.25)


def completion(text: str = GOOD, usage: object = None) -> httpx2.Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    counted = {"usage": usage} if usage else {}
    body = {"object": "chat.completion", "model": "standin-model", "choices": [choice], **counted}
    return httpx2.Response(200, json=body)


def took(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}


class Server:
    """Gives each request the next answer, and keeps what the budget held when it came."""

    def __init__(self, store: InMemoryStore, *answers: httpx2.Response | Exception) -> None:
        self._store, self._answers = store, list(answers)
        self.bodies: list[dict[str, object]] = []
        self.counted: list[list[int]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(json.loads(request.content))
        self.counted.append([call.tokens for call in self._store.model_calls.values()])
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def case(**limits: object) -> Case:
    return builders.case().model_copy(update={"budget": BudgetLimits.model_validate(limits)})


async def decide(server: Server, store: InMemoryStore, asked: Case | None = None) -> Analysis:
    async with build_client(PRICED, httpx2.MockTransport(server)) as client:
        return await OpenAIAnalyst(client, PRICED, store).decide(asked or case())


def spent(store: InMemoryStore) -> list[tuple[int, int]]:
    return [(call.tokens, call.cost) for call in store.model_calls.values()]


async def test_a_call_is_counted_at_its_most_before_it_leaves_and_at_what_it_took_after() -> None:
    store = InMemoryStore()
    server = Server(store, completion(usage=took(901, 80)))
    await decide(server, store)
    ((before,),) = server.counted
    sent = sum(len(json.dumps(server.bodies[0][part])) for part in ("messages", "response_format"))
    assert before >= 4_000 + sent * 0.94  # JSON writes line breaks and quotes with two letters each
    assert spent(store) == [(981, 1_592)]  # each by its price, rounded up
    (call,) = store.model_calls.values()
    assert (call.incident_id, call.service, call.environment) == (
        builders.INCIDENT_ID,
        builders.SERVICE,
        builders.ENVIRONMENT,
    )


async def test_every_repair_is_a_call_of_its_own() -> None:
    store = InMemoryStore()
    await decide(Server(store, completion(INVALID, took(100, 10)), completion(usage=took(200, 20))), store)
    assert [tokens for tokens, _ in spent(store)] == [110, 220]


async def test_a_repair_beyond_the_budget_is_not_asked_for() -> None:
    store = InMemoryStore()
    server = Server(store, completion(INVALID, took(100, 10)), completion())
    with pytest.raises(BudgetSpentError, match="this incident has made 1 of 1 model calls"):
        await decide(server, store, case(calls_per_incident=1))
    assert len(server.bodies) == 1


async def test_a_budget_that_is_spent_sends_nothing() -> None:
    store = InMemoryStore()
    server = Server(store)
    with pytest.raises(BudgetSpentError, match="the fleet has taken 0 of 4,000 tokens"):
        await decide(server, store, case(tokens_per_fleet_and_day=4_000))
    assert server.bodies == []
    assert spent(store) == []


@pytest.mark.parametrize("error", [TransientError("store", "is away"), PermanentError("store", "is none")], ids=str)
async def test_what_cannot_be_counted_is_not_spent(error: Exception) -> None:
    store = InMemoryStore({"reserve": error})
    server = Server(store)
    with pytest.raises(BudgetSpentError, match="cannot be counted now, so that nothing is spent"):
        await decide(server, store)
    assert server.bodies == []


async def test_a_decision_whose_price_cannot_be_written_stands_and_stays_counted_at_its_most() -> None:
    store = InMemoryStore({"settle": TransientError("store", "is away")})
    server = Server(store, completion(usage=took(100, 10)))
    with capture_logs() as logged:
        analysis = await decide(server, store)
    assert analysis.decision == builders.decision()
    assert [tokens for tokens, _ in spent(store)] == server.counted[0]
    assert [each["event"] for each in logged] == ["budget.unsettled"]


def unusable() -> httpx2.Response:
    body = json.loads(completion(usage=took(300, 30)).content)
    body["choices"][0]["finish_reason"] = "content_filter"
    return httpx2.Response(200, json=body)


async def test_an_answer_that_cannot_be_used_is_paid_for_all_the_same() -> None:
    store = InMemoryStore()
    with pytest.raises(AnalystUnusableError):
        await decide(Server(store, unusable()), store)
    assert [tokens for tokens, _ in spent(store)] == [330]


@pytest.mark.parametrize(
    ("answer", "free"),
    [
        (lambda: httpx2.ConnectError("refused"), True),
        (lambda: httpx2.ConnectTimeout("nobody there"), True),
        (lambda: httpx2.Response(401, json={}), True),
        (lambda: httpx2.Response(429, json={}), True),
        (lambda: httpx2.Response(408, json={}), False),
        (lambda: httpx2.Response(500, json={}), False),
        (lambda: httpx2.Response(504, json={}), False),
        (lambda: httpx2.ReadTimeout("silent"), False),
        (lambda: httpx2.RemoteProtocolError("reset"), False),
        (lambda: httpx2.Response(200, json={"choices": 1}), False),
    ],
    ids=["refused", "unreachable", "401", "429", "408", "500", "504", "silent", "reset", "not its API"],
)
async def test_a_call_that_may_have_run_stays_counted_at_its_most(
    answer: Callable[[], httpx2.Response | Exception], *, free: bool
) -> None:
    store = InMemoryStore()
    server = Server(store, answer())
    with pytest.raises((TransientError, PermanentError)):
        await decide(server, store)
    assert [tokens for tokens, _ in spent(store)] == ([0] if free else server.counted[0])


async def test_a_server_that_does_not_count_is_counted_at_its_most() -> None:
    store = InMemoryStore()
    server = Server(store, completion())
    await decide(server, store)
    assert [tokens for tokens, _ in spent(store)] == server.counted[0]


async def test_an_absurd_count_breaks_no_sum() -> None:
    store = InMemoryStore()
    await decide(Server(store, completion(usage=took(10**30, 1))), store)
    ((tokens, cost),) = spent(store)
    assert tokens == 10**12 + 1
    assert cost < 2**63


async def test_a_day_is_the_last_24_hours() -> None:
    store = InMemoryStore()
    limits = BudgetLimits(calls_per_fleet_and_day=1)
    first, soon, later = (
        ASKED.model_copy(update={"call_id": str(hours), "at": builders.NOW + timedelta(hours=hours)})
        for hours in (0, 23, 24)
    )
    assert await store.reserve(first, limits) == ()
    assert await store.reserve(soon, limits) != ()
    assert await store.reserve(later, limits) == ()


def test_the_defaults_leave_room_for_a_decision_of_the_largest_questions() -> None:
    ids = [f"log:{number:0{MAX_CHOICE_LENGTH - 4}}" for number in range(MAX_CHOICES)]
    schema = decision_schema(range(10**6, 10**6 + MAX_CHOICES), ids)
    turns = [Turn("user", "x" * (sum(MAX_SOURCE.values()) + 5_000)), *[Turn("assistant", "x" * MAX_ANSWER)] * 4]
    most = most_tokens(Question(INSTRUCTIONS, turns, schema), OpenAISettings())
    assert (most.input + most.output) * (1 + MAX_REPAIRS) < BudgetLimits().tokens_per_incident


def test_a_trial_without_bounds_is_held_up_by_nothing() -> None:
    spent_much = Spent(calls=10**6, tokens=10**12, cost=10**12)
    spending = Spending(incident=spent_much, service=spent_much, fleet=spent_much)
    assert objections(ASKED, UNBOUNDED, spending) == ()
