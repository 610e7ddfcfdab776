"""A made-up system of services: who calls whom, its traffic over a day, and how trouble travels to the callers.

Nothing in it is measured of a real system. Assumptions (docs/decisions/0015-simulator.md gives the reasons):
- 5 to 12 services in a graph without circles; `front` is what users meet. Most worlds call an outside system as well,
  of which there are no metrics and no deployments.
- A call's failure fails its caller with a share that depends on the call (fallbacks make it small); a caller waits for
  what it calls, up to a time-out, beyond which the call fails. Nobody retries.
- Traffic follows a daily wave with correlated noise and short bursts. Beyond 80 % of a service's processors its latency
  grows, beyond 100 % it fails what it cannot serve.
- Latency is log-normal around its p99: the share of slower requests follows from it.
One row is one minute.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter  # type: ignore[import-untyped] # scipy brings no types
from scipy.special import ndtr  # type: ignore[import-untyped] # scipy brings no types

from incident.series import Array

ROW = 60.0
"""Seconds between two rows."""
ROWS = 800
"""More than thirteen hours: ten of healthy history, then the incident, what is done about it, and its end."""
ENTRY = 0
"""The service that users meet."""
_LATENCY_SIGMA = 0.55
"""Of the logarithm: p99 is then 3.6 times the median, as of many a service on the web."""
_P99 = 2.326
"""The standard normal's 99 % quantile."""
_CONGESTED = 0.8
_DAY = 24 * 60


@dataclass(frozen=True)
class Call:
    """One service calls another."""

    caller: int
    callee: int
    share: float
    """Of the caller's requests, those that call."""
    passes: float
    """Of failed calls, those that fail the caller's request."""
    waits: float
    """How much of the callee's latency the caller waits for."""
    timeout: float
    """Milliseconds after which a call has failed."""


@dataclass(frozen=True)
class World:
    """A system, and what each of its minutes would be like without any fault. n services, outside system included."""

    services: tuple[str, ...]
    calls: tuple[Call, ...]
    outside: int | None
    """The place of the outside system among the services; `None`: there is none."""
    traffic: Array
    """Shape (ROWS,), requests a second at the entry."""
    own_errors: Array
    """Shape (ROWS, n), the ratio of requests that fail of themselves."""
    own_latency: Array
    """Shape (ROWS, n), p99 in ms, without waiting for others."""
    cpu: Array
    """Shape (ROWS, n), what a service takes of its processors at the traffic that it was sized for, 0..1."""
    memory: Array
    """Shape (ROWS, n), 0..1."""
    sized_for: float
    """Requests a second at the entry that the processors were sized for."""

    @property
    def inside(self) -> tuple[int, ...]:
        """The services that are the system's own: those with metrics and deployments."""
        return tuple(each for each in range(len(self.services)) if each != self.outside)

    def callers(self, service: int) -> tuple[int, ...]:
        """Who calls it."""
        return tuple(call.caller for call in self.calls if call.callee == service)

    def beside(self, service: int) -> tuple[int, ...]:
        """Its callers and what it calls, outside systems left out."""
        near = {call.caller for call in self.calls if call.callee == service}
        near |= {call.callee for call in self.calls if call.caller == service}
        return tuple(sorted(near - {self.outside}))


@dataclass(frozen=True)
class Strain:
    """What is laid upon a world beyond its everyday; r rows."""

    errors: Array
    """Shape (r, n), ratio of requests that fail in addition."""
    latency: Array
    """Shape (r, n), factor of the own latency."""
    cpu: Array
    """Shape (r, n), taken of the processors in addition."""
    memory: Array
    """Shape (r, n), in addition."""
    traffic: Array
    """Shape (r,), factor of the entry's traffic."""


@dataclass(frozen=True)
class Flow:
    """What truly happened in every service, each of shape (r, n)."""

    errors: Array
    latency: Array
    cpu: Array
    memory: Array
    requests: Array
    """A second."""


def no_strain(rows: int, services: int) -> Strain:
    """Nothing beyond the everyday, ready to be added to."""
    return Strain(
        errors=np.zeros((rows, services)),
        latency=np.ones((rows, services)),
        cpu=np.zeros((rows, services)),
        memory=np.zeros((rows, services)),
        traffic=np.ones(rows),
    )


def slower_than(limit: float | Array, p99: Array) -> Array:
    """The share of requests that take longer than `limit` ms where the 99 % quantile is `p99` ms."""
    return np.asarray(ndtr((np.log(np.maximum(p99, 1e-9)) - np.log(limit)) / _LATENCY_SIGMA - _P99))


