"""Before against after: how a service is, with "could not tell" as a value of its own."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from incident.comparison import (
    Changes,
    Lasting,
    errors_wanting,
    improvement,
    next_door,
    others_wanting,
    worse_elsewhere,
    worse_over,
)
from incident.evidence import Metric
from incident.look import Look, look_at
from incident.model import Fact, Moment
from incident.samples import APART, Sample, Samples
from incident.sequential import requests_needed
from incident.verifying import RecoveryLimits

__all__ = ["COMPARED", "Classification", "Look", "Recovery", "classify", "improvement", "look_at"]

COMPARED = (
    Metric.ERROR_RATE,
    Metric.P99_LATENCY,
    Metric.P95_LATENCY,
    Metric.CPU_USAGE,
    Metric.MEMORY_USAGE,
    Metric.REQUESTS_PER_SECOND,
)
"""What before and after are shown of."""
_MUST_LAST = 2
"""Times as many looks as recovery takes must find it worse: the one look before may have been a lucky one."""


class Classification(StrEnum):
    """How a service is, compared with when the incident opened. INCONCLUSIVE: it could not be told."""

    FULLY_RECOVERED = "FULLY_RECOVERED"
    SIGNIFICANT_IMPROVEMENT = "SIGNIFICANT_IMPROVEMENT"
    IMPROVING = "IMPROVING"
    STABLE = "STABLE"
    DEGRADED = "DEGRADED"
    INCONCLUSIVE = "INCONCLUSIVE"


class Recovery(Fact):
    """How the service is now, and why that is said."""

    classification: Classification
    reasons: tuple[str, ...]
    settled: bool = Field(description="whether the verification is over: it has recovered, or it cannot be told")
    stable: bool = Field(default=True, description="recovered: whether for so long that a page may be closed")
    good_since: Moment | None = Field(default=None, description="recovered: since when; null: not kept")
    samples: Samples | None = Field(default=None, description="what all looks have shown; null: not kept")


def classify(before: Look, looks: Sequence[Look], limits: RecoveryLimits, so_far: Samples | None = None) -> Recovery:
    """How the service is after `looks`, oldest first, compared with `before`.

    FULLY_RECOVERED takes `limits.stable_looks` good looks in a row: error rate and p99 under their limits, health good,
    no alert firing, no anomaly of any kind, nothing worse next door, nothing unknown. DEGRADED: something is worse,
    whatever else is better. INCONCLUSIVE: nothing is known to be worse, and something that matters could not be read,
    or there are too few requests to tell.

    Where looks are seconds apart, worse is what stayed so for twice as many, by more than a practical margin. Where the
    request rate is known too, the error rate is judged by the requests of all looks and not by the one look's: that it
    is under its limit, or worse than before, is said with at most the chance `limits.wrong` of being wrong, over all
    looks together. Of everything else, latency too, a look gives one number and not how many requests it stands for:
    there nothing is promised but the looks in a row.

    Args:
        before: when the incident opened.
        looks: those since, without the ones that `so_far` holds.
        limits: what they are held against.
        so_far: what earlier looks have shown; `None`: there were none.
    """
    if not looks:
        nobody = ("nobody has looked yet",)
        return Recovery(classification=Classification.INCONCLUSIVE, reasons=nobody, settled=False, samples=so_far)
    samples, over = so_far or Samples(), worse_over(before, limits)
    for look in looks:
        samples = samples.taking(_sample(before, look, limits, over), limits, over)
    return _Judge(before, looks[-1], samples, limits, over).recovery()


def _sample(before: Look, look: Look, limits: RecoveryLimits, over: float) -> Sample:
    errors, latency = look.values.get(Metric.ERROR_RATE), look.values.get(Metric.P99_LATENCY)
    fine = not others_wanting(look, limits) and not any(next_door(before, look, limits))
    failed = bool(look.problem) or look.firing_alerts is None
    return Sample(
        at=look.at,
        error_ratio=errors,
        requests_per_second=look.values.get(Metric.REQUESTS_PER_SECOND),
        good=fine and not errors_wanting(look, limits),
        well=fine and errors is not None,
        more_errors=errors is not None and errors > over,
        worse=worse_elsewhere(before, look, limits),
        unreadable=failed,
        no_data=not failed and (errors is None or latency is None),
    )


class _Judge:
    """The newest look, and the samples that end with it, against before."""

    def __init__(self, before: Look, now: Look, samples: Samples, limits: RecoveryLimits, worse_over: float) -> None:
        self._before, self._now, self._samples, self._limits = before, now, samples, limits
        self._worse_over = worse_over
        self._counts = limits.count_requests and samples.apart and samples.counted > 0

    def recovery(self) -> Recovery:
        """How the service is."""
        if good := self._recovered():
            since = self._samples.well_since if self._counts else self._samples.good_since
            return Recovery(
                classification=Classification.FULLY_RECOVERED,
                reasons=good,
                settled=True,
                stable=not self._samples.apart or self._samples.since(since) >= self._limits.stable_for,
                good_since=since,
                samples=self._samples,
            )
        changes = Changes(self._before, self._now, self._limits, self._lasting())
        reasons = (*changes.reasons, *self._missing())
        if changes.worse:
            return self._as(Classification.DEGRADED, reasons)
        if blind := self._blind():
            return self._as(Classification.INCONCLUSIVE, (blind, *reasons), settled=True)
        if few := self._too_few():
            over = self._samples.since(self._samples.first_at) >= self._limits.low_traffic_for
            return self._as(Classification.INCONCLUSIVE, (few, *reasons), settled=over)
        return self._as(_class_of(changes), reasons)

    def _as(self, said: Classification, reasons: tuple[str, ...], *, settled: bool = False) -> Recovery:
        return Recovery(classification=said, reasons=reasons, settled=settled, samples=self._samples)

    def _lasting(self) -> Lasting | None:
        samples, limits = self._samples, self._limits
        alone = samples.looks == 1 < limits.stable_looks and self._now.at - self._before.at >= APART
        if not samples.apart and not alone:
            return None
        lasting = samples.worse >= _MUST_LAST * limits.stable_looks
        if not self._counts:
            return Lasting(
                worse=lasting, errors_worse=samples.more_errors >= _MUST_LAST * limits.stable_looks, error_ratio=None
            )
        ratio = samples.error_ratio
        over = ratio is not None and ratio > self._worse_over
        proven = over and samples.bet_on_more.proves(limits.wrong)
        return Lasting(worse=lasting, errors_worse=proven, error_ratio=ratio)

    def _recovered(self) -> tuple[str, ...]:
        """Why it counts as recovered; empty: it does not."""
        samples, limits = self._samples, self._limits
        if not self._counts:
            return (f"{samples.good} good looks in a row",) if samples.good >= limits.stable_looks else ()
        ratio = samples.error_ratio
        low = ratio is not None and ratio < limits.error_rate_below
        shown = samples.bet_on_few.proves(limits.wrong)
        well = samples.well >= limits.stable_looks
        return (f"{samples.well} good looks in a row", self._odds()) if low and shown and well else ()

    def _missing(self) -> tuple[str, ...]:
        """What stands between this and a recovery."""
        samples, limits = self._samples, self._limits
        wanting = others_wanting(self._now, limits)
        if self._counts:
            return (*wanting, self._odds())
        wanting = (*errors_wanting(self._now, limits), *wanting)
        return wanting or (f"good for {samples.good} of the {limits.stable_looks} looks that count as recovered",)

    def _odds(self) -> str:
        samples, metric = self._samples, Metric.ERROR_RATE
        return (
            f"{metric} {metric.show(samples.error_ratio)} lately, of {samples.requests:.0f} requests: "
            f"{samples.bet_on_few.worth:.3g} to 1 that it is under {metric.show(self._limits.error_rate_below)}, "
            f"{1 / self._limits.wrong:.0f} to 1 are needed"
        )

    def _blind(self) -> str:
        """Why nobody waits for numbers any longer; empty: they are there, or are waited for."""
        samples, limits = self._samples, self._limits
        failing, empty = samples.since(samples.unreadable_since), samples.since(samples.no_data_since)
        if failing >= limits.unreadable_for:
            return f"a source has been failing for {failing}: {self._now.problem or 'the alerts'}"
        if empty >= limits.no_data_for:
            return f"no data for {empty}: the source answers, and has no value"
        return ""

    def _too_few(self) -> str:
        """Why the traffic cannot show a recovery in time; empty: it can."""
        samples, limits = self._samples, self._limits
        rate = samples.requests_per_second
        needed = requests_needed(limits.error_rate_below, limits.wrong)
        if not self._counts or rate is None or rate * limits.low_traffic_for.total_seconds() >= needed:
            return ""
        return (
            f"low traffic, {rate:.2g} requests a second: {needed:.0f} without a failure would have to come "
            f"within {limits.low_traffic_for}"
        )


def _class_of(changes: Changes) -> Classification:
    if changes.unknown:
        return Classification.INCONCLUSIVE
    if changes.doubtful or not changes.better:
        return Classification.STABLE
    return Classification.SIGNIFICANT_IMPROVEMENT if changes.significant else Classification.IMPROVING
