"""What every budget promises, in memory and in each database, and between two processes."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from incident.budget import KEPT, BudgetLimits, ModelCall, Spent
from incident.errors import PermanentError
from incident.ports import BudgetBook
from integrations.store import SqlStore, StoreSettings
from tests import builders
from tests.contract.ledger_process import LedgerProcess
from tests.contract.places import POSTGRESQL, SQLITE, Place
from tests.fakes import InMemoryStore

pytest_plugins = ["tests.contract.databases"]


def _call(number: int = 0, **changes: object) -> ModelCall:
    values = {
        "call_id": f"call-{number}",
        "incident_id": builders.INCIDENT_ID,
        "service": builders.SERVICE,
        "environment": builders.ENVIRONMENT,
        "at": builders.NOW,
        "tokens": 100,
        "cost": 1_000,
    }
    return ModelCall.model_validate(values | changes)


@pytest.fixture(params=["memory", SQLITE, POSTGRESQL])
async def budget(request: pytest.FixtureRequest) -> AsyncIterator[BudgetBook]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    sql = SqlStore(StoreSettings(url=request.getfixturevalue(f"in_{request.param}").url))
    yield sql
    await sql.close()


@pytest.mark.parametrize(
    ("limits", "elsewhere"),
    [
        (BudgetLimits(calls_per_incident=1), {"incident_id": "another"}),
        (BudgetLimits(tokens_per_incident=150), {"incident_id": "another"}),
        (BudgetLimits(calls_per_service_and_day=1), {"service": "orders-api"}),
        (BudgetLimits(cost_per_service_and_day=0.0015), {"environment": "staging"}),
        (BudgetLimits(calls_per_fleet_and_day=1), None),
        (BudgetLimits(tokens_per_fleet_and_day=150), None),
        (BudgetLimits(cost_per_fleet_and_day=0.0015), None),
    ],
    ids=["incident", "its tokens", "service", "its money", "fleet", "its tokens too", "its money too"],
)
async def test_what_is_spent_is_refused_and_only_there(
    budget: BudgetBook, limits: BudgetLimits, elsewhere: dict[str, object] | None
) -> None:
    assert await budget.reserve(_call(), limits) == ()
    assert len(await budget.reserve(_call(1), limits)) == 1
    others = elsewhere or {"incident_id": "another", "service": "orders-api", "environment": "staging"}
    assert (await budget.reserve(_call(2, **others), limits) == ()) is (elsewhere is not None)


async def test_what_was_refused_is_not_counted(budget: BudgetBook) -> None:
    for number in range(3):
        assert await budget.reserve(_call(number, tokens=2_000), BudgetLimits(tokens_per_incident=1_000)) != ()

    assert await budget.reserve(_call(3, tokens=1_000), BudgetLimits(tokens_per_incident=1_000)) == ()


async def test_what_a_call_took_stands_in_place_of_what_it_might_have_taken(budget: BudgetBook) -> None:
    limits = BudgetLimits(tokens_per_fleet_and_day=150, cost_per_incident=0.0015)
    await budget.reserve(_call(), limits)
    await budget.settle("call-0", 50, 500)

    assert await budget.reserve(_call(1), limits) == ()
    assert len(await budget.reserve(_call(2), limits)) == 2


async def test_a_server_that_says_more_than_was_reserved_is_believed(budget: BudgetBook) -> None:
    limits = BudgetLimits(tokens_per_fleet_and_day=10**6)
    await budget.reserve(_call(), limits)
    await budget.settle("call-0", 10**12 + 1, 10**15)

    (refused,) = await budget.reserve(
        _call(1, incident_id="another", service="orders-api"),
        limits.model_copy(update={"cost_per_fleet_and_day": 10.0**10}),
    )
    assert refused.startswith("the fleet has taken 1,000,000,000,001 of 1,000,000 tokens within a day")


async def test_a_call_that_was_never_counted_in_cannot_be_settled(budget: BudgetBook) -> None:
    with pytest.raises(PermanentError, match="no model call call-0"):
        await budget.settle("call-0", 1, 1)


async def test_a_services_day_ends_and_its_incident_does_not(budget: BudgetBook) -> None:
    a_day = BudgetLimits(calls_per_service_and_day=1, calls_per_fleet_and_day=1)
    await budget.reserve(_call(), a_day)
    at = builders.NOW + timedelta(hours=24)

    assert len(await budget.reserve(_call(1, at=at - timedelta(seconds=1)), a_day)) == 2
    assert await budget.reserve(_call(2, at=at), a_day) == ()
    later = at + timedelta(days=30)
    assert len(await budget.reserve(_call(3, at=later), BudgetLimits(calls_per_incident=2))) == 1


async def test_a_call_is_forgotten_once_no_budget_can_ask_for_it_any_more(budget: BudgetBook) -> None:
    of_incident = BudgetLimits(calls_per_incident=1)
    await budget.reserve(_call(), of_incident)
    await budget.reserve(_call(1, incident_id="another", at=builders.NOW + KEPT), of_incident)
    assert len(await budget.reserve(_call(2, at=builders.NOW + KEPT), of_incident)) == 1

    later = builders.NOW + KEPT + timedelta(seconds=1)
    await budget.reserve(_call(3, incident_id="a third", at=later), of_incident)
    assert await budget.reserve(_call(4, at=later), of_incident) == ()
    with pytest.raises(PermanentError, match="no model call call-0"):
        await budget.settle("call-0", 1, 1)
    await budget.settle("call-1", 1, 1)


async def test_what_a_day_took_is_told_for_each_service_and_the_fleet(budget: BudgetBook) -> None:
    assert (await budget.spent(builders.NOW)).fleet == Spent()
    day = BudgetLimits()
    await budget.reserve(_call(), day)
    await budget.reserve(_call(1), day)
    await budget.reserve(_call(2, environment="staging"), day)
    await budget.reserve(_call(3, at=builders.NOW - timedelta(days=1)), day)
    await budget.settle("call-0", 40, 400)

    told = await budget.spent(builders.NOW)

    mine = Spent(calls=2, tokens=140, cost=1_400)
    assert [(each.environment, each.service, each.spent) for each in told.services] == [
        (builders.ENVIRONMENT, builders.SERVICE, mine),
        ("staging", builders.SERVICE, Spent(calls=1, tokens=100, cost=1_000)),
    ]
    assert (told.at, told.fleet) == (builders.NOW, Spent(calls=3, tokens=240, cost=2_400))


@pytest.fixture
def pair(place: Place) -> Iterator[tuple[LedgerProcess, LedgerProcess]]:
    """Two commanders who have the same database open."""
    with LedgerProcess() as one, LedgerProcess() as other:
        for each in (one, other):
            each.tell("open", place.url)
        for each in (one, other):
            assert each.answer() == []
        yield one, other


def _asked(numbers: range) -> list[dict[str, object]]:
    """Calls of as many incidents, each of a service of its own."""
    return [
        _call(number, incident_id=f"incident-{number}", service=f"service-{number}").model_dump(mode="json")
        for number in numbers
    ]


@pytest.mark.slow
def test_two_workers_at_once_never_overspend(pair: tuple[LedgerProcess, LedgerProcess], place: Place) -> None:
    limits = BudgetLimits(tokens_per_fleet_and_day=599)
    for process, numbers in zip(pair, (range(20), range(20, 40)), strict=True):
        process.tell("reserve_together", place.url, calls=_asked(numbers), limits=limits.model_dump())

    refused = [each for process in pair for each in process.answer()]

    assert sum(not each for each in refused) == 5
    with place.somebody_else() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM model_calls").scalar_one() == 5


@pytest.mark.slow
def test_what_a_killed_worker_had_counted_in_stays_counted_at_its_most(
    pair: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    victim, survivor = pair
    limits = BudgetLimits(tokens_per_fleet_and_day=150).model_dump()
    victim.tell("reserve_together", place.url, calls=_asked(range(1)), limits=limits)
    assert victim.answer() == [[]]

    victim.kill()
    survivor.tell("reserve_together", place.url, calls=_asked(range(1, 2)), limits=limits)

    ((words,),) = survivor.answer()
    assert words.startswith("the fleet has taken 100 of 150 tokens")


@pytest.mark.slow
def test_a_worker_killed_amid_the_count_leaves_neither_the_call_nor_a_lock(
    pair: tuple[LedgerProcess, LedgerProcess], place: Place
) -> None:
    victim, survivor = pair
    limits = BudgetLimits(calls_per_fleet_and_day=1).model_dump()
    victim.hold()
    victim.tell("reserve_together", place.url, calls=_asked(range(1)), limits=limits)
    victim.await_hold()

    victim.kill()
    survivor.tell("reserve_together", place.url, calls=_asked(range(1, 2)), limits=limits)

    assert survivor.answer(within=5.0) == [[]]
