"""What the registry says of the policy of one service, and how that goes over what the policy file says."""

from collections.abc import Iterator, Mapping
from typing import Any

from incident.evidence import Metric
from incident.model import Fact


class Overrides(Fact):
    """The policy's fields that the registry sets for one service in one environment."""

    place: str
    """The file and the key that they stand at, for errors."""
    environment: str
    service: str
    values: dict[str, Any]


def own_limits(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """`values`, in which the limits that they state open an incident alone, unless they say otherwise."""
    limits = values.get("thresholds")
    if not isinstance(limits, dict) or "alone" in limits:
        return values
    return {**values, "thresholds": limits | {"alone": [metric for metric in Metric if metric in limits]}}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, at any depth, in its place."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def twice(overrides: Overrides, file: Mapping[str, Any], where: str) -> list[str]:
    """A line for each key that the registry sets and `file`, the service's table of the policy file `where`, too."""
    return [
        f"{overrides.place}.{key}: expected it here or in {where} at services.{overrides.service}.{key}, "
        "and it is in both"
        for key in sorted(_in_both(overrides.values, file))
    ]


def _in_both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        if isinstance(mine, dict) and isinstance(theirs, dict):
            yield from (f"{key}.{each}" for each in _in_both(mine, theirs))
        else:
            yield key
