"""Burn rates: how fast a service spends the errors that its objective allows (SRE Workbook, chapter 5, table 5-8)."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from incident.model import Duration, Fact

LEAST_REQUESTS = 100
"""Requests in either window without which a ratio is an anecdote: one failure among fewer is over 1 %."""
LEAST_FAILURES = 10
"""Failures that a long window shows at its limit, or it has too few requests: a service that burns half as fast shows
that many with a chance of 3 % (Poisson), one that burns a third as fast with 0.2 %."""


class Urgency(StrEnum):
    """What a burn calls for."""

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"
    UNKNOWN = "unknown"
    """Too few requests, or samples that do not reach back far enough, and nothing burns as far as they do."""


class Objective(Fact):
    """What a service promises."""

    success: float = Field(gt=0, lt=1, description="share of the requests that succeed, such as 0.999")

    @property
    def allowed(self) -> float:
        """The share of the requests that may fail."""
        return round(1 - self.success, 9)

    def burn(self, errors: float) -> float:
        """How many times as fast as allowed an error ratio spends."""
        return round(errors / self.allowed, 4)

    @property
    def words(self) -> str:
        """The promise as a person reads it."""
        return f"an objective of {self.success * 100:.7g}%"


class Counted(Fact):
    """The requests of one window, which ends now."""

    over: Duration
    requests: float | None = Field(ge=0, description="estimated between scrapes, so not whole; null: unknown")
    failed: float | None = Field(ge=0, description="of them; null: unknown")
    whole: bool = Field(default=True, description="whether the samples reach back to where the window begins")
    problem: str = Field(default="", description="why they are unknown")


class Window(Fact):
    """A pair of windows and the burn that both must reach; the short one ends the alarm soon after the trouble."""

    long: Duration
    short: Duration
    burn: float = Field(gt=0, description="1: the allowed errors last for exactly the 30 days that they are for")
    urgency: Urgency


WINDOWS = (
    Window(long=timedelta(hours=1), short=timedelta(minutes=5), burn=14.4, urgency=Urgency.PAGE),
    Window(long=timedelta(hours=6), short=timedelta(minutes=30), burn=6, urgency=Urgency.PAGE),
    Window(long=timedelta(days=3), short=timedelta(hours=6), burn=1, urgency=Urgency.TICKET),
)
"""2 % of a month's errors in an hour, 5 % in six, 10 % in three days."""
PAGED_BY = tuple(sorted({over for each in WINDOWS if each.urgency is Urgency.PAGE for over in (each.long, each.short)}))
"""What is counted for a page, the shortest first."""
BEYOND = tuple(sorted({each.long for each in WINDOWS} - set(PAGED_BY)))
"""What is counted beside it for a ticket."""


class Burn(Fact):
    """How fast one pair of windows burns."""

    id: str = Field(description="`burn:<long window>`, for citation")
    long: Duration
    short: Duration
    long_burn: float | None = Field(description="times as fast as the objective allows; null: unknown")
    short_burn: float | None = Field(description="the same over the short window")
    limit: float = Field(description="what both must reach to call for the urgency")
    urgency: Urgency
    whole: bool = Field(default=True, description="whether the samples reach back to where the long window begins")
    problem: str = Field(default="", description="why a burn is unknown")

    @property
    def reached(self) -> bool:
        """Whether both windows are known to burn as fast as the limit says."""
        return None not in (self.long_burn, self.short_burn) and self.slowest >= self.limit

    @property
    def known(self) -> bool:
        """Whether it can be told that it burns, or that it does not."""
        return self.reached or (self.whole and None not in (self.long_burn, self.short_burn))

    @property
    def slowest(self) -> float:
        """The lower of the burns that are known; 0: none is."""
        return min((each for each in (self.long_burn, self.short_burn) if each is not None), default=0.0)

    @property
    def words(self) -> str:
        """The burn as a person reads it."""
        shown = " and ".join(
            f"{'unknown' if burn is None else f'{burn:.3g}x'} over {shown_length(over)}"
            for over, burn in ((self.long, self.long_burn), (self.short, self.short_burn))
        )
        why = f"; {self.problem}" if self.problem else ""
        late = "" if self.whole else f"; the samples begin less than {shown_length(self.long)} ago"
        return f"{shown} (a {self.urgency} from {self.limit:g}x on{why}{late})"


def shown_length(length: timedelta) -> str:
    """A length of whole minutes as the policy writes it, such as 5m, 6h or 3d."""
    minutes = length // timedelta(minutes=1)
    return next(f"{minutes // each}{unit}" for unit, each in (("d", 1440), ("h", 60), ("m", 1)) if minutes % each == 0)


def burns_of(counted: Sequence[Counted], objective: Objective) -> tuple[Burn, ...]:
    """The burn of each pair of windows of which the long one was counted, the most urgent first."""
    by_length = {each.over: each for each in counted}
    return tuple(
        _burn(window, by_length[window.long], by_length.get(window.short), objective)
        for window in WINDOWS
        if window.long in by_length
    )


def burning(burns: Sequence[Burn], errors_now: float | None, objective: Objective) -> tuple[Burn, ...]:
    """Those of `burns` that go on, the most urgent first.

    A page's windows burn on for up to half an hour after the trouble is over, in which nobody is to be woken and a
    rollback is to count as one that helped: a page goes on only while the errors of now spend as fast as its limit.
    `errors_now` is their ratio; `None`, unknown, is not over.
    """
    return tuple(
        each
        for each in burns
        if each.reached
        and (each.urgency is not Urgency.PAGE or errors_now is None or objective.burn(errors_now) >= each.limit)
    )


def urgency(burns: Sequence[Burn], errors_now: float | None, objective: Objective) -> Urgency:
    """What `burns` call for: the most urgent that goes on; that nothing does is said only where all are known."""
    on = burning(burns, errors_now, objective)
    if on:
        return on[0].urgency
    return Urgency.NONE if burns and all(each.known for each in burns) else Urgency.UNKNOWN


def _burn(window: Window, long: Counted, short: Counted | None, objective: Objective) -> Burn:
    needed = max(LEAST_REQUESTS, LEAST_FAILURES / (window.burn * objective.allowed))
    rates = (_rate(long, needed, objective), _rate(short, LEAST_REQUESTS, objective))
    problems = dict.fromkeys(
        problem for counted, least in ((long, needed), (short, LEAST_REQUESTS)) for problem in _problems(counted, least)
    )
    return Burn(
        id=f"burn:{shown_length(window.long)}",
        long=window.long,
        short=window.short,
        long_burn=rates[0],
        short_burn=rates[1],
        limit=window.burn,
        urgency=window.urgency,
        whole=long.whole,
        problem="; ".join(problems),
    )


def _rate(counted: Counted | None, least: float, objective: Objective) -> float | None:
    if counted is None or counted.requests is None or counted.failed is None or counted.requests < least:
        return None
    return objective.burn(counted.failed / counted.requests)


def _problems(counted: Counted | None, least: float) -> Iterator[str]:
    if counted is None or counted.requests is None or counted.failed is None:
        yield (counted.problem if counted else "") or "it was not counted"
    elif counted.requests < least:
        yield (
            f"too few requests: {counted.requests:.0f} in {shown_length(counted.over)}, {least:.0f} are needed to tell"
        )
