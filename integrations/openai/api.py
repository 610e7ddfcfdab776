"""One question to a model, in the words of either API: Responses or Chat Completions.

The reply is read from its bytes by models of our own: the SDK's are not validated, and its `parse` loses the usage of
a reply that does not validate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, omit
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import BaseModel, NonNegativeInt, ValidationError

from incident.analysis import Tokens
from incident.errors import AnalystUnusableError, TransientError
from integrations.openai.client import OpenAISettings
from integrations.openai.failures import NOT_ITS_API, SYSTEM, from_connection, from_status, nothing_was_taken

_SCHEMA_NAME = "decision"
_CUT_OFF = "the answer was cut off at max_output_tokens"
_INCOMPLETE = "the answer is incomplete"
_FILTERED = "the answer was stopped by the content filter"
_REFUSED = "the model refused to answer"
_EMPTY = "the answer was empty"
_INCOMPLETE_FOR = {"max_output_tokens": _CUT_OFF, "content_filter": _FILTERED}
_PASSING = frozenset({"server_error", "rate_limit_exceeded", None})
"""Codes of a failed response that another try may not meet again, none included; the rest speak of the prompt."""
_NOTHING = Tokens(input=0, output=0)
_Note = Callable[[Tokens], None]


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Question:
    """What a model is asked: byte-stable instructions, what was said so far, and what it may answer."""

    instructions: str
    turns: Sequence[Turn]
    schema: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """A complete answer that is no refusal. `tokens` is `None` where the server does not count them."""

    text: str
    model: str
    tokens: Tokens | None


async def ask(client: AsyncOpenAI, settings: OpenAISettings, question: Question, note: _Note) -> Reply:
    """The model's answer to `question`.

    Args:
        client: from `build_client`.
        settings: the same that it was built of.
        question: what is asked.
        note: told what it took as soon as that is known, also where it raises; not told where nobody knows.

    Raises:
        AnalystUnusableError: refused, cut off, filtered or empty.
        TransientError: unreachable, overloaded, or not speaking its API.
        PermanentError: the request, the key or the account was refused.
    """
    speak = {"responses": _ask_responses, "chat": _ask_chat}[settings.spoken_api]
    try:
        return await speak(client, settings, question, note)
    except APIConnectionError as error:
        if nothing_was_taken(error):
            note(_NOTHING)
        raise from_connection(error) from error
    except APIStatusError as error:
        if nothing_was_taken(error):
            note(_NOTHING)
        raise from_status(error, datetime.now(UTC)) from None  # its text holds the server's


async def _ask_responses(client: AsyncOpenAI, settings: OpenAISettings, question: Question, note: _Note) -> Reply:
    said: list[ResponseInputItemParam] = [{"role": turn.role, "content": turn.text} for turn in question.turns]
    raw = await client.responses.with_raw_response.create(
        model=settings.model,
        instructions=question.instructions,
        input=said,
        text={"format": {"type": "json_schema", "name": _SCHEMA_NAME, "strict": True, "schema": question.schema}},
        store=False,  # kept for 30 days otherwise
        max_output_tokens=settings.max_output_tokens,
        temperature=omit if settings.temperature is None else settings.temperature,
    )
    response = _parsed(_Response, raw.content)
    if tokens := _tokens_of(response.usage):
        note(tokens)
    return _read_response(response)


async def _ask_chat(client: AsyncOpenAI, settings: OpenAISettings, question: Question, note: _Note) -> Reply:
    said: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": question.instructions},
        *(_message(turn) for turn in question.turns),
    ]
    limit = settings.max_output_tokens
    raw = await client.chat.completions.with_raw_response.create(
        model=settings.model,
        messages=said,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": _SCHEMA_NAME, "strict": True, "schema": question.schema},
        },
        # OpenAI's reasoning models refuse max_tokens; other servers know nothing newer, and may refuse store.
        store=False if settings.at_openai else omit,
        max_completion_tokens=limit if settings.at_openai else omit,
        max_tokens=omit if settings.at_openai else limit,
        temperature=omit if settings.temperature is None else settings.temperature,
    )
    completion = _parsed(_Completion, raw.content)
    if tokens := _tokens_of(completion.usage):
        note(tokens)
    return _read_completion(completion)


def _message(turn: Turn) -> ChatCompletionMessageParam:
    if turn.role == "user":
        return {"role": "user", "content": turn.text}
    return {"role": "assistant", "content": turn.text}


class _Part(BaseModel):
    type: str
    text: str = ""


class _Item(BaseModel):
    type: str
    phase: str | None = None
    content: list[_Part] | None = None


class _Incomplete(BaseModel):
    reason: str = ""


class _Error(BaseModel):
    code: str | None = None


class _ResponsesUsage(BaseModel):
    input_tokens: NonNegativeInt
    output_tokens: NonNegativeInt


class _Response(BaseModel):
    """What is read of a reply of the Responses API."""

    status: str
    model: str = ""
    output: list[_Item]
    incomplete_details: _Incomplete | None = None
    error: _Error | None = None
    usage: _ResponsesUsage | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _ChatUsage(BaseModel):
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt


class _Completion(BaseModel):
    """What is read of a reply of the Chat Completions API."""

    model: str = ""
    choices: list[_Choice]
    usage: _ChatUsage | None = None


_Body = TypeVar("_Body", _Response, _Completion)


def _parsed(kind: type[_Body], body: bytes) -> _Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        raise TransientError(SYSTEM, NOT_ITS_API) from None  # its text holds the server's


def _tokens_of(usage: _ResponsesUsage | _ChatUsage | None) -> Tokens | None:
    match usage:
        case _ResponsesUsage():
            return Tokens(input=usage.input_tokens, output=usage.output_tokens)
        case _ChatUsage():
            return Tokens(input=usage.prompt_tokens, output=usage.completion_tokens)
        case None:
            return None


def _read_response(response: _Response) -> Reply:
    if response.status == "failed":
        code = response.error.code if response.error else None
        if code in _PASSING:
            raise TransientError(SYSTEM, "the model's run failed")
        raise AnalystUnusableError(SYSTEM, "the model's run failed for a reason in the prompt")
    # An item of another phase is the model thinking aloud (openai.lib._parsing._responses).
    parts = [
        part
        for item in response.output
        if item.type == "message" and item.phase in {None, "final_answer"}
        for part in item.content or ()
    ]
    if any(part.type == "refusal" for part in parts):
        raise AnalystUnusableError(SYSTEM, _REFUSED)
    if response.status != "completed":
        reason = response.incomplete_details.reason if response.incomplete_details else ""
        raise AnalystUnusableError(SYSTEM, _INCOMPLETE_FOR.get(reason, _INCOMPLETE))
    return Reply(
        text=_some("".join(part.text for part in parts if part.type == "output_text")),
        model=response.model,
        tokens=_tokens_of(response.usage),
    )


def _read_completion(completion: _Completion) -> Reply:
    if not completion.choices:
        raise AnalystUnusableError(SYSTEM, _EMPTY)
    choice = completion.choices[0]
    if choice.message.refusal:
        raise AnalystUnusableError(SYSTEM, _REFUSED)
    if choice.finish_reason == "content_filter":
        raise AnalystUnusableError(SYSTEM, _FILTERED)
    if choice.finish_reason == "length":
        raise AnalystUnusableError(SYSTEM, _CUT_OFF)
    return Reply(
        text=_some(choice.message.content or ""),
        model=completion.model,
        tokens=_tokens_of(completion.usage),
    )


def _some(text: str) -> str:
    if not text.strip():
        raise AnalystUnusableError(SYSTEM, _EMPTY)
    return text
