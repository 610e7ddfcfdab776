"""`--since`: how far back, as a duration or as a date."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from incident.errors import ConfigurationError
from incident.model import Duration

Since = Annotated[
    str, typer.Option("--since", help="Those that opened since then: 7d, 12h, 2026-11-01 or 2026-11-01T08:00Z.")
]
_DURATION: TypeAdapter[Duration] = TypeAdapter(Duration)


def start_of(since: str, now: datetime | None = None, option: str = "--since") -> datetime:
    """When the period begins that `since` names; a date without a zone is UTC.

    Args:
        since: a duration before `now`, or a date.
        now: by default the time.
        option: how it was given, for errors.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        return (now or datetime.now(UTC)) - _DURATION.validate_python(since)
    except (ValidationError, OverflowError):
        pass  # then it is a date
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        raise ConfigurationError(f"{option}: expected a duration such as 7d, or a date, got {since!r:.60}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
