"""integrations/http.py: every way in which an answer can fail, and what is made of it."""

import asyncio
import gzip
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from pydantic import ValidationError

from incident.errors import PermanentError, TransientError
from integrations.http import (
    MAX_RETRY_AFTER,
    Fence,
    HttpSettings,
    Question,
    Reply,
    TooLateError,
    ask,
    build_client,
    fetch_json,
    retry_after,
)

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
URL = "http://user:s3cret@service.example/s3cret/path?key=s3cret"
Handler = Callable[[httpx.Request], httpx.Response]


async def _fetch(handler: Handler, *, method: str = "GET", answers: tuple[int, ...] = (), cap: int = 1000) -> Reply:
    settings = HttpSettings(max_response_bytes=cap)
    async with build_client(settings, httpx.MockTransport(handler)) as client:
        return await fetch_json(client, "vendor", method, URL, answers=answers)


def _says(status: int, content: bytes = b"{}", **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, content=content, headers=named)


def _raises(error: Exception) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


async def test_a_json_answer_is_returned_with_its_status() -> None:
    assert await _fetch(_says(200, b'\xef\xbb\xbf{"a": [1, null]}')) == Reply(200, {"a": [1, None]})


async def test_the_body_is_sent_as_json() -> None:
    sent: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(200, json={})

    async with build_client(HttpSettings(), httpx.MockTransport(handler)) as client:
        await fetch_json(client, "vendor", "POST", URL, json={"a": 1})

    assert sent == [b'{"a":1}']


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectTimeout("s3cret"),
        httpx.ReadTimeout("s3cret"),
        httpx.PoolTimeout("s3cret"),
        httpx.ConnectError("s3cret"),
        httpx.ReadError("s3cret"),
        httpx.WriteError("s3cret"),
        httpx.RemoteProtocolError("s3cret"),
    ],
)
async def test_a_connection_that_fails_is_worth_another_try(error: Exception) -> None:
    with pytest.raises(TransientError, match=r"^vendor: ") as raised:
        await _fetch(_raises(error))

    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [httpx.UnsupportedProtocol("s3cret"), httpx.InvalidURL("s3cret")])
async def test_a_request_that_cannot_be_made_is_not(error: Exception) -> None:
    with pytest.raises(PermanentError, match=type(error).__name__) as raised:
        await _fetch(_raises(error))

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_an_overloaded_system_is_worth_another_try_when_it_says(status: int) -> None:
    with pytest.raises(TransientError, match=f"HTTP {status}") as raised:
        await _fetch(_says(status, b"<html>s3cret", retry_after="7"))

    assert raised.value.retry_after == timedelta(seconds=7)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 400, 401, 403, 404, 409, 422])
async def test_a_refusal_or_redirect_is_final_and_its_body_is_not_repeated(status: int) -> None:
    with pytest.raises(PermanentError, match=f"HTTP {status}") as raised:
        await _fetch(_says(status, b'{"error": "s3cret"}', location="http://s3cret.example/"))

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"ok", "is not JSON"),
        (b'{"a": ', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"9" * 5000, "is not JSON"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b"\n <!doctype html><title>s3cret</title>", "is HTML, not JSON"),
    ],
)
async def test_a_body_that_is_no_json_is_final(content: bytes, words: str) -> None:
    with pytest.raises(PermanentError, match=rf"^vendor: the answer \(HTTP 200\) {words}$"):
        await _fetch(_says(200, content), cap=1_000_000)


async def _fetch_text(content: bytes, cap: int = 1000) -> Reply:
    handler = _says(200, content)
    async with build_client(HttpSettings(max_response_bytes=cap), httpx.MockTransport(handler)) as client:
        return await ask(client, "vendor", Question("GET", URL, text=True, answers={200}))


async def test_an_answer_that_is_meant_to_be_text_is_taken_as_it_is() -> None:
    assert await _fetch_text(b'\xef\xbb\xbf{"a": 1}\n\xff\n') == Reply(200, '{"a": 1}\n\ufffd\n')
    assert (await _fetch_text(b"<html>")).problem == "is HTML, not text"


