"""What was counted of a service's requests, and a counter that tells it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from incident.burn_rate import BEYOND, PAGED_BY, Counted, Objective
from incident.errors import UnknownServiceError
from incident.evidence import BurnReport, SourceState

OBJECTIVE = Objective(success=0.999)
LENGTHS = (*PAGED_BY, *BEYOND)
NAMED = dict(zip(("5m", "30m", "1h", "6h", "3d"), LENGTHS, strict=True))
SLOW = {"1h": 0.0145, "5m": 0.0145}
"""14.5 times what is allowed, and under every fixed limit."""
_RATE = 10
"""Requests a second."""


def counted(shares: Mapping[str, float] | None = None, rate: float = _RATE) -> tuple[Counted, ...]:
    """Every window at that rate of requests, with the shares of them that failed; of the others none did."""
    by_length = {NAMED[name]: share for name, share in (shares or {}).items()}
    requests = {over: rate * over.total_seconds() for over in LENGTHS}
    return tuple(
        Counted(over=over, requests=requests[over], failed=requests[over] * by_length.get(over, 0.0))
        for over in LENGTHS
    )


def burn_report(shares: Mapping[str, float] | None = None) -> BurnReport:
    """A report of these shares."""
    return BurnReport(source="requests", state=SourceState.OK, objective=OBJECTIVE, counted=counted(shares))


class FakeCounters:
    """The counters of services; of those that are not given nothing counts the requests.

    Args:
        answers: by service, what is counted, or why it cannot be.
        of_tickets: why what is counted for tickets alone cannot be.
    """

    def __init__(
        self,
        answers: Mapping[str, tuple[Counted, ...] | Exception | None],
        of_tickets: Exception | None = None,
    ) -> None:
        self.answers, self.of_tickets = dict(answers), of_tickets
        self.asked: list[tuple[timedelta, ...]] = []

    def counter(self, environment: str, service: str) -> "_FakeCounter | None":
        """That service's counter."""
        if service not in self.answers:
            raise UnknownServiceError(environment, service, tuple(self.answers))
        return None if self.answers[service] is None else _FakeCounter(self, service)


class _FakeCounter:
    def __init__(self, counters: FakeCounters, service: str) -> None:
        self._counters, self._service = counters, service

    async def count_requests(self, windows: Sequence[timedelta]) -> tuple[Counted, ...]:
        """Those of what was given that are asked for."""
        self._counters.asked.append(tuple(windows))
        answer = (self._counters.of_tickets if windows == BEYOND else None) or self._counters.answers[self._service]
        if isinstance(answer, Exception):
            raise answer
        return tuple(each for each in answer or () if each.over in windows)
