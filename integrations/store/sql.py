"""Snapshots and the ledger of remediations, in any database that SQLAlchemy speaks to."""

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from incident.errors import PermanentError
from incident.ledger import Remediation, RunState
from incident.snapshot import Snapshot
from integrations.store.connection import SYSTEM, Database
from integrations.store.settings import StoreSettings
from integrations.store.tables import incidents, remediations

_log = structlog.get_logger()


class SqlStore:
    """Keeps incidents and remediations; every call is one transaction, in a thread of its own."""

    def __init__(self, settings: StoreSettings) -> None:
        self._database = Database(settings.url)

    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it."""
        await asyncio.to_thread(self._save, snapshot)

    async def load(self, incident_id: str) -> Snapshot | None:
        """The snapshot of that incident, or `None`.

        Raises:
            PermanentError: there is one, and it cannot be read.
        """
        found = await asyncio.to_thread(self._snapshots, incidents.c.incident_id == incident_id, 1)
        if not found:
            return None
        try:
            return Snapshot.model_validate_json(found[0].snapshot)
        except ValidationError as error:
            words = f"the record of {incident_id} is no snapshot of a version that is known here"
            raise PermanentError(SYSTEM, words) from error

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest snapshots, newest first, at most `limit`; unreadable ones are left out, and the log names them."""
        found = await asyncio.to_thread(self._snapshots, None, limit)
        return tuple(_readable(found))

    async def begin(self, remediation: Remediation) -> None:
        """Enters `remediation`; an entry of the same correlation id stays as it is."""
        await asyncio.to_thread(self._begin, remediation)

    async def finish(self, correlation_id: str, state: RunState) -> None:
        """Sets the state in which that remediation ended.

        Raises:
            PermanentError: it was never entered.
        """
        await asyncio.to_thread(self._finish, correlation_id, state)

    async def of_service(self, environment: str, service: str, limit: int) -> tuple[Remediation, ...]:
        """The service's remediations, newest first, at most `limit`.

        Raises:
            PermanentError: one of them cannot be read; a memory with gaps would allow what it must not.
        """
        rows = await asyncio.to_thread(self._remediations, environment, service, limit)
        return tuple(_remediation(row) for row in rows)

    async def close(self) -> None:
        """Closes every connection."""
        await asyncio.to_thread(self._database.close)

    def _save(self, snapshot: Snapshot) -> None:
        row = {
            "incident_id": snapshot.incident_id,
            "service": snapshot.service,
            "environment": snapshot.environment,
            "opened_at": snapshot.opened_at,
            "closed_at": snapshot.closed_at,
            "severity": snapshot.severity.value,
            "outcome": snapshot.outcome.value,
            "classification": str(snapshot.health_status),
            "snapshot": snapshot.model_dump_json(),
            "schema_version": snapshot.schema_version,
        }
        same = incidents.c.incident_id == snapshot.incident_id
        with self._database.transaction() as connection:
            if connection.execute(update(incidents).where(same).values(row)).rowcount == 0 and not _insert(
                connection, incidents, row
            ):  # another writer was quicker
                connection.execute(update(incidents).where(same).values(row))

    def _snapshots(self, which: ColumnElement[bool] | None, limit: int) -> list[Row[Any]]:
        query = select(incidents.c.incident_id, incidents.c.snapshot)
        query = query if which is None else query.where(which)
        newest = query.order_by(incidents.c.opened_at.desc(), incidents.c.incident_id.desc())
        with self._database.transaction() as connection:
            return list(connection.execute(newest.limit(max(limit, 0))))

    def _begin(self, remediation: Remediation) -> None:
        row = remediation.model_dump() | {"state": remediation.state.value}
        with self._database.transaction() as connection:
            _insert(connection, remediations, row)

    def _finish(self, correlation_id: str, state: RunState) -> None:
        same = remediations.c.correlation_id == correlation_id
        with self._database.transaction() as connection:
            done = connection.execute(update(remediations).where(same).values(state=state.value))
            if done.rowcount == 0:
                raise PermanentError(SYSTEM, f"there is no remediation {correlation_id} to finish")

    def _remediations(self, environment: str, service: str, limit: int) -> list[Row[Any]]:
        mine = (remediations.c.environment == environment, remediations.c.service == service)
        newest = (remediations.c.at.desc(), remediations.c.correlation_id.desc())
        with self._database.transaction() as connection:
            return list(connection.execute(select(remediations).where(*mine).order_by(*newest).limit(max(limit, 0))))


def _insert(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Inserts `row`; `False` where its key is taken already. A savepoint, so that the transaction goes on."""
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(row))
    except IntegrityError:
        return False
    return True


def _readable(rows: Iterable[Row[Any]]) -> Iterable[Snapshot]:
    unreadable: list[str] = []
    for row in rows:
        try:
            yield Snapshot.model_validate_json(row.snapshot)
        except ValidationError:
            unreadable.append(row.incident_id)
    if unreadable:
        _log.warning("store.unreadable", incident_ids=unreadable, count=len(unreadable))


def _remediation(row: Row[Any]) -> Remediation:
    try:
        return Remediation.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented name for it
    except ValidationError as error:
        raise PermanentError(SYSTEM, f"the entry {row.correlation_id} of the ledger cannot be read") from error
