"""The mock payment-api as metrics, logs, alerts, deployment history and rollback target of one service.

It speaks percent and milliseconds; both profiles are understood, `live` and `steady`. An answer of another shape is a
`PermanentError` that names the endpoint and the field, never what stood there.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, JsonValue, StrictInt, ValidationError

from incident.errors import PermanentError
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
    Unit,
)
from incident.ledger import RollbackOrder, RollbackRun, RunState
from integrations.http import Question, Reply, ask, fetch_json
from integrations.text import clean

SYSTEM = "mock-service"
METRICS_PATH, LOGS_PATH, ALERTS_PATH = "/metrics/json", "/logs", "/alerts"
"""Where it answers, below its base URL."""
MAX_LINES = 50
"""Log lines in a report: the newest."""
MAX_ITEMS = 100
"""Alerts, and deployments, in a report: so that the evidence stays far below Temporal's 2 MB for one payload."""
MAX_MESSAGE = 2000
"""Characters of a log line's message, and of a reason, that are passed on."""
MAX_SUMMARY = 500
"""Characters of an alert's summary, and of a deployment's message."""
MAX_NAME = 100
"""Characters of any other text."""

_FIELDS = {
    Metric.ERROR_RATE: "error_rate_percent",
    Metric.P50_LATENCY: "p50_latency_ms",
    Metric.P95_LATENCY: "p95_latency_ms",
    Metric.P99_LATENCY: "p99_latency_ms",
    Metric.REQUESTS_PER_SECOND: "requests_per_second",
    Metric.CPU_USAGE: "cpu_usage_percent",
    Metric.MEMORY_USAGE: "memory_usage_percent",
    Metric.ACTIVE_CONNECTIONS: "active_connections",
}
_HEALTH = {health.value: health for health in Health}
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409
_LATEST_MS = 253_402_300_799_999  # the last millisecond that a datetime can hold, year 9999


def _cut(length: int) -> BeforeValidator:
    return BeforeValidator(lambda value: clean(value, length) if isinstance(value, str) else value)


_Text = Annotated[str, _cut(MAX_MESSAGE)]
_Summary = Annotated[str, _cut(MAX_SUMMARY)]
_Name = Annotated[str, _cut(MAX_NAME)]


class _Failure(BaseModel):
    type: _Name = ""


class _LogEntry(BaseModel):
    timestamp: AwareDatetime
    level: _Name
    message: _Text
    deployment_id: StrictInt | None = None
    error: _Failure | None = None


class _LogPage(BaseModel):
    logs: list[Any]  # each is read by itself
    total_count: JsonValue = None


class _Alert(BaseModel):
    incident_key: _Name
    summary: _Summary
    severity: _Name
    status: _Name
    created_at: AwareDatetime


class _AlertPage(BaseModel):
    alerts: list[_Alert]


class _Release(BaseModel):
    id: StrictInt
    status: _Name
    sha: _Name
    message: _Summary = ""
    timestamp: StrictInt | None = Field(default=None, ge=0, le=_LATEST_MS, description="when it was built, epoch ms")
    activated_at: AwareDatetime | None = Field(default=None, alias="activatedAt")
    last_healthy_at: AwareDatetime | None = Field(default=None, alias="lastHealthyAt")
    rolled_back_from_at: AwareDatetime | None = Field(default=None, alias="rolledBackFromAt")

    @property
    def live(self) -> bool:
        return self.status == "active"

    @property
    def went_live_at(self) -> datetime | None:
        """Its activation; where the profile keeps none (`steady`), when it was built."""
        if "activated_at" in self.model_fields_set or self.timestamp is None:
            return self.activated_at
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)


class _Status(BaseModel):
    history: list[_Release] = Field(alias="deploymentHistory")


class _Metrics(BaseModel):
    metrics: dict[Any, Any]  # its names are the service's: an error must not repeat them
    health_status: JsonValue = None
    deployment_id: JsonValue = None


class _Activation(BaseModel):
    success: bool
    live: StrictInt = Field(alias="currentDeployment")


