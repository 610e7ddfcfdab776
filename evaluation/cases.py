"""Incidents of a made-up system: what befell it, the deployments before it, guilty or not, and people's luck.

Assumptions, beyond those of `evaluation.faults`:
- Every service is deployed once in nine hours on average, and was deployed before that.
- Innocent deployments coincide: in over half of the incidents one more goes live between twenty minutes before and two
  minutes after the onset, half of the time on the affected service itself.
- A guilty deployment mostly shows within minutes, a quarter of them only after up to one and a half hours. One in
  twenty is hidden under a later innocent one, so that the predecessor is the bad one.
- One in seven innocent deployments fixed a bug: going back behind it brings that back. It fails 0.2 to 5 % of requests,
  for a version that is known to have served in good health cannot have had a worse one for long.
- Configurations are changed as often as services are deployed. A bad one shows as soon as a bad deployment does, and
  in three of ten incidents an innocent change goes live near the onset. Of one in five of them nobody tells; of the
  others somebody tells within minutes.
- One rollback in two hundred clashes with what the newer version left behind, and fails until it is undone; one in
  two hundred does not cure what a bad deployment left behind. Neither can be seen before it is tried.
"""

from dataclasses import dataclass, replace

import numpy as np

from evaluation.faults import (
    HEALTHY_ROWS,
    Effect,
    Fault,
    FaultClass,
    draw_lag,
    lay,
    leak_strength,
    make_fault,
    memory_of_leak,
)
from evaluation.world import ROWS, Strain, World, chance, make_world, no_strain
from incident.series import Array

_SOMETIMES_GUILTY = frozenset({FaultClass.LEAK, FaultClass.FLAPPING})


@dataclass(frozen=True)
class Release:
    """One deployment."""

    service: int
    number: int
    row: int
    """When it went live; before 0: before the history begins."""
    once_healthy: bool | None = True
    bad: bool = False
    """The fault came with it, and is in every later version."""
    fixed: Effect | None = None
    """What comes back where one goes behind it."""
    clash: Effect | None = None
    """What going back behind it breaks until it is undone."""


@dataclass(frozen=True)
class Reconfiguration:
    """One change of a service's configuration that somebody tells of."""

    service: int
    row: int
    """When it was made."""
    told: int
    """The row in which it is told."""


@dataclass(frozen=True)
class Fates:
    """What chance has in store, the same whatever is done."""

    repair: float
    """Minutes from the page until a person has repaired it."""
    complaint: float
    """Minutes until users have complained, where nobody was paged."""
    answer: float
    """Minutes until a person who is asked answers."""
    judgement: float
    """0..1: a person judges a question rightly where it is below their skill."""
    rollout: Array
    """Minutes that a rollback takes, for each service."""
    restart: Array
    """Ratio of requests that a restart fails, for each service."""
    uncured: bool
    """The bad deployment left something behind: going back does not cure it."""


@dataclass(frozen=True)
class Case:
    """One incident: a system, what befell it, and everything that is drawn by lot."""

    world: World
    fault: Fault
    releases: tuple[Release, ...]
    """Oldest first."""
    fates: Fates
    reconfigurations: tuple[Reconfiguration, ...] = ()

    @property
    def guilty(self) -> Release | None:
        """The deployment that the fault came with."""
        return next((each for each in self.releases if each.bad), None)

    def of(self, service: int) -> tuple[Release, ...]:
        """The deployments of that service, oldest first."""
        return tuple(each for each in self.releases if each.service == service)


def make_case(kind: FaultClass, random: np.random.Generator) -> Case:
    """An incident of that class; the same generator state gives the same one."""
    world = make_world(random)
    onset = HEALTHY_ROWS + int(random.integers(0, 60))
    with_guilt = kind is FaultClass.BAD_DEPLOYMENT or (kind in _SOMETIMES_GUILTY and chance(random, 0.5))
    fault = make_fault(kind, world, onset, random)
    centre = next(iter(fault.effects), int(random.choice(world.inside)))
    releases = _everyday(world, random)
    if with_guilt:
        releases = _with_guilty(releases, _guilty_row(fault, random), centre, random)
    releases += _coincident(world, centre, onset, random, guilty=with_guilt)
    return Case(
        world=world,
        fault=fault,
        releases=_numbered(releases, random),
        fates=_fates(world, random),
        reconfigurations=_told(world, fault, centre, random),
    )


