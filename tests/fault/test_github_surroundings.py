"""What happens around a rollback through GitHub: two commanders, a store that is away, and a bad network."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from incident.dossier import Trigger
from incident.ledger import RunState
from incident.snapshot import Outcome, Snapshot
from integrations.store import SqlStore, StoreSettings
from tests.fault.github_shift import BAD, GOOD, MARKS, Commission, GitHubShift, Moment
from tests.standins.github.toxics import Toxics
from tests.workflow.shift import Handle, unique, until_true
from workflows.desk import IncidentDesk
from workflows.messages import Joined
from workflows.names import SEARCH_ATTRIBUTES, late_record_id

pytest_plugins = ["tests.fault.github_fixtures"]
pytestmark = MARKS

TRIGGERS = 50
"""Of each of two commanders."""
AT_ONCE = 8
"""Temporal takes ten updates of one workflow at a time, and bids others come again."""
IMPATIENT = timedelta(seconds=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "state"


@pytest_asyncio.fixture(loop_scope="session")
async def stores(folder: Path) -> AsyncIterator[Callable[[], SqlStore]]:
    """Opens the one database, each time anew, as another process does."""
    async with AsyncExitStack() as opened:

        def _open() -> SqlStore:
            store = SqlStore(StoreSettings(url=f"sqlite:///{folder / 'incidents.db'}"), IMPATIENT)
            opened.push_async_callback(store.close)
            return store

        yield _open


# Two commanders.


async def cluster(where: WorkflowEnvironment) -> Client:
    """A Temporal of one's own, as good as another server."""
    name = unique()
    await where.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86_400))
    )
    wanted = AddSearchAttributesRequest(
        namespace=name,
        search_attributes={
            each.name: IndexedValueType.ValueType(each.indexed_value_type) for each in SEARCH_ATTRIBUTES
        },
    )

    async def _there() -> bool:
        try:
            await where.client.operator_service.add_search_attributes(wanted)
        except RPCError as error:
            return error.status is RPCStatusCode.ALREADY_EXISTS
        return True

    await until_true(_there)
    return await where.connect_client(namespace=name, data_converter=pydantic_data_converter)


async def triggered(client: Client, shift: GitHubShift) -> Handle:
    """The one incident that so many triggers open together."""
    desk = IncidentDesk(client, shift.name)
    request = shift.request({"approve_within": "1s"})
    limit = asyncio.Semaphore(AT_ONCE)

    async def _open(number: int) -> tuple[Joined, Handle]:
        async with limit:
            return await desk.open(request.model_copy(update={"trigger": Trigger(trigger_id=f"alert-{number}")}))

    opened = await asyncio.gather(*(_open(number) for number in range(TRIGGERS)))
    assert len({joined.incident_id for joined, _ in opened}) == 1
    assert sum(joined.opened for joined, _ in opened) == 1
    return opened[0][1]


@pytest.mark.parametrize("shared", [True, False], ids=["one ledger", "a ledger each"])
async def test_two_commanders_and_a_hundred_triggers_are_one_effective_rollback(
    github_server: WorkflowEnvironment, commission: Commission, stores: Callable[[], SqlStore], *, shared: bool
) -> None:
    clients = [await cluster(github_server) for _ in range(2)]
    shifts = [
        await commission(client=client, ledger=stores()) if shared else await commission(client=client)
        for client in clients
    ]
    repository = shifts[0].repository
    await repository.control.behave(queue_s=0.5)
    every_trigger = asyncio.Event()
    for shift in shifts:
        shift.occasions.at(Moment.DECIDED, every_trigger.wait)
    handles = await asyncio.gather(*(triggered(*each) for each in zip(clients, shifts, strict=True)))
    every_trigger.set()
    snapshots = await asyncio.gather(*(shift.end(each) for shift, each in zip(shifts, handles, strict=True)))
    journal = await repository.journal()
    assert len(journal.effective) == 1
    assert await repository.live() == GOOD
    assert len(journal.dispatches) == (1 if shared else 2)
    assert len({each.incident_id for each in snapshots}) == 2
    states = {each.incident_id: _state(each) for each in snapshots}
    author = next(each for each in snapshots if _authored(each, journal.effective[0].correlation_id))
    assert states.pop(author.incident_id) is RunState.SUCCEEDED
    assert author.outcome is Outcome.RECOVERED
    assert all(each.outcome in {Outcome.RECOVERED, Outcome.ESCALATED} for each in snapshots)
    if shared:
        assert list(states.values()) == [None], "the other one had the ledger's word that it must not"


def _state(snapshot: Snapshot) -> RunState | None:
    record = snapshot.remediation
    return record.run.state if record and record.run else None


def _authored(snapshot: Snapshot, correlation_id: str) -> bool:
    return snapshot.remediation is not None and snapshot.remediation.order.correlation_id == correlation_id


# A store that is away.