class _JournalEntry(BaseModel):
    action: _Text
    correlation_id: _Text | None
    applied: bool
    status: StrictInt


class _Journal(BaseModel):
    entries: list[_JournalEntry]


_Page = TypeVar("_Page", bound=BaseModel)


class MockPaymentApi:
    """One mock service, asked over HTTP."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    async def read_metrics(self) -> MetricsReport:
        """The readings; ratios for its percents."""
        page = await self._read(METRICS_PATH, _Metrics)
        return MetricsReport(
            source=SYSTEM,
            state=SourceState.OK,
            readings=tuple(_reading(metric, page.metrics) for metric in _FIELDS),
            health=_HEALTH.get(str(page.health_status), Health.UNKNOWN),
            deployment_id=_whole(page.deployment_id),
        )

    async def read_logs(self) -> LogsReport:
        """The newest lines; a line without readable time, level or message counts as omitted."""
        page = await self._read(LOGS_PATH, _LogPage)
        entries = sorted(_log_entries(page.logs), key=lambda entry: entry.timestamp)[-MAX_LINES:]
        if page.logs and not entries:
            raise PermanentError(SYSTEM, "GET /logs: no entry is a log line")
        lines = tuple(_log_line(number, entry) for number, entry in enumerate(entries, start=1))
        return LogsReport(
            source=SYSTEM,
            state=_state(page.logs),
            lines=lines,
            omitted=max(len(page.logs), _whole(page.total_count) or 0) - len(lines),
        )

    async def read_alerts(self) -> AlertsReport:
        """The alerts, firing ones first; whatever is not said to be resolved still fires."""
        page = await self._read(ALERTS_PATH, _AlertPage)
        alerts = sorted(map(_alert, page.alerts), key=lambda alert: alert.state is AlertState.RESOLVED)
        return AlertsReport(source=SYSTEM, state=_state(alerts), alerts=tuple(alerts[:MAX_ITEMS]))

    async def read_deployments(self) -> DeploymentsReport:
        """The history as the service tells it."""
        page = await self._read("/deployment/status", _Status)
        live = [release for release in page.history if release.live]
        only = live[0] if len(live) == 1 else None
        known = tuple(_deployment(release, only) for release in page.history[-MAX_ITEMS:])
        return DeploymentsReport(source=SYSTEM, state=_state(known), deployments=known)

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:
        """The activation that the journal says was applied; `None` where it names none, or there is no journal.

        One look is enough whenever it was asked for: the journal holds a call before that call is answered.
        """
        wanted = order.correlation_id
        url = httpx.URL(f"{self._url}/demo/journal", params={"correlation_id": wanted})
        reply = await fetch_json(self._client, SYSTEM, "GET", url, answers={_NOT_FOUND})
        if reply.status == _NOT_FOUND:
            return None
        journal = _parse(reply, "GET /demo/journal", _Journal)
        applied = any(
            (entry.action, entry.correlation_id, entry.applied, entry.status) == ("activate", wanted, True, _OK)
            for entry in journal.entries
        )
        return self._run(order, RunState.SUCCEEDED, "the journal says applied", asked_at) if applied else None

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """Activates the target, which is done when this returns.

        The service itself compares the live deployment and knows the correlation id. UNKNOWN: it answered 200 without
        saying that the target is live.
        """
        asked_at = datetime.now(UTC)
        question = Question(
            "POST",
            f"{self._url}/deployment/{order.target}/activate",
            json={
                "reason": order.reason[:MAX_MESSAGE],
                "confidence": round(order.confidence * 100),
                "rollback_to": order.target,
                "execution_id": order.execution_id,
                "correlation_id": order.correlation_id,
                "expected_live": order.expected_live,
            },
            answers={_OK, _NOT_FOUND, _CONFLICT},
            not_after=not_after,
        )
        state, detail = _outcome(await ask(self._client, SYSTEM, question), order)
        return self._run(order, state, detail, asked_at)

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """`run` as the journal has it now; an ended one stays as it is."""
        return run if run.state.ended else await self.find(order, run.asked_at) or run

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """As `look`: an activation is done at once, so there is never one that has not begun."""
        return await self.look(order, run)

    def _run(self, order: RollbackOrder, state: RunState, detail: str, asked_at: datetime | None) -> RollbackRun:
        return RollbackRun(
            correlation_id=order.correlation_id,
            state=state,
            asked_at=asked_at,
            url=f"{self._url}/deployment/status",
            detail=detail,
        )

    async def _read(self, path: str, page: type[_Page]) -> _Page:
        return _parse(await fetch_json(self._client, SYSTEM, "GET", self._url + path), f"GET {path}", page)


def _parse(reply: Reply, asked: str, page: type[_Page]) -> _Page:
    try:
        return page.model_validate(reply.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise PermanentError(SYSTEM, f"{asked}: {where} is not as expected ({first['type']})") from error


def _state(items: Sequence[object]) -> SourceState:
    return SourceState.OK if items else SourceState.EMPTY


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _reading(metric: Metric, values: dict[str, JsonValue]) -> Reading:
    value, problem = _number(values, _FIELDS[metric])
    if value is not None and metric.unit is Unit.RATIO:
        value = round(value / 100, 8)
    return Reading(id=f"metric:{metric}", metric=metric, value=value, problem=problem)


def _number(values: dict[str, JsonValue], name: str) -> tuple[float | None, str]:
    """The number under `name`, or why there is none."""
    value = values.get(name)
    if value is None:
        return None, f"{name} is {'null' if name in values else 'missing'}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, f"{name} is not a number"
    try:
        number = float(value)
    except OverflowError:
        return None, f"{name} is not finite"
    if not isfinite(number):
        return None, f"{name} is not finite"
    return (number, "") if number >= 0 else (None, f"{name} is negative")


def _log_entries(raw: Sequence[JsonValue]) -> Iterator[_LogEntry]:
    for each in raw:
        try:
            yield _LogEntry.model_validate(each)
        except ValidationError:
            continue  # counted by the caller as omitted


def _log_line(number: int, entry: _LogEntry) -> LogLine:
    return LogLine(
        id=f"log:{number}",
        at=entry.timestamp,
        level=entry.level,
        message=entry.message,
        error_type=entry.error.type if entry.error else "",
        deployment_id=entry.deployment_id,
    )


def _alert(alert: _Alert) -> Alert:
    return Alert(
        id=f"alert:{alert.incident_key}",
        summary=alert.summary,
        severity=alert.severity,
        state=AlertState.RESOLVED if alert.status == "resolved" else AlertState.FIRING,
        started_at=alert.created_at,
    )


def _deployment(release: _Release, live: _Release | None) -> Deployment:
    return Deployment(
        id=f"deployment:{release.id}",
        deployment_id=release.id,
        revision=release.sha,
        message=release.message,
        live=release.live,
        activated_at=release.went_live_at,
        once_healthy=_once_healthy(release, live),
        rolled_back_from_at=release.rolled_back_from_at,
    )


def _once_healthy(release: _Release, live: _Release | None) -> bool | None:
    """As the live profile says it; of the steady one, an inactive deployment older than the live one once served.

    So GitHub's `inactive` status is read: a later deployment took over from one that had succeeded.
    """
    if "last_healthy_at" in release.model_fields_set:
        return release.last_healthy_at is not None
    if release.live or live is None or release.timestamp is None or live.timestamp is None:
        return None
    return True if release.timestamp < live.timestamp else None


def _outcome(reply: Reply, order: RollbackOrder) -> tuple[RunState, str]:
    if reply.status == _NOT_FOUND:
        return RunState.FAILED, f"there is no deployment {order.target} to activate"
    if reply.status == _CONFLICT:
        return RunState.FAILED, f"refused: deployment {order.expected_live} is not live any more"
    try:
        done = _Activation.model_validate(reply.body)
    except ValidationError:
        return RunState.UNKNOWN, "the answer does not say what is live now"
    if done.success and done.live == order.target:
        return RunState.SUCCEEDED, f"deployment {order.target} is live"
    return RunState.UNKNOWN, f"the answer says that deployment {done.live} is live"
