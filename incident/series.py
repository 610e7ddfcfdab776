"""Numbers over time: metrics of several services, sampled at the same times. Pure arrays; no workflow imports this."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Quantity(StrEnum):
    """What a metric counts: which direction of it is bad, and what it is a sign of."""

    ERRORS = "errors"
    """A ratio 0..1 of what failed, or a number of failures; more is worse."""
    SUCCESS = "success"
    """What succeeded; less is worse."""
    LATENCY = "latency"
    CPU = "cpu"
    MEMORY = "memory"
    IO = "io"
    """Bytes or operations on disk or network; neither direction is bad by itself."""
    TRAFFIC = "traffic"
    """Requests; neither direction is bad by itself."""
    OTHER = "other"

    @property
    def badness(self) -> int:
        """1: more is worse, -1: less is worse, 0: neither is by itself."""
        return _BADNESS[self]


_BADNESS = {
    Quantity.ERRORS: 1,
    Quantity.SUCCESS: -1,
    Quantity.LATENCY: 1,
    Quantity.CPU: 1,
    Quantity.MEMORY: 1,
    Quantity.IO: 0,
    Quantity.TRAFFIC: 0,
    Quantity.OTHER: 0,
}


@dataclass(frozen=True)
class Column:
    """One metric of one service."""

    service: str
    metric: str
    quantity: Quantity

    @property
    def name(self) -> str:
        """`service:metric`."""
        return f"{self.service}:{self.metric}"


@dataclass(frozen=True)
class Frame:
    """Samples of several columns at the same times, oldest first."""

    times: Array
    """Shape (n,), unix seconds, ascending, none twice."""
    columns: tuple[Column, ...]
    """m of them."""
    values: Array
    """Shape (n, m), each in its metric's own unit; NaN: no value."""

    def __post_init__(self) -> None:
        """Refuses shapes that do not fit together, and times that do not ascend.

        Raises:
            ValueError: naming what was expected.
        """
        expected = (len(self.times), len(self.columns))
        if self.values.shape != expected:
            raise ValueError(f"values: expected the shape {expected}, got {self.values.shape}")
        if len(self.times) > 1 and not (np.diff(self.times) > 0).all():
            raise ValueError("times: expected each later than the one before")

    def __len__(self) -> int:
        """How many times there are samples of."""
        return len(self.times)

    def between(self, since: float, until: float) -> "Frame":
        """The samples with `since` <= time < `until`, in unix seconds."""
        kept = (self.times >= since) & (self.times < until)
        return Frame(self.times[kept], self.columns, self.values[kept])

    def only(self, columns: Sequence[Column]) -> "Frame":
        """The samples of those columns, in that order; a column that it does not have is NaN throughout."""
        known = {column: place for place, column in enumerate(self.columns)}
        values = np.full((len(self.times), len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column in known:
                values[:, place] = self.values[:, known[column]]
        return Frame(self.times, tuple(columns), values)
