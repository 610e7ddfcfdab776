"""Whether stated confidence can be believed: how far it lies from how often it is right."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from pydantic import Field

from incident.model import Fact

BINS = 10


class Forecast(NamedTuple):
    """A decision's confidence, 0..1, and whether it was right."""

    confidence: float
    right: bool


class Bin(Fact):
    """The forecasts whose confidence lies over `above`, up to and including `up_to`; zero lies in the first."""

    above: float
    up_to: float
    forecasts: int
    confidence: float = Field(description="the mean of what they stated, 0..1")
    right: float = Field(description="the share of them that was right, 0..1")


def brier_score(forecasts: Sequence[Forecast]) -> float | None:
    """The mean of (confidence - outcome)², outcome being 1 for right and 0 for wrong: 0 is best, 1 is worst.

    Always saying 0.5 gives 0.25. `None`: there are no forecasts. The form for two classes, half of the original's:
    G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
    """
    if not forecasts:
        return None
    return sum((each.confidence - each.right) ** 2 for each in forecasts) / len(forecasts)


def bins(forecasts: Sequence[Forecast]) -> tuple[Bin, ...]:
    """The forecasts by their confidence, in ten bins of equal width; empty ones are left out."""
    sorted_in: dict[int, list[Forecast]] = {}
    for each in forecasts:
        sorted_in.setdefault(_place(each.confidence), []).append(each)
    return tuple(
        Bin(
            above=place / BINS,
            up_to=(place + 1) / BINS,
            forecasts=len(held),
            confidence=sum(each.confidence for each in held) / len(held),
            right=sum(each.right for each in held) / len(held),
        )
        for place, held in sorted(sorted_in.items())
    )


def calibration_error(forecasts: Sequence[Forecast]) -> float | None:
    """The expected calibration error: over all bins the sum of (n of the bin / n) x |share right - mean confidence|.

    0 is best. `None`: there are no forecasts. Few forecasts in a bin make it too large; say how many there were.
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI
    2015; with the bins of C. Guo and others, On calibration of modern neural networks, ICML 2017.
    """
    if not forecasts:
        return None
    return sum(each.forecasts * abs(each.right - each.confidence) for each in bins(forecasts)) / len(forecasts)


def _place(confidence: float) -> int:
    # Rounded first, or 0.7 x 10 would lie over 7.
    return max(ceil(round(confidence * BINS, 9)) - 1, 0)
