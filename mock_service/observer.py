"""Keeps watch over the simulation on a fixed grid of instants: what it remembers does not depend on who reads."""

from datetime import UTC, datetime, timedelta

from mock_service.alerts import RULES, AlertMemory, Firing
from mock_service.readings import Reading
from mock_service.releases import Releases
from mock_service.simulation import Simulation

TICK = timedelta(seconds=0.5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Observer:
    """Remembers which alerts fire and when each deployment was last in good health.

    Call `witness` before anything is changed and `catch_up` before anything is read. A deployment counts as healthy
    only once its own ramp is over: until then it shows what it replaced.
    """

    def __init__(
        self, simulation: Simulation, releases: Releases, *, settles: timedelta, alert_after: timedelta, since: datetime
    ) -> None:
        self._simulation = simulation
        self._releases = releases
        self._settles = settles
        self._memories = {rule.id: AlertMemory(alert_after) for rule in RULES}
        self._seen = _on_grid(since)

    def catch_up(self, now: datetime) -> None:
        """Observe every instant of the grid up to now, in one stride where only noise moved and cannot matter."""
        last = _on_grid(now)
        while self._seen < last:
            self._observe(self._seen + TICK)
            end = min(last, _on_grid(self._simulation.calm_until(self._seen) - TICK))
            if end > self._seen and self._certain():
                self._observe(end)

    def firing(self) -> list[Firing]:
        """The alerts that fire, as of the last catch-up."""
        return [
            Firing(rule, memory.firing_since, memory.firing_since)
            for rule in RULES
            if (memory := self._memories[rule.id]).firing_since is not None
        ]

    def witness(self, at: datetime) -> None:
        """Observe the instant of a change as well: what ended before it is not taken to have lasted through it."""
        self.catch_up(at)
        self._remember(at)

    def settled(self, at: datetime) -> bool:
        """Whether the live deployment has been live long enough to show what it is, not what it replaced."""
        activated_at = self._releases.live.activated_at
        return activated_at is not None and at - activated_at >= self._settles

    def _observe(self, at: datetime) -> None:
        self._seen = at
        reading = self._remember(at)
        if reading.well and self.settled(at):
            self._releases.live.last_healthy_at = at

    def _remember(self, at: datetime) -> Reading:
        reading = self._simulation.reading(at)
        for rule in RULES:
            self._memories[rule.id].observe(breached=rule.breached(reading), at=at)
        return reading

    def _certain(self) -> bool:
        lowest, highest = self._simulation.envelope(self._seen)
        return all(rule.certain(lowest, highest) for rule in RULES)


def _on_grid(at: datetime) -> datetime:
    return at - (at - _EPOCH) % TICK
