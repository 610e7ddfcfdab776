"""What every store of snapshots and every ledger promises, in memory and in each database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta, timezone
from typing import Protocol

import pytest

from incident.changes import KEPT, NEWEST
from incident.errors import PermanentError, TransientError
from incident.evidence import SourceState
from incident.labels import Judgement, Label
from incident.ledger import HOUR, NOTHING_DONE, Quota, Remediation, RemediationKind, RunState, Stop
from incident.ports import ChangeBook, IncidentArchive, LabelBook, Ledger, SnapshotStore
from incident.search import Wanted
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot
from integrations.store import SqlStore, StoreSettings
from tests import builders
from tests.contract.places import POSTGRESQL, SQLITE
from tests.fakes import InMemoryStore

pytest_plugins = ["tests.contract.databases"]

ONE_EACH = Quota(service_per_hour=1, fleet_per_hour=100)


class Store(SnapshotStore, IncidentArchive, LabelBook, ChangeBook, Ledger, Protocol):
    """All ports in one."""


def _snapshot(number: int = 0, **changes: object) -> Snapshot:
    """The snapshot of an incident that opened `number` minutes after the first."""
    opened = builders.NOW + timedelta(minutes=number)
    values = {"incident_id": f"production.payment-api.20261124T140000Z.{number:08x}", "opened_at": opened, **changes}
    return builders.snapshot().model_copy(update=values)


def _remediation(number: int = 0, **changes: object) -> Remediation:
    """An entry of an incident of its own, `number` minutes after the first."""
    values = {
        "correlation_id": f"ic-{number:020x}",
        "incident_id": f"production.payment-api.20261124T140000Z.{number:08x}",
        "at": builders.NOW + timedelta(minutes=number),
        "state": RunState.PENDING,
    }
    return builders.remediation(**values | changes)


def _stop(**changes: object) -> Stop:
    return Stop.model_validate({"by": "ada", "reason": "we deploy by hand", "at": builders.NOW, **changes})


def _label(number: int = 0, **changes: object) -> Label:
    """Ada's praise of that incident, `number` hours after the first."""
    values = {
        "incident_id": _snapshot(number).incident_id,
        "judgement": Judgement.GOOD,
        "by": "ada",
        "note": "101 was the cause",
        "at": builders.NOW + timedelta(hours=number),
    }
    return Label.model_validate(values | changes)


@pytest.fixture(params=["memory", SQLITE, POSTGRESQL])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    sql = SqlStore(StoreSettings(url=request.getfixturevalue(f"in_{request.param}").url))
    yield sql
    await sql.close()


async def _entered(store: Store, number: int) -> bool:
    return await store.entry(_remediation(number).correlation_id) is not None


async def test_an_empty_store_has_nothing(store: Store) -> None:
    assert await store.load("production.payment-api.20261124T140000Z.00000000") is None
    assert await store.newest(10) == ()
    assert await store.entry("ic-unknown") is None
    assert await store.stops() == ()


async def test_a_snapshot_comes_back_as_it_was(store: Store) -> None:
    await store.save(_snapshot())

    assert await store.load(_snapshot().incident_id) == _snapshot()


async def test_the_same_incident_again_replaces_it(store: Store) -> None:
    await store.save(_snapshot())
    await store.save(_snapshot(outcome=Outcome.UNRESOLVED))

    found = await store.newest(10)
    assert [each.outcome for each in found] == [Outcome.UNRESOLVED]


async def test_the_newest_come_first_and_no_more_than_asked(store: Store) -> None:
    for number in (1, 3, 0, 2):
        await store.save(_snapshot(number))

    assert await store.newest(3) == (_snapshot(3), _snapshot(2), _snapshot(1))
    assert await store.newest(0) == ()
    assert await store.newest(-1) == ()


async def test_time_decides_the_order_whatever_the_zone(store: Store) -> None:
    east = timezone(timedelta(hours=9))
    await store.save(_snapshot(1))
    await store.save(_snapshot(2, opened_at=_snapshot(2).opened_at.astimezone(east)))

    assert [each.incident_id for each in await store.newest(2)] == [_snapshot(2).incident_id, _snapshot(1).incident_id]


