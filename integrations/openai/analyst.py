"""A model as an analyst: asked for one decision, shown its errors at most twice, and otherwise declared unusable."""

import asyncio
from collections.abc import Callable, Iterable

from openai import AsyncOpenAI

from incident.analysis import Analysis, Case, Tokens
from incident.decision import Decision, InvalidDecisionError, parse_decision_json
from incident.errors import AnalystUnusableError, TransientError
from incident.ports import Budget
from integrations.openai.api import Question, Reply, Turn, ask
from integrations.openai.client import OpenAISettings
from integrations.openai.failures import SYSTEM
from integrations.openai.instructions import INSTRUCTIONS
from integrations.openai.meter import Meter
from integrations.openai.prompt import Briefing, ask_for_repair, brief, show_again
from integrations.openai.schema import decision_schema

MAX_REPAIRS = 2
_MAX_MODEL_NAME = 100


class OpenAIAnalyst:
    """A model behind OpenAI's API, or behind a server that speaks it.

    Args:
        client: from `build_client`; whoever built it closes it.
        settings: the same that the client was built of.
        budget: where every call is counted before it is sent.
        instructions: what the model is told of its task, the same bytes each time.
        heard: told of every reply as it came, valid or not.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        settings: OpenAISettings,
        budget: Budget,
        instructions: str = INSTRUCTIONS,
        heard: Callable[[Reply], None] | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._instructions, self._heard = instructions, heard
        self._meter = Meter(budget, settings)

    async def decide(self, case: Case) -> Analysis:
        """The model's decision: in the schema, with a target that is a candidate, held to the citations that exist.

        Raises:
            AnalystUnusableError: refused, cut off, filtered, empty, or invalid after its repairs.
            BudgetSpentError: it may not be asked, or not once more, or what it takes cannot be counted.
            TransientError: unreachable, overloaded, not speaking its API, or no decision within the time-out.
            PermanentError: the request, the key or the account was refused.
        """
        limit = self._settings.timeout.total_seconds()
        try:
            # The client's own time-out is for each read: a server that trickles would outlast it.
            async with asyncio.timeout(limit):
                return await self._decide(case)
        except TimeoutError as error:
            raise TransientError(SYSTEM, f"no decision within {limit:g} s") from error

    async def _decide(self, case: Case) -> Analysis:
        # In a thread: hostile text can keep the redaction's patterns busy for seconds.
        briefing = await asyncio.to_thread(brief, case)
        schema = decision_schema(briefing.candidates, briefing.evidence_ids)
        turns = [Turn("user", briefing.text)]
        replies: list[Reply] = []
        errors: tuple[str, ...] = ()
        while len(replies) <= MAX_REPAIRS:
            reply = await self._ask(case, Question(self._instructions, tuple(turns), schema))
            replies.append(reply)
            if self._heard:
                self._heard(reply)
            try:
                decision = _validated(reply.text, briefing)
            except InvalidDecisionError as error:
                errors = error.errors
                turns += [Turn("assistant", show_again(reply.text)), Turn("user", ask_for_repair(errors))]
            else:
                analysis = Analysis(
                    decision=decision,
                    analyst=SYSTEM,
                    model=self._model_of(reply),
                    tokens=_sum(each.tokens for each in replies),
                    repairs=len(replies) - 1,
                )
                return analysis.held_to(briefing.evidence_ids)
        raise AnalystUnusableError(SYSTEM, f"no valid decision after {MAX_REPAIRS} repairs; invalid: {_places(errors)}")

    async def _ask(self, case: Case, question: Question) -> Reply:
        call_id = await self._meter.reserve(case, question)
        took: list[Tokens] = []
        try:
            return await ask(self._client, self._settings, question, took.append)
        finally:
            if took:
                await self._meter.settle(call_id, took[-1])

    def _model_of(self, reply: Reply) -> str:
        # The name that the server gives is the exact version; of an unknown server it could be any text.
        name = reply.model
        return (
            name if name.isascii() and name.isprintable() and 0 < len(name) <= _MAX_MODEL_NAME else self._settings.model
        )


def _validated(answer: str, briefing: Briefing) -> Decision:
    decision = parse_decision_json(answer)
    if decision.rollback_to is None or decision.rollback_to in briefing.candidates:
        return decision
    expected = ", ".join(str(each) for each in briefing.candidates) or "null, since there is no candidate"
    raise InvalidDecisionError([f"rollback_to: expected one of {expected} (got {decision.rollback_to})"])


def _places(errors: Iterable[str]) -> str:
    """The fields that `errors` speak of, and nothing that the model wrote."""
    named = (next((field for field in Decision.model_fields if error.startswith(field)), "form") for error in errors)
    return ", ".join(dict.fromkeys(named))


def _sum(counts: Iterable[Tokens | None]) -> Tokens | None:
    """The tokens of all replies; `None` if one is not known, since a part would pass for the whole."""
    total = Tokens(input=0, output=0)
    for count in counts:
        if count is None:
            return None
        total = Tokens(input=total.input + count.input, output=total.output + count.output)
    return total
