"""Changes that people and programs told of, in a transaction that is open already."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from incident.changes import KEPT, NEWEST, ToldChange
from incident.errors import PermanentError
from integrations.store.connection import SYSTEM
from integrations.store.tables import changes


def tell(connection: Connection, change: ToldChange) -> ToldChange:
    """What is kept of the change of that id: `change`, unless one was kept before. Those of long ago go with it.

    Raises:
        PermanentError: what was kept before cannot be read.
    """
    connection.execute(delete(changes).where(changes.c.at < change.told_at - KEPT))
    try:
        with connection.begin_nested():  # a savepoint, so that the transaction goes on
            connection.execute(insert(changes).values(change.model_dump() | {"kind": change.kind.value}))
    except IntegrityError:  # it was told before
        same = (
            (changes.c.environment == change.environment)
            & (changes.c.service == change.service)
            & (changes.c.id == change.id)
        )
        return _change(connection.execute(select(changes).where(same)).one())
    return change


def told(
    connection: Connection, environment: str, services: Collection[str], since: datetime, until: datetime | None
) -> tuple[ToldChange, ...]:
    """The changes to those services that were made from `since` to `until`, newest first, at most 50 of each.

    Raises:
        PermanentError: one of them cannot be read.
    """
    newest_first = (changes.c.at.desc(), changes.c.id.desc())
    place = func.row_number().over(partition_by=changes.c.service, order_by=newest_first).label("place")
    wanted = (changes.c.environment == environment) & changes.c.service.in_(services) & (changes.c.at >= since)
    if until:
        wanted &= changes.c.at <= until
    placed = select(changes, place).where(wanted).subquery()
    columns = [placed.c[column.name] for column in changes.c]
    found = select(*columns).where(placed.c.place <= NEWEST).order_by(placed.c.at.desc(), placed.c.id.desc())
    return tuple(map(_change, connection.execute(found)))


def _change(row: Row[Any]) -> ToldChange:
    try:
        return ToldChange.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented name for it
    except ValidationError as error:
        raise PermanentError(SYSTEM, f"the change {row.id} of {row.service} cannot be read") from error