async def test_what_is_wanted_is_found_page_by_page(store: Store) -> None:
    for number in range(7):
        await store.save(_snapshot(number, service="payment-api" if number % 2 else "orders-api"))
    wanted, found = Wanted(service="orders-api", limit=2), []
    while True:
        page = await store.search(wanted)
        found += [each.incident_id[-1] for each in page.snapshots]
        if page.next is None:
            break
        wanted = wanted.model_copy(update={"after": page.next})
    assert found == ["6", "4", "2", "0"]


async def test_incidents_of_the_same_moment_are_found_once_each(store: Store) -> None:
    for number in range(4):
        await store.save(_snapshot(number, opened_at=builders.NOW))
    first = await store.search(Wanted(limit=3))
    second = await store.search(Wanted(limit=3, after=first.next))
    assert [each.incident_id[-1] for each in (*first.snapshots, *second.snapshots)] == ["3", "2", "1", "0"]
    assert second.next is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), "3210"),
        (Wanted(severity=Severity.P1), "2"),
        (Wanted(outcome=Outcome.UNRESOLVED), "1"),
        (Wanted(environment="staging"), "3"),
        (Wanted(since=builders.NOW + timedelta(minutes=2)), "32"),
        (Wanted(severity=Severity.P1, outcome=Outcome.UNRESOLVED), ""),
    ],
)
async def test_each_filter_holds_by_itself_and_with_others(store: Store, wanted: Wanted, found: str) -> None:
    for each in (
        _snapshot(0),
        _snapshot(1, outcome=Outcome.UNRESOLVED),
        _snapshot(2, severity=Severity.P1),
        _snapshot(3, environment="staging"),
    ):
        await store.save(each)
    assert "".join(each.incident_id[-1] for each in (await store.search(wanted)).snapshots) == found


async def test_saves_at_once_all_arrive(store: Store) -> None:
    await asyncio.gather(*(store.save(_snapshot(number % 4)) for number in range(12)))

    assert len(await store.newest(100)) == 4


async def test_a_remediation_comes_back_as_it_was(store: Store) -> None:
    undoing = _remediation(1, kind=RemediationKind.UNDO)
    for entry in (_remediation(0), undoing):
        admission = await store.begin(entry, ONE_EACH)

        assert (admission.refused, admission.entered_before) == ((), False)
        assert await store.entry(entry.correlation_id) == entry


async def test_an_entry_of_the_same_correlation_id_stays_as_it_is_whatever_the_quota(store: Store) -> None:
    await store.begin(_remediation(), None)
    await store.finish(_remediation().correlation_id, RunState.SUCCEEDED)

    again = await store.begin(_remediation(to_deployment=7), Quota(service_per_hour=0, fleet_per_hour=0))

    assert (again.refused, again.entered_before) == ((), True)
    assert await store.entry(_remediation().correlation_id) == _remediation(state=RunState.SUCCEEDED)


async def test_begun_at_once_it_is_entered_once(store: Store) -> None:
    admissions = await asyncio.gather(*(store.begin(_remediation(), ONE_EACH) for _ in range(8)))

    assert sorted(each.entered_before for each in admissions) == [False, *[True] * 7]
    assert not any(each.refused for each in admissions)


async def test_finishing_sets_that_entry_alone(store: Store) -> None:
    await store.begin(_remediation(0), None)
    await store.begin(_remediation(1), None)

    await store.finish(_remediation(0).correlation_id, RunState.STARTUP_FAILURE)

    found = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)
    assert [each.state for each in found.remediations] == [RunState.PENDING, RunState.STARTUP_FAILURE]


async def test_finishing_what_was_never_entered_is_an_error(store: Store) -> None:
    with pytest.raises(PermanentError, match="ic-unknown"):
        await store.finish("ic-unknown", RunState.SUCCEEDED)


async def test_a_used_up_quota_of_the_service_refuses_and_enters_nothing(store: Store) -> None:
    await store.begin(_remediation(0), ONE_EACH)

    admission = await store.begin(_remediation(1), ONE_EACH)

    (words,) = admission.refused
    assert words.startswith("1 rollback")
    assert words.endswith(" of payment-api in production within the last hour, the policy allows 1")
    assert not admission.entered_before
    assert not await _entered(store, 1)


