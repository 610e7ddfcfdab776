"""What the last hour was like: the reference that tells news from what has been so for a while."""

from collections import deque

import numpy as np

from incident.expectations import quantiles
from incident.series import Array

_RENEWALS = 12
"""How often the reference is taken anew while its window passes once: a median of many rows is dear, and slow."""
_LEAST_ROWS = 12
"""Rows kept whatever their age: after a gap the rows before it are the only reference."""
_MOST_ROWS = 720
"""Rows kept at the most: an hour of a sample every five seconds."""


class Recent:
    """The median of each column over the last rows, without the newest ones, which may be the news themselves."""

    def __init__(self, window: float, newest: int) -> None:
        """Args: `window` in seconds; `newest`: how many of the latest rows are left out."""
        self._window, self._newest = window, newest
        self._rows: deque[tuple[float, Array]] = deque(maxlen=_MOST_ROWS)
        self._taken_at, self._taken_of = -np.inf, 0
        self._reference: Array | None = None

    def add(self, time: float, row: Array) -> None:
        """Takes a row of m values at `time`, unix seconds, later than the one before."""
        rows = self._rows
        rows.append((time, row))
        while len(rows) > _LEAST_ROWS + self._newest and rows[0][0] < time - self._window:
            rows.popleft()

    def reference(self) -> Array | None:
        """Shape (m,), NaN where no row had a value; `None`: nothing came before the newest rows."""
        count = len(self._rows) - self._newest
        if count <= 0:
            return None
        now = self._rows[-1][0]
        if count > _LEAST_ROWS <= self._taken_of and now - self._taken_at < self._window / _RENEWALS:
            return self._reference
        table = np.array([row for _, row in list(self._rows)[:count]])
        reference = np.full(table.shape[1], np.nan)
        known = np.isfinite(table).any(axis=0)
        reference[known] = quantiles(table[:, known], (0.5,))[0]
        self._taken_at, self._taken_of, self._reference = now, count, reference
        return reference
