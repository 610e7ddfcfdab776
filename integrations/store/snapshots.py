"""The records of incidents, in a transaction that is open already."""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, and_, insert, literal, select, true, tuple_, update
from sqlalchemy.exc import IntegrityError

from incident.errors import PermanentError
from incident.search import Found, Place, Wanted
from incident.snapshot import Snapshot
from integrations.store.connection import SYSTEM
from integrations.store.tables import UtcDateTime, incidents

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
    return tuple(_readable(_rows(connection, true(), limit)))


def search(connection: Connection, wanted: Wanted) -> Found:
    """Those that are wanted, newest first; unreadable ones are left out, and the log names them."""
    said = {name: getattr(wanted, name) for name in ("service", "environment", "severity", "outcome")}
    which = and_(true(), *(incidents.c[name] == str(value) for name, value in said.items() if value is not None))
    if wanted.since is not None:
        which = which & (incidents.c.opened_at >= wanted.since)
    if wanted.after is not None:
        place = tuple_(incidents.c.opened_at, incidents.c.incident_id)
        which = which & (place < tuple_(literal(wanted.after.opened_at, UtcDateTime), wanted.after.incident_id))
    rows = _rows(connection, which, wanted.limit)
    last = Place(opened_at=rows[-1].opened_at, incident_id=rows[-1].incident_id) if rows else None
    snapshots = tuple(_readable(rows))
    kept = {each.incident_id for each in snapshots}
    return Found(
        snapshots=snapshots,
        unreadable=tuple(row.incident_id for row in rows if row.incident_id not in kept),
        next=last if len(rows) == wanted.limit else None,
    )


def _rows(connection: Connection, which: ColumnElement[bool], limit: int) -> Sequence[Row[Any, Any, Any]]:
    query = select(incidents.c.incident_id, incidents.c.opened_at, incidents.c.snapshot).where(which)
    ordered = query.order_by(incidents.c.opened_at.desc(), incidents.c.incident_id.desc())
    return connection.execute(ordered.limit(max(limit, 0))).all()


def _readable(rows: Iterable[Row[Any, Any, Any]]) -> Iterable[Snapshot]:
    unreadable: list[str] = []
    for row in rows:
        try:
            yield Snapshot.model_validate_json(row.snapshot)
        except ValidationError:
            unreadable.append(row.incident_id)
    if unreadable:
        _log.warning("store.unreadable", incident_ids=unreadable, count=len(unreadable))