async def test_a_used_up_quota_of_the_fleet_refuses_every_service(store: Store) -> None:
    quota = Quota(service_per_hour=1, fleet_per_hour=3)
    await store.begin(_remediation(0), quota)
    await store.begin(_remediation(1, environment="staging"), quota)
    await store.begin(_remediation(2, service="other-api"), quota)

    admission = await store.begin(_remediation(3, service="third-api"), quota)

    assert admission.refused == ("3 rollbacks of all services within the last hour, the policy allows 3",)
    assert not await _entered(store, 3)


async def test_a_quota_of_nothing_lets_nothing_begin(store: Store) -> None:
    admission = await store.begin(_remediation(), Quota(service_per_hour=0, fleet_per_hour=0))

    assert len(admission.refused) == 2


async def test_another_service_or_environment_does_not_use_up_the_quota_of_the_service(store: Store) -> None:
    await store.begin(_remediation(0, service="other-api"), ONE_EACH)
    await store.begin(_remediation(1, environment="staging"), ONE_EACH)

    assert not (await store.begin(_remediation(2), ONE_EACH)).refused


async def test_without_a_quota_only_the_kill_switch_holds(store: Store) -> None:
    await store.begin(_remediation(0), None)

    assert not (await store.begin(_remediation(1), None)).refused


@pytest.mark.parametrize("state", RunState)
async def test_only_what_is_known_to_have_changed_nothing_does_not_count(store: Store, state: RunState) -> None:
    await store.begin(_remediation(0), None)
    await store.finish(_remediation(0).correlation_id, state)

    refused = (await store.begin(_remediation(1), ONE_EACH)).refused

    assert bool(refused) is (state not in NOTHING_DONE)
    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)
    assert seen.fleet_last_hour == 1


@pytest.mark.parametrize(("ago", "counts"), [(HOUR, False), (HOUR - timedelta(microseconds=1), True)])
async def test_the_hour_ends_with_the_moment_at_which_the_order_asks(
    store: Store, ago: timedelta, *, counts: bool
) -> None:
    await store.begin(_remediation(0, at=builders.NOW - ago), None)

    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)
    refused = (await store.begin(_remediation(1, at=builders.NOW), ONE_EACH)).refused

    assert (bool(refused), seen.fleet_last_hour) == (counts, int(counts))


async def test_an_entry_of_a_clock_that_runs_ahead_counts(store: Store) -> None:
    await store.begin(_remediation(9), None)

    assert (await store.begin(_remediation(0), ONE_EACH)).refused


async def test_an_undoing_is_held_to_no_quota(store: Store) -> None:
    quota = Quota(service_per_hour=1, fleet_per_hour=1)
    await store.begin(_remediation(0), quota)

    assert not (await store.begin(_remediation(1, kind=RemediationKind.UNDO), quota)).refused


async def test_an_undoing_counts_for_the_fleet_and_not_for_the_service(store: Store) -> None:
    await store.begin(_remediation(0, kind=RemediationKind.UNDO), None)

    by_fleet = await store.begin(_remediation(1, service="other-api"), Quota(service_per_hour=1, fleet_per_hour=1))
    by_service = await store.begin(_remediation(2), ONE_EACH)

    (words,) = by_fleet.refused
    assert words.endswith(" of all services within the last hour, the policy allows 1")
    assert not by_service.refused


async def test_an_incident_is_undone_once(store: Store) -> None:
    incident = _remediation().incident_id
    await store.begin(_remediation(0, kind=RemediationKind.UNDO), None)
    await store.finish(_remediation(0).correlation_id, RunState.FAILED)

    second = await store.begin(_remediation(1, kind=RemediationKind.UNDO, incident_id=incident), None)
    same = await store.begin(_remediation(0, kind=RemediationKind.UNDO), None)
    other = await store.begin(_remediation(2, kind=RemediationKind.UNDO), None)

    assert incident in second.refused[0]
    assert not await _entered(store, 1)
    assert (same.refused, same.entered_before) == ((), True)
    assert not other.refused


async def test_a_rollback_of_an_incident_does_not_stand_against_its_undoing(store: Store) -> None:
    await store.begin(_remediation(0), None)

    undoing = _remediation(1, kind=RemediationKind.UNDO, incident_id=_remediation(0).incident_id)
    assert not (await store.begin(undoing, None)).refused


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"environment": builders.ENVIRONMENT},
        {"service": builders.SERVICE},
        {"environment": builders.ENVIRONMENT, "service": builders.SERVICE},
    ],
)
@pytest.mark.parametrize("kind", RemediationKind)
async def test_a_kill_switch_refuses_whatever_it_covers(
    store: Store, scope: dict[str, str], kind: RemediationKind
) -> None:
    await store.stop(_stop(**scope))

    admission = await store.begin(_remediation(kind=kind), None)

    assert admission.refused == (_stop(**scope).words,)
    assert not await _entered(store, 0)
    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)
    assert seen.stops == (_stop(**scope),)


