"""How fast requests may come: one bucket of tokens for each sender, kept by this process alone."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_SENDERS = 10_000
"""Buckets kept; the one that was used longest ago goes first, and begins full again."""


class Pace:
    """Buckets that hold `burst` and gain `rate` a second.

    Args:
        rate: requests a second in the long run.
        burst: requests at once.
        clock: as `time.monotonic`.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, kind: str, sender: str) -> float:
        """Seconds until a request of `sender` would be taken; 0: it is, and counts."""
        now = self._clock()
        level, seen = self._buckets.pop((kind, sender), (self._burst, now))
        level = min(self._burst, level + (now - seen) * self._rate)
        wait = max(0.0, (1 - level) / self._rate)
        self._buckets[kind, sender] = (level if wait else level - 1, now)
        if len(self._buckets) > _MOST_SENDERS:
            self._buckets.popitem(last=False)
        return wait
