"""The live service's signals: a deployment's profile, noise around it, and chaos on top."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mock_service.chaos import Chaos, ChaosKind
from mock_service.noise import wobble
from mock_service.readings import Reading
from mock_service.track import Track


@dataclass(frozen=True)
class Band:
    """A signal's centre and the most that noise moves it either way."""

    centre: float
    spread: float

    def towards(self, other: "Band", part: float) -> "Band":
        """The band this far (0..1) on the way to another."""
        return Band(
            self.centre + (other.centre - self.centre) * part,
            self.spread + (other.spread - self.spread) * part,
        )


HEALTHY = {
    "error_rate_percent": Band(0.6, 0.25),
    "p50_latency_ms": Band(85, 8),
    "p95_latency_ms": Band(122, 11),
    "p99_latency_ms": Band(175, 18),
    "requests_per_second": Band(110, 12),
    "cpu_usage_percent": Band(45, 5),
    "memory_usage_percent": Band(52, 2),
    "active_connections": Band(120, 12),
}
DEGRADED = {
    "error_rate_percent": Band(15.5, 1.5),
    "p50_latency_ms": Band(450, 30),
    "p95_latency_ms": Band(850, 45),
    "p99_latency_ms": Band(1200, 70),
    "requests_per_second": Band(25, 4),
    "cpu_usage_percent": Band(92, 1.2),
    "memory_usage_percent": Band(88, 1),
    "active_connections": Band(450, 30),
}
_DECIMALS = {"error_rate_percent": 2, "active_connections": 0}
_CHAOS_CPU_SPREAD = 0.8  # percentage points: a pinned processor hardly moves


class Simulation:
    """Readings as a pure function of the seed, the instant, and what was done before it."""

    def __init__(self, *, seed: int, ramp: timedelta) -> None:
        self._seed = seed
        self.degradation = Track(ramp)  # 0 is the healthy profile, 1 the degraded one, more is worse
        self.chaos = Chaos(ramp)

    def reading(self, at: datetime) -> Reading:
        """The signals at an instant."""
        return self._read(at, lambda name: wobble(self._seed, name, at))

    def envelope(self, at: datetime) -> tuple[Reading, Reading]:
        """The lowest and the highest reading that noise can make of an instant's levels."""
        return self._read(at, lambda _: -1.0), self._read(at, lambda _: 1.0)

    def calm_until(self, at: datetime) -> datetime:
        """The end of the stretch in which only noise moves the signals."""
        return min(self.degradation.calm_until(at), self.chaos.calm_until(at))

    def _read(self, at: datetime, noise: Callable[[str], float]) -> Reading:
        part = self.degradation.value(at)
        signals = {}
        for name, healthy in HEALTHY.items():
            band = self._hurt(name, healthy.towards(DEGRADED[name], part), at)
            signals[name] = round(max(0.0, band.centre + band.spread * noise(name)), _DECIMALS.get(name, 1))
        for name in ("error_rate_percent", "cpu_usage_percent", "memory_usage_percent"):
            signals[name] = min(100.0, signals[name])
        return Reading(**signals)

    def _hurt(self, name: str, band: Band, at: datetime) -> Band:
        if name.endswith("_latency_ms"):
            return Band(band.centre + self.chaos.level(ChaosKind.LATENCY, at), band.spread)
        if name == "error_rate_percent":
            return Band(band.centre + self.chaos.level(ChaosKind.ERRORS, at), band.spread)
        if name == "cpu_usage_percent" and (forced := self.chaos.level(ChaosKind.CPU, at)) > band.centre:
            return Band(forced, min(band.spread, _CHAOS_CPU_SPREAD))
        return band