async def test_a_kill_switch_of_others_stops_nothing(store: Store) -> None:
    await store.stop(_stop(service="other-api"))
    await store.stop(_stop(environment="staging"))
    await store.stop(_stop(environment="staging", service=builders.SERVICE))

    assert not (await store.begin(_remediation(), ONE_EACH)).refused
    assert (await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)).stops == ()


async def test_a_kill_switch_refuses_also_what_was_entered_before(store: Store) -> None:
    await store.begin(_remediation(), None)
    await store.stop(_stop())

    again = await store.begin(_remediation(), None)

    assert (again.refused, again.entered_before) == ((_stop().words,), True)
    assert await store.entry(_remediation().correlation_id) == _remediation()


async def test_the_same_scope_again_replaces_the_kill_switch(store: Store) -> None:
    await store.stop(_stop())
    await store.stop(_stop(by="grace", reason=""))
    await store.stop(_stop(service=builders.SERVICE))

    assert {each.by for each in await store.stops()} == {"ada", "grace"}
    assert len(await store.stops()) == 2


async def test_kill_switches_come_oldest_first(store: Store) -> None:
    youngest, oldest, middle = (
        _stop(service=name, at=builders.NOW + timedelta(minutes=minutes))
        for name, minutes in (("one", 3), ("two", 1), ("three", 2))
    )
    for each in (youngest, oldest, middle):
        await store.stop(each)

    assert await store.stops() == (oldest, middle, youngest)


async def test_letting_go_takes_exactly_that_scope(store: Store) -> None:
    await store.stop(_stop(environment=builders.ENVIRONMENT))

    assert not await store.release("", "")
    assert not await store.release(builders.ENVIRONMENT, builders.SERVICE)
    assert (await store.begin(_remediation(), None)).refused
    assert await store.release(builders.ENVIRONMENT, "")
    assert not await store.release(builders.ENVIRONMENT, "")
    assert not (await store.begin(_remediation(), None)).refused


async def test_a_view_of_a_service_without_remediations_is_empty_and_knows_the_fleet(store: Store) -> None:
    await store.begin(_remediation(service="other-api"), None)

    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)

    assert (seen.state, seen.remediations, seen.fleet_last_hour) == (SourceState.EMPTY, (), 1)
    assert seen.at == builders.NOW


async def test_a_view_gives_one_service_newest_first(store: Store) -> None:
    for number in (1, 0, 2):
        await store.begin(_remediation(number), None)
    await store.begin(_remediation(3, service="other-api"), None)
    await store.begin(_remediation(4, environment="staging"), None)

    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)

    assert seen.state is SourceState.OK
    assert seen.remediations == (_remediation(2), _remediation(1), _remediation(0))
    assert seen.fleet_last_hour == 5


async def test_a_view_holds_no_more_than_fifty(store: Store) -> None:
    for number in range(51):
        await store.begin(_remediation(number), None)

    seen = await store.view(builders.ENVIRONMENT, builders.SERVICE, builders.NOW)

    assert len(seen.remediations) == 50
    assert seen.remediations[0] == _remediation(50)
    assert seen.fleet_last_hour == 51


async def test_a_failing_memory_store_raises_what_it_was_told() -> None:
    store = InMemoryStore(errors={"save": TransientError("store", "full")})
    with pytest.raises(TransientError):
        await store.save(_snapshot())

    store.errors.clear()
    await store.save(_snapshot())


async def test_a_label_comes_back_as_it_was_oldest_first_and_from_then_on(store: Store) -> None:
    for number in (2, 0, 1):
        await store.label(_label(number))
    assert await store.labels(None) == (_label(0), _label(1), _label(2))
    assert await store.labels(builders.NOW + timedelta(hours=1)) == (_label(1), _label(2))
    assert await store.labels(builders.NOW + timedelta(hours=3)) == ()


