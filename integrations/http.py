"""HTTP as every adapter needs it: a client that never retries by itself, and JSON answers or one of our errors.

Texts name the system and the status; never a URL, whose path or query may hold a key, and never a body.
"""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from json import loads
from typing import cast

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from incident.errors import PermanentError, TransientError
from incident.model import Duration

MAX_RETRY_AFTER = timedelta(minutes=5)
"""The longest pause that a server may ask for: an incident does not wait longer on anybody's word."""
_OVERLOADED = frozenset({408, 429})
_SECONDS = re.compile(r"[0-9]+")


class HttpSettings(BaseModel):
    """How long and how much the commander listens to an outside system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_timeout: Duration = Field(
        default=timedelta(seconds=3), gt=timedelta(0), description="How long a connection may take to open."
    )
    read_timeout: Duration = Field(
        default=timedelta(seconds=8), gt=timedelta(0), description="How long a system may be silent in an answer."
    )
    max_response_bytes: int = Field(
        default=4 * 1024 * 1024, gt=0, description="The largest answer that is read; a larger one is refused."
    )


@dataclass(frozen=True)
class Reply:
    """An answer; the body of an awaited status is null where it cannot be read as JSON."""

    status: int
    body: JsonValue


class _UnreadableError(Exception):
    """The answer's body cannot be used; the text says why."""


class _CappedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._max_bytes:
                raise _UnreadableError(f"is larger than {self._max_bytes} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class _CappedTransport(httpx.AsyncBaseTransport):
    """Stops reading at the cap, so that no answer can fill the memory."""

    def __init__(self, inner: httpx.AsyncBaseTransport, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        stream = cast("httpx.AsyncByteStream", response.stream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_CappedStream(stream, self._max_bytes),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


def build_client(settings: HttpSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without retries, redirects, or anything from the environment; the caller closes it.

    Args:
        settings: its limits.
        transport: what carries the requests; left out, the network.
    """
    inner = transport or httpx.AsyncHTTPTransport(retries=0, trust_env=False)
    return httpx.AsyncClient(
        transport=_CappedTransport(inner, settings.max_response_bytes),
        timeout=httpx.Timeout(settings.read_timeout.total_seconds(), connect=settings.connect_timeout.total_seconds()),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "incident-commander"},
        follow_redirects=False,
        trust_env=False,
    )


async def fetch_json(
    client: httpx.AsyncClient,
    system: str,
    method: str,
    url: str | httpx.URL,
    *,
    json: Mapping[str, JsonValue] | None = None,
    answers: Collection[int] = (),
) -> Reply:
    """The JSON answer of `system`.

    Args:
        client: from `build_client`.
        system: its name in errors.
        method: the HTTP method.
        url: where.
        json: the body to send, if any.
        answers: statuses that come back as a `Reply` whatever they are and whatever their body is, such as a 409 that
            means something to the caller, or the 200 of an action that may have been done although its answer is cut.

    Raises:
        TransientError: unreachable, cut off, silent, or 408, 429, 5xx (with Retry-After, at most MAX_RETRY_AFTER).
        PermanentError: any other status outside 2xx, or a body that is not what this client reads: too large, no
            UTF-8, no JSON. The same question would get the same answer: whoever watches asks again anyway.
    """
    try:
        async with client.stream(method, url, json=json) as response:
            return await _reply(system, response, answers)
    except httpx.TimeoutException as error:
        raise TransientError(system, "did not answer in time") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
        words = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke the connection off"
        raise TransientError(system, words) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PermanentError(system, f"cannot be asked ({type(error).__name__})") from error


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The pause that a Retry-After header asks for, seconds or an HTTP date, at most MAX_RETRY_AFTER.

    `None` where it is missing or neither.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        longest = int(MAX_RETRY_AFTER.total_seconds())
        return timedelta(seconds=min(int(text[:9]), longest)) if len(text) <= len("999999999") else MAX_RETRY_AFTER
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), MAX_RETRY_AFTER)


async def _reply(system: str, response: httpx.Response, answers: Collection[int]) -> Reply:
    status = response.status_code
    if status not in answers and not response.is_success:
        raise _refusal(system, response)
    try:
        return Reply(status, await _json(response))
    except _UnreadableError as error:
        if status in answers:
            return Reply(status, None)
        raise PermanentError(system, f"the answer (HTTP {status}) {error}") from error


def _refusal(system: str, response: httpx.Response) -> TransientError | PermanentError:
    status = response.status_code
    if status in _OVERLOADED or response.is_server_error:
        pause = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return TransientError(system, f"answered HTTP {status}", pause)
    words = ", a redirect, which is not followed" if response.is_redirect else ""
    return PermanentError(system, f"answered HTTP {status}{words}")


async def _json(response: httpx.Response) -> JsonValue:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _UnreadableError("is compressed, which was not asked for")
    body = b"".join([chunk async for chunk in response.aiter_raw()])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableError("is not UTF-8") from error
    if text.lstrip()[:1] == "<":
        raise _UnreadableError("is HTML, not JSON")
    try:
        return cast("JsonValue", loads(text))
    except (ValueError, RecursionError) as error:
        raise _UnreadableError("is not JSON") from error
