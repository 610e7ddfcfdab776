"""How lines of every kind are read, and what a report holds of thousands of them."""

import json
from datetime import timedelta

import pytest

from incident.errors import PermanentError
from incident.evidence import SourceState
from integrations.log_lines import (
    MAX_EXAMPLE,
    MAX_LINES,
    MAX_MESSAGE,
    MAX_TEMPLATES,
    Batch,
    Entry,
    at,
    entry_of,
    nanoseconds_of,
    report,
)
from tests.builders import NOW

BEGIN = nanoseconds_of(NOW)


def _entries(count: int, message: str = "charge {} refused") -> list[Entry]:
    return [Entry(BEGIN + number, "ERROR", message.format(number)) for number in range(count)]


@pytest.mark.parametrize(
    ("text", "labels", "level", "message"),
    [
        ("charge refused", {}, "UNKNOWN", "charge refused"),
        ("2026-11-24 ERROR charge refused", {}, "ERROR", "2026-11-24 ERROR charge refused"),
        ("24/Nov [worker] [warning] no", {}, "WARN", "24/Nov [worker] [warning] no"),
        ("level=payment no", {}, "UNKNOWN", "level=payment no"),
        ("no ERRORS were found", {}, "UNKNOWN", "no ERRORS were found"),
        ('level=warning msg="slow"', {}, "WARN", 'level=warning msg="slow"'),
        ("x", {"level": "err"}, "ERROR", "x"),
        ("INFO x", {"detected_level": "error"}, "ERROR", "INFO x"),
        ("ERROR x", {"detected_level": "unknown"}, "ERROR", "ERROR x"),
        ('{"level":"error","msg":"no","a":1}', {}, "ERROR", "no"),
        ('{"level":50,"message":"no"}', {}, "ERROR", "no"),
        ('{"severity":"CRITICAL","event":"no"}', {}, "CRITICAL", "no"),
        ('{"level":true,"a":1}', {}, "TRUE", '{"level":true,"a":1}'),
        ('{"level":{"a":1},"msg":""}', {}, "UNKNOWN", '{"level":{"a":1},"msg":""}'),
        ('{"level":"error', {}, "UNKNOWN", '{"level":"error'),
        ("[" * 100_000, {}, "UNKNOWN", "[" * 100_000),
        ('{"a":' * 100_000, {}, "UNKNOWN", '{"a":' * 100_000),
    ],
    ids=str,
)
def test_level_and_message_are_read_of_plain_lines_logfmt_and_json(
    text: str, labels: dict[str, str], level: str, message: str
) -> None:
    entry = entry_of(1, text, labels)
    assert (entry.level, entry.message) == (level, message)


@pytest.mark.parametrize(
    ("fields", "error_type"),
    [
        ({"error": {"type": "Timeout"}}, "Timeout"),
        ({"error_type": "Timeout"}, "Timeout"),
        ({"exception.type": "Timeout"}, "Timeout"),
        ({"error": "Timeout"}, ""),
        ({"error": {"type": 7}}, ""),
    ],
    ids=str,
)
def test_the_type_of_an_error_is_read_of_json(fields: dict[str, object], error_type: str) -> None:
    assert entry_of(1, json.dumps({"msg": "x", **fields}), {}).error_type == error_type


def test_the_newest_lines_stay_oldest_first_and_all_of_them_are_in_the_templates() -> None:
    seen = report("loki", Batch(_entries(1000)[::-1]))
    assert [line.message for line in seen.lines] == [f"charge {n} refused" for n in range(1000 - MAX_LINES, 1000)]
    assert [line.id for line in seen.lines] == [f"log:{number}" for number in range(1, MAX_LINES + 1)]
    assert (seen.state, seen.omitted, seen.unreadable) == (SourceState.OK, 1000 - MAX_LINES, 0)
    (template,) = seen.templates
    assert (template.text, template.count, template.level) == ("charge <*> refused", 1000, "ERROR")
    assert template.example == "charge 999 refused"
    assert template.new is None


def test_times_are_exact_to_the_nanosecond() -> None:
    exact = 1_795_528_800_123_456_789  # as a float it would end in ...456_800 or so
    assert int(float(exact)) != exact
    (line,) = report("loki", Batch([Entry(exact, "INFO", "x")])).lines
    assert nanoseconds_of(line.at) + line.nanoseconds == exact
    assert at(exact).microsecond == 123_456


def test_lines_of_one_time_stay_in_their_order() -> None:
    entries = [Entry(BEGIN, "INFO", message) for message in ("later by name", "a")]
    assert [line.message for line in report("loki", Batch(entries)).lines] == ["later by name", "a"]


def test_no_lines_are_no_lines_and_only_garbage_is_an_error() -> None:
    assert report("loki", Batch([])).state is SourceState.EMPTY
    with pytest.raises(PermanentError, match="none of its 3 lines is a log line"):
        report("loki", Batch([], unreadable=3))


def test_what_could_not_be_read_is_counted() -> None:
    seen = report("loki", Batch(_entries(5), unreadable=2, capped=True, read_since=NOW))
    assert (seen.omitted, seen.unreadable, seen.capped, seen.read_since) == (2, 2, True, NOW)


def test_secrets_are_taken_out_before_a_text_is_cut() -> None:
    secret = "ghp_" + "c0FFee" * 7
    words = "x" * (MAX_MESSAGE - 20)
    seen = report(
        "loki", Batch([Entry(BEGIN, "ERROR", f"{words} {secret}"), Entry(BEGIN + 1, "ERROR", f"no: {secret}")])
    )
    said = seen.model_dump_json()
    assert secret[:12] not in said
    assert "[REDACTED:github-token]" in said
    assert all(len(line.message) <= MAX_MESSAGE for line in seen.lines)
    assert all(len(each.example) <= MAX_EXAMPLE and len(each.text) <= MAX_EXAMPLE for each in seen.templates)


def test_what_steers_a_terminal_is_taken_out() -> None:
    seen = report("loki", Batch([Entry(BEGIN, "ERROR", "\x1b[2J\u202eno\x07")]))
    assert seen.lines[0].message == "[2Jno"
    assert seen.templates[0].example == "[2Jno"


def test_of_very_many_forms_those_of_the_newest_lines_are_handed_on() -> None:
    words = [f"{a}{b}{c}" for a in "abcdefg" for b in "hijklmn" for c in "opqrstu"]
    entries = [Entry(BEGIN + n, "ERROR", f"{word} {word[::-1]}") for n, word in enumerate(words)]
    seen = report("loki", Batch(entries))
    assert len(seen.templates) == MAX_TEMPLATES
    assert seen.more_templates == len(words) - MAX_TEMPLATES
    assert min(each.last_at for each in seen.templates) >= NOW + timedelta(0)
    assert seen.templates[-1].example.startswith(words[-1])
