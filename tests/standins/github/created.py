"""GitHub's search syntax for instants: `>=2026-11-24T10:00:00Z`, `2026-11-24..*`, `2026-11-24`."""

import re
from datetime import UTC, datetime, timedelta

from tests.standins.github.clock import whole

_DAY = re.compile(r"^\d{4}-\d\d-\d\d$")
_ONE = re.compile(r"^(>=|<=|>|<)?(.+)$")


def matches(at: datetime, wanted: str) -> bool:
    """Whether an instant, taken in whole seconds, is wanted. Raises ValueError for what is no such search."""
    at = whole(at)
    if ".." in wanted:
        first, last = wanted.split("..", 1)
        return (first == "*" or at >= _begin(first)) and (last == "*" or at <= _end(last))
    found = _ONE.match(wanted)
    if found is None:
        raise ValueError("an empty search")
    operator, text = found.groups()
    return {
        None: _begin(text) <= at <= _end(text),
        ">=": at >= _begin(text),
        "<=": at <= _end(text),
        ">": at > _end(text),
        "<": at < _begin(text),
    }[operator]


def _begin(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _end(text: str) -> datetime:
    return _begin(text) + (timedelta(days=1, seconds=-1) if _DAY.match(text) else timedelta(0))
