"""What goes wrong in a made-up system: a fault of some class, how strong it is in each minute, and what it does.

Assumptions, beyond those of `evaluation.world`: effects go from barely seen to total, evenly on a logarithmic scale; a
fault of a dependency sits in an outside system half of the time where there is one.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from evaluation.world import ROWS, Strain, World, chance
from incident.series import Array

HEALTHY_ROWS = 600
"""The fault shows in none of them, but for a leak that grows unseen."""


class FaultClass(StrEnum):
    """What went wrong."""

    BAD_DEPLOYMENT = "bad_deployment"
    BAD_CONFIGURATION = "bad_configuration"
    LOAD = "load"
    DEPENDENCY = "dependency"
    LEAK = "leak"
    PARTIAL_OUTAGE = "partial_outage"
    FLAPPING = "flapping"
    SELF_HEALING = "self_healing"


MIX = {
    FaultClass.BAD_DEPLOYMENT: 0.35,
    FaultClass.BAD_CONFIGURATION: 0.12,
    FaultClass.LOAD: 0.10,
    FaultClass.DEPENDENCY: 0.13,
    FaultClass.LEAK: 0.08,
    FaultClass.PARTIAL_OUTAGE: 0.08,
    FaultClass.FLAPPING: 0.07,
    FaultClass.SELF_HEALING: 0.07,
}
"""How common each is, for figures over all. A leak and flapping are a deployment's fault half of the time: 57 % of the
incidents have no guilty deployment. Changes of either kind are behind more than half, as most published counts say."""


@dataclass(frozen=True)
class Effect:
    """What a fault does to a service at its full strength."""

    errors: float = 0.0
    latency: float = 1.0
    """Factor of the own latency."""
    cpu: float = 0.0


@dataclass(frozen=True)
class Fault:
    """What went wrong, where and when."""

    kind: FaultClass
    onset: int
    strength: Array
    """Shape (ROWS,), 0..1, as long as nobody does anything."""
    effects: dict[int, Effect]
    """For each service that it sits in; empty for load."""
    traffic: float = 1.0
    """Factor of the traffic at full strength."""
    leaking: int | None = None
    """The service whose memory grows; its strength follows from that."""
    leaks_since: int = 0
    leak_slope: float = 0.0
    """Memory a minute."""
    room: float = 1.0
    """What a leak may take until the process has no memory left, and dies."""


def memory_of_leak(fault: Fault, restarts: tuple[int, ...], cured: int) -> Array:
    """Shape (ROWS,): what a leak has taken. A restart gives it back; where it takes everything the process restarts."""
    taken = np.zeros(ROWS)
    held = 0.0
    for row in range(max(fault.leaks_since, 0), ROWS):
        held = 0.0 if row in restarts or row >= cured or held >= fault.room else held + fault.leak_slope
        taken[row] = held
    return taken


_HURTS = 0.75
"""The share of the room from which on a leak hurts."""


def leak_strength(fault: Fault, taken: Array) -> Array:
    """Shape as `taken`, 0..1: how much a leak hurts that has taken so much."""
    return np.clip((taken / fault.room - _HURTS) / (1 - _HURTS), 0, 1)


def lay(effect: Effect, service: int, strength: Array, strain: Strain) -> None:
    """Adds `effect` at `strength` (one for each row of `strain`) to that service."""
    strain.errors[:, service] += effect.errors * strength
    strain.latency[:, service] *= 1 + (effect.latency - 1) * strength
    strain.cpu[:, service] += effect.cpu * strength


def make_fault(kind: FaultClass, world: World, onset: int, random: np.random.Generator) -> Fault:
    """A fault of that class, which shows from the row `onset` on."""
    inside, strength = int(random.choice(world.inside)), _ramp(onset, int(random.integers(0, 6)))
    match kind:
        case FaultClass.BAD_DEPLOYMENT | FaultClass.BAD_CONFIGURATION:
            fault = Fault(kind, onset, strength, {inside: draw_effect(random)})
        case FaultClass.LOAD:
            strength = _until(strength, onset + int(random.integers(20, 120)))
            fault = Fault(kind, onset, strength, {}, traffic=float(random.uniform(1.6, 3.5)))
        case FaultClass.DEPENDENCY:
            fault = Fault(kind, onset, strength, {_below(world, random): draw_effect(random, by_itself=True)})
        case FaultClass.LEAK:
            room = 1 - float(np.median(world.memory[:, inside]))
            fault = _leak(inside, room, onset, random)
        case FaultClass.PARTIAL_OUTAGE:
            strength = _until(strength, onset + int(random.integers(20, 120)))
            fault = Fault(kind, onset, strength, _outage(world, random))
        case FaultClass.FLAPPING:
            period, on = int(random.integers(6, 20)), random.uniform(0.35, 0.7)
            beats = ((np.arange(ROWS) - onset) % period) < on * period
            fault = Fault(kind, onset, strength * beats, {inside: draw_effect(random)})
        case FaultClass.SELF_HEALING:
            strength = _until(strength, onset + int(random.integers(4, 16)))
            fault = Fault(kind, onset, strength, {int(random.integers(len(world.services))): draw_effect(random)})
    return fault


def _below(world: World, random: np.random.Generator) -> int:
    """Any service but the entry; where there is an outside system, that one half of the time."""
    if world.outside is not None and chance(random, 0.5):
        return world.outside
    return int(random.integers(1, len(world.services)))


def _leak(service: int, room: float, onset: int, random: np.random.Generator) -> Fault:
    """Memory that grows for 40 minutes to seven hours before it shows."""
    ahead = int(random.integers(40, 420))
    effect = Effect(errors=float(random.uniform(0.05, 0.4)), latency=float(random.uniform(2, 8)))
    return Fault(
        kind=FaultClass.LEAK,
        onset=onset,
        strength=np.zeros(ROWS),
        effects={service: effect},
        leaking=service,
        leaks_since=onset - ahead,
        leak_slope=_HURTS * room / ahead,
        room=room,
    )


def _outage(world: World, random: np.random.Generator) -> dict[int, Effect]:
    """One of two to six machines or zones is gone, with its share of up to three services."""
    lost = 1 / float(random.choice((2, 3, 4, 6)))
    hit = random.choice(world.inside, int(random.integers(1, 4)), replace=False)
    return {int(each): Effect(errors=0.9 * lost, latency=1.5, cpu=0.3 * lost) for each in hit}


def draw_effect(random: np.random.Generator, *, by_itself: bool = False) -> Effect:
    """Failures, slowness or both, from barely seen to total; a service's own code may also burn its processors."""
    which = random.random()
    errors = float(np.exp(random.uniform(np.log(0.02), np.log(0.8))))
    latency = float(np.exp(random.uniform(np.log(2), np.log(20))))
    if which < 0.45:  # noqa: PLR2004 - failures alone
        return Effect(errors=errors)
    if which < 0.7:  # noqa: PLR2004 - slowness alone
        return Effect(latency=latency)
    if which < 0.88 or by_itself:  # noqa: PLR2004 - both
        return Effect(errors=errors, latency=latency)
    return Effect(errors=errors / 4, latency=latency / 2, cpu=float(random.uniform(0.3, 0.7)))


def _ramp(onset: int, minutes: int) -> Array:
    return np.clip((np.arange(ROWS) - onset + 1) / (minutes + 1), 0, 1)


def _until(strength: Array, ends: int) -> Array:
    return np.where(np.arange(ROWS) < ends, strength, 0.0)


def draw_lag(random: np.random.Generator) -> int:
    """Minutes from a guilty change to the onset."""
    soon = chance(random, 0.75)
    return int(min(random.exponential(4), 30) if soon else random.uniform(10, 90))
