"""What is seen of a made-up incident: noisy samples, alerts and the evidence that the commander would collect of it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.arms import Scene, scene
from evaluation.cases import Case, Reconfiguration, Release
from evaluation.measuring import EPOCH, SHOWN, Noise, alerts, breaches, measured
from evaluation.world import ROW
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
from incident.series import Frame

_CALLS_ITSELF_DEGRADED = 0.1
_P95_OF_P99 = 0.69
"""Of a log-normal latency as `evaluation.world` has it."""
_ALERTED = 40
"""Minutes from the onset in which an alert must fire; later, nobody notices: such an incident is drawn anew."""
_COLLECTED = 1
"""Minutes after the first alert that are still looked at: whatever else alerts by then is part of it."""
_NEW_TEMPLATE = 0.6
"""How often an error at its source is logged in a form that was not seen before."""


@dataclass(frozen=True)
class Sighting:
    """An incident as it is seen at one minute: of the decision, or after it."""

    scene: Scene
    minute: int
    """Since the decision; below 0: before it."""
    newest: int
    """The row of the newest sample."""
    first: int
    """The row in which the first alert fired."""
    lag: int
    """Minutes by which samples are late."""
    samples: Frame
    """Every sample that is ever taken; those after `newest` are not known yet."""
    alerting: NDArray[np.bool_]
    """Shape (rows, services that are the system's own): whether each alerts, as far as samples will show it."""
    new_templates: dict[int, int]
    """For each service the forms of errors that are new since the onset."""

    def later(self, minutes: int) -> "Sighting":
        """The same incident some minutes later, if nothing is done meanwhile."""
        return replace(self, minute=self.minute + minutes, newest=self.newest + minutes)

    @property
    def now(self) -> datetime:
        """The time of it."""
        return moment(self.scene.decided + self.minute)

    def frame_of(self, services: Collection[int]) -> Frame:
        """Every sample of those services until then."""
        names = {self.scene.case.world.services[each] for each in services}
        places = [place for place, column in enumerate(self.samples.columns) if column.service in names]
        columns = tuple(self.samples.columns[place] for place in places)
        return Frame(self.samples.times[: self.newest + 1], columns, self.samples.values[: self.newest + 1, places])

    @cached_property
    def fired(self) -> dict[int, int]:
        """For each service that has alerted by then the row in which its alert began to fire."""
        seen = self.alerting[self.first : self.newest + 1]
        return {
            service: self.first + int(np.argmax(seen[:, place])) + self.lag + 1
            for place, service in enumerate(self.scene.case.world.inside)
            if seen[:, place].any()
        }

    def reading(self, service: int, metric: Metric) -> float:
        """The newest sample of that metric; NaN: it has no value."""
        place = len(SHOWN) * self.scene.case.world.inside.index(service)
        return float(self.samples.values[self.newest, place + _PLACES[metric]])

    def evidence(self, service: int) -> Evidence:
        """What the commander's sources would say of that service."""
        name = self.scene.case.world.services[service]
        return Evidence(
            service=name,
            environment="production",
            collected_at=self.now,
            metrics=self.metrics(service),
            logs=self._logs(service),
            alerts=self._alerts(service, name),
            deployments=DeploymentsReport(
                source="simulator", state=SourceState.OK, deployments=self._deployments(service)
            ),
        )

    def metrics(self, service: int) -> MetricsReport:
        """The newest samples of that service."""
        shown = {metric: self.reading(service, metric) for metric, _, _ in SHOWN}
        shown[Metric.P95_LATENCY] = shown[Metric.P99_LATENCY] * _P95_OF_P99
        blind = not np.isfinite(list(shown.values())).any()
        return MetricsReport(
            source="simulator",
            state=SourceState.FAILED if blind else SourceState.OK,
            problem="no sample has a value" if blind else "",
            readings=tuple(_reading(metric, value) for metric, value in shown.items()),
            health=_health(shown[Metric.ERROR_RATE]),
            deployment_id=self.live(service).number,
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
            if self.scene.case.fault.onset <= self.scene.decided + self.minute
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

    def deployed(self, service: int) -> tuple[Release, ...]:
        """What has gone live of that service, oldest first; what would after the decision is held back."""
        known = self.scene.decided + min(self.minute, 0)
        return tuple(each for each in self.scene.case.of(service) if each.row <= known)

    def told(self, services: Collection[int]) -> tuple[Reconfiguration, ...]:
        """What somebody has told of the configurations of those services."""
        made, known = self.scene.case.reconfigurations, self.scene.decided + self.minute
        return tuple(each for each in made if each.service in services and each.told <= known)

    def live(self, service: int) -> Release:
        """What is live of that service."""
        return self.deployed(service)[-1]

    def _deployments(self, service: int) -> tuple[Deployment, ...]:
        live = self.live(service)
        return tuple(
            Deployment(
                id=f"deployment:{each.number}",
                deployment_id=each.number,
                revision=f"{each.number:07x}",
                live=each is live,
                activated_at=moment(each.row),
                once_healthy=each.once_healthy,
            )
            for each in reversed(self.deployed(service))
        )


def moment(row: float) -> datetime:
    """The time of a row."""
    return EPOCH + timedelta(seconds=ROW * row)


def sight(case: Case, noise: Noise, random: np.random.Generator) -> Sighting | None:
    """What is seen of `case` when the first alert has fired; `None`: nobody notices it in time.

    The same generator state gives the same sighting.
    """
    state = scene(case, 0)
    frame = measured(case, state.truth, noise, random)
    alerting = alerts(breaches(frame))
    onset = case.fault.onset
    first = next((row for row in range(onset, onset + _ALERTED) if alerting[row].any()), None)
    if first is None:
        return None
    newest = first + _COLLECTED
    return Sighting(
        scene=replace(state, decided=newest + noise.lag + 1),
        minute=0,
        newest=newest,
        first=first,
        lag=noise.lag,
        samples=frame,
        alerting=alerting,
        new_templates=_new_templates(case, random),
    )


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


_PLACES = {metric: place for place, (metric, _, _) in enumerate(SHOWN)}


def _reading(metric: Metric, value: float) -> Reading:
    if np.isnan(value):
        return Reading(id=f"metric:{metric}", metric=metric, value=None, problem="no sample")
    return Reading(id=f"metric:{metric}", metric=metric, value=value)