class Lock:
    """The whole database, held by somebody else."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "incidents.db"
        self._connection: sqlite3.Connection | None = None

    async def take(self) -> None:
        """Nobody else can write, from now on."""
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("BEGIN EXCLUSIVE")

    def release(self) -> None:
        """Everybody can write again."""
        assert self._connection
        self._connection.close()


async def test_while_the_ledger_is_locked_nothing_begins_uncounted(
    commission: Commission, stores: Callable[[], SqlStore], folder: Path
) -> None:
    shift, lock = await commission(sql=stores()), Lock(folder)
    shift.occasions.at(Moment.BEFORE_FIND, lock.take)
    handle = await shift.begin()

    async def _tried_again() -> bool:
        pending = await shift.pending(handle, "remediate.rollback")
        return pending is not None and pending.attempt > 2

    await until_true(_tried_again)
    assert await shift.attempts() == 0
    lock.release()
    snapshot = await shift.end(handle)
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1
    assert snapshot.remediation
    entry = await stores().entry(snapshot.remediation.order.correlation_id)
    assert entry
    assert entry.state is RunState.SUCCEEDED


async def test_a_ledger_that_is_locked_once_the_run_began_holds_up_nothing(
    commission: Commission, stores: Callable[[], SqlStore], folder: Path
) -> None:
    shift, lock = await commission(ledger=stores()), Lock(folder)
    shift.occasions.at(Moment.STARTED, lock.take)
    snapshot = await shift.through()
    lock.release()
    await shift.recovered(snapshot)
    assert snapshot.remediation
    entry = await stores().entry(snapshot.remediation.order.correlation_id)
    assert entry
    assert entry.state is RunState.PENDING, "what counts as done, though how it ended is not entered"


def _in_place_of_the_folder(folder: Path) -> Callable[[], None]:
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("no folder")

    def _bring_back() -> None:
        folder.unlink()
        aside.rename(folder)

    return _bring_back


def _in_place_of_its_log(folder: Path) -> Callable[[], None]:
    """The database can no longer be written, as where its file system has no room left."""
    log = folder / "incidents.db-wal"
    log.unlink(missing_ok=True)
    log.mkdir()
    return log.rmdir


@pytest.mark.parametrize("take_away", [_in_place_of_the_folder, _in_place_of_its_log], ids=["folder", "log"])
async def test_a_snapshot_that_cannot_be_written_is_recorded_late(
    commission: Commission,
    stores: Callable[[], SqlStore],
    folder: Path,
    take_away: Callable[[Path], Callable[[], None]],
) -> None:
    shift = await commission(sql=stores())
    back: list[Callable[[], None]] = []

    async def _take_away() -> None:
        back.append(take_away(folder))

    shift.occasions.at(Moment.BEFORE_METRICS, _nothing, _nothing, _take_away)
    snapshot = await shift.through(stored=False)
    await shift.recovered(snapshot)
    back[0]()
    late = shift.environment.client.get_workflow_handle(late_record_id(snapshot.incident_id))
    async with asyncio.timeout(30):
        await late.result()
    assert await stores().load(snapshot.incident_id) == snapshot
    assert shift.pager.sent == []


async def _nothing() -> None:
    pass


# A bad network.

Poison = Callable[[Toxics], Awaitable[object]]
BEARABLE: Mapping[str, Poison] = {
    "latency": lambda toxics: toxics.latency(100, jitter=50),
    "bandwidth": lambda toxics: toxics.bandwidth(100),
    "slow_close": lambda toxics: toxics.slow_close(500),
}
UNBEARABLE: Mapping[str, Poison] = {
    "reset_peer": lambda toxics: toxics.reset_peer(),
    "timeout": lambda toxics: toxics.timeout(),
    "limit_data": lambda toxics: toxics.limit_data(300),
    "refuse": lambda toxics: toxics.refuse(),
}
FOR_A_WHILE: Mapping[str, Poison] = {
    **UNBEARABLE,
    "latency": lambda toxics: toxics.latency(3000),
    "bandwidth": lambda toxics: toxics.bandwidth(0),
    "slow_close": lambda toxics: toxics.slow_close(2000),
    "never arrives": lambda toxics: toxics.limit_data(0, stream="upstream"),
    "reply lost": lambda toxics: toxics.limit_data(0),
}


@pytest.mark.parametrize("kind", BEARABLE)
async def test_a_slow_network_delays_a_rollback_and_does_not_prevent_it(commission: Commission, kind: str) -> None:
    shift = await commission()
    await BEARABLE[kind](shift.repository.chain.toxics)
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1


@pytest.mark.parametrize("kind", UNBEARABLE)
async def test_where_nothing_gets_through_a_person_is_paged_and_nothing_is_dispatched(
    commission: Commission, kind: str
) -> None:
    shift = await commission(read_timeout="500ms")
    await UNBEARABLE[kind](shift.repository.chain.toxics)
    snapshot = await shift.through()
    assert snapshot.outcome is Outcome.ESCALATED
    assert len(shift.pager.sent) == 1
    assert await shift.attempts() == 0
    assert await shift.repository.live() == BAD


@pytest.mark.parametrize("kind", FOR_A_WHILE)
async def test_a_network_that_fails_around_the_dispatch_costs_no_second_effect(
    commission: Commission, kind: str
) -> None:
    shift = await commission(read_timeout="500ms", run_appears_within="1s")
    toxics = shift.repository.chain.toxics
    shift.occasions.at(Moment.BEFORE_START, partial(FOR_A_WHILE[kind], toxics))
    shift.occasions.at(Moment.STARTED, toxics.clear)
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert len([each for each in (await shift.repository.journal()).dispatches if each.accepted]) == 1


async def test_a_network_that_is_away_while_the_run_runs_loses_neither(commission: Commission) -> None:
    shift = await commission(read_timeout="500ms")
    toxics = shift.repository.chain.toxics
    shift.occasions.at(Moment.STARTED, toxics.refuse)
    handle = await shift.begin()
    await shift.repository.until_run(lambda run: run.status == "completed")
    await toxics.clear()
    snapshot = await shift.end(handle)
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1
