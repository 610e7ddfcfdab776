"""Histories of services as a metric store keeps them: a steady day by the minute, drawn from a seed, with changes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np

from incident.errors import UnknownServiceError
from incident.evidence import Metric
from incident.history import History
from incident.ports import MetricHistory
from tests.builders import ENVIRONMENT, NOW

MINUTES = 24 * 60
USUAL: Mapping[Metric, tuple[float, float]] = {
    Metric.ERROR_RATE: (0.004, 0.001),
    Metric.P99_LATENCY: (640.0, 25.0),
    Metric.CPU_USAGE: (0.45, 0.02),
    Metric.REQUESTS_PER_SECOND: (100.0, 4.0),
}
"""Mean and standard deviation of each metric in its unit: slow, but well."""


def history(
    seed: int,
    changes: Mapping[Metric, tuple[float, float]] | None = None,
    minutes: int = MINUTES,
    until: datetime = NOW,
) -> History:
    """That many minutes up to a moment.

    Args:
        seed: of what is drawn.
        changes: of a metric, how many minutes ago it changed, and to what.
        minutes: how long it is.
        until: when it ends.
    """
    draw = np.random.default_rng(seed)
    times = until.timestamp() - 60.0 * np.arange(minutes)[::-1]
    values = {}
    for metric, (mean, spread) in USUAL.items():
        course = np.abs(draw.normal(mean, spread, minutes))
        if changes and metric in changes:
            ago, value = changes[metric]
            course[minutes - int(ago) :] = value
        values[metric] = tuple(course.tolist())
    return History(source="prometheus", times=tuple(times.tolist()), values=values)


def climbed(kept: History, hours: float, levels: tuple[float, float], teeth: float = 0.005) -> History:
    """`kept`, with memory that has climbed for so long from one level to the other, in teeth that are so high."""
    now, (first, last) = kept.times[-1], levels
    share = [max(0.0, 1 - (now - each) / (3600 * hours)) for each in kept.times]
    memory = tuple(first + (last - first) * each + teeth * (place % 3) for place, each in enumerate(share))
    return replace(kept, values={**kept.values, Metric.MEMORY_USAGE: memory})


class KeptHistory:
    """One service's history, or why it cannot be read."""

    def __init__(self, answer: History | Exception) -> None:
        self._answer = answer
        self.read = 0

    async def read_history(self) -> History:
        """What it was given."""
        self.read += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class FakeSurroundings:
    """The histories of some services, and the calls among them."""

    def __init__(self, histories: Mapping[str, MetricHistory | None], *calls: tuple[str, str]) -> None:
        self.histories, self._calls = dict(histories), calls

    def history(self, environment: str, service: str) -> MetricHistory | None:
        """That service's history."""
        if environment != ENVIRONMENT or service not in self.histories:
            raise UnknownServiceError(environment, service, tuple(self.histories))
        return self.histories[service]

    def calls(self, environment: str, service: str) -> tuple[tuple[str, str], ...]:
        """All of them, whoever asks."""
        self.history(environment, service)
        return self._calls
