"""Made-up series: healthy numbers of a small system, seeded, and faults put into them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incident.series import Array, Column, Frame, Quantity

START = 1_700_000_000.0
ERRORS = Column("web", "error_ratio", Quantity.ERRORS)
LATENCY = Column("web", "p99_s", Quantity.LATENCY)
MEDIAN_LATENCY = Column("web", "p50_s", Quantity.LATENCY)
CPU = Column("cart", "cpu_pct", Quantity.CPU)
TRAFFIC = Column("cart", "rps", Quantity.TRAFFIC)
COLUMNS = (ERRORS, LATENCY, MEDIAN_LATENCY, CPU, TRAFFIC)
ENTRY = "web"


def healthy(rows: int, *, seed: int = 1, interval: float = 60.0, start: float = START) -> Frame:
    """A healthy system: 0.1 % errors, latencies around 0.05 s and 0.2 s, 20 % of a processor at 100 requests/s."""
    noise = np.random.default_rng(seed)
    values = np.column_stack(
        [
            noise.gamma(2.0, 0.0005, rows),
            0.2 * noise.lognormal(0, 0.1, rows),
            0.05 * noise.lognormal(0, 0.05, rows),
            20 + noise.normal(0, 1, rows),
            100 + noise.normal(0, 2, rows),
        ]
    )
    return frame(start + interval * np.arange(rows), COLUMNS, values)


def frame(times: NDArray[Any], columns: tuple[Column, ...], values: NDArray[Any]) -> Frame:
    """A frame of whatever numbers."""
    return Frame(np.asarray(times, dtype=np.float64), columns, np.asarray(values, dtype=np.float64))


def changed(before: Frame, since: int, until: int, into: Mapping[Column, float | Array]) -> Frame:
    """`before` with other values in the rows from `since` to before `until`."""
    values = before.values.copy()
    for column, value in into.items():
        values[since:until, before.columns.index(column)] = value
    return Frame(before.times, before.columns, values)
