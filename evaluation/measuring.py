"""What is measured of a made-up system, and when that alerts: samples that are noisy, late or missing."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from evaluation.cases import Case
from evaluation.faults import HEALTHY_ROWS
from evaluation.world import ROW, ROWS, Flow
from incident.evidence import Metric
from incident.series import Column, Frame, Quantity

EPOCH = datetime(2026, 3, 2, tzinfo=UTC)
"""Row 0."""
SHOWN = (
    (Metric.ERROR_RATE, "error_ratio", Quantity.ERRORS),
    (Metric.P99_LATENCY, "p99_latency_ms", Quantity.LATENCY),
    (Metric.CPU_USAGE, "cpu_ratio", Quantity.CPU),
    (Metric.MEMORY_USAGE, "memory_ratio", Quantity.MEMORY),
    (Metric.REQUESTS_PER_SECOND, "requests", Quantity.TRAFFIC),
)
"""The columns of each service that is the system's own, in this order, named as `incident.norms` names them."""
_OF_THESE, _WITHIN = 2, 3
"""An alert fires where its rule holds in so many of the last minutes."""
_SAMPLED = 2.05
"""Standard deviation of the logarithm of a p99 from one request; it falls with the root of their number."""


@dataclass(frozen=True)
class Noise:
    """How badly one sees. Sampling adds to it: with few requests a ratio or a quantile says little."""

    name: str
    latency: float
    """Standard deviation of the logarithm."""
    usage: float
    """Standard deviation of processor and memory use, of 1."""
    missing: float
    """The ratio of samples without a value."""
    lag: int
    """Minutes by which the newest sample is late."""
    spikes: float
    """The ratio of samples that are three to ten times what they should be."""
    counted: float
    """Factor of the requests that metrics are made of: fewer users, or samples only."""


NOISES = (
    Noise("quiet", latency=0.03, usage=0.01, missing=0.0, lag=0, spikes=0.0, counted=1.0),
    Noise("usual", latency=0.08, usage=0.02, missing=0.01, lag=0, spikes=0.001, counted=0.5),
    Noise("loud", latency=0.18, usage=0.04, missing=0.05, lag=1, spikes=0.004, counted=0.2),
    Noise("harsh", latency=0.35, usage=0.08, missing=0.15, lag=2, spikes=0.01, counted=0.05),
)


def measured(case: Case, truth: Flow, noise: Noise, random: np.random.Generator) -> Frame:
    """Every sample that is ever taken, whole."""
    world, inside = case.world, list(case.world.inside)
    shape = (ROWS, len(inside))
    requests = truth.requests[:, inside]
    counted = random.poisson(ROW * noise.counted * requests)
    errors = np.where(counted > 0, random.binomial(counted, truth.errors[:, inside]) / np.maximum(counted, 1), np.nan)
    blur = np.sqrt(noise.latency**2 + _SAMPLED**2 / np.maximum(counted, 1))
    latency = np.where(counted > 0, truth.latency[:, inside] * np.exp(random.normal(0, 1, shape) * blur), np.nan)
    usage = [
        np.clip(true[:, inside] + random.normal(0, noise.usage, shape), 0, 1) for true in (truth.cpu, truth.memory)
    ]
    values = np.stack([errors, latency, *usage, counted / ROW], axis=2)
    spiked = random.random(shape) < noise.spikes
    values[:, :, 1] = np.where(spiked, values[:, :, 1] * random.uniform(3, 10, shape), values[:, :, 1])
    values[random.random(values.shape) < noise.missing] = np.nan
    columns = tuple(Column(world.services[each], name, quantity) for each in inside for _, name, quantity in SHOWN)
    times = EPOCH.timestamp() + ROW * np.arange(ROWS, dtype=np.float64)
    return Frame(times, columns, values.reshape(ROWS, -1))


def breaches(frame: Frame) -> NDArray[np.bool_]:
    """Shape (rows, services): where the alert's rule holds: errors or latency far above that service's usual ones."""
    values = frame.values.reshape(len(frame), -1, len(SHOWN))
    errors, latency = values[:, :, 0], values[:, :, 1]
    usual = np.nanmedian(values[:HEALTHY_ROWS, :, :2], axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((errors > np.maximum(0.02, 4 * usual[:, 0])) | (latency > 2 * usual[:, 1]))


def alerts(breached: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Shape as `breached`: where it holds in two of the last three minutes."""
    held = np.cumsum(breached, axis=0, dtype=np.int64)
    held[_WITHIN:] -= held[:-_WITHIN].copy()
    return np.asarray(held >= _OF_THESE)
