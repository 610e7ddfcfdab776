"""The sequential test of recovery on made-up services: how often it is wrong, how often right, and how soon.

Each verification is a service that is looked at every five seconds for ten minutes at the most, by the rules of
incident/recovery.py under the default limits. Its requests come by chance (Poisson), and fail by chance at a ratio that
stays as it is, wanders, or comes in bursts about the cell's own. Half of the incidents opened with 20 % of errors, half
with latency alone, their error ratio being what is usual in health.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import product
from math import isnan, nan
from statistics import median

import numpy as np
from pydantic import Field

from incident.anomalies import Anomaly, Kind, Thresholds, Tier
from incident.evidence import Health, Metric
from incident.model import Fact
from incident.policy import Policy
from incident.recovery import Classification, Look, classify
from incident.samples import Samples
from incident.series import Array
from incident.verifying import RecoveryLimits

EVERY = timedelta(seconds=5)
LONGEST = timedelta(minutes=10)
"""The fixed wait that the time to a recovery is held against, too."""
RATIOS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.2)
RATES = (5.0, 20.0, 50.0, 150.0, 500.0)
BUSY = 50.0
"""From so many requests a second on it must be quick."""
MOST_WRONG = 0.01
SOONER = 0.5
"""Of the fixed wait: in so much of it half of the recovered services must be known to be so."""
_AT_THE_LIMIT = 3
"""How many times as often the services exactly at the limit are verified: there it is hardest not to be wrong."""
_SICK, _USUAL = 0.2, 0.005
_SLOW, _QUICK = 1200.0, 120.0
_WANDER_SPREAD, _WANDER_STAYS = 0.3, 0.8
"""Of the ratio's logarithm: its standard deviation, and how much of it is left at the next look."""
_BURST_TIMES, _BURST_BEGINS, _BURST_ENDS = 3.0, 1 / 9, 1 / 3
"""In a burst three times as many fail; one lasts three looks, and nine lie between two."""
_WORSE_LOOKS = Policy().worse_looks
"""So many in a row end a verification, and undo a rollback."""
_START = datetime(2026, 1, 1, tzinfo=UTC)
_LOOKS = int(LONGEST / EVERY) + 1
_THRESHOLDS = Thresholds()


class Wander(StrEnum):
    """How the ratio of failures moves about its own mean."""

    INDEPENDENT = "independent"
    CORRELATED = "correlated"
    """AR(1) on the logarithm: 30 % up and down, for some twenty seconds."""
    BURSTS = "bursts"


class Cell(Fact):
    """What came of the verifications of one kind of service."""

    error_ratio: float
    requests_per_second: float
    wander: Wander
    verifications: int
    recovered: float = Field(description="share that was called FULLY_RECOVERED")
    seconds_to_recovered: float | None = Field(description="median; null: fewer than half were called so")
    degraded: float = Field(description="share that was ever called DEGRADED")
    worsened: int = Field(description="of the verifications, those whose error ratio had been lower before")
    worsened_found: float | None = Field(description="share of them that was called DEGRADED; null: there were none")
    seconds_to_degraded: float | None = Field(description="median of these; null: fewer than half")

    @property
    def healthy(self) -> bool:
        """Whether the service had recovered."""
        return self.error_ratio < RecoveryLimits().error_rate_below


class VerificationReport(Fact):
    """What came of all of them."""

    verifications: int
    seed: int
    cells: tuple[Cell, ...]
    worst_false_recovered: float = Field(description="share, in the worst cell of services that had not recovered")
    worst_false_degraded: float = Field(description="share, in the worst cell of services that had recovered")
    slowest_median_seconds: float | None = Field(
        description="to FULLY_RECOVERED, in the slowest cell of recovered services with 50 requests a second or more; "
        "null: in one of them fewer than half were called so"
    )
    fixed_wait_seconds: float = LONGEST.total_seconds()

    @property
    def held(self) -> bool:
        """Whether it is wrong no more often than it may be, and soon enough."""
        wrong = max(self.worst_false_recovered, self.worst_false_degraded)
        slowest = self.slowest_median_seconds
        return wrong <= MOST_WRONG and slowest is not None and slowest <= SOONER * self.fixed_wait_seconds