def flow(world: World, strain: Strain, first: int = 0) -> Flow:
    """What happens under `strain` in the rows from `first` on: faults travel from what is called to the callers."""
    rows = slice(first, first + len(strain.traffic))
    count = len(world.services)
    requests = np.zeros((len(strain.traffic), count))
    requests[:, ENTRY] = world.traffic[rows] * strain.traffic
    for call in world.calls:  # callers have the lower place, and calls are sorted by it
        requests[:, call.callee] += requests[:, call.caller] * call.share
    sized = _sized(world)
    busy = world.cpu[rows] * requests / sized + strain.cpu
    errors = np.clip(world.own_errors[rows] + strain.errors, 0, 1)
    crowd = np.clip((busy - _CONGESTED) / (1 - _CONGESTED), 0, 1.5)
    latency = world.own_latency[rows] * strain.latency * (1 + 4 * crowd**2)
    errors = 1 - (1 - errors) * np.where(busy > 1, 1 / np.maximum(busy, 1), 1)
    for call in sorted(world.calls, key=lambda each: -each.caller):
        late = slower_than(call.timeout, latency[:, call.callee])
        failed = 1 - (1 - errors[:, call.callee]) * (1 - late)
        errors[:, call.caller] = 1 - (1 - errors[:, call.caller]) * (1 - call.share * call.passes * failed)
        latency[:, call.caller] += call.waits * np.minimum(latency[:, call.callee], call.timeout)
    memory = np.clip(world.memory[rows] + strain.memory, 0, 1)
    return Flow(errors, latency, np.clip(busy, 0, 1), memory, requests)


def _sized(world: World) -> Array:
    sized = np.zeros(len(world.services))
    sized[ENTRY] = world.sized_for
    for call in world.calls:
        sized[call.callee] += sized[call.caller] * call.share
    return sized


def chance(random: np.random.Generator, share: float) -> bool:
    """True in that share of the draws."""
    return bool(random.random() < share)


def make_world(random: np.random.Generator) -> World:
    """A world; the same generator state gives the same one."""
    own = int(random.integers(5, 13))
    outside = own if chance(random, 0.6) else None  # most systems call somebody else's
    count = own + (outside is not None)
    names = tuple("front" if each == ENTRY else f"service-{each}" for each in range(own))
    calls = [_call(random, caller, each) for each in range(1, count) for caller in _callers(random, each)]
    usual = float(np.exp(random.normal(np.log(40), 0.5)))
    return World(
        services=(*names, "outside") if outside is not None else names,
        calls=tuple(sorted(calls, key=lambda call: (call.caller, call.callee))),
        outside=outside,
        traffic=usual * _day(random),
        own_errors=np.exp(random.normal(np.log(0.0008), 0.8, count) + _drift(random, count, 0.3)),
        own_latency=np.exp(random.normal(np.log(45), 0.5, count) + _drift(random, count, 0.06)),
        cpu=random.uniform(0.15, 0.45, count) * np.exp(_drift(random, count, 0.04)),
        memory=np.clip(random.uniform(0.3, 0.68, count) + _drift(random, count, 0.01), 0.05, 0.8),
        sized_for=usual,
    )


def _callers(random: np.random.Generator, callee: int) -> tuple[int, ...]:
    among = np.arange(max(0, callee - 4), callee)
    count = min(len(among), 1 if chance(random, 0.7) else 2)
    return tuple(int(each) for each in random.choice(among, count, replace=False))


def _call(random: np.random.Generator, caller: int, callee: int) -> Call:
    needed = chance(random, 0.75)
    return Call(
        caller=caller,
        callee=callee,
        share=float(random.uniform(0.4, 1.0)),
        passes=float(random.uniform(0.6, 1.0) if needed else random.uniform(0.0, 0.2)),
        waits=float(random.uniform(0.4, 1.0)),
        timeout=float(random.choice((1000, 2000, 5000))),
    )


def _day(random: np.random.Generator) -> Array:
    minutes = np.arange(ROWS) + random.uniform(0, _DAY)
    wave = 1 + random.uniform(0.1, 0.4) * np.sin(2 * np.pi * minutes / _DAY)
    level = wave * np.exp(_drift(random, 1, 0.08)[:, 0])
    for start in random.integers(0, ROWS, random.poisson(4)):
        level[start : start + int(random.integers(2, 8))] *= random.uniform(1.1, 1.5)
    return np.asarray(level)


def _drift(random: np.random.Generator, columns: int, sigma: float) -> Array:
    """Noise of standard deviation `sigma` that remembers: each minute keeps 0.8 of the one before."""
    white = random.normal(0, sigma, (ROWS, columns))
    return np.asarray(lfilter([0.6], [1.0, -0.8], white, axis=0))
