"""What the model takes, held to the budget: each call is counted at its most before it leaves, then at what it took."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from math import ceil
from uuid import uuid4

import structlog

from incident.analysis import Case, Tokens
from incident.budget import ModelCall
from incident.errors import BudgetSpentError, IntegrationError
from incident.ports import Budget
from integrations.openai.api import Question
from integrations.openai.client import OpenAISettings

_MARKS = 100
"""Tokens that a server may put around each message, and around the schema, beyond the text that is sent."""
_MOST_BELIEVED = 10**12
"""Tokens of one call: a server that says more than this would only break the sums."""
_log = structlog.get_logger()


class Meter:
    """Counts the calls to the model that these settings name.

    Args:
        budget: where they are counted.
        settings: with the prices.
        clock: the time, aware.
    """

    def __init__(
        self, budget: Budget, settings: OpenAISettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._budget, self._settings, self._clock = budget, settings, clock

    async def reserve(self, case: Case, question: Question) -> str:
        """Counts a call in at the most that it can take; its id. A crash from here on leaves it counted so.

        Raises:
            BudgetSpentError: that is beyond the case's budget, or it cannot be counted now.
        """
        most = most_tokens(question, self._settings)
        call = ModelCall(
            call_id=uuid4().hex,
            incident_id=case.incident_id,
            service=case.evidence.service,
            environment=case.evidence.environment,
            at=self._clock(),
            tokens=most.input + most.output,
            cost=self._cost(most),
        )
        try:
            refused = await self._budget.reserve(call, case.budget)
        except IntegrationError as error:
            raise BudgetSpentError(f"cannot be counted now, so that nothing is spent ({error})") from error
        if refused:
            raise BudgetSpentError("; ".join(refused))
        return call.call_id

    async def settle(self, call_id: str, took: Tokens) -> None:
        """Counts what the call took; where that cannot be written it stays counted at its most, and the log says so."""
        took = Tokens(input=min(took.input, _MOST_BELIEVED), output=min(took.output, _MOST_BELIEVED))
        try:
            await self._budget.settle(call_id, took.input + took.output, self._cost(took))
        except IntegrationError as error:
            _log.warning("budget.unsettled", call_id=call_id, problem=str(error))

    def _cost(self, tokens: Tokens) -> int:
        """In millionths: a price per million tokens is that many millionths per token."""
        return ceil(tokens.input * self._settings.input_price + tokens.output * self._settings.output_price)


def most_tokens(question: Question, settings: OpenAISettings) -> Tokens:
    """What `question` and its answer can take at the most: no token stands for less than one byte of text."""
    texts = [question.instructions, json.dumps(question.schema), *(turn.text for turn in question.turns)]
    return Tokens(input=sum(len(text.encode()) + _MARKS for text in texts), output=settings.max_output_tokens)