@dataclass(frozen=True)
class Course:
    """What one verification came to; seconds from its first look, `None` where it was never called so."""

    worsened: bool
    recovered_after: float | None
    degraded_after: float | None


def verify(verifications: int = 10_000, seed: int = 8, rates: Sequence[float] = RATES) -> VerificationReport:
    """The report on at least that many verifications, spread over every cell; the same seed gives the same report."""
    kinds = tuple(product(RATIOS, rates, Wander))
    limit = RecoveryLimits().error_rate_below
    weights = np.array([_AT_THE_LIMIT if ratio == limit else 1 for ratio, _, _ in kinds])
    shares = np.ceil(weights / weights.sum() * verifications).astype(int)
    rng = np.random.default_rng(seed)
    cells = tuple(_cell(*kind, int(share), rng) for kind, share in zip(kinds, shares, strict=True))
    busy = [each.seconds_to_recovered for each in cells if each.healthy and each.requests_per_second >= BUSY]
    known = [seconds for seconds in busy if seconds is not None]
    return VerificationReport(
        verifications=sum(each.verifications for each in cells),
        seed=seed,
        cells=cells,
        worst_false_recovered=max(each.recovered for each in cells if not each.healthy),
        worst_false_degraded=max(each.degraded for each in cells if each.healthy),
        slowest_median_seconds=max(known) if len(known) == len(busy) else None,
    )


def _cell(ratio: float, rate: float, wander: Wander, verifications: int, rng: np.random.Generator) -> Cell:
    limits = RecoveryLimits()
    requests = rng.poisson(rate * EVERY.total_seconds(), (verifications, _LOOKS))
    failed = rng.binomial(requests, np.minimum(1, ratio * _wandering(wander, verifications, rng)))
    ratios = np.divide(failed, requests, out=np.full(requests.shape, nan), where=requests > 0)
    courses = []
    for number in range(verifications):
        by_latency = number % 2 == 1
        before = _before(_USUAL if by_latency else _SICK, rate, by_latency=by_latency)
        worsened = by_latency and ratio >= limits.error_rate_below * (1 + limits.worse_by)
        looks = looks_at(ratios[number], requests[number] / EVERY.total_seconds(), EVERY)
        courses.append(follow(before, looks, limits, worsened=worsened))
    worsened_courses = [each for each in courses if each.worsened]
    return Cell(
        error_ratio=ratio,
        requests_per_second=rate,
        wander=wander,
        verifications=verifications,
        recovered=_share([each.recovered_after for each in courses]) or 0.0,
        seconds_to_recovered=_median([each.recovered_after for each in courses]),
        degraded=_share([each.degraded_after for each in courses]) or 0.0,
        worsened=len(worsened_courses),
        worsened_found=_share([each.degraded_after for each in worsened_courses]),
        seconds_to_degraded=_median([each.degraded_after for each in worsened_courses]),
    )


def follow(before: Look, looks: Sequence[Look] | Iterator[Look], limits: RecoveryLimits, *, worsened: bool) -> Course:
    """One verification: looks, one after the other, until it is over, in one direction or the other.

    Args:
        before: what the incident opened with.
        looks: those since, oldest first.
        limits: what they are held against.
        worsened: whether the error ratio had been lower before.
    """
    so_far: Samples | None = None
    first: datetime | None = None
    degraded_after: float | None = None
    worse = 0
    for look in looks:
        first = first or look.at
        recovery = classify(before, (look,), limits, so_far)
        so_far, after = recovery.samples, (look.at - first).total_seconds()
        if recovery.classification is Classification.DEGRADED and degraded_after is None:
            degraded_after = after
        if recovery.classification is Classification.FULLY_RECOVERED:
            return Course(worsened, after, degraded_after)
        worse = worse + 1 if recovery.classification is Classification.DEGRADED else 0
        if recovery.settled or worse >= _WORSE_LOOKS:
            break
    return Course(worsened, None, degraded_after)


