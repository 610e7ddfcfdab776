"""What one run of trials takes of a model: held to the same limits as production, and counted apart from it."""

from incident.budget import BudgetLimits, ModelCall, Spending, Spent, objections


class Tally:
    """A budget in memory, which begins at nothing. Implements `incident.ports.Budget`.

    The fleet's limits hold for the whole run, so that no run costs more than a day of production may.
    """

    def __init__(self) -> None:
        self._calls: dict[str, ModelCall] = {}
        self._settled: set[str] = set()

    @property
    def spent(self) -> Spent:
        """What the run took so far."""
        return _sum(list(self._calls.values()))

    @property
    def certain(self) -> bool:
        """Whether it is known of every call what it took; of the others it is what they may have taken at the most."""
        return self._settled >= self._calls.keys()

    async def reserve(self, call: ModelCall, limits: BudgetLimits) -> tuple[str, ...]:
        """Counts `call` in at its most, unless that is beyond `limits`: then why, in words, and nothing is counted."""
        known = list(self._calls.values())
        spending = Spending(
            incident=_sum([each for each in known if each.incident_id == call.incident_id]),
            service=_sum(
                [each for each in known if (each.environment, each.service) == (call.environment, call.service)]
            ),
            fleet=_sum(known),
        )
        refused = objections(call, limits, spending)
        if not refused:
            self._calls[call.call_id] = call
        return refused

    async def settle(self, call_id: str, tokens: int, cost: int) -> None:
        """Sets what that call took in place of what it might have taken; `cost` in millionths."""
        self._calls[call_id] = self._calls[call_id].model_copy(update={"tokens": tokens, "cost": cost})
        self._settled.add(call_id)


def _sum(calls: list[ModelCall]) -> Spent:
    return Spent(calls=len(calls), tokens=sum(each.tokens for each in calls), cost=sum(each.cost for each in calls))
