"""The ledger of remediations and the kill switches, in a transaction that is open already."""

from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from incident.errors import PermanentError
from incident.evidence import SourceState
from incident.ledger import (
    HOUR,
    NOTHING_DONE,
    Admission,
    LedgerView,
    Quota,
    Remediation,
    RemediationKind,
    RunState,
    Stop,
    objections,
)
from integrations.store.connection import SYSTEM
from integrations.store.tables import ledger_guard, remediations, stops

_REMEMBERED = 50
"""How many remediations of a service a view holds."""


def entry(connection: Connection, correlation_id: str) -> Remediation | None:
    """The entry of that correlation id, or `None`.

    Raises:
        PermanentError: it cannot be read.
    """
    row = connection.execute(select(remediations).where(remediations.c.correlation_id == correlation_id)).one_or_none()
    return None if row is None else _remediation(row)


def begin(connection: Connection, remediation: Remediation, quota: Quota | None) -> Admission:
    """Enters `remediation` unless something stands against it; what was entered before stays as it is.

    Nobody else enters or stops anything between the look and the entry: whoever does waits for the guard.

    Raises:
        PermanentError: an entry of the last hour or a kill switch cannot be read, so that nothing may begin.
    """
    _take_guard(connection)
    known = _holds(connection, remediations.c.correlation_id == remediation.correlation_id)
    undoing = (remediations.c.incident_id == remediation.incident_id) & (remediations.c.kind == RemediationKind.UNDO)
    refused = objections(
        remediation,
        None if known else quota,
        () if known or quota is None else _remediations(connection, remediations.c.at > remediation.at - HOUR),
        pulled(connection),
        undone=not known and remediation.kind is RemediationKind.UNDO and _holds(connection, undoing),
    )
    if not refused and not known:
        row = remediation.model_dump() | {"state": remediation.state.value, "kind": remediation.kind.value}
        connection.execute(insert(remediations).values(row))
    return Admission(refused=refused, entered_before=known)


def claim(connection: Connection, correlation_id: str, seen: datetime, now: datetime) -> bool:
    """Moves the entry's time from `seen` to `now`, in one statement; whether it was `seen`."""
    same = (remediations.c.correlation_id == correlation_id) & (remediations.c.at == seen)
    return connection.execute(update(remediations).where(same).values(at=now)).rowcount == 1


def finish(connection: Connection, correlation_id: str, state: RunState) -> None:
    """Sets the state in which that remediation ended.

    Raises:
        PermanentError: it was never entered.
    """
    same = remediations.c.correlation_id == correlation_id
    if connection.execute(update(remediations).where(same).values(state=state.value)).rowcount == 0:
        raise PermanentError(SYSTEM, f"there is no remediation {correlation_id} to finish")


def view(connection: Connection, environment: str, service: str, now: datetime) -> LedgerView:
    """The service's newest remediations, what the fleet did in the last hour, and what stops the service now.

    Raises:
        PermanentError: one of them cannot be read; a memory with gaps would allow what it must not.
    """
    mine = (remediations.c.environment == environment) & (remediations.c.service == service)
    found = _remediations(connection, mine, _REMEMBERED)
    done = (remediations.c.at > now - HOUR) & remediations.c.state.not_in([state.value for state in NOTHING_DONE])
    return LedgerView(
        state=SourceState.OK if found else SourceState.EMPTY,
        at=now,
        remediations=found,
        fleet_last_hour=connection.execute(select(func.count()).select_from(remediations).where(done)).scalar_one(),
        stops=tuple(stop for stop in pulled(connection) if stop.covers(environment, service)),
    )


def pull(connection: Connection, stop: Stop) -> None:
    """Pulls a kill switch; the same scope again replaces it.

    What is about to begin has either begun or is refused when this returns, for it holds the guard.
    """
    _take_guard(connection)
    release(connection, stop.environment, stop.service)
    connection.execute(insert(stops).values(stop.model_dump()))


def release(connection: Connection, environment: str, service: str) -> bool:
    """Lets the kill switch of exactly that scope go; whether there was one."""
    same = (stops.c.environment == environment) & (stops.c.service == service)
    return connection.execute(delete(stops).where(same)).rowcount > 0


def pulled(connection: Connection) -> tuple[Stop, ...]:
    """Every kill switch that is pulled, oldest first.

    Raises:
        PermanentError: one of them cannot be read.
    """
    rows = connection.execute(select(stops).order_by(stops.c.at, stops.c.environment, stops.c.service))
    return tuple(_stop(row) for row in rows)


def _take_guard(connection: Connection) -> None:
    """Holds the ledger until this transaction ends: the lock of one row in PostgreSQL, of the file in SQLite."""
    taken = connection.execute(update(ledger_guard).values(turns=ledger_guard.c.turns + 1))
    if taken.rowcount != 1:
        raise PermanentError(SYSTEM, "the guard of the ledger is missing, so that nothing may begin")


def _holds(connection: Connection, which: ColumnElement[bool]) -> bool:
    return connection.execute(select(remediations.c.correlation_id).where(which).limit(1)).first() is not None


def _remediations(
    connection: Connection, which: ColumnElement[bool], limit: int | None = None
) -> tuple[Remediation, ...]:
    newest = (remediations.c.at.desc(), remediations.c.correlation_id.desc())
    rows = connection.execute(select(remediations).where(which).order_by(*newest).limit(limit))
    return tuple(_remediation(row) for row in rows)


def _remediation(row: Row[Any]) -> Remediation:
    try:
        return Remediation.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented name for it
    except ValidationError as error:
        raise PermanentError(SYSTEM, f"the entry {row.correlation_id} of the ledger cannot be read") from error


def _stop(row: Row[Any]) -> Stop:
    try:
        return Stop.model_validate(dict(row._mapping))  # noqa: SLF001 - the same
    except ValidationError as error:
        raise PermanentError(SYSTEM, "a kill switch cannot be read, so that nothing may begin") from error