def _wandering(wander: Wander, verifications: int, rng: np.random.Generator) -> Array:
    """Shape (verifications, looks): what the ratio is multiplied by; 1 on average."""
    shape = (verifications, _LOOKS)
    factors = np.ones(shape)
    if wander is Wander.CORRELATED:
        shocks = rng.normal(0, _WANDER_SPREAD, shape)
        level = shocks[:, 0]
        for look in range(_LOOKS):
            if look:
                level = _WANDER_STAYS * level + (1 - _WANDER_STAYS**2) ** 0.5 * shocks[:, look]
            factors[:, look] = np.exp(level - _WANDER_SPREAD**2 / 2)
    if wander is Wander.BURSTS:
        share = _BURST_BEGINS / (_BURST_BEGINS + _BURST_ENDS)
        chance = rng.random(shape)
        bursting = rng.random(verifications) < share
        for look in range(_LOOKS):
            factors[:, look] = np.where(bursting, _BURST_TIMES, 1.0) / (1 + share * (_BURST_TIMES - 1))
            bursting = np.where(bursting, chance[:, look] >= _BURST_ENDS, chance[:, look] < _BURST_BEGINS)
    return factors


def _before(ratio: float, rate: float, *, by_latency: bool) -> Look:
    return _look(_START, ratio, rate, _SLOW if by_latency else _QUICK)


def looks_at(ratios: Array, rates: Array, every: timedelta, latencies: Array | None = None) -> Iterator[Look]:
    """Looks at a service.

    Args:
        ratios: shape (n,), 0..1; NaN: no value.
        rates: shape (n,), requests a second; NaN: not known.
        every: between two looks.
        latencies: shape (n,), p99 in ms; NaN: no value; `None`: it is good all the time.
    """
    slowness = np.full(len(ratios), _QUICK) if latencies is None else latencies
    rows = np.column_stack([ratios, rates, slowness]).tolist()
    for number, row in enumerate(rows, start=1):
        yield _look(_START + number * every, *(None if isnan(value) else value for value in row))


def _look(at: datetime, ratio: float | None, rate: float | None, latency: float | None) -> Look:
    return Look(
        at=at,
        values={Metric.ERROR_RATE: ratio, Metric.P99_LATENCY: latency, Metric.REQUESTS_PER_SECOND: rate},
        health=Health.HEALTHY,
        firing_alerts=0,
        anomalies=_anomalies(ratio, latency),
    )


@lru_cache(maxsize=1024)
def _anomalies(ratio: float | None, latency: float | None) -> tuple[Anomaly, ...]:
    """What the default thresholds make of the two; the values are left out of the labels, which nobody reads here."""
    found = (
        _anomaly(Kind.ERROR_RATE, Metric.ERROR_RATE, None if ratio is None else _THRESHOLDS.error_rate.tier(ratio)),
        _anomaly(
            Kind.P99_LATENCY,
            Metric.P99_LATENCY,
            None if latency is None else _THRESHOLDS.p99_latency.tier(latency),
        ),
    )
    return tuple(each for each in found if each)


@lru_cache(maxsize=16)
def _anomaly(kind: Kind, metric: Metric, tier: Tier | None) -> Anomaly | None:
    if tier is None:
        return None
    return Anomaly(id=f"anomaly:{kind}", kind=kind, tier=tier, label=f"{tier}_{kind}", metric=metric, value=1)


def _share(times: Sequence[float | None]) -> float | None:
    return sum(time is not None for time in times) / len(times) if times else None


def _median(times: Sequence[float | None]) -> float | None:
    """Of all of them, those that never came counting as the longest."""
    if not times:
        return None
    middle = median(LONGEST.total_seconds() * 2 if time is None else time for time in times)
    return middle if middle <= LONGEST.total_seconds() else None