def unattended(case: Case) -> Strain:
    """What lies upon the world as long as nobody does anything."""
    strain = no_strain(ROWS, len(case.world.services))
    fault, strength = case.fault, case.fault.strength
    if fault.leaking is not None:
        taken = memory_of_leak(fault, (), ROWS)
        strain.memory[:, fault.leaking] += taken
        strength = leak_strength(fault, taken)
    for service, effect in fault.effects.items():
        lay(effect, service, strength, strain)
    strain.traffic[:] *= 1 + (fault.traffic - 1) * strength
    for release in case.releases:
        if 0 <= release.row < ROWS:  # a rolling restart: a minute of some failures and slow answers
            strain.errors[release.row, release.service] += 0.004
            strain.latency[release.row, release.service] *= 1.3
    return strain


def _everyday(world: World, random: np.random.Generator) -> list[Release]:
    """For each service four deployments before the history, then one in nine hours."""
    made = []
    for service in world.inside:
        rows = list(-random.integers(60, 5 * 24 * 60, 4)) + list(random.integers(0, ROWS, random.poisson(ROWS / 540)))
        made += [_innocent(service, int(row), random) for row in rows]
    return made


def _innocent(service: int, row: int, random: np.random.Generator) -> Release:
    fixed = _old_bug(random) if chance(random, 1 / 7) else None
    clash = Effect(errors=float(random.uniform(0.1, 0.6))) if chance(random, 1 / 200) else None
    healthy = None if chance(random, 0.07) else True
    return Release(service, 0, row, once_healthy=healthy, fixed=fixed, clash=clash)


def _guilty_row(fault: Fault, random: np.random.Generator) -> int:
    return fault.leaks_since if fault.leaking is not None else fault.onset - draw_lag(random)


def _old_bug(random: np.random.Generator) -> Effect:
    return Effect(
        errors=float(np.exp(random.uniform(np.log(0.002), np.log(0.05)))), latency=float(random.uniform(1, 1.5))
    )


def _with_guilty(releases: list[Release], row: int, service: int, random: np.random.Generator) -> list[Release]:
    """`releases` with the guilty one, which is the service's last, but for one in twenty."""
    kept = [each for each in releases if each.service != service or each.row < row]
    guilty = replace(_innocent(service, row, random), bad=True, fixed=None)
    if chance(random, 0.05):
        kept.append(_innocent(service, row + int(random.integers(2, 20)), random))
    return [*kept, guilty]


def _coincident(world: World, centre: int, onset: int, random: np.random.Generator, *, guilty: bool) -> list[Release]:
    if not chance(random, 0.55):
        return []
    affected = world.callers(centre) if centre == world.outside or guilty else (centre,)
    near = world.beside(centre) or world.inside
    where = int(random.choice(affected if affected and chance(random, 0.5) else near))
    if guilty and where == centre:
        return []
    return [_innocent(where, onset - int(random.integers(-2, 21)), random)]


def _told(world: World, fault: Fault, centre: int, random: np.random.Generator) -> tuple[Reconfiguration, ...]:
    """One in nine hours for each service, the guilty one if there is any, and one that coincides in three of ten."""
    made = [
        (service, int(row))
        for service in world.inside
        for row in random.integers(-60, ROWS, random.poisson((ROWS + 60) / 540))
    ]
    if fault.kind is FaultClass.BAD_CONFIGURATION:
        made.append((centre, fault.onset - draw_lag(random)))
    if chance(random, 0.3):
        where = centre if centre != world.outside and chance(random, 0.5) else int(random.choice(world.inside))
        made.append((where, fault.onset - int(random.integers(-2, 21))))
    return tuple(
        Reconfiguration(service, row, row + round(float(random.exponential(1.5))))
        for service, row in made
        if chance(random, 0.8)
    )


def _numbered(releases: list[Release], random: np.random.Generator) -> tuple[Release, ...]:
    """Oldest first, numbered within each service; of two in one minute the later is moved on."""
    first = int(random.integers(100, 1000))
    done: list[Release] = []
    for service in sorted({each.service for each in releases}):
        last = -(10**9)
        for number, each in enumerate(sorted((each for each in releases if each.service == service), key=_row)):
            last = max(each.row, last + 1)
            done.append(replace(each, number=first + number, row=last))
    return tuple(sorted(done, key=_row))


def _row(release: Release) -> int:
    return release.row


def _fates(world: World, random: np.random.Generator) -> Fates:
    count = len(world.services)
    return Fates(
        repair=float(np.exp(random.normal(np.log(31), 0.5))),  # mean 35 minutes
        complaint=float(random.uniform(10, 40)),
        answer=float(np.exp(random.normal(np.log(5), 0.6))),  # mean 6 minutes
        judgement=float(random.random()),
        rollout=random.uniform(2, 5, count),
        restart=random.uniform(0.01, 0.06, count),
        uncured=chance(random, 1 / 200),
    )
