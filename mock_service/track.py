"""A quantity that is aimed at targets and ramps towards them, as a pure function of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_KEPT = 64  # steps; older ones only served log lines that have long scrolled away
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Step:
    at: datetime
    start: float
    target: float


class Track:
    """Starts at zero. Targets may lie in the future: a planned end needs no timer, and a newer aim replaces it."""

    def __init__(self, ramp: timedelta) -> None:
        self._ramp = ramp
        self._steps: list[_Step] = []

    def aim(self, target: float, at: datetime) -> None:
        """Ramp towards the target from this instant on; whatever was planned for later is forgotten."""
        step = _Step(at, self.value(at), target)
        self._steps = [*(earlier for earlier in self._steps if earlier.at < at), step][-_KEPT:]

    def value(self, at: datetime) -> float:
        """The quantity at an instant."""
        step = self._step(at)
        if step is None:
            return self._steps[0].start if self._steps else 0.0
        elapsed = at - step.at
        if elapsed >= self._ramp:
            return step.target
        return step.start + (step.target - step.start) * (elapsed / self._ramp)

    def target(self, at: datetime) -> float:
        """What the quantity is heading for at an instant."""
        step = self._step(at)
        return 0.0 if step is None else step.target

    def calm_until(self, at: datetime) -> datetime:
        """The end of the constant stretch that begins at an instant: that instant itself while ramping."""
        step = self._step(at)
        if step is not None and step.start != step.target and at - step.at < self._ramp:
            return at
        return next((later.at for later in self._steps if later.at > at), NEVER)

    def _step(self, at: datetime) -> _Step | None:
        return next((step for step in reversed(self._steps) if step.at <= at), None)
