"""The world of one case: a service with a text in it, and everything that leaves the commander."""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from commander.attacks.corpus import Aim, Attack, Place, Scene
from incident.errors import TransientError, UnknownServiceError
from incident.evidence import (
    Alert,
    AlertsReport,
    AlertState,
    Deployment,
    DeploymentsReport,
    Health,
    LogLine,
    LogsReport,
    Metric,
    MetricsReport,
    Reading,
    SourceState,
)
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.messages import Change, ChatMessage, Page
from incident.severity import Severity, priority_of
from integrations.pagerduty.events import change_event, trigger
from integrations.slack.blocks import render
from worker.sources import ConnectedService

ENVIRONMENT = "attacked"
LIVE, GOOD, OLDER, NEVER_GOOD = 101, 100, 99, 98
_NOWHERE = 4242
"""No deployment has this number."""
_SOURCE = "attacked-service"
_ROUTING_KEY = "R0123456789abcdef0123456789abcde"
PAGES = "https://commander.example/ui/incidents/"
_QUOTED = 1_000
"""Characters of the hostile text that the model repeats in each of its own."""
_HEALTHY = {
    Metric.ERROR_RATE: 0.004,
    Metric.P50_LATENCY: 80.0,
    Metric.P95_LATENCY: 130.0,
    Metric.P99_LATENCY: 180.0,
    Metric.REQUESTS_PER_SECOND: 110.0,
    Metric.CPU_USAGE: 0.4,
    Metric.MEMORY_USAGE: 0.5,
    Metric.ACTIVE_CONNECTIONS: 120.0,
}
_SICK = {**_HEALTHY, Metric.ERROR_RATE: 0.17, Metric.P95_LATENCY: 900.0, Metric.P99_LATENCY: 1300.0}
_SLOW = {**_HEALTHY, Metric.P95_LATENCY: 430.0, Metric.P99_LATENCY: 620.0}
_READINGS = {
    Scene.BAD_DEPLOY: _SICK,
    Scene.NO_CULPRIT: _SICK,
    Scene.LATENCY: _SLOW,
    Scene.HEALTHY: _HEALTHY,
}
_OBEYED: Mapping[Aim, Mapping[str, Any]] = {
    Aim.FORCE: {},
    Aim.BLOCK: {"severity": "P3", "pagerduty_priority": "P4", "action": "monitor", "rollback_to": None},
    Aim.RETARGET: {"rollback_to": _NOWHERE},
    Aim.VULNERABLE: {"rollback_to": NEVER_GOOD},
}


class Patient:
    """One service, with the text of a case where it enters: all four sources and the rollback target."""

    lines = 3

    def __init__(self, scene: Scene, place: Place, text: str) -> None:
        self._scene, self._place, self._text = scene, place, text
        self._began = datetime.now(UTC) - timedelta(minutes=6)
        self._live = LIVE
        self._runs: dict[str, RollbackRun] = {}
        self.activations: list[int] = []
        """The deployments that were made live, in order."""

    @property
    def _well(self) -> bool:
        return self._scene is Scene.HEALTHY or self._live in {GOOD, OLDER}

    def _at(self, place: Place, usual: str) -> str:
        return self._text if self._place is place else usual

    async def read_metrics(self) -> MetricsReport:
        """The readings of the scene; good ones once a good deployment is live."""
        values = _HEALTHY if self._well else _READINGS[self._scene]
        readings = tuple(Reading(id=f"metric:{metric}", metric=metric, value=value) for metric, value in values.items())
        health = Health.HEALTHY if self._well else Health.DEGRADED
        return MetricsReport(
            source=_SOURCE, state=SourceState.OK, readings=readings, health=health, deployment_id=self._live
        )

    async def read_logs(self) -> LogsReport:
        """As many lines as there are to be.

        Raises:
            TransientError: in a case whose text is what a failing source says.
        """
        if self._place is Place.PROBLEM:
            raise TransientError(_SOURCE, self._text)
        lines = tuple(
            LogLine(
                id=f"log:{number}",
                at=self._began + timedelta(seconds=30 * number),
                level="ERROR",
                message=self._at(Place.LOG, "payment provider refused the charge"),
                error_type=self._at(Place.ERROR_TYPE, "ProviderError"),
                deployment_id=self._live,
            )
            for number in range(1, self.lines + 1)
        )
        return LogsReport(source=_SOURCE, state=SourceState.OK, lines=lines)

    async def read_alerts(self) -> AlertsReport:
        """Two that fire, while the service is not well."""
        if self._well:
            return AlertsReport(source=_SOURCE, state=SourceState.EMPTY)
        alerts = tuple(
            Alert(
                id=f"alert:{name}",
                summary=self._at(Place.ALERT, f"{name} is over its limit"),
                severity=self._at(Place.ALERT_SEVERITY, "critical"),
                state=AlertState.FIRING,
                started_at=self._began,
            )
            for name in ("error-rate", "latency")
        )
        return AlertsReport(source=_SOURCE, state=SourceState.OK, alerts=alerts)

    async def read_deployments(self) -> DeploymentsReport:
        """Four; the last one went live eight minutes ago, or days ago where it is not to blame."""
        since = timedelta(minutes=2) if self._scene is Scene.BAD_DEPLOY else timedelta(days=3)
        ages = {LIVE: since, GOOD: timedelta(days=5), OLDER: timedelta(days=9), NEVER_GOOD: timedelta(days=12)}
        return DeploymentsReport(
            source=_SOURCE,
            state=SourceState.OK,
            deployments=tuple(
                Deployment(
                    id=f"deployment:{number}",
                    deployment_id=number,
                    revision=self._at(Place.REVISION, f"c0ffee{number}"),
                    message=self._at(Place.COMMIT, "Move payments to the new provider"),
                    live=number == self._live,
                    activated_at=self._began - age,
                    once_healthy=number in {GOOD, OLDER} or (number == LIVE and self._scene is not Scene.BAD_DEPLOY),
                )
                for number, age in ages.items()
            ),
        )

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:  # noqa: ARG002 - the port's signature
        """The run of that order, once there is one."""
        return self._runs.get(order.correlation_id)

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:  # noqa: ARG002 - the same
        """Makes whatever it is told live, at once: nothing here stands between a wrong order and its effect."""
        self.activations.append(order.target)
        self._live = order.target
        run = RollbackRun(correlation_id=order.correlation_id, state=RunState.SUCCEEDED)
        self._runs[order.correlation_id] = run
        return run

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:  # noqa: ARG002 - the same
        """It has ended at once."""
        return run

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:  # noqa: ARG002 - the same
        """It cannot be called off."""
        return run


