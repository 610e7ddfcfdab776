"""HTTP as every adapter needs it: a client that never retries by itself, and JSON answers or one of our errors.

Texts name the system and the status; never a URL, whose path or query may hold a key, and never a body.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import cast

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from incident.errors import PermanentError, TransientError
from incident.model import Duration
from integrations.bodies import TooLargeError, UnreadableError, as_json, as_text

MAX_RETRY_AFTER = timedelta(minutes=5)
"""The longest pause that a server may ask for: an incident does not wait longer on anybody's word."""
_OVERLOADED = frozenset({408, 429})
_SECONDS = re.compile(r"[0-9]+")
_NOT_AFTER = "not_after"
"""The request extension that the fence reads."""
_KEPT = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
"""httpx's own, but that an idle connection is left after 2 s: servers hang up after 5 s or more, and where that is
httpx's moment too, a question that has just left is broken off."""
_LEAVES = ".send_request_headers.started"
"""What httpcore's `trace` extension calls the moment before a request's first byte is written."""


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
    problem: str = ""
    """Why the body cannot be read, such as "is HTML, not JSON"; empty: it can."""
    headers: httpx.Headers = field(default_factory=httpx.Headers, compare=False, repr=False)
    too_large: bool = False
    """Whether that is the reason: then asking for less may help."""

    def header(self, name: str) -> str | None:
        """The header of that name in any case, or `None`; one that was sent twice is joined by a comma."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else None

    def count(self, name: str) -> int | None:
        """The header as a whole number of at most 15 digits; `None` where it is missing or none."""
        value = (self.header(name) or "").strip()
        return int(value) if _SECONDS.fullmatch(value) and len(value) <= len("999999999999999") else None


Refusal = Callable[[Reply], TransientError | PermanentError]
"""What an answer outside 2xx means; its body is null where it cannot be read."""


@dataclass(frozen=True)
class Question:
    """One request, and how its answer is taken."""

    method: str
    url: str | httpx.URL
    json: Mapping[str, JsonValue] | None = None
    """The body to send, if any."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    answers: Collection[int] = ()
    """Statuses that come back as a `Reply` whatever they are and whatever their body is, such as a 409 that means
    something to the caller, or the 200 of an action that may have been done although its answer is cut."""
    refusal: Refusal | None = None
    """What a status outside 2xx means to this system; left out, what it means to most."""
    not_after: float | None = None
    """On `time.monotonic`'s clock: what has not left by then does not leave any more."""
    text: bool = False
    """Whether the body is taken as text as it is, and not as one JSON value; what is no UTF-8 in it is replaced."""


class TooLateError(httpx.TransportError):
    """The request was not sent, since its time had passed."""


class _CappedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._max_bytes:
                raise TooLargeError(f"is larger than {self._max_bytes} bytes")
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


class Fence(httpx.AsyncBaseTransport):
    """Lets no request out after its `not_after`; put right around the network, inside everything that may delay.

    It looks twice: when the request comes, and, where the network is httpx's own, again when the connection stands
    and the first byte is about to be written. What is late raises `TooLateError`; nothing of it has been written.

    Args:
        inner: the network.
        clock: as `time.monotonic`.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._clock = inner, clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The network's answer."""
        not_after = request.extensions.get(_NOT_AFTER)
        if not_after is not None:
            self._pass(request, not_after)

            async def watch(event: str, _: object) -> None:
                if event.endswith(_LEAVES):
                    self._pass(request, not_after)

            request.extensions["trace"] = watch
        return await self._inner.handle_async_request(request)

    def _pass(self, request: httpx.Request, not_after: float) -> None:
        if self._clock() >= not_after:
            raise TooLateError("too late", request=request)

    async def aclose(self) -> None:
        """Closes the network's connections."""
        await self._inner.aclose()


def network() -> httpx.AsyncHTTPTransport:
    """What carries requests: it tries nothing again, uses no proxy, and keeps no connection that others may close."""
    return httpx.AsyncHTTPTransport(retries=0, trust_env=False, limits=_KEPT)


def build_client(settings: HttpSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without retries, redirects, or anything from the environment; the caller closes it.

    Args:
        settings: its limits.
        transport: what carries the requests, with a `Fence` of its own; left out, the network behind one.
    """
    inner = transport or Fence(network())
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
    """`ask` in its plainest form; see `Question` for the arguments."""
    return await ask(client, system, Question(method, url, json, answers=answers))


async def ask(client: httpx.AsyncClient, system: str, question: Question) -> Reply:
    """The JSON answer of `system`.

    Args:
        client: from `build_client`.
        system: its name in errors.
        question: what is asked.

    Raises:
        TransientError: unreachable, cut off, silent, not sent since it was too late, or 408, 429, 5xx (with
            Retry-After, at most MAX_RETRY_AFTER).
        PermanentError: any other status outside 2xx, or a body that is not what this client reads: too large, no
            UTF-8, no JSON. The same question would get the same answer: whoever watches asks again anyway.
            For a status outside 2xx, what `question.refusal` makes of it where one is given.
    """
    extensions = {} if question.not_after is None else {_NOT_AFTER: question.not_after}
    try:
        async with client.stream(
            question.method, question.url, json=question.json, headers=question.headers, extensions=extensions
        ) as response:
            return await _reply(system, response, question)
    except TooLateError as error:
        raise TransientError(system, "was not sent: it is too late, another worker may have taken over") from error
    except httpx.TimeoutException as error:
        raise TransientError(system, "did not answer in time") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
        words = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke the connection off"
        raise TransientError(system, words) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PermanentError(system, f"cannot be asked ({type(error).__name__})") from error


def retry_after(value: str | None, now: datetime, longest: timedelta = MAX_RETRY_AFTER) -> timedelta | None:
    """The pause that a Retry-After header asks for, seconds or an HTTP date, at most `longest`.

    `None` where it is missing or neither.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        most = int(longest.total_seconds())
        return timedelta(seconds=min(int(text[:9]), most)) if len(text) <= len("999999999") else longest
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), longest)


async def _reply(system: str, response: httpx.Response, question: Question) -> Reply:
    status = response.status_code
    awaited = status in question.answers
    if not awaited and not response.is_success:
        raise (
            question.refusal(await _read(response))
            if question.refusal
            else refused(system, Reply(status, None, "", response.headers))
        )
    reply = await _read(response, text=question.text)
    if reply.problem and not awaited:
        raise PermanentError(system, f"the answer (HTTP {status}) {reply.problem}")
    return reply


async def _read(response: httpx.Response, *, text: bool = False) -> Reply:
    try:
        return Reply(response.status_code, await _body(response, text=text), "", response.headers)
    except UnreadableError as error:
        too_large = isinstance(error, TooLargeError)
        return Reply(response.status_code, None, str(error), response.headers, too_large=too_large)


def refused(system: str, reply: Reply) -> TransientError | PermanentError:
    """What a status outside 2xx means to most systems."""
    status = reply.status
    if status in _OVERLOADED or httpx.codes.is_server_error(status):
        pause = retry_after(reply.headers.get("Retry-After"), datetime.now(UTC))
        return TransientError(system, f"answered HTTP {status}", pause)
    moved = httpx.codes.is_redirect(status) and "Location" in reply.headers
    return PermanentError(system, f"answered HTTP {status}{', a redirect, which is not followed' if moved else ''}")


async def _body(response: httpx.Response, *, text: bool) -> JsonValue:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnreadableError("is compressed, which was not asked for")
    raw = b"".join([chunk async for chunk in response.aiter_raw()])
    return as_text(raw) if text else as_json(raw)
