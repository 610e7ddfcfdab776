"""Log lines as they come, made into a report: the newest of them, and templates of them all."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import loads

from pydantic import JsonValue

from incident.errors import PermanentError
from incident.evidence import LogLine, LogsReport, SourceState
from incident.log_templates import LogTemplate
from incident.model import Moment
from incident.redaction import redact
from integrations.drain import Group, Line, group
from integrations.text import clean, one_line

MAX_LINES = 20
"""Lines in a report, the newest: the templates tell of the rest."""
MAX_TEMPLATES = 200
"""Templates that are handed on: those of the newest lines; the evidence keeps fewer, once it is known what is new."""
MAX_MESSAGE = 2000
"""Characters of a line's text that is passed on."""
MAX_EXAMPLE = 500
"""Characters of a template's text, and of its example."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253_402_300_799_999_999_999
"""The last nanosecond that a datetime can hold, year 9999."""
_READ_FOR_ONE = 4
"""Characters that are redacted for each that may stay."""
_SHORT = 40
_UNKNOWN = "UNKNOWN"
_LEVELS = {
    "TRACE": "TRACE",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "INFORMATION": "INFO",
    "NOTICE": "INFO",
    "WARN": "WARN",
    "WARNING": "WARN",
    "ERR": "ERROR",
    "ERROR": "ERROR",
    "SEVERE": "ERROR",
    "CRIT": "CRITICAL",
    "CRITICAL": "CRITICAL",
    "ALERT": "CRITICAL",
    "EMERG": "FATAL",
    "FATAL": "FATAL",
    "PANIC": "FATAL",
    # The numbers of pino and bunyan.
    "10": "TRACE",
    "20": "DEBUG",
    "30": "INFO",
    "40": "WARN",
    "50": "ERROR",
    "60": "FATAL",
}
_SAID = re.compile(
    r"(?:\b(?:level|lvl|severity)=\"?(?P<field>[A-Za-z]{3,11})\b)"
    r"|\[(?P<mark>[a-z]{3,8})\]"
    r"|\b(?P<word>TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|SEVERE|CRIT(?:ICAL)?|ALERT|EMERG|FATAL|PANIC)\b"
)
_LOOKED_AT = 200
"""Characters in which a line of plain text may name its level."""


@dataclass(frozen=True)
class Entry:
    """One log line as its source gave it."""

    nanoseconds: int
    """Since 1970, exact."""
    level: str
    message: str
    error_type: str = ""


@dataclass(frozen=True)
class Batch:
    """What a source answered."""

    entries: Sequence[Entry]
    """Those of one time in the order in which they were said."""
    unreadable: int = 0
    """Lines that are none."""
    read_since: Moment | None = None
    """Lines from here on were looked for."""
    capped: bool = False
    """Whether the source had more."""
    problem: str = ""
    """What the source itself says is wrong with its answer, which it gave all the same."""


def report(system: str, batch: Batch) -> LogsReport:
    """The report of `batch`; it takes a while for thousands of lines.

    Raises:
        PermanentError: there are lines, and not one of them is a log line.
    """
    if batch.unreadable and not batch.entries:
        raise PermanentError(system, f"none of its {batch.unreadable} lines is a log line")
    entries = sorted(batch.entries, key=lambda entry: entry.nanoseconds)
    newest = entries[-MAX_LINES:]
    groups = group(Line(entry.nanoseconds, entry.level, entry.message) for entry in entries)
    kept = sorted(groups, key=lambda each: each.lines[-1].nanoseconds)[-MAX_TEMPLATES:]
    return LogsReport(
        source=system,
        state=SourceState.OK if entries else SourceState.EMPTY,
        problem=one_line(redact(batch.problem), MAX_EXAMPLE),
        lines=tuple(_line(number, entry) for number, entry in enumerate(newest, start=1)),
        omitted=len(entries) - len(newest) + batch.unreadable,
        templates=tuple(_template(number, each) for number, each in enumerate(kept, start=1)),
        more_templates=len(groups) - len(kept),
        read_since=batch.read_since,
        capped=batch.capped,
        unreadable=batch.unreadable,
    )


def holds(nanoseconds: int) -> bool:
    """Whether a report can hold that time."""
    return 0 <= nanoseconds <= _LATEST


def at(nanoseconds: int) -> datetime:
    """That time, as far as a datetime goes: to its microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def nanoseconds_of(moment: datetime) -> int:
    """The nanoseconds since 1970 at `moment`, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def level_of(word: object) -> str:
    """The level that `word` names, in capitals; UNKNOWN where it names none."""
    text = one_line(str(word), _SHORT).upper() if isinstance(word, str | int) else ""
    return _LEVELS.get(text, text or _UNKNOWN)


def entry_of(nanoseconds: int, text: str, labels: Mapping[str, str]) -> Entry:
    """The entry of a line of `text`: plain, logfmt or a JSON object, with its level as labels or the text give it."""
    fields = _fields(text)
    message = next((said for name in _MESSAGES if isinstance(said := fields.get(name), str) and said), text)
    named = next((value for name in _LEVEL_NAMES if known(value := labels.get(name) or fields.get(name))), None)
    return Entry(
        nanoseconds=nanoseconds,
        level=level_of(named) if named is not None else _said(text if not fields else ""),
        message=message,
        error_type=_error_type(fields),
    )


def known(level: object) -> bool:
    """Whether `level` names one; Loki says `unknown` of a line in which it found none."""
    return level_of(level) != _UNKNOWN


_MESSAGES = ("message", "msg", "event", "log", "body")
_LEVEL_NAMES = ("level", "severity", "lvl", "detected_level", "log.level", "severity_text")
_ERROR_TYPES = ("error_type", "error.type", "exception.type", "exception_type")


def _fields(text: str) -> Mapping[str, JsonValue]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        fields = loads(text)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _error_type(fields: Mapping[str, JsonValue]) -> str:
    error = fields.get("error")
    nested = error.get("type") if isinstance(error, dict) else None
    found = nested or next((fields[name] for name in _ERROR_TYPES if fields.get(name)), "")
    return found if isinstance(found, str) else ""


def _said(text: str) -> str:
    said = (level_of(match[match.lastgroup or 0]) for match in _SAID.finditer(text[:_LOOKED_AT]))
    return next((level for level in said if level in _LEVELS), _UNKNOWN)


def _line(number: int, entry: Entry) -> LogLine:
    return LogLine(
        id=f"log:{number}",
        at=at(entry.nanoseconds),
        nanoseconds=entry.nanoseconds % 1000,
        level=entry.level,
        message=_safe(entry.message, MAX_MESSAGE),
        error_type=one_line(entry.error_type, MAX_EXAMPLE),
    )


def _template(number: int, form: Group) -> LogTemplate:
    return LogTemplate(
        id=f"log:template-{number}",
        level=form.level,
        text=_safe(form.text, MAX_EXAMPLE),
        count=len(form.lines),
        first_at=at(form.lines[0].nanoseconds),
        last_at=at(form.lines[-1].nanoseconds),
        example=_safe(form.lines[-1].message, MAX_EXAMPLE),
    )


def _safe(text: str, limit: int) -> str:
    """Redacted before it is cut, or half a secret might stay that no pattern knows."""
    read = limit * _READ_FOR_ONE
    return clean(redact(clean(text[:read], read)), limit)
