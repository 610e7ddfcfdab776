"""Units that change: seconds that were milliseconds are a matter of the exporter, not an incident."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from incident.baselines import Baseline
from incident.series import Array, Quantity

_THOUSAND = 3.0
"""log10 of the step between ms and s, and between µs and ms."""
_NEAR = 0.3
"""How near a thousand, in log10: 500 to 2,000 times."""
_SAME_SHAPE = 0.3
"""A unit moves every quantile by the same factor, within twofold; a fault moves the high ones otherwise."""
_AS_BEFORE = 1.0
"""Within ten times of what is usual, the unit is the usual one."""
_TOLD_APART = 1.5
"""Quantiles that differ by less than this share no shape to tell a unit by."""


@dataclass(frozen=True)
class UnitChange:
    """One service's latencies, all of them, came in another unit."""

    service: str
    factor: float
    """By what they are multiplied from here on, to be in the unit of the history again."""


class Units:
    """Keeps latencies in the unit of their history, by how all quantiles of a service stand to their usual values."""

    def __init__(self, baseline: Baseline) -> None:
        """Args: `baseline`: knows what is usual."""
        self._centre = baseline.expectation.centre
        families = defaultdict(list)
        for place, column in enumerate(baseline.columns):
            if column.quantity is Quantity.LATENCY and self._centre[place] > 0:
                families[column.service].append(place)
        self._families = {
            service: np.array(places)
            for service, places in families.items()
            if self._centre[places].max() >= _TOLD_APART * self._centre[places].min()
        }
        self._latencies = np.concatenate([np.empty(0, dtype=int), *self._families.values()])
        self._factor = np.ones(len(self._centre))

    def restore(self, row: Array) -> tuple[Array, tuple[UnitChange, ...]]:
        """The row, shape (m,), in the units of the history, and what has changed since the row before."""
        ratios = row[self._latencies] / self._centre[self._latencies]
        usual = np.isnan(ratios) | ((ratios < 10 ** (_THOUSAND - _NEAR)) & (ratios > 10 ** (_NEAR - _THOUSAND)))
        if usual.all() and (self._factor == 1).all():
            return row, ()
        changes = tuple(self._changes(row))
        return row * self._factor, changes

    def _changes(self, row: Array) -> list[UnitChange]:
        found = []
        for service, places in self._families.items():
            known = places[row[places] > 0]
            factor = self._factor_of(np.log10(row[known] / self._centre[known]), self._centre[known])
            if factor is not None and factor != self._factor[places[0]]:
                self._factor[places] = factor
                found.append(UnitChange(service, factor))
        return found

    def _factor_of(self, steps: Array, centre: Array) -> float | None:
        """By what these quantiles must be multiplied; `None`: they do not say."""
        if len(steps) < 2 or centre.max() < _TOLD_APART * centre.min():  # noqa: PLR2004 - a shape takes two
            return None
        step = float(np.median(steps))
        if abs(step) < _AS_BEFORE:
            return 1.0
        if np.ptp(steps) <= _SAME_SHAPE and abs(abs(step) - _THOUSAND) <= _NEAR:
            return float(10 ** -np.copysign(_THOUSAND, step))
        return None
