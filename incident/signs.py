"""What each service shows: how strongly its errors, its latency, its waiting for others, its CPU and memory moved."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from incident.movements import CLEAR, Movements
from incident.series import Column, Quantity


class Sign(StrEnum):
    """What a movement is a sign of."""

    ERRORS = "errors"
    LATENCY = "latency"
    """Its own, as it answers."""
    WAITING = "waiting"
    """The latency of the calls that it makes."""
    CPU = "cpu"
    MEMORY = "memory"
    LOGS = "logs"
    """Grave log lines of a kind that was not there before."""
    STARVED = "starved"
    """It is asked less than usual: nothing bad by itself, but somebody no longer asks."""


NOTABLE = 2.0
"""Spreads from which on a movement counts for something: about one healthy row in twenty is beyond."""

Signs = Mapping[str, Mapping[Sign, float]]
"""By service, and what is not in there did not move."""


def strength(far: float) -> float:
    """What a movement of that many spreads counts for: little below `NOTABLE`, and ever less for each one more."""
    return float(np.log1p((max(far, 0.0) / NOTABLE) ** 2))


def newness(lines: int, since: float, read_for: float) -> float:
    """How sure it is, 0..1, that log lines are of a new form, because all of them came in the last `since` seconds.

    It is 1 less the chance that all of so many lines come then, of all the `read_for` seconds that were read, though
    such a line is as likely at any time: of few lines, or where little was read from before, nothing is sure.
    """
    return 1 - (since / read_for) ** lines if since < read_for else 0.0


def signs(columns: Sequence[Column], moved: Movements, new_templates: Mapping[str, float]) -> Signs:
    """What each service shows: of several metrics of one sign the two that moved most, and new log templates."""
    found: dict[str, dict[Sign, list[float]]] = defaultdict(lambda: defaultdict(list))
    for column, far in zip(columns, moved.far, strict=True):
        sign = _sign(column)
        if sign is not None and np.isfinite(far):
            found[column.service][sign].append(max(badness(column, far), 0.0))
    shown = {
        service: {sign: strength(float(np.mean(sorted(each)[-2:]))) for sign, each in of.items()}
        for service, of in found.items()
    }
    for service, count in new_templates.items():
        if count:
            shown.setdefault(service, {})[Sign.LOGS] = float(np.log1p(count))
    return shown


def badness(column: Column, far: float) -> float:
    """The movement in the direction that is bad; of traffic, in the direction that tells of being asked less."""
    return -far if column.quantity in {Quantity.SUCCESS, Quantity.TRAFFIC} else far


def telling(columns: Sequence[Column], moved: Movements, service: str) -> tuple[str, ...]:
    """The metrics of the service that clearly moved the bad way, the farthest first."""
    bad = {
        column.metric: badness(column, far)
        for column, far in zip(columns, moved.far, strict=True)
        if column.service == service and _sign(column) not in {None, Sign.STARVED}
    }
    return tuple(sorted((metric for metric, far in bad.items() if far >= CLEAR), key=lambda metric: -bad[metric]))


def is_waiting(column: Column) -> bool:
    """Whether it is measured on the calls that the service makes, as OpenTelemetry and service meshes name it."""
    return column.metric.startswith(_OUTGOING)


def is_shared(column: Column) -> bool:
    """Whether it is measured on the machine, which other services share."""
    return column.metric.startswith(_SHARED)


_OUTGOING = ("client_", "outbound_", "upstream_")
_SHARED = ("node_", "host_")

_SIGNS = {
    Quantity.ERRORS: Sign.ERRORS,
    Quantity.SUCCESS: Sign.ERRORS,
    Quantity.LATENCY: Sign.LATENCY,
    Quantity.CPU: Sign.CPU,
    Quantity.MEMORY: Sign.MEMORY,
    Quantity.TRAFFIC: Sign.STARVED,
}


def _sign(column: Column) -> Sign | None:
    if is_shared(column):
        return None
    sign = _SIGNS.get(column.quantity)
    return Sign.WAITING if sign is Sign.LATENCY and is_waiting(column) else sign
