"""The base of every value that crosses a process, a history or a file."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from incident.redaction import redact

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$")


class Fact(BaseModel):
    """Immutable, closed to unknown fields, and without NaN or infinity: an unreadable number is `None`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_default(value: object) -> bool:
    """For `exclude_if` of a field that came later and is empty by default: what lacks it keeps its digest."""
    return not value


def _duration(value: object) -> object:
    expected = 'expected a duration with its unit, such as "30s", "5m" or "2h"'
    if isinstance(value, int | float):
        raise ValueError(expected)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into the field's error
    if not isinstance(value, str) or value.lstrip("+-").startswith("P"):
        return value
    match = _DURATION.match(value)
    if match is None:
        raise ValueError(expected)
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as error:
        raise ValueError(f"{expected}, and shorter than this one") from error


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(
        {"type": "string", "description": 'a duration with its unit, such as "30s", "5m", "2h", or ISO 8601 ("PT2H")'}
    ),
]
"""A `timedelta` that a person writes as "30s", "5m" or "2h"."""


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time that UTC has, too") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, turned to UTC: texts show it with a Z."""

Ratio = Annotated[float, Field(ge=0, le=1, strict=True)]
"""A share of 1; a bool or a text is none."""

ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""No hyphen, so that `incident-<environment>-<service>` names one service only."""


def canonical(value: BaseModel) -> bytes:
    """`value` as JSON with sorted keys: equal values give equal bytes, so that a digest can stand for them."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def field_errors(error: ValidationError, where: str = "") -> list[str]:
    """One line for each invalid field: its path, what was wrong, and what stood there (secrets redacted).

    Args:
        error: what pydantic raised.
        where: put before every path, such as the file that was read.
    """
    return [_line(item, where) for item in error.errors(include_url=False)]


def _line(item: Any, where: str) -> str:  # noqa: ANN401 - pydantic's ErrorDetails is a TypedDict of loose values
    path = _path(item["loc"])
    shown = (
        ""
        if item["type"] == "missing" or isinstance(item["input"], dict | list)
        else f" (got {redact(repr(item['input']), keyed=False):.80})"
    )
    message = str(item["msg"]).removeprefix("Value error, ")
    return ": ".join(part for part in (where, path, f"{message}{shown}") if part)


def _path(location: Iterable[object]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
