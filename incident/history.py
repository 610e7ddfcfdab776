"""What a source has kept of a service's metrics over time: plain data, without arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from incident.evidence import Metric


@dataclass(frozen=True)
class History:
    """The values of several metrics at the same times, oldest first."""

    source: str
    """The system that was asked."""
    times: tuple[float, ...]
    """Unix seconds, evenly apart."""
    values: Mapping[Metric, tuple[float | None, ...]]
    """In each metric's unit, one for each time; `None`: no value, or one that may not be believed."""
    problems: tuple[str, ...] = field(default=())
    """What it lacks, and why."""
