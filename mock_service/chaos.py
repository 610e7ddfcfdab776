"""Harm done on request, which ends by itself."""

from datetime import datetime, timedelta
from enum import Enum

from mock_service.track import Track


class ChaosKind(Enum):
    """What is hurt; the amounts are milliseconds, percentage points of errors, and percent of cpu."""

    LATENCY = "latency"
    ERRORS = "errors"
    CPU = "cpu"


class Chaos:
    """One level per kind. A newer call of a kind replaces the older one together with its end."""

    def __init__(self, ramp: timedelta) -> None:
        self._tracks = {kind: Track(ramp) for kind in ChaosKind}

    def begin(self, kind: ChaosKind, amount: float, *, at: datetime, lasting: timedelta) -> None:
        """Raise a kind to an amount for a while."""
        self._tracks[kind].aim(amount, at)
        self._tracks[kind].aim(0.0, at + lasting)

    def clear(self, at: datetime) -> None:
        """End every kind now."""
        for track in self._tracks.values():
            track.aim(0.0, at)

    def level(self, kind: ChaosKind, at: datetime) -> float:
        """The amount felt at an instant."""
        return self._tracks[kind].value(at)

    def active(self, at: datetime) -> bool:
        """Whether any kind is felt, or about to be."""
        return any(track.target(at) > 0 or track.value(at) > 0 for track in self._tracks.values())

    def calm_until(self, at: datetime) -> datetime:
        """The end of the stretch in which no level changes."""
        return min(track.calm_until(at) for track in self._tracks.values())
