"""What is seen of a made-up incident: noisy samples, alerts and the evidence that the commander would collect of it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from evaluation.arms import Scene, scene
from evaluation.cases import Case, Release
from evaluation.faults import HEALTHY_ROWS
from evaluation.world import ROW, ROWS, Flow
from incident.cause import Change, ChangeKind
from incident.evidence import (
    Alert,
    AlertsReport,
    AlertState,
    Deployment,
    DeploymentsReport,
    Evidence,
    Health,
    LogsReport,
    Metric,
    MetricsReport,
    Reading,
    SourceState,
)
from incident.log_templates import LogTemplate
from incident.series import Column, Frame, Quantity

EPOCH = datetime(2026, 3, 2, tzinfo=UTC)
"""Row 0."""
SHOWN = (
    (Metric.ERROR_RATE, "error_ratio", Quantity.ERRORS),
    (Metric.P99_LATENCY, "p99_ms", Quantity.LATENCY),
    (Metric.CPU_USAGE, "cpu_ratio", Quantity.CPU),
    (Metric.MEMORY_USAGE, "memory_ratio", Quantity.MEMORY),
    (Metric.REQUESTS_PER_SECOND, "rps", Quantity.TRAFFIC),
)
"""The columns of each service that is the system's own, in this order."""
_CALLS_ITSELF_DEGRADED = 0.1
_P95_OF_P99 = 0.69
"""Of a log-normal latency as `evaluation.world` has it."""
_ALERTED = 40
"""Minutes from the onset in which an alert must fire; later, nobody notices: such an incident is drawn anew."""
_DAY = 24 * 60
_COLLECTED = 1
"""Minutes after the first alert that are still looked at: whatever else alerts by then is part of it."""
_OF_THESE, _WITHIN = 2, 3
"""An alert fires where its rule holds in so many of the last minutes."""
_SAMPLED = 2.05
"""Standard deviation of the logarithm of a p99 from one request; it falls with the root of their number."""
_NEW_TEMPLATE = 0.6
"""How often an error at its source is logged in a form that was not seen before."""


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


@dataclass(frozen=True)
class Sighting:
    """An incident as it is seen at the minute of the decision."""

    scene: Scene
    frame: Frame
    """Every sample until then, of the services that have any."""
    onset: int
    """The row in which the alert's rule first held."""
    fired: dict[int, int]
    """For each service that alerts the row in which its alert began to fire."""
    new_templates: dict[int, int]
    """For each service the forms of errors that are new since the onset."""

    @property
    def now(self) -> datetime:
        """The time of the decision."""
        return moment(self.scene.decided)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change of the last day, oldest first."""
        case, names, decided = self.scene.case, self.scene.case.world.services, self.scene.decided
        deployed = [
            Change(
                id=f"deployment:{each.number}",
                service=names[each.service],
                kind=ChangeKind.DEPLOYMENT,
                at=moment(each.row),
            )
            for each in case.releases
            if decided - _DAY <= each.row <= decided
        ]
        configured = [
            Change(
                id=f"config:{number}", service=names[each.service], kind=ChangeKind.CONFIGURATION, at=moment(each.row)
            )
            for number, each in enumerate(case.settings)
            if each.row <= decided
        ]
        return tuple(sorted((*deployed, *configured), key=lambda change: change.at))

    def evidence(self, service: int) -> Evidence:
        """What the commander's sources would say of that service."""
        name = self.scene.case.world.services[service]
        return Evidence(
            service=name,
            environment="production",
            collected_at=self.now,
            metrics=self._metrics(service),
            logs=self._logs(service),
            alerts=self._alerts(service, name),
            deployments=DeploymentsReport(
                source="simulator", state=SourceState.OK, deployments=self._deployments(service)
            ),
        )

    def _metrics(self, service: int) -> MetricsReport:
        newest = self.frame.values[-1]
        place = len(SHOWN) * self.scene.case.world.inside.index(service)
        shown = {metric: newest[place + offset] for offset, (metric, _, _) in enumerate(SHOWN)}
        shown[Metric.P95_LATENCY] = shown[Metric.P99_LATENCY] * _P95_OF_P99
        failing = shown[Metric.ERROR_RATE]
        return MetricsReport(
            source="simulator",
            state=SourceState.OK if np.isfinite(list(shown.values())).any() else SourceState.FAILED,
            problem="" if np.isfinite(list(shown.values())).any() else "no sample has a value",
            readings=tuple(_reading(metric, float(value)) for metric, value in shown.items()),
            health=_health(failing),
            deployment_id=self._live(service).number,
        )

    def _logs(self, service: int) -> LogsReport:
        templates = tuple(
            LogTemplate(
                id=f"log:template-{number}",
                level="ERROR",
                text="something failed <*>",
                count=20,
                first_at=moment(self.scene.case.fault.onset),
                last_at=self.now,
                example="something failed 7",
                new=True,
            )
            for number in range(1, self.new_templates.get(service, 0) + 1)
        )
        state = SourceState.OK if templates else SourceState.EMPTY
        return LogsReport(source="simulator", state=state, templates=templates)

    def _alerts(self, service: int, name: str) -> AlertsReport:
        row = self.fired.get(service)
        if row is None:
            return AlertsReport(source="simulator", state=SourceState.EMPTY)
        alert = Alert(
            id=f"alert:{name}",
            summary="errors or latency above what is usual",
            severity="critical",
            state=AlertState.FIRING,
            started_at=moment(row),
        )
        return AlertsReport(source="simulator", state=SourceState.OK, alerts=(alert,))

    def _live(self, service: int) -> Release:
        return [each for each in self.scene.case.of(service) if each.row <= self.scene.decided][-1]

    def _deployments(self, service: int) -> tuple[Deployment, ...]:
        live = self._live(service)
        return tuple(
            Deployment(
                id=f"deployment:{each.number}",
                deployment_id=each.number,
                revision=f"{each.number:07x}",
                live=each is live,
                activated_at=moment(each.row),
                once_healthy=each.once_healthy,
            )
            for each in reversed(self.scene.case.of(service))
            if each.row <= self.scene.decided
        )


