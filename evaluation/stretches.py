"""The sequential test of recovery on recorded healthy stretches: how often it calls a service worse that is not."""

from datetime import timedelta

import numpy as np
from pydantic import Field

from evaluation.streams import Stream
from evaluation.verification import MOST_WRONG, follow, looks_at
from incident.model import Fact
from incident.series import Array, Frame, Quantity
from incident.verifying import RecoveryLimits

LOOKS = 20
"""Looks of one verification."""
_PERCENT = 100
_MILLISECONDS = 1000.0
_REQUESTS_IN = {"rps": 1.0, "requests_5m": 300.0}
"""Seconds in which a metric of that name counts its requests."""


class StretchReport(Fact):
    """What came of verifications on healthy stretches."""

    services: int = Field(ge=0, description="with an error or success ratio, none twice")
    verifications: int = Field(ge=0)
    degraded: int = Field(ge=0, description="of these, those in which the service was called DEGRADED")

    @property
    def held(self) -> bool:
        """Whether that was no more often than it may be."""
        return self.degraded <= MOST_WRONG * self.verifications


def judge_histories(streams: list[Stream]) -> StretchReport:
    """The report on the known-healthy history of every stream; one that several streams share counts once."""
    histories = {_key(stream.history): (stream.history, stream.interval_s) for stream in streams if len(stream.history)}
    services = verifications = degraded = 0
    for history, interval in histories.values():
        for errors, rate, latency in _services(history):
            begun, wrong = false_degraded(errors, rate, latency, timedelta(seconds=interval))
            services, verifications, degraded = services + 1, verifications + begun, degraded + wrong
    return StretchReport(services=services, verifications=verifications, degraded=degraded)


def false_degraded(
    errors: Array, rate: Array, latency: Array, interval: timedelta, looks: int = LOOKS
) -> tuple[int, int]:
    """How many verifications were made in a healthy stretch, and in how many the service was called DEGRADED.

    Each one begins where half of the one before is over; the value before its looks is what the incident opened with.

    Args:
        errors: shape (n,), error ratios 0..1, one each `interval`; NaN: no value.
        rate: shape (n,), requests a second; NaN: not known.
        latency: shape (n,), p99 in ms; NaN: no value.
        interval: between two values.
        looks: how many one verification takes.
    """
    limits, begun, wrong = RecoveryLimits(), 0, 0
    for start in range(0, len(errors) - looks, max(1, looks // 2)):
        stretch = slice(start, start + looks + 1)
        before, *since = looks_at(errors[stretch], rate[stretch], interval, latency[stretch])
        begun += 1
        wrong += follow(before, since, limits, worsened=False).degraded_after is not None
    return begun, wrong


def _key(history: Frame) -> tuple[float, float, int]:
    return float(history.times[0]), float(history.times[-1]), len(history.columns)


def _services(history: Frame) -> list[tuple[Array, Array, Array]]:
    """Error ratio, request rate and latency of each service that has the former, and of which something was seen."""
    rates = {
        column.service: history.values[:, place] / _REQUESTS_IN[column.metric]
        for place, column in enumerate(history.columns)
        if column.metric in _REQUESTS_IN
    }
    latencies = {
        column.service: history.values[:, place] * _MILLISECONDS
        for place, column in enumerate(history.columns)
        if column.metric.endswith("p99_s")
    }
    unknown = np.full(len(history), np.nan)
    found = []
    for place, column in enumerate(history.columns):
        if column.quantity not in {Quantity.SUCCESS, Quantity.ERRORS} or not column.metric.endswith(("_pct", "_ratio")):
            continue
        share = history.values[:, place] / (_PERCENT if column.metric.endswith("_pct") else 1)
        errors = 1 - share if column.quantity is Quantity.SUCCESS else share
        if np.isfinite(errors).any():
            found.append(
                (np.clip(errors, 0, 1), rates.get(column.service, unknown), latencies.get(column.service, unknown))
            )
    return found
