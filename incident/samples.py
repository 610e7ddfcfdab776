"""What the looks of one verification have shown so far: it takes in a look at a time, and never grows."""

from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from incident.model import Fact, Moment
from incident.sequential import Bet, Doubted, raise_bet
from incident.verifying import RecoveryLimits

APART = timedelta(seconds=3)
"""Looks nearer together than this on average are no samples: a source's numbers look back over a window, and two such
looks would count the same requests twice. Prometheus's own advice is a window of four scrapes."""
_LONGEST = timedelta(minutes=1)
"""For how long at the most one look speaks: what lies further back was not seen by it."""
_LASTS = 0.7
"""How much of the recent ratio each further look leaves: half of it stems from the last two."""


class Sample(NamedTuple):
    """What one look adds."""

    at: datetime
    error_ratio: float | None
    """0..1; `None`: unknown."""
    requests_per_second: float | None
    good: bool
    """Whether nothing is wanting."""
    well: bool
    """Whether nothing is wanting but, perhaps, the error ratio, which is known."""
    more_errors: bool
    """Whether the error ratio is worse than before, by more than a practical margin."""
    worse: bool
    """Whether anything else is."""
    unreadable: bool
    """Whether a source failed."""
    no_data: bool
    """Whether a source answered, and something that matters had no value."""


class Samples(Fact):
    """Counts and bets over the looks of one verification."""

    looks: int = Field(default=0, ge=0)
    first_at: Moment | None = None
    last_at: Moment | None = None
    counted: int = Field(default=0, ge=0, description="looks of which the requests are known")
    requests: float = Field(default=0, ge=0, description="since the first look")
    seconds: float = Field(default=0, ge=0, description="in which these came")
    recent_requests: float = Field(default=0, ge=0, description="of the last looks, older ones counting ever less")
    recent_failed: float = Field(default=0, ge=0)
    bet_on_few: Bet = Field(default=Bet(), description="against an error ratio at or over its limit")
    bet_on_more: Bet = Field(default=Bet(), description="against an error ratio that is no worse than before")
    good: int = Field(default=0, ge=0, description="good looks in a row up to now")
    good_since: Moment | None = None
    well: int = Field(default=0, ge=0, description="the same, whatever the error ratio of a single look")
    well_since: Moment | None = None
    more_errors: int = Field(default=0, ge=0, description="looks in a row whose own error ratio was worse than before")
    worse: int = Field(default=0, ge=0, description="looks in a row that found anything else worse than before")
    unreadable_since: Moment | None = None
    no_data_since: Moment | None = None

    @property
    def apart(self) -> bool:
        """Whether the looks are far enough from each other to be samples."""
        if self.first_at is None or self.last_at is None or self.looks <= 1:
            return False
        return self.last_at - self.first_at >= APART * (self.looks - 1)

    @property
    def error_ratio(self) -> float | None:
        """Of the last looks' requests; `None`: there were none."""
        return self.recent_failed / self.recent_requests if self.recent_requests > 0 else None

    @property
    def requests_per_second(self) -> float | None:
        """`None`: not known."""
        return self.requests / self.seconds if self.seconds else None

    def since(self, began: datetime | None) -> timedelta:
        """From `began` to the last look; zero where it has not begun."""
        return self.last_at - began if self.last_at and began else timedelta(0)

    def taking(self, sample: Sample, limits: RecoveryLimits, worse_over: float) -> "Samples":
        """The same with one more look.

        Args:
            sample: the look, newer than all before.
            limits: what it is held against.
            worse_over: the error ratio over which it is worse than before.
        """
        since = min(sample.at - self.last_at, _LONGEST).total_seconds() if self.last_at else 0.0
        ratio, rate = sample.error_ratio, sample.requests_per_second
        known = since > 0 and ratio is not None and rate is not None
        requests = rate * since if known and rate is not None else 0.0
        failed = requests * ratio if ratio is not None else 0.0
        noise = limits.noise.total_seconds() / since if since > 0 else 0.0
        over, under = Doubted.AT_LEAST, Doubted.AT_MOST
        return Samples(
            looks=self.looks + 1,
            first_at=self.first_at or sample.at,
            last_at=sample.at,
            counted=self.counted + known,
            requests=self.requests + requests,
            seconds=self.seconds + (since if known else 0.0),
            recent_requests=self.recent_requests * (_LASTS if known else 1) + requests,
            recent_failed=self.recent_failed * (_LASTS if known else 1) + failed,
            bet_on_few=raise_bet(self.bet_on_few, over, limits.error_rate_below, failed, requests, noise),
            bet_on_more=raise_bet(self.bet_on_more, under, worse_over, failed, requests, noise),
            good=self.good + 1 if sample.good else 0,
            good_since=(self.good_since or sample.at) if sample.good else None,
            well=self.well + 1 if sample.well else 0,
            well_since=(self.well_since or sample.at) if sample.well else None,
            more_errors=self.more_errors + 1 if sample.more_errors else 0,
            worse=self.worse + 1 if sample.worse else 0,
            unreadable_since=(self.unreadable_since or sample.at) if sample.unreadable else None,
            no_data_since=(self.no_data_since or sample.at) if sample.no_data else None,
        )
