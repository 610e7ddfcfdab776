"""A worker that was taken for dead and is not: what it still writes changes nothing that another one has done."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.memory import Memory
from activities.observation import Observer
from activities.remediate import Remediate, RemediateInput
from incident.errors import TransientError
from incident.ledger import Admission, Quota, Remediation, RunState
from integrations.store import SqlStore, StoreSettings
from tests import builders
from tests.fakes import FakeService, FakeServices, InMemoryStore

EARLIER = builders.snapshot(builders.decided_dossier())
LATER = EARLIER.model_copy(update={"closed_at": EARLIER.closed_at + timedelta(seconds=2)})


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore | InMemoryStore]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    sql = SqlStore(StoreSettings(url=f"sqlite:///{tmp_path / 'incidents.db'}"))
    yield sql
    await sql.close()


async def test_a_snapshot_that_closed_earlier_never_replaces_one_that_closed_later(
    store: SqlStore | InMemoryStore,
) -> None:
    await store.save(LATER)
    await store.save(EARLIER)
    assert await store.load(EARLIER.incident_id) == LATER


async def test_a_snapshot_that_closed_later_replaces_one_that_closed_earlier(store: SqlStore | InMemoryStore) -> None:
    await store.save(EARLIER)
    await store.save(LATER)
    assert await store.load(EARLIER.incident_id) == LATER


class _Overtaken(InMemoryStore):
    """Another attempt enters or claims the order between this one's look and its own entry."""

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        await super().begin(remediation, quota)
        return await super().begin(remediation, quota)

    async def claim(self, correlation_id: str, seen: datetime, now: datetime) -> bool:
        await super().claim(correlation_id, seen, now + timedelta(seconds=1))
        return await super().claim(correlation_id, seen, now)


@pytest.mark.parametrize("tried_before", [False, True])
async def test_an_attempt_that_was_overtaken_starts_nothing_and_looks_again(*, tried_before: bool) -> None:
    service, store = FakeService(live=101, clock=lambda: builders.NOW), _Overtaken()
    if tried_before:
        earlier = builders.remediation(
            correlation_id=builders.order().correlation_id,
            incident_id=builders.INCIDENT_ID,
            from_deployment=101,
            to_deployment=100,
            state=RunState.PENDING,
            at=builders.NOW - timedelta(minutes=1),
        )
        await store.begin(earlier, None)
    services = FakeServices(service)
    observer = Observer(services, lambda: builders.NOW)
    seen = builders.degraded_evidence(deployments=builders.deployments(*service.releases.history()))
    task = RemediateInput(
        incident_id=builders.INCIDENT_ID,
        order=builders.order(),
        decision=builders.decision(),
        evidence=seen,
        assessment=builders.assessment(seen),
        policy=builders.policy(),
        approved=False,
    )
    remediate = Remediate(services, observer, Memory(store), lambda: builders.NOW)
    with pytest.raises(TransientError, match="another attempt"):
        await ActivityEnvironment().run(remediate.rollback, task)
    assert service.rollback.starts == []


async def test_an_entry_is_claimed_by_one_of_all_that_saw_it_alike(store: SqlStore | InMemoryStore) -> None:
    entry = builders.remediation()
    await store.begin(entry, None)
    later = [entry.at + timedelta(seconds=number) for number in range(1, 5)]
    claims = await asyncio.gather(*(store.claim(entry.correlation_id, entry.at, at) for at in later))
    kept = await store.entry(entry.correlation_id)
    assert kept
    assert (sum(claims), kept.at) == (1, later[claims.index(True)])
    assert kept == entry.model_copy(update={"at": kept.at})


async def test_what_was_never_entered_cannot_be_claimed(store: SqlStore | InMemoryStore) -> None:
    assert not await store.claim("ic-unknown", builders.NOW, builders.NOW + timedelta(seconds=1))