async def test_an_answer_that_is_too_large_says_so_apart_from_others_that_cannot_be_read() -> None:
    assert (await _fetch_text(b"x" * 1001)).too_large
    assert not (await _fetch_text(b"<html>")).too_large


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 1_000_000)

    with pytest.raises(PermanentError, match="compressed"):
        await _fetch(_says(200, bomb, content_encoding="gzip"), cap=10_000)


class _Endless(httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 100
            yield b" " * 100

    async def aclose(self) -> None:
        self.closed = True


async def test_reading_stops_at_the_cap() -> None:
    endless = _Endless()

    with pytest.raises(PermanentError, match="larger than 1000 bytes"):
        await _fetch(lambda _: httpx.Response(200, stream=endless))

    assert (endless.given, endless.closed) == (1100, True)


async def test_an_answer_as_large_as_the_cap_is_read() -> None:
    assert (await _fetch(_says(200, b"1" + b" " * 999))).body == 1


@pytest.mark.parametrize("status", [200, 404, 409, 429, 503])
async def test_an_awaited_status_is_an_answer(status: int) -> None:
    assert await _fetch(_says(status, b'{"ok": false}'), answers=(status,)) == Reply(status, {"ok": False})


@pytest.mark.parametrize("content", [b"<html>", b"\xff", b"", b" " * 2000])
async def test_an_awaited_status_needs_no_readable_body(content: bytes) -> None:
    reply = await _fetch(_says(404, content), answers=(404,))

    assert (reply.status, reply.body) == (404, None)
    assert reply.problem.startswith("is ")


async def test_not_a_number_comes_through_for_the_caller_to_judge() -> None:
    body = (await _fetch(_says(200, b'{"a": NaN}'))).body

    assert isinstance(body, dict)
    assert body["a"] != body["a"]  # as nothing else is


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("Tue, 99 Nov 2026 14:00:30 GMT", None),
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("301", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), timedelta(seconds=30)),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), timedelta(0)),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), MAX_RETRY_AFTER),
        ("Tue, 24 Nov 2026 14:00:30 -0000", timedelta(seconds=30)),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_long(value: str | None, pause: timedelta | None) -> None:
    assert retry_after(value, NOW) == pause


def test_a_caller_may_allow_a_longer_pause() -> None:
    assert retry_after("3600", NOW, timedelta(minutes=65)) == timedelta(hours=1)
    assert retry_after("9" * 20, NOW, timedelta(minutes=65)) == timedelta(minutes=65)


async def test_headers_are_read_in_any_case_and_counted_only_where_they_are_numbers() -> None:
    reply = await _fetch(_says(200, x_ratelimit_remaining="17", x_odd="-1", x_long="9" * 16))

    assert (reply.header("X-RateLimit-Remaining"), reply.header("missing")) == ("17", None)
    counted = [reply.count(name) for name in ("X-RATELIMIT-REMAINING", "x-odd", "x-long", "missing")]
    assert counted == [17, None, None, None]


