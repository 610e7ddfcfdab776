"""Burn rates: how fast a service spends the errors that its objective allows (SRE Workbook, chapter 5, table 5-8)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from incident.model import Duration, Fact, Moment

LEAST_REQUESTS = 100
"""Requests in the short window without which a ratio is an anecdote: one failure among fewer is over 1 %."""


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


class Counted(Fact):
    """Requests that ended between the sample before and this one."""

    at: Moment
    total: int = Field(ge=0)
    failed: int = Field(ge=0)


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


class Burn(Fact):
    """What the windows say."""

    urgency: Urgency
    rates: tuple[float | None, ...] = Field(description="by window, the lower of its two burns; null: not known")


def burning(samples: Sequence[Counted], objective: Objective, now: datetime) -> Burn:
    """What `samples`, oldest first, say at `now`: the most urgent window of which both parts burn.

    A window whose samples begin later than it does is judged by what there is: all that failed, failed within it.
    """
    rates = tuple(_rate(samples, objective, now, window) for window in WINDOWS)
    burns = [
        window.urgency for window, rate in zip(WINDOWS, rates, strict=True) if rate is not None and rate >= window.burn
    ]
    if burns:
        return Burn(urgency=burns[0], rates=rates)
    unknown = any(rate is None for rate in rates) or not _reaches(samples, now)
    return Burn(urgency=Urgency.UNKNOWN if unknown else Urgency.NONE, rates=rates)


def _rate(samples: Sequence[Counted], objective: Objective, now: datetime, window: Window) -> float | None:
    rates = []
    for length in (window.long, window.short):
        within = [each for each in samples if now - length < each.at <= now]
        total = sum(each.total for each in within)
        if total < LEAST_REQUESTS:
            return None
        rates.append(sum(each.failed for each in within) / total / (1 - objective.success))
    return min(rates)


def _reaches(samples: Sequence[Counted], now: datetime) -> bool:
    """Whether the samples go back to where the longest window for a page begins."""
    longest = max(window.long for window in WINDOWS if window.urgency is Urgency.PAGE)
    return bool(samples) and samples[0].at <= now - longest
