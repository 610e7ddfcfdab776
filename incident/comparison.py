"""One look against the one before the incident was handled: what is wanting, better, worse or unknown."""

from collections.abc import Iterator
from dataclasses import dataclass

from incident.anomalies import Anomaly
from incident.evidence import Health, Metric
from incident.look import Look
from incident.verifying import RecoveryLimits

_ALWAYS = (Metric.ERROR_RATE, Metric.P99_LATENCY)
_SMALLEST_CHANGE = {Metric.ERROR_RATE: 0.002, Metric.P99_LATENCY: 10.0, Metric.P95_LATENCY: 10.0}
_SMALLEST_SHARE = 0.02
"""Changes under these are none, however small the value before was: ratios, and ms for latencies."""


def improvement(before: float | None, after: float | None) -> float | None:
    """(before - after) / before in percent, two decimals; 0 where before is not positive; `None` where one is unknown.

    Source of the formula: contract.json, recovery.improvement_pct.
    """
    if before is None or after is None:
        return None
    return round((before - after) / before * 100, 2) if before > 0 else 0.0


def errors_wanting(look: Look, limits: RecoveryLimits) -> tuple[str, ...]:
    """What stands between this look's error rate and a good one."""
    anomalies = tuple(anomaly.label for anomaly in look.anomalies if _of_errors(anomaly))
    return (*anomalies, *_over(look, Metric.ERROR_RATE, limits.error_rate_below))


def others_wanting(look: Look, limits: RecoveryLimits) -> tuple[str, ...]:
    """What else stands between this look and a good one."""
    wanting = [anomaly.label for anomaly in look.anomalies if not _of_errors(anomaly)]
    wanting += _over(look, Metric.P99_LATENCY, limits.p99_below)
    if look.health is not Health.HEALTHY:
        wanting.append(f"health is {look.health}")
    if look.firing_alerts is None:
        wanting.append("the alerts could not be read")
    return tuple(wanting)


def worse_over(before: Look, limits: RecoveryLimits) -> float:
    """The error ratio over which it is worse than `before` by more than a practical margin; 1: none is known to be."""
    value = before.values.get(Metric.ERROR_RATE)
    return 1.0 if value is None else min(1.0, _practically_over(Metric.ERROR_RATE, value, limits))


def next_door(before: Look, after: Look, limits: RecoveryLimits) -> Iterator[str]:
    """What became worse, by more than a practical margin, at services around that were looked at both times."""
    if not (before.around and after.around):
        return
    known = {neighbour.service: neighbour.values for neighbour in before.around}
    for neighbour in after.around:
        for metric in _ALWAYS:
            was, value = known.get(neighbour.service, {}).get(metric), neighbour.values.get(metric)
            if was is not None and value is not None and value > _practically_over(metric, was, limits):
                yield f"next door: {neighbour.service} {metric} {metric.show(was)} → {metric.show(value)}"


@dataclass(frozen=True)
class Lasting:
    """What looks that are seconds apart have shown together, in place of what one of them shows."""

    worse: bool
    """Whether anything but the error rate was found worse in enough of them in a row."""
    errors_worse: bool
    """Whether the error rate is known to be worse than before."""
    error_ratio: float | None
    """Of the last looks' requests; `None`: the requests are not counted, and the newest look's own counts."""


