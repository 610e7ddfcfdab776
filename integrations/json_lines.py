"""An address that answers with log lines, a JSON object on each, as a service's logs."""

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from json import loads

import httpx

from incident.evidence import LogsReport
from incident.services import JsonLinesEndpoint
from integrations.credentials import Credentials
from integrations.http import Question, ask
from integrations.log_lines import Batch, Entry, holds, level_of, nanoseconds_of, report

SYSTEM = "json-lines"
MAX_LINES = 2000
"""Lines that are read, the last ones of the answer."""

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s?([Zz]|[+-]\d\d:\d\d)")
_NO_CREDENTIALS = Credentials()


class JsonLines:
    """The log lines of one address, asked over HTTP.

    Args:
        client: what every question goes through.
        endpoint: where, and what its fields are called.
        credentials: what is shown to it.
    """

    def __init__(
        self, client: httpx.AsyncClient, endpoint: JsonLinesEndpoint, credentials: Credentials = _NO_CREDENTIALS
    ) -> None:
        self._client, self._endpoint, self._headers = client, endpoint, credentials.headers()

    async def read_logs(self) -> LogsReport:
        """The newest lines, and templates of all of them; a line without readable time or message is counted."""
        question = Question("GET", self._endpoint.url, headers=self._headers, text=True)
        reply = await ask(self._client, SYSTEM, question)
        return await asyncio.to_thread(self._report, str(reply.body))

    def _report(self, text: str) -> LogsReport:
        # By \n alone: JSON's texts may hold the other characters that end a line for Python.
        lines = [line for line in text.split("\n") if line.strip()]
        read = [self._entry(line) for line in lines[-MAX_LINES:]]
        entries = [entry for entry in read if entry is not None]
        return report(SYSTEM, Batch(entries, len(read) - len(entries), capped=len(lines) > MAX_LINES))

    def _entry(self, line: str) -> Entry | None:
        try:
            fields = loads(line, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None
        nanoseconds = time_of(_at(fields, self._endpoint.time), _NANOSECONDS[self._endpoint.time_unit])
        message = _at(fields, self._endpoint.message)
        if nanoseconds is None or not isinstance(message, str):
            return None
        error_type = _at(fields, self._endpoint.error_type)
        return Entry(
            nanoseconds=nanoseconds,
            level=level_of(_at(fields, self._endpoint.level)),
            message=message,
            error_type=error_type if isinstance(error_type, str) else "",
        )


def time_of(value: object, unit: int) -> int | None:
    """The nanoseconds since 1970 that `value` stands for, exact; `None`: it is no time.

    Args:
        value: RFC 3339 with its zone, or a number.
        unit: the nanoseconds that a number counts.
    """
    nanoseconds: int | None = None
    if isinstance(value, str):
        nanoseconds = _rfc_3339(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        nanoseconds = value * unit
    elif isinstance(value, Decimal) and value.is_finite() and value.adjusted() < len("9223372036854775807"):
        nanoseconds = int(value * unit)
    return nanoseconds if nanoseconds is not None and holds(nanoseconds) else None


def _rfc_3339(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text.strip())
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1].upper()}{match[3].upper()}")
        return nanoseconds_of(moment.astimezone(UTC)) + int((match[2] or "").ljust(9, "0"))
    except (ValueError, OverflowError):
        return None


def _at(fields: object, path: str) -> object:
    """What stands at `path`; a field whose own name has the dots goes before."""
    if isinstance(fields, dict) and path in fields:
        return fields[path]
    for name in path.split("."):
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields
