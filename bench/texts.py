"""What it costs to take secrets out of text: ordinary logs line by line and whole, and the worst line of a mebibyte."""

import time
from collections.abc import Callable
from functools import partial

from incident.redaction import redact, redacting_by
from mock_service.logbook import DATABASE, QUIET

_ROUNDS = 7
_LINES = 2000
_MEBIBYTE = 2**20
_KEY = bytes(32)
LINES, WHOLE = "MB of log lines redacted", "MB of whole logs redacted"
HOSTILE = "hostile line of 1 MiB redacted, the worst of them"
_SHAPES = (
    *("a", "a.", "a@a.", "a@b.c ", "://a:", "://a:b@", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "eyJaaaaaaaa."),
    *("token", "token=", "token=abc ", "authorization: ", "bearer ", "cookie:", "sk-", " ", "1", "4111111111111111 "),
    *("DE89370400440532013000 ", "AKIA0123456789ABCDEF ", "é", "\U0001f600", "\u200b", "[REDACTED:secret]", "\\"),
)
"""What other engines need quadratic time or worse for, what matches all along, and what is not ASCII."""


def ordinary_lines() -> list[str]:
    """Lines as the mock service writes them, one in a hundred with a secret in it."""
    said = [*QUIET, *(line for pair in DATABASE for line in pair)]
    lines = []
    for number in range(_LINES):
        line = said[number % len(said)]
        trace = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"
        secret = "" if number % 100 else " password=hunter2"
        lines.append(f"14:00:{number % 60:02} {line.level} {line.message} {line.metadata} trace_id={trace}{secret}")
    return lines


def redaction_rates() -> dict[str, list[float]]:
    """MB per second, by what is redacted, one number a round."""
    lines = ordinary_lines()
    whole = "\n".join(lines)[: 128 * 1024]
    rows: dict[str, tuple[int, Callable[[], object]]] = {
        LINES: (sum(map(len, lines)), lambda: [redact(line) for line in lines]),
        WHOLE: (len(whole), lambda: redact(whole)),
    }
    with redacting_by(_KEY, {}):
        return {name: [size / 1e6 / _seconds(once) for _ in range(_ROUNDS)] for name, (size, once) in rows.items()}


def hostile_times() -> dict[str, list[float]]:
    """Seconds for one hostile line, the slowest shape of each round."""
    lines = [(shape * (_MEBIBYTE // len(shape) + 1))[:_MEBIBYTE] for shape in _SHAPES]
    with redacting_by(_KEY, {}):
        return {HOSTILE: [max(_seconds(partial(redact, line)) for line in lines) for _ in range(_ROUNDS)]}


def _seconds(once: Callable[[], object]) -> float:
    """Of the processor: nothing is waited for, and a busy machine makes it no slower."""
    begun = time.process_time()
    once()
    return time.process_time() - begun
