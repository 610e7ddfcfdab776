"""People's verdicts on incidents, in a transaction that is open already."""

from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, insert, select, true, update
from sqlalchemy.exc import IntegrityError

from incident.errors import PermanentError
from incident.labels import Label
from integrations.store.connection import SYSTEM
from integrations.store.tables import labels


def put(connection: Connection, label: Label) -> None:
    """Keeps `label`; one of the same person on the same incident replaces it."""
    row = label.model_dump() | {"judgement": label.judgement.value}
    replace = update(labels).where((labels.c.incident_id == label.incident_id) & (labels.c.by == label.by)).values(row)
    if connection.execute(replace).rowcount:
        return
    try:
        with connection.begin_nested():  # a savepoint, so that the transaction goes on
            connection.execute(insert(labels).values(row))
    except IntegrityError:  # the same person was quicker, from elsewhere
        connection.execute(replace)


def given(connection: Connection, since: datetime | None) -> tuple[Label, ...]:
    """The labels that were given at `since` or later, oldest first; `None`: every one.

    Raises:
        PermanentError: one of them cannot be read.
    """
    lately = true() if since is None else labels.c.at >= since
    rows = connection.execute(select(labels).where(lately).order_by(labels.c.at, labels.c.incident_id, labels.c.by))
    return tuple(map(_label, rows))


def _label(row: Row[Any]) -> Label:
    try:
        return Label.model_validate(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's documented name for it
    except ValidationError as error:
        raise PermanentError(SYSTEM, f"the label of {row.incident_id} cannot be read") from error
