"""What calls to models took, in a transaction that is open already."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from incident.budget import (
    DAY,
    KEPT,
    BudgetLimits,
    DaySpent,
    ModelCall,
    ServiceSpent,
    Spending,
    Spent,
    objections,
)
from incident.errors import PermanentError
from integrations.store.connection import SYSTEM
from integrations.store.tables import budget_guard, model_calls


def reserve(connection: Connection, call: ModelCall, limits: BudgetLimits) -> tuple[str, ...]:
    """Counts `call` in unless that is beyond `limits`; why not, in words. Calls that are too old to count go with it.

    Nobody else counts a call in between the sum and the entry: whoever does waits for the guard.

    Raises:
        PermanentError: the guard is missing, so that nothing may be spent.
    """
    taken = connection.execute(update(budget_guard).values(turns=budget_guard.c.turns + 1))
    if taken.rowcount != 1:
        raise PermanentError(SYSTEM, "the guard of the budget is missing, so that nothing may be spent")
    lately = model_calls.c.at > call.at - DAY
    mine = (model_calls.c.environment == call.environment) & (model_calls.c.service == call.service)
    spending = Spending(
        incident=_spent(connection, model_calls.c.incident_id == call.incident_id),
        service=_spent(connection, lately & mine),
        fleet=_spent(connection, lately),
    )
    refused = objections(call, limits, spending)
    if not refused:
        connection.execute(insert(model_calls).values(call.model_dump()))
        connection.execute(delete(model_calls).where(model_calls.c.at < call.at - KEPT))
    return refused


def settle(connection: Connection, call_id: str, tokens: int, cost: int) -> None:
    """Sets what that call took.

    Raises:
        PermanentError: it was never counted in.
    """
    same = model_calls.c.call_id == call_id
    if connection.execute(update(model_calls).where(same).values(tokens=tokens, cost=cost)).rowcount == 0:
        raise PermanentError(SYSTEM, f"there is no model call {call_id} to settle")


def spent(connection: Connection, now: datetime) -> DaySpent:
    """What was counted in within the day that ends at `now`."""
    lately = model_calls.c.at > now - DAY
    whose = model_calls.c.environment, model_calls.c.service
    rows = connection.execute(select(*whose, *_SUMS).where(lately).group_by(*whose).order_by(*whose))
    services = tuple(ServiceSpent(environment=row[0], service=row[1], spent=_sum(*row[2:])) for row in rows)
    return DaySpent(at=now, fleet=_spent(connection, lately), services=services)


_SUMS = (func.count(), func.sum(model_calls.c.tokens), func.sum(model_calls.c.cost))


def _spent(connection: Connection, which: ColumnElement[bool]) -> Spent:
    return _sum(*connection.execute(select(*_SUMS).where(which)).one())


def _sum(calls: int, tokens: int | None, cost: int | None) -> Spent:
    return Spent(calls=calls, tokens=int(tokens or 0), cost=int(cost or 0))
