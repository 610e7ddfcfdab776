"""Snapshots, the ledger of remediations, labels, told changes and the budget of models, in SQLite or PostgreSQL."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from incident.budget import BudgetLimits, DaySpent, ModelCall
from incident.changes import ToldChange
from incident.labels import Label
from incident.ledger import Admission, LedgerView, Quota, Remediation, RunState, Stop
from incident.search import Found, Wanted
from incident.snapshot import Snapshot
from integrations.store import budget, changes, labels, ledger, snapshots
from integrations.store.connection import PATIENCE, Database
from integrations.store.settings import StoreSettings

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SqlStore:
    """Keeps incidents, remediations, labels, changes, and what models took; a call is a transaction in its own thread.

    Args:
        settings: where the database is.
        patience: after how long a call gives up, with a `TransientError`.
    """

    def __init__(self, settings: StoreSettings, patience: timedelta = PATIENCE) -> None:
        self._database = Database(settings.url, patience)

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it, unless what is kept closed later."""
        await self._do(snapshots.save, snapshot)

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`.

        Raises:
            PermanentError: there is one, and it cannot be read.
        """
        return await self._do(snapshots.load, incident_id)

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest snapshots, newest first, at most `limit`; unreadable ones are left out, and the log names them."""
        return await self._do(snapshots.newest, limit)

    async def search(self, wanted: Wanted) -> Found:
        """Those that are wanted, newest first; unreadable ones are left out, and the log names them."""
        return await self._do(snapshots.search, wanted)

    async def entry(self, correlation_id: str) -> Remediation | None:
        """The entry of that correlation id, or `None`.

        Raises:
            PermanentError: it cannot be read.
        """
        return await self._do(ledger.entry, correlation_id)

    async def begin(self, remediation: Remediation, quota: Quota | None) -> Admission:
        """Enters `remediation`, unless a kill switch covers it or the quota is used up; an entry stays as it is.

        Args:
            remediation: the entry.
            quota: counted over the hour before `remediation.at`; `None`: only a kill switch holds it.

        Raises:
            PermanentError: an entry of that hour or a kill switch cannot be read, so that nothing may begin.
        """
        return await self._do(ledger.begin, remediation, quota)

    async def claim(self, correlation_id: str, seen: datetime, now: datetime) -> bool:
        """Whether the caller alone may start what was entered before: its time goes from `seen` to `now`."""
        return await self._do(ledger.claim, correlation_id, seen, now)

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state in which that remediation ended.

        Raises:
            PermanentError: it was never entered.
        """
        await self._do(ledger.finish, correlation_id, state)

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What is known of the service, newest first and capped, and of the fleet's last hour.

        Raises:
            PermanentError: a part of it cannot be read; a memory with gaps would allow what it must not.
        """
        return await self._do(ledger.view, environment, service, now)

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch; the same scope again replaces it. Nothing that it covers begins once this returned."""
        await self._do(ledger.pull, stop)

    async def release(self, environment: str, service: str) -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        return await self._do(ledger.release, environment, service)

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled, oldest first.

        Raises:
            PermanentError: one of them cannot be read.
        """
        return await self._do(ledger.pulled)

    async def label(self, label: Label) -> None:
        """Keeps `label`; one of the same person on the same incident replaces it."""
        await self._do(labels.put, label)

    async def labels(self, since: datetime | None) -> tuple[Label, ...]:
        """The labels that were given at `since` or later, oldest first; `None`: every one.

        Raises:
            PermanentError: one of them cannot be read.
        """
        return await self._do(labels.given, since)

    async def tell(self, change: ToldChange) -> ToldChange:
        """What is kept of the change of that id: `change`, unless one was kept before. Those of long ago go with it.

        Raises:
            PermanentError: what was kept before cannot be read.
        """
        return await self._do(changes.tell, change)

    async def told(
        self, environment: str, services: Collection[str], since: datetime, until: datetime | None = None
    ) -> tuple[ToldChange, ...]:
        """The changes to those services that were made from `since` to `until`, newest first, at most 50 of each.

        Raises:
            PermanentError: one of them cannot be read.
        """
        return await self._do(changes.told, environment, services, since, until)

    async def reserve(self, call: ModelCall, limits: BudgetLimits) -> tuple[str, ...]:
        """Counts `call` in at its most, unless that is beyond `limits`: then why, in words, and nothing is counted."""
        return await self._do(budget.reserve, call, limits)

    async def settle(self, call_id: str, tokens: int, cost: int) -> None:
        """Sets what that call took in place of what it might have taken; `cost` in millionths.

        Raises:
            PermanentError: it was never counted in.
        """
        await self._do(budget.settle, call_id, tokens, cost)

    async def spent(self, now: datetime) -> DaySpent:
        """What calls to models took within the day that ends now."""
        return await self._do(budget.spent, now)

    async def close(self) -> None:
        """Closes every connection."""
        await asyncio.to_thread(self._database.close)

    async def _do(self, deed: Callable[Concatenate[Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def _within_a_transaction() -> _T:
            with self._database.transaction() as connection:
                return deed(connection, *args, **kwargs)

        return await asyncio.to_thread(_within_a_transaction)
