"""The records of incidents, in a transaction that is open already."""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from incident.errors import PermanentError
from incident.snapshot import Snapshot
from integrations.store.connection import SYSTEM
from integrations.store.tables import incidents

_log = structlog.get_logger()


def save(connection: Connection, snapshot: Snapshot) -> None:
    """Keeps `snapshot`; the same incident again replaces it, unless what is kept closed later.

    A worker that was taken for dead may still write what it had made before another one closed the incident.
    """
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
    replace = update(incidents).where(same & (incidents.c.closed_at <= snapshot.closed_at)).values(row)
    if connection.execute(replace).rowcount:
        return
    try:
        with connection.begin_nested():  # a savepoint, so that the transaction goes on
            connection.execute(insert(incidents).values(row))
    except IntegrityError:  # another writer was quicker, or what is kept closed later
        connection.execute(replace)


def load(connection: Connection, incident_id: str) -> Snapshot | None:
    """The snapshot of that incident, or `None`.

    Raises:
        PermanentError: there is one, and it cannot be read.
    """
    found = _rows(connection, incidents.c.incident_id == incident_id, 1)
    if not found:
        return None
    try:
        return Snapshot.model_validate_json(found[0].snapshot)
    except ValidationError as error:
        words = f"the record of {incident_id} is no snapshot of a version that is known here"
        raise PermanentError(SYSTEM, words) from error


def newest(connection: Connection, limit: int) -> tuple[Snapshot, ...]:
    """The newest snapshots, newest first, at most `limit`; unreadable ones are left out, and the log names them."""
    return tuple(_readable(_rows(connection, None, limit)))


def _rows(connection: Connection, which: ColumnElement[bool] | None, limit: int) -> Sequence[Row[Any, Any]]:
    query = select(incidents.c.incident_id, incidents.c.snapshot)
    query = query if which is None else query.where(which)
    ordered = query.order_by(incidents.c.opened_at.desc(), incidents.c.incident_id.desc())
    return connection.execute(ordered.limit(max(limit, 0))).all()


def _readable(rows: Iterable[Row[Any, Any]]) -> Iterable[Snapshot]:
    unreadable: list[str] = []
    for row in rows:
        try:
            yield Snapshot.model_validate_json(row.snapshot)
        except ValidationError:
            unreadable.append(row.incident_id)
    if unreadable:
        _log.warning("store.unreadable", incident_ids=unreadable, count=len(unreadable))
