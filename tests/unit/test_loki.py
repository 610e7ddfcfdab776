"""How `LokiLogs` asks, and how it reads answers that are wrong, odd or missing."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import PermanentError, TransientError
from incident.evidence import LogsReport, SourceState
from incident.services import LokiEndpoint
from integrations.credentials import Credentials
from integrations.http import HttpSettings, build_client
from integrations.log_lines import nanoseconds_of
from integrations.loki import LokiLogs
from tests.builders import NOW

END = nanoseconds_of(NOW)
START = END - 3600 * 10**9
Handler = Callable[[httpx.Request], httpx.Response]


def endpoint(**changes: object) -> LokiEndpoint:
    given = {"kind": "loki", "url": "http://loki.example/base/", "selector": '{app="payment-api"}'}
    return LokiEndpoint.model_validate({**given, **changes})


def loki(handler: Handler, cap: int = 1_000_000, credentials: Credentials | None = None, **changes: object) -> LokiLogs:
    client = build_client(HttpSettings(max_response_bytes=cap), httpx.MockTransport(handler))
    return LokiLogs(client, endpoint(**changes), credentials or Credentials(), lambda: NOW)


def page(*streams: object, **more: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": "streams", "result": streams, "stats": {}}, **more}


def stream(*values: object, **labels: str) -> dict[str, object]:
    return {"stream": {"app": "payment-api", **labels}, "values": values}


async def answered(body: object, status: int = 200) -> LogsReport:
    content = body if isinstance(body, str) else json.dumps(body)
    return await loki(lambda _: httpx.Response(status, content=content)).read_logs()


class Shelf:
    """A Loki that holds lines at these times, and answers as it would."""

    def __init__(self, times: Sequence[int], text: str = "ERROR line") -> None:
        self.asked: list[httpx.QueryParams] = []
        self._times, self._text = sorted(times), text

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        self.asked.append(asked)
        held = [each for each in self._times if int(asked["start"]) <= each < int(asked["end"])]
        limit = int(asked["limit"])
        given = held[:limit] if asked["direction"] == "forward" else held[::-1][:limit]
        return httpx.Response(200, json=page(stream(*([str(each), self._text] for each in given))))


async def test_it_is_asked_for_the_newest_lines_of_the_window_in_whole_nanoseconds() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=page())

    report = await loki(handler, selector='{ app = "payment-api",env!="dev" }', tenant="acme", lines=200).read_logs()

    (request,) = requests
    assert request.url.path == "/base/loki/api/v1/query_range"
    assert dict(request.url.params) == {
        "query": '{app="payment-api", env!="dev"}',
        "start": str(START),
        "end": str(END),
        "direction": "backward",
        "limit": "200",
    }
    assert request.headers["x-scope-orgid"] == "acme"
    assert "authorization" not in request.headers
    assert (report.state, report.lines, report.read_since) == (SourceState.EMPTY, (), NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("username", "sent"), [("", "Bearer s3cret"), ("acme", "Basic YWNtZTpzM2NyZXQ=")], ids=["bearer", "basic"]
)
async def test_credentials_are_sent_as_they_are_set(username: str, sent: str) -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json=page())

    await loki(handler, credentials=Credentials(token=SecretStr("s3cret"), username=username)).read_logs()
    assert seen == [sent]


async def test_lines_of_all_streams_are_in_the_order_of_their_times() -> None:
    body = page(
        stream([str(END - 10), "ERROR late"], [str(END - 30), "ERROR early"], level="error"),
        stream([str(END - 20), "between"], detected_level="info"),
    )
    report = await answered(body)
    assert [(line.level, line.message) for line in report.lines] == [
        ("ERROR", "ERROR early"),
        ("INFO", "between"),
        ("ERROR", "ERROR late"),
    ]
    assert [line.nanoseconds for line in report.lines] == [970, 980, 990]
    assert not report.capped


async def test_streams_in_another_order_are_the_same_evidence() -> None:
    one, two = stream([str(END - 9), "ERROR a"], pod="1"), stream([str(END - 9), "ERROR b"], pod="2")
    assert await answered(page(one, two)) == await answered(page(two, one))


async def test_where_there_are_more_the_oldest_of_the_window_are_read_as_well_and_none_twice() -> None:
    shelf = Shelf(range(START, END, 36 * 10**9))  # a hundred
    report = await loki(shelf, lines=30).read_logs()
    assert [asked["direction"] for asked in shelf.asked] == ["backward", "forward"]
    assert shelf.asked[1]["end"] == str(END - 30 * 36 * 10**9)
    (template,) = report.templates
    assert (template.count, template.first_at, report.capped) == (60, NOW - timedelta(hours=1), True)


async def test_where_two_questions_see_all_there_is_it_is_not_capped() -> None:
    report = await loki(Shelf(range(START, END, 72 * 10**9)), lines=30).read_logs()
    assert (report.templates[0].count, report.capped) == (50, False)


async def test_an_answer_that_is_too_large_is_asked_for_again_with_fewer_lines() -> None:
    shelf = Shelf(range(START, END, 36 * 10**9), "ERROR " + "x" * 1000)
    report = await loki(shelf, cap=20_000, lines=50).read_logs()
    assert [asked["limit"] for asked in shelf.asked] == ["50", "5", "5"]
    assert (report.templates[0].count, report.capped) == (10, True)


async def test_fifty_megabytes_of_lines_are_read_as_far_as_the_default_cap_lets_them() -> None:
    shelf = Shelf(range(START, END, 36 * 10**8), "ERROR " + "x" * 50_000)  # a thousand
    report = await loki(shelf, cap=HttpSettings().max_response_bytes).read_logs()
    assert [asked["limit"] for asked in shelf.asked] == ["1000", "100", "10", "10"]
    assert (report.templates[0].count, report.capped) == (20, True)
    assert len(report.model_dump_json()) < 50_000


async def test_a_line_that_is_too_large_by_itself_is_not_seen() -> None:
    shelf = Shelf(range(START, END, 36 * 10**9), "x" * 20_000)
    with pytest.raises(PermanentError, match=r"^loki: the answer \(HTTP 200\) is larger than 20000 bytes$"):
        await loki(shelf, cap=20_000, lines=50).read_logs()
    assert [asked["limit"] for asked in shelf.asked] == ["50", "5", "1"]


@pytest.mark.parametrize(
    "value",
    [
        [END, "no text"],
        [1.5e18, "a float"],
        ["1.795528800e18", "x"],
        ["-1", "x"],
        ["", "x"],
        ["٣", "x"],
        ["9" * 20, "x"],
        ["9" * 400, "x"],
        [str(END)],
        [str(END), None],
        [str(END), {"line": "x"}],
        {},
        None,
        "x",
    ],
    ids=str,
)
async def test_a_value_that_is_no_line_is_counted_and_the_others_are_read(value: object) -> None:
    report = await answered(page(stream(value, [str(END - 1), "ERROR x"])))
    assert (len(report.lines), report.unreadable, report.omitted) == (1, 1, 1)


@pytest.mark.parametrize(
    "broken", [None, 7, {"stream": {"a": 1}, "values": []}, {"stream": {}}, {"values": 7}], ids=str
)
async def test_a_stream_that_is_none_is_counted_as_one_line(broken: object) -> None:
    report = await answered(page(broken, stream([str(END - 1), "ERROR x"])))
    assert (len(report.lines), report.unreadable) == (1, 1)


async def test_what_is_kept_beside_a_line_does_no_harm() -> None:
    report = await answered(page(stream([str(END - 1), "ERROR x", {"structuredMetadata": {"trace_id": "7"}}])))
    assert report.lines[0].message == "ERROR x"


async def test_a_partial_answer_is_read_and_says_so() -> None:
    report = await answered(page(stream([str(END - 1), "ERROR x"]), warnings=["a store \x1bis away"]))
    assert (report.state, report.problem) == (SourceState.OK, "it warns: a store is away")


BODIES: dict[str, tuple[Any, str]] = {
    "html": ("<html>s3cret</html>", "is HTML, not JSON"),
    "text": ("s3cret", "is not JSON"),
    "cut": ('{"status": "success", "data": {"resultType": "streams", "re', "is not JSON"),
    "list": ([], "the answer is not as expected"),
    "nothing": ({}, "status is not as expected"),
    "no data": ({"status": "success"}, "data is not as expected"),
    "error": (page(status="error"), "says that it is no success"),
    "numbers": ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "no log lines, but numbers"),
    "result": ({"status": "success", "data": {"resultType": "streams", "result": {}}}, "data.result is not"),
    "garbage": (page(7, "x"), "none of its 2 lines is a log line"),
}


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES)
async def test_an_answer_that_is_none_is_an_error_that_does_not_repeat_it(body: object, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as raised:
        await answered(body)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [(400, "selector"), (401, "LOKI__TOKEN"), (403, "tenant"), (404, "url"), (302, "HTTP 302"), (405, "HTTP 405")],
)
async def test_a_refusal_says_what_to_set_and_not_what_loki_said(status: int, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as raised:
        await answered('parse error at line 1: {app="s3cret"}', status)
    assert f"HTTP {status}" in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_overloaded_loki_is_worth_another_try(status: int) -> None:
    with pytest.raises(TransientError, match=f"HTTP {status}"):
        await answered("too many outstanding requests", status)


async def test_an_unreachable_loki_is_not_an_empty_one() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(TransientError, match="loki: cannot be reached"):
        await loki(handler).read_logs()
