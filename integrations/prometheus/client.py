"""Prometheus's HTTP API as the adapter beside this module needs it: one query, authorised, in its turn."""

import asyncio
import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import JsonValue

from incident.errors import ConfigurationError, PermanentError, TransientError
from integrations.http import Question, Reply, ask, retry_after
from integrations.prometheus.answers import SYSTEM, Answer, Course, parse, parse_course, said
from integrations.prometheus.settings import PrometheusSettings

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _UNPROCESSABLE = 400, 401, 403, 404, 422
_TIMEOUT, _TOO_MANY = 408, 429
_REDIRECTS = range(300, 400)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _FINEST = timedelta(seconds=1), timedelta(minutes=1)
_MOST_POINTS = 5_000
"""Of one series in one answer; Prometheus itself refuses more than 11,000 (web/api/v1/api.go)."""


@dataclass(frozen=True)
class Span:
    """Times that are evenly apart, both ends among them."""

    since: datetime
    until: datetime
    step: timedelta

    @property
    def times(self) -> tuple[float, ...]:
        """Each of them, in unix seconds to the millisecond."""
        first, apart = self.since.timestamp(), self.step.total_seconds()
        return tuple(round(first + apart * place, 3) for place in range((self.until - self.since) // self.step + 1))


class Prometheus:
    """One process's way to every Prometheus of the registry; no more queries at once than the settings allow.

    Args:
        client: from `integrations.http.build_client`.
        settings: whose `problems()` are none.
        clock: the time, aware.

    Raises:
        ConfigurationError: a line for each variable that keeps Prometheus from being asked.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: PrometheusSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if problems := settings.problems():
            raise ConfigurationError(*problems)
        self._client, self._settings, self._clock = client, settings, clock
        self._headers = _authorization(settings)
        self._turn = asyncio.Semaphore(settings.at_once)

    def asked_time(self) -> datetime:
        """The time to ask for: behind now by as much as the newest scrapes may lag."""
        return self._clock() - self._settings.lag

    def asked_range(self) -> Span:
        """The history to ask for, behind now as `asked_time` is: the same times for whoever asks within one step."""
        kept = self._settings.history
        step = max(_FINEST, timedelta(seconds=math.ceil(kept / _MOST_POINTS / _SECOND)))
        until = _EPOCH + step * ((self.asked_time() - _EPOCH) // step)
        return Span(until - step * (kept // step), until, step)

    async def instant(self, url: str, query: str, at: datetime) -> Answer:
        """What `query` gives at that time.

        Args:
            url: the server's address, from the registry.
            query: PromQL.
            at: when it is evaluated; every query of one look names the same.

        Raises:
            TransientError: not reachable, overloaded, or it took too long.
            PermanentError: refused, or the answer is none of Prometheus's.
        """
        return parse(await self._asked(url, "query", query, {"time": f"{at.timestamp():.3f}"}))

    async def over(self, url: str, query: str, span: Span) -> Course:
        """What `query` gives at the times of `span`.

        Raises:
            TransientError: as `instant`.
            PermanentError: as `instant`.
        """
        when = {
            "start": f"{span.since.timestamp():.3f}",
            "end": f"{span.until.timestamp():.3f}",
            "step": f"{span.step.total_seconds():g}",
        }
        return parse_course(await self._asked(url, "query_range", query, when))

    async def _asked(self, url: str, path: str, query: str, when: Mapping[str, str]) -> JsonValue:
        within = {"timeout": f"{int(self._settings.timeout.total_seconds() * 1000)}ms"}
        asked = httpx.URL(f"{url.rstrip('/')}/api/v1/{path}", params={"query": query, **when, **within})
        async with self._turn:
            question = Question("GET", asked, headers=self._headers, refusal=self._refused)
            return (await ask(self._client, SYSTEM, question)).body

    def _refused(self, reply: Reply) -> TransientError | PermanentError:
        answered = f"answered HTTP {reply.status}"
        status = reply.status
        words = _words(reply)
        if status >= 500 or status in {_TIMEOUT, _TOO_MANY}:  # noqa: PLR2004 - HTTP's server errors
            pause = retry_after(reply.header("Retry-After"), self._clock())
            return TransientError(SYSTEM, f"{answered}{words}", pause)
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            return PermanentError(SYSTEM, f"{answered}: set PROMETHEUS__TOKEN, or PROMETHEUS__USERNAME and _PASSWORD")
        if status == _NOT_FOUND:
            return PermanentError(SYSTEM, f"{answered}: there is no /api/v1 below the url of the registry")
        if status in _REDIRECTS:
            return PermanentError(SYSTEM, f"{answered}, a redirect, which is not followed")
        return PermanentError(SYSTEM, f"{answered}{words}")


def _words(reply: Reply) -> str:
    """What Prometheus says of the query, or what its answer is instead of an error of Prometheus."""
    if reply.problem:
        return f", and the answer {reply.problem}"
    error = reply.body.get("error") if isinstance(reply.body, dict) else None
    return f": {said(error)}" if isinstance(error, str) and error else ""


def _authorization(settings: PrometheusSettings) -> Mapping[str, str]:
    if settings.token and (token := settings.token.get_secret_value()):
        return {"Authorization": f"Bearer {token}"}
    if settings.username and settings.password:
        pair = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}
