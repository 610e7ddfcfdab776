"""What was told of a service and of those around it, read from a store that may be silent."""

from collections.abc import Iterable
from datetime import timedelta

from activities.asking import answer_of
from incident.cause import Change
from incident.causes import Span, explaining
from incident.changes import STORE
from incident.evidence import Evidence
from incident.ports import ChangeBook, Surroundings

_WITHIN = timedelta(seconds=3)
"""How long the store may take: it is asked for a few rows, and one that is away must not keep a page back for long."""


class Tidings:
    """Reads the changes that people and programs told of.

    Args:
        changes: what keeps them.
        surroundings: knows which services are around one.
    """

    def __init__(self, changes: ChangeBook, surroundings: Surroundings) -> None:
        self._changes, self._surroundings = changes, surroundings

    async def told(self, environment: str, service: str, made: Span, limit: timedelta) -> tuple[Change, ...] | str:
        """Those to the service and to the ones around it, newest first, at most 50 of each; or why nothing is known.

        Args:
            environment: where the service runs.
            service: whose incident it may be.
            made: when they were made.
            limit: for the answer; the store never gets more than three seconds.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        names = with_around(service, self._surroundings.calls(environment, service))
        telling = self._changes.told(environment, names, made.since, made.until)
        answer = await answer_of(telling, min(limit, _WITHIN))
        if isinstance(answer, str):
            return f"told changes are not known: {STORE}: {answer}"
        return tuple(each.seen_from(service) for each in answer)

    async def explaining(self, seen: Evidence, within: timedelta, limit: timedelta) -> tuple[Change, ...] | str:
        """The same of those alone that may explain what was seen, being made at most `within` before its onset.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        return await self.told(seen.environment, seen.service, explaining(seen, within), limit)


def with_around(service: str, calls: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The service, and those that `calls` (caller, callee) name beside it."""
    return (service, *sorted({name for call in calls for name in call} - {service}))