class Changes:
    """What became better, worse or unknown between two looks.

    Args:
        before: the older one.
        after: the newer one.
        limits: what counts as a change.
        lasting: what the looks up to the newer one have shown together. `None`: it speaks for itself.
    """

    def __init__(self, before: Look, after: Look, limits: RecoveryLimits, lasting: Lasting | None = None) -> None:
        self._before, self._after, self._limits, self._lasting = before, after, limits, lasting
        self.better: list[str] = []
        self.worse: list[str] = []
        self.doubtful: list[str] = []
        """What is worse in the newer look, and not known to last."""
        self.unknown: list[str] = []
        for metric in _compared(before):
            self._compare(metric)
        for anomaly in _new(before, after):
            if lasting is None or not _of_errors(anomaly):
                self._found_worse(f"new: {anomaly.label}")
        for words in next_door(before, after, limits):
            self._found_worse(words)
        if (before.health, after.health) == (Health.HEALTHY, Health.DEGRADED):
            self._found_worse("health became degraded")
        if after.health is Health.UNKNOWN:
            self.unknown.append("health is unknown")
        if after.firing_alerts is None:
            self.unknown.append("the alerts could not be read")

    @property
    def reasons(self) -> tuple[str, ...]:
        """The worst first."""
        return (*self.worse, *self.unknown, *(f"not known to last: {each}" for each in self.doubtful), *self.better)

    @property
    def significant(self) -> bool:
        """Whether errors and latency fell by as much as the limits want."""
        gain = improvement(*(look.values.get(Metric.P99_LATENCY) for look in (self._before, self._after)))
        errors_before, errors = self._before.values.get(Metric.ERROR_RATE), self._value(Metric.ERROR_RATE)
        if errors_before is None or errors is None or gain is None:
            return False
        share, least = self._limits.significant_error_share, self._limits.significant_latency_gain * 100
        return errors < share * errors_before and gain > least

    def _found_worse(self, words: str) -> None:
        (self.worse if self._lasting is None or self._lasting.worse else self.doubtful).append(words)

    def _value(self, metric: Metric) -> float | None:
        value, lasting = self._after.values.get(metric), self._lasting
        counted = metric is Metric.ERROR_RATE and value is not None and lasting and lasting.error_ratio is not None
        return lasting.error_ratio if lasting and counted else value

    def _compare(self, metric: Metric) -> None:
        before, after = self._before.values.get(metric), self._value(metric)
        if before is None or after is None:
            self.unknown.append(_words(metric, before, after))
        elif after < before - _noise(metric, before, self._limits):
            self.better.append(_words(metric, before, after))
        elif self._lasting and metric is Metric.ERROR_RATE:
            if self._lasting.errors_worse:
                self.worse.append(_words(metric, before, after))
        elif after > self._bound(metric, before):
            self._found_worse(_words(metric, before, after))

    def _bound(self, metric: Metric, before: float) -> float:
        if self._lasting:
            return _practically_over(metric, before, self._limits)
        return before + _noise(metric, before, self._limits)


def worse_elsewhere(before: Look, after: Look, limits: RecoveryLimits) -> bool:
    """Whether anything but the error rate is worse in this look than before, by more than a practical margin."""
    if (before.health, after.health) == (Health.HEALTHY, Health.DEGRADED) or any(next_door(before, after, limits)):
        return True
    for metric in _compared(before):
        was, value = before.values.get(metric), after.values.get(metric)
        if metric is Metric.ERROR_RATE or was is None or value is None:
            continue
        if value > _practically_over(metric, was, limits):
            return True
    return any(not _of_errors(anomaly) for anomaly in _new(before, after))


def _compared(before: Look) -> tuple[Metric, ...]:
    """What is compared: errors and latency always, and every metric that opened the incident."""
    opened = tuple(anomaly.metric for anomaly in before.anomalies if anomaly.metric)
    return tuple(dict.fromkeys((*_ALWAYS, *opened)))


def _new(before: Look, after: Look) -> Iterator[Anomaly]:
    """Measured anomalies of a new kind; where nothing was read before, nothing is known to be new."""
    had = {anomaly.kind for anomaly in before.anomalies}
    for anomaly in after.anomalies:
        measured = anomaly.measured and anomaly.metric is not None and before.values.get(anomaly.metric) is not None
        if measured and anomaly.kind not in had:
            yield anomaly


def _words(metric: Metric, before: float | None, after: float | None) -> str:
    return f"{metric} {metric.show(before)} → {metric.show(after)}"


def _of_errors(anomaly: Anomaly) -> bool:
    return anomaly.metric is Metric.ERROR_RATE and anomaly.measured


def _over(look: Look, metric: Metric, limit: float) -> tuple[str, ...]:
    value = look.values.get(metric)
    if value is None:
        return (f"{metric} is unknown",)
    return (f"{metric} {metric.show(value)} is not under {metric.show(limit)}",) if value >= limit else ()


def _noise(metric: Metric, before: float, limits: RecoveryLimits) -> float:
    return max(before * limits.tolerance, _SMALLEST_CHANGE.get(metric, _SMALLEST_SHARE))


def _practically_over(metric: Metric, before: float, limits: RecoveryLimits) -> float:
    """Beyond this it is worse than `before`: what is good enough to count as recovered is never worse."""
    match metric:
        case Metric.ERROR_RATE:
            margin, enough = limits.worse_by, limits.error_rate_below
        case Metric.P99_LATENCY:
            margin, enough = limits.slower_by, limits.p99_below
        case Metric.P95_LATENCY:
            margin, enough = limits.slower_by, 0.0
        case _:
            return before + _noise(metric, before, limits)
    return max(enough, before + max(before * margin, _SMALLEST_CHANGE[metric]))