async def test_a_question_carries_its_headers_and_not_its_secrets_in_its_text() -> None:
    sent: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={})

    question = Question("GET", "http://service.example/", headers={"Authorization": "Bearer s3cret"})
    async with build_client(HttpSettings(), httpx.MockTransport(handler)) as client:
        await ask(client, "vendor", question)

    assert sent[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(question)


@pytest.mark.parametrize(("content", "body"), [(b'{"message": "no"}', {"message": "no"}), (b"<html>", None)])
async def test_a_caller_may_read_refusals_its_own_way(content: bytes, body: object) -> None:
    seen: list[Reply] = []

    def refusal(reply: Reply) -> TransientError:
        seen.append(reply)
        return TransientError("vendor", "its own words")

    async with build_client(HttpSettings(), httpx.MockTransport(_says(403, content))) as client:
        with pytest.raises(TransientError, match="its own words"):
            await ask(client, "vendor", Question("GET", URL, refusal=refusal))
        assert (await ask(client, "vendor", Question("GET", URL, answers={403}, refusal=refusal))).status == 403

    assert [(reply.status, reply.body) for reply in seen] == [(403, body)]


class _Wire(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self.reached = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.reached += 1
        return httpx.Response(200, json={}, request=request)


class _Slow(httpx.AsyncBaseTransport):
    """Takes its time before it hands the request on."""

    def __init__(self, inner: httpx.AsyncBaseTransport, wait: Callable[[], None]) -> None:
        self._inner, self._wait = inner, wait

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._wait()
        return await self._inner.handle_async_request(request)


@pytest.mark.parametrize(
    ("delay", "not_after", "reached"),
    [(0.0, 10.0, 1), (9.9, 10.0, 1), (10.0, 10.0, 0), (99.0, 10.0, 0), (99.0, None, 1), (99.0, math.inf, 1)],
)
async def test_what_comes_to_the_fence_too_late_never_reaches_the_wire(
    delay: float, not_after: float | None, reached: int
) -> None:
    now = [0.0]
    wire = _Wire()

    def wait() -> None:
        now[0] += delay

    transport = _Slow(Fence(wire, clock=lambda: now[0]), wait)
    async with build_client(HttpSettings(), transport) as client:
        question = Question("POST", URL, json={}, not_after=not_after)
        if reached:
            await ask(client, "vendor", question)
        else:
            words = r"^vendor: was not sent: it is too late, another worker may have taken over$"
            with pytest.raises(TransientError, match=words) as raised:
                await ask(client, "vendor", question)
            assert isinstance(raised.value.__cause__, TooLateError)

    assert wire.reached == reached


async def test_a_connection_that_opens_too_slowly_writes_nothing() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    ticks = iter([0.0, 99.0])  # in time when it comes to the fence, too late once the connection stands
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    fence = Fence(httpx.AsyncHTTPTransport(trust_env=False), clock=lambda: next(ticks))
    async with build_client(HttpSettings(), fence) as client:
        with pytest.raises(TransientError, match="too late"):
            await ask(client, "vendor", Question("POST", url, json={"a": 1}, not_after=10.0))
        async with asyncio.timeout(5):
            assert await heard == b""
    server.close()
    await server.wait_closed()


async def test_the_network_itself_lies_behind_a_fence() -> None:
    async with _server(lambda *_: None) as url, build_client(HttpSettings()) as client:
        with pytest.raises(TransientError, match="too late"):
            await ask(client, "vendor", Question("POST", url, json={}, not_after=time.monotonic() - 1))


@asynccontextmanager
async def _server(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """A server that reads a request's head and then does what `answer` does."""
    finished = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(reader, writer)
        await finished.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        finished.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *_: None, "did not answer in time"),
        (lambda _, writer: writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "did not answer in time"),
        (lambda _, writer: writer.transport.abort(), "broke the connection off"),
    ],
)
async def test_silence_and_resets_on_the_wire_are_worth_another_try(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None], words: str
) -> None:
    settings = HttpSettings.model_validate({"read_timeout": "50ms"})
    async with _server(answer) as url, build_client(settings) as client:
        with pytest.raises(TransientError, match=words):
            await fetch_json(client, "vendor", "GET", url)


async def test_a_port_where_nobody_listens_cannot_be_reached() -> None:
    async with _server(lambda *_: None) as url:
        pass
    async with build_client(HttpSettings()) as client:
        with pytest.raises(TransientError, match="cannot be reached"):
            await fetch_json(client, "vendor", "GET", url)


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with _server(lambda _, writer: writer.write(answer)) as url, build_client(HttpSettings()) as client:
        assert await fetch_json(client, "vendor", "GET", url) == Reply(200, {})


@pytest.mark.parametrize("field", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize("value", ["0s", 5, "-1s", "soon"])
def test_a_timeout_is_a_positive_duration_with_its_unit(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        HttpSettings.model_validate({field: value})
