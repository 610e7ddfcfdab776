"""The ledger as activities use it."""

import pytest
from structlog.testing import capture_logs

from activities.memory import Memory
from incident.errors import IntegrationError, PermanentError, TransientError
from incident.evidence import SourceState
from incident.ledger import LedgerView, Quota, RunState, Stop
from tests.builders import ENVIRONMENT, INCIDENT_ID, NOW, SERVICE, remediation
from tests.fakes import InMemoryStore

QUOTA = Quota(service_per_hour=1, fleet_per_hour=3)
OWN = remediation(correlation_id="ic-own", incident_id=INCIDENT_ID, state=RunState.PENDING, at=NOW)
OTHER = remediation(state=RunState.PENDING, at=NOW)
SWITCH = Stop(by="ada", reason="hands off", at=NOW)
AWAY = [TransientError("store", "cannot be reached"), PermanentError("store", "an entry cannot be read")]


async def holding(*entries: object) -> InMemoryStore:
    store = InMemoryStore()
    for entry in (OWN, OTHER):
        if entry in entries:
            await store.begin(entry, None)
    return store


async def seen(memory: Memory) -> LedgerView:
    return await memory.view(ENVIRONMENT, SERVICE, NOW)


async def test_what_the_ledger_holds_is_seen() -> None:
    view = await seen(Memory(await holding(OWN, OTHER)))
    assert (view.state, view.remediations, view.fleet_last_hour, view.at) == (SourceState.OK, (OWN, OTHER), 2, NOW)


@pytest.mark.parametrize("error", AWAY)
async def test_a_ledger_that_is_away_is_a_view_that_says_so(error: IntegrationError) -> None:
    view = await seen(Memory(InMemoryStore({"view": error})))
    assert view == LedgerView(state=SourceState.FAILED, problem=error.problem, at=NOW)


async def test_what_is_no_integration_error_is_not_taken_for_a_ledger_that_is_away() -> None:
    with pytest.raises(ZeroDivisionError):
        await seen(Memory(InMemoryStore({"view": ZeroDivisionError("a bug")})))


async def test_the_kill_switches_of_the_ledger_are_seen() -> None:
    store = InMemoryStore()
    await store.stop(SWITCH)
    await store.stop(Stop(by="eve", service="checkout", at=NOW))
    assert (await seen(Memory(store))).stops == (SWITCH,)


async def test_a_workers_own_kill_switch_comes_first() -> None:
    store = InMemoryStore()
    await store.stop(SWITCH)
    view = await seen(Memory(store, "WORKER__STOPPED"))
    assert view.stops == (Stop(by="WORKER__STOPPED", at=NOW), SWITCH)


async def test_a_workers_own_kill_switch_holds_with_the_ledger_away() -> None:
    view = await seen(Memory(InMemoryStore({"view": AWAY[0]}), "WORKER__STOPPED"))
    assert (view.state, [stop.by for stop in view.stops]) == (SourceState.FAILED, ["WORKER__STOPPED"])


async def test_what_an_incident_did_itself_does_not_hold_it_up() -> None:
    view = await Memory(await holding(OWN, OTHER)).view_but(ENVIRONMENT, SERVICE, INCIDENT_ID, NOW)
    assert (view.remediations, view.fleet_last_hour) == ((OTHER,), 1)


async def test_a_kill_switch_holds_for_every_incident() -> None:
    view = await Memory(InMemoryStore(), "WORKER__STOPPED").view_but(ENVIRONMENT, SERVICE, INCIDENT_ID, NOW)
    assert [stop.by for stop in view.stops] == ["WORKER__STOPPED"]


async def test_what_may_begin_is_entered_and_what_may_not_is_not() -> None:
    store = await holding()
    memory = Memory(store)
    assert (await memory.begin(OWN, QUOTA)).refused == ()
    second = await memory.begin(OTHER, QUOTA)
    assert second.refused == ("1 rollback of payment-api in production within the last hour, the policy allows 1",)
    assert list(store.remediations) == ["ic-own"]


async def test_a_stopped_worker_begins_nothing_and_enters_nothing() -> None:
    store = InMemoryStore()
    admission = await Memory(store, "WORKER__STOPPED").begin(OWN, None)
    assert admission.refused == ("everything stopped by WORKER__STOPPED at 2026-11-24 14:00:00Z",)
    assert store.remediations == {}


@pytest.mark.parametrize("error", AWAY)
async def test_what_cannot_be_counted_does_not_begin(error: IntegrationError) -> None:
    with pytest.raises(type(error), match=error.problem):
        await Memory(InMemoryStore({"begin": error})).begin(OWN, None)


async def test_how_it_ended_is_entered() -> None:
    store = await holding(OWN)
    await Memory(store).finish("ic-own", RunState.SUCCEEDED)
    assert store.remediations["ic-own"].state is RunState.SUCCEEDED


@pytest.mark.parametrize("error", AWAY)
async def test_an_end_that_cannot_be_entered_is_logged_and_holds_up_nothing(error: IntegrationError) -> None:
    with capture_logs() as logged:
        await Memory(InMemoryStore({"finish": error})).finish("ic-own", RunState.SUCCEEDED)
    assert logged == [{"event": "ledger.unwritable", "log_level": "warning", "problem": error.problem}]