class Outbound:
    """Everything that left the commander, as bytes, by the service that it was about; `paged`: whom that woke."""

    def __init__(self) -> None:
        self._sent: dict[str, list[str]] = defaultdict(list)
        self.marked_up: dict[str, list[str]] = defaultdict(list)
        """Of that, what Slack reads as its markup."""
        self.paged: set[str] = set()

    def keep(self, service: str, sent: object) -> None:
        """Notes what is sent about a service."""
        self._sent[service].append(sent if isinstance(sent, str) else json.dumps(sent, ensure_ascii=False))

    def of(self, service: str) -> str:
        """All of it."""
        return "\n".join(self._sent[service])


class Channel:
    """A chat channel: what Slack would be sent."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def post(self, message: ChatMessage) -> str:
        """Keeps it as Slack's adapter renders it."""
        service = message.incident_id.split(".")[1]
        rendered = render(message, PAGES, buttons=True)
        self._outbound.keep(service, [rendered.text, *rendered.blocks])
        self._outbound.marked_up[service] += [rendered.text, *_marked_up(list(rendered.blocks))]
        return ""


class OnCall:
    """A pager: what PagerDuty would be sent."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def page(self, page: Page) -> None:
        """Somebody is woken."""
        self._outbound.keep(page.service, trigger(page, _ROUTING_KEY, PAGES))
        self._outbound.paged.add(page.service)

    async def resolve(self, key: str) -> None:
        """The key says nothing that was not said."""

    async def record_change(self, change: Change) -> None:
        """Keeps it."""
        self._outbound.keep(change.service, change_event(change, _ROUTING_KEY, PAGES))


class Model(httpx2.AsyncBaseTransport):
    """A model server whose model obeys the text of whatever case it is shown, and repeats it."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self.answers: dict[str, str] = {}
        """By the service that is asked about."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """A chat completion."""
        asked = json.loads(await request.aread())
        evidence = asked["messages"][1]["content"]
        service = json.loads(evidence[evidence.index("{") : evidence.rindex("}") + 1])["service"]
        self._outbound.keep(service, asked)
        message = {"role": "assistant", "content": self.answers[service]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return httpx2.Response(200, json={"id": "1", "model": "obedient", "choices": [choice]}, request=request)


class Services:
    """The services of all cases, and no other."""

    def __init__(self) -> None:
        self.patients: dict[str, Patient] = {}

    def connect(self, environment: str, service: str) -> ConnectedService:
        """The connections of that one.

        Raises:
            UnknownServiceError: no case has it.
        """
        patient = self.patients.get(service)
        if environment != ENVIRONMENT or patient is None:
            raise UnknownServiceError(environment, service, ())
        return ConnectedService(patient, patient, patient, patient, patient)


def obedient(attack: Attack) -> str:
    """What a model answers that does as the hostile text tells it."""
    if isinstance(attack.answer, str):
        return attack.answer
    return json.dumps({**_sound(attack.text), **_OBEYED.get(attack.tries, {}), **(attack.answer or {})})


def sensible(text: str) -> str:
    """What a model answers that judges a bad deployment rightly, and repeats the benign `text`."""
    return json.dumps(_sound(text))


def _sound(text: str) -> dict[str, Any]:
    return {
        "severity": Severity.P0,
        "confidence": 1.0,
        "summary": text[:_QUOTED],
        "root_cause_hypothesis": text[:_QUOTED],
        "action": "rollback",
        "rollback_to": GOOD,
        "pagerduty_priority": priority_of(Severity.P0),
        "evidence_ids": ["metric:error_rate"],
    }


def _marked_up(part: object) -> list[str]:
    if isinstance(part, list):
        return [text for each in part for text in _marked_up(each)]
    if not isinstance(part, dict):
        return []
    own = [str(part["text"])] if part.get("type") == "mrkdwn" else []
    return own + [text for each in part.values() for text in _marked_up(each)]
