"""`commander budget`: what of the models' budget is spent, of each service and of the fleet."""

from datetime import datetime

from pydantic import Field
from rich import box
from rich.table import Table

from incident.budget import MILLIONTHS, Spent
from incident.model import Fact, Moment
from incident.policy import PolicyBook
from incident.ports import BudgetBook
from incident.services import ServiceRegistry


class Share(Fact):
    """What is spent of one limit."""

    spent: float
    limit: float

    @property
    def words(self) -> str:
        """The same for a person."""
        return f"{_figure(self.spent)} of {_figure(self.limit)}"


def _figure(number: float) -> str:
    return f"{number:,.4f}".rstrip("0").rstrip(".")


class Account(Fact):
    """What is spent within a day, of how much."""

    environment: str = Field(default="", description="empty: the whole fleet")
    service: str = Field(default="", description="empty: the whole fleet")
    calls: Share
    tokens: Share
    cost: Share = Field(description="in the currency of OPENAI's prices")


class Spendings(Fact):
    """What was spent within the 24 hours that ended then."""

    at: Moment
    fleet: Account
    services: tuple[Account, ...] = Field(description="of the registry, and others that have spent something")


async def spendings(budget: BudgetBook, registry: ServiceRegistry, policies: PolicyBook, now: datetime) -> Spendings:
    """What is spent now, against the limits of each service's policy; the fleet's are those of the policy's top."""
    told = await budget.spent(now)
    spent = {(each.environment, each.service): each.spent for each in told.services}
    known = [(each.environment, each.name) for each in registry.service]
    top = policies.default.budget
    return Spendings(
        at=told.at,
        fleet=Account(
            calls=Share(spent=told.fleet.calls, limit=top.calls_per_fleet_and_day),
            tokens=Share(spent=told.fleet.tokens, limit=top.tokens_per_fleet_and_day),
            cost=Share(spent=told.fleet.cost / MILLIONTHS, limit=top.cost_per_fleet_and_day),
        ),
        services=tuple(
            _of_service(environment, service, spent.get((environment, service), Spent()), policies)
            for environment, service in dict.fromkeys((*known, *spent))
        ),
    )


def _of_service(environment: str, service: str, spent: Spent, policies: PolicyBook) -> Account:
    limits = policies.of(service, environment).budget
    return Account(
        environment=environment,
        service=service,
        calls=Share(spent=spent.calls, limit=limits.calls_per_service_and_day),
        tokens=Share(spent=spent.tokens, limit=limits.tokens_per_service_and_day),
        cost=Share(spent=spent.cost / MILLIONTHS, limit=limits.cost_per_service_and_day),
    )


def shown(told: Spendings) -> Table:
    """A row for each service, and one for the fleet."""
    table = Table(box=box.SIMPLE_HEAVY, title=f"spent on models within the 24 hours until {told.at:%Y-%m-%d %H:%M:%SZ}")
    for column in ("whose", "calls", "tokens", "money"):
        table.add_column(column, overflow="fold")
    for each in (*told.services, told.fleet):
        whose = f"{each.service} ({each.environment})" if each.service else "the fleet"
        table.add_row(whose, each.calls.words, each.tokens.words, each.cost.words)
    return table