def moment(row: float) -> datetime:
    """The time of a row."""
    return EPOCH + timedelta(seconds=ROW * row)


def sight(case: Case, noise: Noise, random: np.random.Generator) -> Sighting | None:
    """What is seen of `case` when the first alert has fired; `None`: nobody notices it in time.

    The same generator state gives the same sighting.
    """
    state = scene(case, 0)
    frame = _measured(case, state.truth, noise, random)
    breached = _breached(frame)
    alerting = _alerting(breached)
    onset = case.fault.onset
    first = next((row for row in range(onset, onset + _ALERTED) if alerting[row].any()), None)
    if first is None:
        return None
    newest = first + _COLLECTED
    firing = {
        service: first + int(np.argmax(alerting[first : newest + 1, place]))
        for place, service in enumerate(case.world.inside)
        if alerting[first : newest + 1, place].any()
    }
    window = breached[first - _WITHIN + 1 : first + 1].any(axis=1)
    return Sighting(
        scene=replace(state, decided=newest + noise.lag + 1),
        frame=frame.between(0, frame.times[newest] + 1),
        onset=first - _WITHIN + 1 + int(np.argmax(window)),
        fired={service: row + noise.lag + 1 for service, row in firing.items()},
        new_templates=_new_templates(case, random),
    )


def _measured(case: Case, truth: Flow, noise: Noise, random: np.random.Generator) -> Frame:
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


def _breached(frame: Frame) -> NDArray[np.bool_]:
    """Shape (rows, services): where the alert's rule holds: errors or latency far above that service's usual ones."""
    values = frame.values.reshape(len(frame), -1, len(SHOWN))
    errors, latency = values[:, :, 0], values[:, :, 1]
    usual = np.nanmedian(values[:HEALTHY_ROWS, :, :2], axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((errors > np.maximum(0.02, 4 * usual[:, 0])) | (latency > 2 * usual[:, 1]))


def _alerting(breached: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Shape as `breached`: where it holds in two of the last three minutes."""
    held = np.cumsum(breached, axis=0, dtype=np.int64)
    held[_WITHIN:] -= held[:-_WITHIN].copy()
    return np.asarray(held >= _OF_THESE)


def _new_templates(case: Case, random: np.random.Generator) -> dict[int, int]:
    """New errors are logged where a fault sits, and as often by whoever calls it: a time-out is new to them as well."""
    sources = {each for each, effect in case.fault.effects.items() if effect.errors and each != case.world.outside}
    near = {caller for each in case.fault.effects for caller in case.world.callers(each)} - sources
    told = [*sorted(sources), *(each for each in sorted(near) if each != case.world.outside)]
    return {each: int(random.integers(1, 4)) for each in told if random.random() < _NEW_TEMPLATE}


def _health(failing: float) -> Health:
    if np.isnan(failing):
        return Health.UNKNOWN
    return Health.DEGRADED if failing > _CALLS_ITSELF_DEGRADED else Health.HEALTHY


def _reading(metric: Metric, value: float) -> Reading:
    if np.isnan(value):
        return Reading(id=f"metric:{metric}", metric=metric, value=None, problem="no sample")
    return Reading(id=f"metric:{metric}", metric=metric, value=value)
