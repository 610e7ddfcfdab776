"""How an address that answers with JSON lines is read: a bad line is counted and spoils no other."""

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import PermanentError, TransientError
from incident.evidence import LogsReport, SourceState
from incident.services import JsonLinesEndpoint
from integrations.credentials import Credentials
from integrations.http import HttpSettings, build_client
from integrations.json_lines import MAX_LINES, JsonLines, time_of
from integrations.log_lines import nanoseconds_of
from tests.builders import NOW

AT = "2026-11-24T14:00:00Z"
BEGIN = nanoseconds_of(NOW)
SECOND = 10**9


async def read(content: bytes | str, status: int = 200, **changes: object) -> LogsReport:
    given = {"kind": "jsonlines", "url": "http://logs.example/newest?n=5", **changes}
    client = build_client(HttpSettings(), httpx.MockTransport(lambda _: httpx.Response(status, content=content)))
    return await JsonLines(client, JsonLinesEndpoint.model_validate(given)).read_logs()


def line(**fields: object) -> str:
    return json.dumps({"time": AT, "level": "error", "message": "charge refused", **fields}) + "\n"


async def test_lines_are_read_by_the_usual_names() -> None:
    report = await read(line() + "\n" + line(time="2026-11-24T14:00:01.5+01:00", error={"type": "Timeout"}))
    assert [(each.level, each.message, each.error_type) for each in report.lines] == [
        ("ERROR", "charge refused", "Timeout"),
        ("ERROR", "charge refused", ""),
    ]
    assert report.source == "json-lines"
    assert report.templates[0].count == 2


async def test_fields_may_have_names_of_the_teams_own() -> None:
    body = json.dumps({"@ts": BEGIN // 10**6, "log.level": "warn", "log": {"text": "slow"}, "kind": "Slow"})
    report = await read(body, time="@ts", time_unit="ms", level="log.level", message="log.text", error_type="kind")
    (found,) = report.lines
    assert (found.at, found.level, found.message, found.error_type) == (NOW, "WARN", "slow", "Slow")


@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        '{"time": ',
        "[]",
        "7",
        "null",
        '"text"',
        line(time=None),
        line(time="yesterday"),
        line(time=True),
        line(time="2026-11-24T14:00:00"),
        line(message=None),
        line(message=7),
        line(message={"a": 1}),
        json.dumps({"level": "error"}),
        "[" * 100_000,
        "9" * 5000,
    ],
    ids=lambda text: text[:40].strip(),
)
async def test_a_bad_line_is_counted_and_the_others_are_read(bad: str) -> None:
    report = await read(line() + bad.strip() + "\n" + line())
    assert (len(report.lines), report.unreadable, report.omitted) == (2, 1, 1)


async def test_bytes_that_are_no_text_spoil_no_other_line() -> None:
    report = await read(line().encode() + b'{"time": "\xff\xfe"}\n' + line(message="a\u2028b\x85c").encode())
    assert (len(report.lines), report.unreadable) == (2, 1)


async def test_a_line_without_level_is_of_an_unknown_one() -> None:
    assert (await read(json.dumps({"time": AT, "message": "x"}))).lines[0].level == "UNKNOWN"


async def test_the_last_lines_of_very_many_are_read() -> None:
    report = await read("".join(line(message=f"line {number}") for number in range(MAX_LINES + 10)))
    assert (report.templates[0].count, report.capped) == (MAX_LINES, True)
    assert report.lines[-1].message == f"line {MAX_LINES + 9}"


@pytest.mark.parametrize("body", ["", "\n \n"])
async def test_no_lines_are_no_lines(body: str) -> None:
    report = await read(body)
    assert (report.state, report.lines) == (SourceState.EMPTY, ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<html>login</html>", "is HTML, not text"),
        ("one\ntwo\n", "none of its 2 lines is a log line"),
        ("x" * 5_000_000, "is larger than"),
    ],
    ids=["html", "garbage", "large"],
)
async def test_an_answer_without_any_line_is_an_error(body: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        await read(body)


@pytest.mark.parametrize(("status", "error"), [(503, TransientError), (401, PermanentError), (404, PermanentError)])
async def test_a_refusal_is_not_an_empty_log(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"json-lines: answered HTTP {status}"):
        await read("", status)


async def test_the_token_is_sent() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200)

    given = JsonLinesEndpoint(kind="jsonlines", url="http://logs.example/")
    client = build_client(HttpSettings(), httpx.MockTransport(handler))
    await JsonLines(client, given, Credentials(token=SecretStr("s3cret"))).read_logs()
    assert seen == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("value", "unit", "nanoseconds"),
    [
        (AT, 1, BEGIN),
        ("2026-11-24t14:00:00z", 1, BEGIN),
        ("2026-11-24 14:00:00.123456789Z", 1, BEGIN + 123_456_789),
        ("2026-11-24T14:00:00,1Z", 1, BEGIN + 100_000_000),
        ("2026-11-24T16:30:00.000000001+02:30", 1, BEGIN + 1),
        ("2026-11-24T14:00:00.1234567891234Z", 1, BEGIN + 123_456_789),
        (1_795_528_800, SECOND, 1_795_528_800 * SECOND),
        (1_795_528_800_123_456_789, 1, 1_795_528_800_123_456_789),
        ("2026-11-24T25:00:00Z", 1, None),
        ("2026-13-24T14:00:00Z", 1, None),
        ("0001-01-01T00:00:00Z", 1, None),
        ("9999-12-31T23:59:59-23:59", 1, None),
        (-1, 1, None),
        (10**30, SECOND, None),
        ("", 1, None),
        (None, 1, None),
        (False, 1, None),
        ([], 1, None),
    ],
    ids=str,
)
def test_a_time_is_exact_or_none(value: object, unit: int, nanoseconds: int | None) -> None:
    assert time_of(value, unit) == nanoseconds


@pytest.mark.parametrize(
    ("number", "nanoseconds"),
    [("1795528800.123456789", 1_795_528_800_123_456_789), ("1e400", None), ("1e-400", 0), ("NaN", None)],
)
async def test_a_number_with_a_fraction_is_exact(number: str, nanoseconds: int | None) -> None:
    body = f'{{"time": {number}, "message": "x"}}\n' + line()
    report = await read(body)
    times = [nanoseconds_of(each.at) + each.nanoseconds for each in report.lines]
    assert times == sorted([BEGIN] if nanoseconds is None else [BEGIN, nanoseconds])


WRONG: dict[str, dict[str, Any]] = {
    "a field without a name": {"message": ""},
    "a dot too many": {"message": "a..b"},
    "another unit": {"time_unit": "minutes"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_names_that_can_name_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        JsonLinesEndpoint.model_validate({"kind": "jsonlines", "url": "http://x", **changes})