async def test_a_later_label_of_the_same_person_replaces_the_earlier_and_leaves_anothers(store: Store) -> None:
    changed = _label(judgement=Judgement.HARMFUL, note="", at=builders.NOW + timedelta(hours=2))
    await store.label(_label())
    await store.label(_label(by="bob"))
    await store.label(changed)
    assert await store.labels(None) == (_label(by="bob"), changed)


async def test_of_one_persons_labels_that_come_at_once_one_stays(store: Store) -> None:
    await asyncio.gather(*(store.label(_label(note=f"{number}")) for number in range(8)))
    assert len(await store.labels(None)) == 1


async def test_a_told_change_comes_back_as_it_was_newest_first_and_from_then_on(store: Store) -> None:
    ages = {name: builders.told_change(name, at=builders.NOW - timedelta(hours=age)) for age, name in enumerate("abc")}
    for each in "bca":
        assert await store.tell(ages[each]) == ages[each]
    since = builders.NOW - timedelta(hours=1)
    assert await store.told(builders.ENVIRONMENT, (builders.SERVICE,), since) == (ages["a"], ages["b"])


async def test_changes_up_to_a_moment_are_those_until_then_however_many_came_later(store: Store) -> None:
    until = builders.NOW - timedelta(hours=1)
    for number in range(NEWEST + 5):
        at = builders.NOW - timedelta(seconds=number)
        await store.tell(builders.told_change(f"later-{number}", at=at))
    for name, at in (("at", until), ("before", until - timedelta(hours=1)), ("after", until + timedelta(seconds=1))):
        await store.tell(builders.told_change(name, at=at))
    found = await store.told(builders.ENVIRONMENT, (builders.SERVICE,), until - timedelta(hours=1), until)
    assert [each.id for each in found] == ["at", "before"]


async def test_a_change_that_is_told_again_stays_as_it_was_told_first(store: Store) -> None:
    first = builders.told_change()
    await store.tell(first)
    assert await store.tell(builders.told_change(description="from 20 to 5", by="bob")) == first
    assert await store.told(builders.ENVIRONMENT, (builders.SERVICE,), first.at) == (first,)


async def test_of_a_change_that_is_told_by_many_at_once_one_stays(store: Store) -> None:
    said = await asyncio.gather(*(store.tell(builders.told_change(description=f"{number}")) for number in range(8)))
    (kept,) = await store.told(builders.ENVIRONMENT, (builders.SERVICE,), builders.told_change().at)
    assert set(said) == {kept}


async def test_the_changes_of_the_services_that_are_asked_for_are_given_and_no_others(store: Store) -> None:
    for change in (
        builders.told_change(),
        builders.told_change(service="ledger"),
        builders.told_change(service="checkout"),
        builders.told_change(environment="staging"),
    ):
        await store.tell(change)
    found = await store.told(builders.ENVIRONMENT, (builders.SERVICE, "ledger"), builders.told_change().at)
    assert {(each.environment, each.service) for each in found} == {
        (builders.ENVIRONMENT, builders.SERVICE),
        (builders.ENVIRONMENT, "ledger"),
    }
    assert await store.told(builders.ENVIRONMENT, (), builders.told_change().at) == ()


async def test_a_flood_of_changes_of_one_service_leaves_those_of_another_their_room(store: Store) -> None:
    for number in range(NEWEST + 5):
        at = builders.NOW - timedelta(seconds=number)
        await store.tell(builders.told_change(f"{number}", service="ledger", at=at))
    await store.tell(builders.told_change("own", at=builders.NOW - timedelta(hours=1)))
    found = await store.told(builders.ENVIRONMENT, (builders.SERVICE, "ledger"), builders.NOW - timedelta(hours=2))
    assert [each.id for each in found] == [*map(str, range(NEWEST)), "own"]


async def test_a_change_is_forgotten_after_forty_days(store: Store) -> None:
    long_ago, kept = builders.NOW - KEPT, builders.told_change("kept", at=builders.NOW - KEPT + timedelta(hours=2))
    await store.tell(builders.told_change("old", at=long_ago, told_at=long_ago))
    await store.tell(kept)
    await store.tell(builders.told_change("new", at=builders.NOW, told_at=builders.NOW + timedelta(hours=1)))
    found = await store.told(builders.ENVIRONMENT, (builders.SERVICE,), long_ago)
    assert [each.id for each in found] == ["new", "kept"]
