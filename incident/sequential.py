"""Bets on a ratio of failures: evidence that may be read at every look, and acted on at any of them.

A bet starts at 1 and is raised by each sample with what it says against the claim that is doubted. While the claim is
true its worth is expected not to grow, so the chance that it ever reaches 1/a is at most a, however often it is read
(Ville's inequality: an e-process). How it is made: a part is staked at once and the rest later, in ever smaller parts,
since a service may recover late; the stakes are spread over several alternatives, each raised by its likelihood ratio.
Sources: Robbins, Ann. Math. Stat. 41 (1970), mixtures over the alternatives; Howard, Ramdas, McAuliffe, Sekhon, Ann.
Stat. 49 (2021), of binomial counts; Waudby-Smith, Ramdas, JRSS B 86 (2024), betting; Shin, Ramdas, Rinaldo (2023),
unknown beginnings; Lindon, Sanden, Shirikian, arXiv 2205.14762, releases judged at every look.

Requests that fail together are worth less than as many that fail by themselves: each sample's likelihood ratio is taken
to a power under 1, so that no second is worth more than 1/noise failures. A power under 1 keeps the bound for
independent requests (Jensen's inequality), and costs time.
"""

from enum import StrEnum
from functools import lru_cache
from math import exp, log

from pydantic import Field

from incident.model import Fact

_BELOW = (0.1, 0.3, 0.5, 0.7)
_ABOVE = (1.25, 1.5, 2.0, 4.0)
"""The alternatives: the ratio that is doubted, times each."""
_LATER = 10
"""A tenth of what is not staked is staked at the next look, an eleventh of the rest at the one after, and so on."""
_MOST = 1e4
"""More than this a stake is never worth, so that a long good time does not outweigh what is bad now."""
_STEEPEST = 50.0
"""Of the logarithm of one likelihood ratio, so that it stays a number."""
_SMALLEST_RATIO = 1e-6


class Doubted(StrEnum):
    """What a bet doubts of a ratio of failures."""

    AT_LEAST = "at least"
    """That it is the limit or more: the bet grows while there are fewer failures."""
    AT_MOST = "at most"
    """That it is the limit or less: the bet grows while there are more."""


class Bet(Fact):
    """What was won so far by doubting one claim; 1 at first."""

    held: float = Field(default=0.5, ge=0, description="not staked yet")
    stakes: tuple[float, float, float, float] = (0.125, 0.125, 0.125, 0.125)
    raised: int = Field(default=0, ge=0, description="how often")

    @property
    def worth(self) -> float:
        """To 1: the evidence against the claim."""
        return self.held + sum(self.stakes)

    def proves(self, wrong: float) -> bool:
        """Whether the claim is refuted, with at most the chance `wrong` of doing so, over all looks, if it is true."""
        return self.worth * wrong >= 1


def raise_bet(bet: Bet, doubted: Doubted, limit: float, failed: float, requests: float, noise: float) -> Bet:
    """The bet after one more sample.

    Args:
        bet: as it was.
        doubted: what it doubts.
        limit: the ratio that is doubted, 0..1.
        failed: how many of the requests failed.
        requests: how many there were; with none the bet stays as it is.
        noise: how much the sample's own ratio may stray from the lasting one: the variance of the one over the other.
    """
    if requests <= 0:
        return bet
    power = 1 / (1 + requests * limit * noise)
    failures, successes = power * failed, power * (requests - failed)
    staked = bet.held / (bet.raised + 1 + _LATER)
    share = staked / len(bet.stakes)
    a, b, c, d = [
        min(_MOST, (stake + share) * exp(min(_STEEPEST, failures * of_failed + successes * of_good)))
        for stake, (of_failed, of_good) in zip(bet.stakes, _odds(doubted, limit), strict=True)
    ]
    return Bet(held=bet.held - staked, stakes=(a, b, c, d), raised=bet.raised + 1)


@lru_cache(maxsize=256)
def _odds(doubted: Doubted, limit: float) -> tuple[tuple[float, float], ...]:
    """Per alternative the log of its odds against `limit`, for a failure and for a success."""
    ratio = min(max(limit, _SMALLEST_RATIO), 1 - _SMALLEST_RATIO)
    if doubted is Doubted.AT_LEAST:
        others = [ratio * times for times in _BELOW]
    else:
        others = [min(ratio * times, 1 - (1 - ratio) / times) for times in _ABOVE]
    return tuple((log(other / ratio), log((1 - other) / (1 - ratio))) for other in others)


@lru_cache(maxsize=256)
def requests_needed(limit: float, wrong: float) -> float:
    """How many requests without any failure show at the least that their ratio of failures is under `limit`."""
    ratio = min(max(limit, _SMALLEST_RATIO), 1 - _SMALLEST_RATIO)
    return log(wrong) / log(1 - ratio)
