"""Grafana Loki as a service's logs, by its HTTP API (`GET /loki/api/v1/query_range`).

Two questions are asked: for the newest lines of the window and, where there are more, for its oldest. The first tell
what happens now, the second what was usual before. Times go as whole nanoseconds, there and back.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from incident.errors import PermanentError, TransientError
from incident.evidence import LogsReport
from incident.matchers import parse_selector, selector
from incident.services import LokiEndpoint
from integrations.credentials import Credentials
from integrations.http import Question, Reply, ask, refused
from integrations.log_lines import Batch, Entry, at, entry_of, holds, nanoseconds_of, report

SYSTEM = "loki"
QUERY_PATH = "/loki/api/v1/query_range"

_OK = 200
_FEWER = 10
"""How many times fewer lines are asked for where an answer was too large."""
_DIGITS = len("9223372036854775807")
_REFUSED = {
    400: "refuses the question: the selector, or more `lines` than it allows",
    401: "does not take LOKI__TOKEN, or wants a `tenant`",
    403: "does not take LOKI__TOKEN, or wants a `tenant`",
    404: "has no such address: the url ends before /loki",
}
"""What a status means that Loki answers in words; the words hold the question, and are not repeated."""
_NO_CREDENTIALS = Credentials()


class _Stream(BaseModel):
    stream: dict[str, str] = {}
    values: list[Any]  # each is read by itself


class _Data(BaseModel):
    resultType: str  # noqa: N815 - Loki's
    result: list[Any]


class _Page(BaseModel):
    status: str
    data: _Data
    warnings: list[str] = []


@dataclass(frozen=True)
class _Answer:
    entries: Sequence[Entry]
    unreadable: int
    limit: int
    """How many were asked for in the end."""
    full: bool
    """Whether as many came: there may be more."""
    problem: str


class LokiLogs:
    """The lines of one selector, asked over HTTP.

    Args:
        client: what every question goes through.
        endpoint: where, and which lines.
        credentials: what is shown to it.
        clock: the time now.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: LokiEndpoint,
        credentials: Credentials = _NO_CREDENTIALS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._url = endpoint.url.rstrip("/") + QUERY_PATH
        self._selector = selector(parse_selector(endpoint.selector))
        self._window, self._lines = endpoint.window, endpoint.lines
        self._headers = {**credentials.headers(), **({"X-Scope-OrgID": endpoint.tenant} if endpoint.tenant else {})}
        self._clock = clock

    async def read_logs(self) -> LogsReport:
        """The newest lines, and templates of these and of the oldest in the window."""
        end = nanoseconds_of(self._clock())
        start = end - self._window // timedelta(microseconds=1) * 1000
        newest = await self._ask(start, end, "backward", self._lines)
        entries, unreadable, capped, problem = [*newest.entries], newest.unreadable, newest.full, newest.problem
        if newest.full:
            # Those of the very nanosecond at which the newest begin are left out rather than read twice.
            before = min((entry.nanoseconds for entry in entries), default=start)
            if start < before:
                oldest = await self._ask(start, before, "forward", newest.limit)
                entries += oldest.entries
                unreadable += oldest.unreadable
                capped, problem = oldest.full, problem or oldest.problem
        batch = Batch(entries, unreadable, at(start), capped, problem)
        return await asyncio.to_thread(report, SYSTEM, batch)

    async def _ask(self, start: int, end: int, direction: Literal["backward", "forward"], limit: int) -> _Answer:
        reply = await self._get(start, end, direction, limit)
        while reply.too_large and limit > 1:
            limit = max(limit // _FEWER, 1)
            reply = await self._get(start, end, direction, limit)
        if reply.problem:
            raise PermanentError(SYSTEM, f"the answer (HTTP {reply.status}) {reply.problem}")
        page = _page(reply)
        entries, unreadable = [], 0
        for each in _lines(page.data.result):
            if each is None:
                unreadable += 1
            else:
                entries.append(each)
        full = len(entries) + unreadable >= limit
        warned = f"it warns: {'; '.join(page.warnings)}" if page.warnings else ""
        return _Answer(entries, unreadable, limit, full, warned)

    async def _get(self, start: int, end: int, direction: str, limit: int) -> Reply:
        parameters = {
            "query": self._selector,
            "start": str(start),
            "end": str(end),
            "direction": direction,
            "limit": str(limit),
        }
        question = Question(
            "GET",
            httpx.URL(self._url, params=parameters),
            headers=self._headers,
            answers={_OK},
            refusal=_refusal,
        )
        return await ask(self._client, SYSTEM, question)


def _refusal(reply: Reply) -> TransientError | PermanentError:
    if reply.status in _REFUSED:
        return PermanentError(SYSTEM, f"{_REFUSED[reply.status]} (HTTP {reply.status})")
    return refused(SYSTEM, reply)


def _page(reply: Reply) -> _Page:
    try:
        page = _Page.model_validate(reply.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise PermanentError(SYSTEM, f"{where} is not as expected ({first['type']})") from error
    if page.status != "success":
        raise PermanentError(SYSTEM, "the answer says that it is no success")
    if page.data.resultType != "streams":
        raise PermanentError(SYSTEM, "the answer holds no log lines, but numbers")
    return page


def _lines(result: Sequence[object]) -> Iterator[Entry | None]:
    """Every line, stream by stream, each of them oldest first; `None` for what is none."""
    streams = []
    for each in result:
        try:
            streams.append(_Stream.model_validate(each))
        except ValidationError:
            yield None
    # Loki gives the streams in no order: the same lines are to be the same evidence.
    for stream in sorted(streams, key=lambda each: sorted(each.stream.items())):
        entries = [_entry(value, stream.stream) for value in stream.values]
        backward = entries and entries[0] and entries[-1] and entries[0].nanoseconds > entries[-1].nanoseconds
        yield from entries[::-1] if backward else entries


def _entry(value: JsonValue, labels: Mapping[str, str]) -> Entry | None:
    match value:
        # A third element holds what is kept beside the line.
        case [str(time), str(text), *_] if time.isascii() and time.isdigit() and len(time) <= _DIGITS:
            nanoseconds = int(time)
            return entry_of(nanoseconds, text, labels) if holds(nanoseconds) else None
        case _:
            return None
