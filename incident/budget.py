"""What an analyst's model may take: limits for an incident, a service and the fleet, held before each call is sent."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from incident.model import Fact, Moment

DAY = timedelta(days=1)
"""The window in which a service's and the fleet's calls are counted: the last 24 hours, whatever the date."""
KEPT = timedelta(days=40)
"""How long a call is known: longer than an incident that waits its 30 days for a review (`review_within`)."""
MILLIONTHS = 10**6
"""Of the currency that prices are in; money is counted in whole ones, rounded up, so that no sum loses any."""


class BudgetLimits(Fact):
    """How much an analyst's model may take. 0: nothing. Where any of these is spent, the rules decide."""

    calls_per_incident: int = Field(default=20, ge=0, description="model calls of one incident, repairs included")
    tokens_per_incident: int = Field(default=600_000, ge=0, description="tokens of one incident, in and out together")
    cost_per_incident: float = Field(default=1.0, ge=0, description="money, in the currency of OPENAI's prices")
    calls_per_service_and_day: int = Field(default=200, ge=0, description="of one service in one environment")
    tokens_per_service_and_day: int = Field(default=3_000_000, ge=0, description="the same, in tokens")
    cost_per_service_and_day: float = Field(default=5.0, ge=0, description="the same, in money")
    calls_per_fleet_and_day: int = Field(default=1_000, ge=0, description="of all services together")
    tokens_per_fleet_and_day: int = Field(default=15_000_000, ge=0, description="the same, in tokens")
    cost_per_fleet_and_day: float = Field(default=20.0, ge=0, description="the same, in money")


UNBOUNDED = BudgetLimits(
    calls_per_incident=10**9,
    tokens_per_incident=10**15,
    cost_per_incident=1e9,
    calls_per_service_and_day=10**9,
    tokens_per_service_and_day=10**15,
    cost_per_service_and_day=1e9,
    calls_per_fleet_and_day=10**9,
    tokens_per_fleet_and_day=10**15,
    cost_per_fleet_and_day=1e9,
)
"""For trials in which the model must decide every time, whatever it takes."""


class ModelCall(Fact):
    """One call to a model: at its most until it is settled, and at its most for ever if it never is."""

    call_id: str
    incident_id: str
    service: str
    environment: str
    at: Moment
    tokens: int = Field(ge=0, description="in and out together")
    cost: int = Field(ge=0, description="in millionths")


class Spent(Fact):
    """What a number of calls took."""

    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    cost: int = Field(default=0, ge=0, description="in millionths")


class Spending(Fact):
    """What had been spent when a call asked to be made."""

    incident: Spent = Field(description="by its incident, ever")
    service: Spent = Field(description="by its service within a day")
    fleet: Spent = Field(description="by all services within a day")


class ServiceSpent(Fact):
    """What one service's calls took within a day."""

    environment: str
    service: str
    spent: Spent


class DaySpent(Fact):
    """What all calls took within the day that ended then."""

    at: Moment
    fleet: Spent
    services: tuple[ServiceSpent, ...] = Field(description="those with any call, by environment and name")


def objections(asked: ModelCall, limits: BudgetLimits, spending: Spending) -> tuple[str, ...]:
    """Why `asked` may not be made, in words; empty: it may. Every budget decides by this, in its own transaction."""
    incident = Spent(
        calls=limits.calls_per_incident,
        tokens=limits.tokens_per_incident,
        cost=round(limits.cost_per_incident * MILLIONTHS),
    )
    service = Spent(
        calls=limits.calls_per_service_and_day,
        tokens=limits.tokens_per_service_and_day,
        cost=round(limits.cost_per_service_and_day * MILLIONTHS),
    )
    fleet = Spent(
        calls=limits.calls_per_fleet_and_day,
        tokens=limits.tokens_per_fleet_and_day,
        cost=round(limits.cost_per_fleet_and_day * MILLIONTHS),
    )
    return (
        *_beyond("this incident", "", asked, spending.incident, incident),
        *_beyond(f"{asked.service} in {asked.environment}", " within a day", asked, spending.service, service),
        *_beyond("the fleet", " within a day", asked, spending.fleet, fleet),
    )


def _beyond(who: str, within: str, asked: ModelCall, spent: Spent, most: Spent) -> Iterator[str]:
    if spent.calls >= most.calls:
        yield f"{who} has made {spent.calls} of {most.calls} model calls{within}"
    if spent.tokens + asked.tokens > most.tokens:
        taken = f"{spent.tokens:,} of {most.tokens:,} tokens{within}"
        yield f"{who} has taken {taken}, and the next call may take {asked.tokens:,}"
    if spent.cost + asked.cost > most.cost:
        paid = f"{_money(spent.cost)} of {_money(most.cost)}{within}"
        yield f"{who} has paid {paid} for its model, and the next call may cost {_money(asked.cost)}"


def _money(millionths: int) -> str:
    return f"{millionths / MILLIONTHS:.4f}"
