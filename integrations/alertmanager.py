"""Prometheus' Alertmanager as a service's alerts, by its API v2 (`GET /api/v2/alerts`), read from every member at once.

Alertmanager keeps no resolved alerts for its API; what another system that speaks it gives as ended is told apart.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import httpx
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.evidence import Alert, AlertsReport, AlertState, SourceState
from incident.matchers import parse_matcher
from incident.redaction import redact
from incident.services import AlertmanagerEndpoint
from integrations.credentials import Credentials
from integrations.http import Question, Reply, ask, refused
from integrations.text import one_line

SYSTEM = "alertmanager"
ALERTS_PATH = "/api/v2/alerts"
MAX_ALERTS = 100
"""Alerts in a report: so that the evidence stays far below Temporal's 2 MB for one payload."""
MAX_SUMMARY = 500
"""Characters of an alert's summary."""

_EVERY_STATE = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
_REFUSED = {
    400: "refuses the question: a matcher is wrong",
    401: "does not take ALERTMANAGER__TOKEN",
    403: "does not take ALERTMANAGER__TOKEN",
    404: "has no such address: the url ends before /api",
}
_SUPPRESSED = "suppressed"
_NAME = 100
_NO_CREDENTIALS = Credentials()
_ORDER = list(AlertState)


class _Status(BaseModel):
    state: str


class _Alert(BaseModel):
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: AwareDatetime  # noqa: N815 - Alertmanager's, as those below
    endsAt: AwareDatetime | None = None  # noqa: N815 - the name that Alertmanager has
    updatedAt: AwareDatetime | None = None  # noqa: N815 - the name that Alertmanager has
    fingerprint: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
    status: _Status


@dataclass(frozen=True)
class _Seen:
    """One alert, as one member tells of it."""

    alert: Alert
    updated_at: datetime


@dataclass(frozen=True)
class _Answer:
    """What one member tells."""

    seen: Sequence[_Seen]
    unreadable: int


class AlertmanagerAlerts:
    """The alerts that every matcher holds for, asked over HTTP.

    Args:
        client: what every question goes through.
        endpoint: where, and which alerts.
        credentials: what is shown to it.
        clock: the time now, where an answer does not tell it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: AlertmanagerEndpoint,
        credentials: Credentials = _NO_CREDENTIALS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._headers, self._clock = client, credentials.headers(), clock
        filters = [("filter", str(parse_matcher(each))) for each in endpoint.matchers]
        self._urls = tuple(
            httpx.URL(each.rstrip("/") + ALERTS_PATH, params=[*_EVERY_STATE.items(), *filters])
            for each in (endpoint.url, *endpoint.peers)
        )

    async def read_alerts(self) -> AlertsReport:
        """The alerts, firing ones first; one that several members tell of counts once.

        Raises:
            IntegrationError: no member answered; the first one's reason.
        """
        told = await asyncio.gather(*map(self._ask, self._urls))
        answers = [each for each in told if isinstance(each, _Answer)]
        failures = [each for each in told if isinstance(each, IntegrationError)]
        if not answers:
            raise failures[0]
        alerts = sorted(_once(each for answer in answers for each in answer.seen), key=_rank)
        unreadable = max(answer.unreadable for answer in answers)
        if unreadable and not alerts:
            raise PermanentError(SYSTEM, f"none of its {unreadable} alerts is as expected")
        silent = f"{len(failures)} of {len(told)} members did not answer: {failures[0].problem}" if failures else ""
        return AlertsReport(
            source=SYSTEM,
            state=SourceState.OK if alerts else SourceState.EMPTY,
            problem=silent,
            alerts=tuple(alerts[:MAX_ALERTS]),
            omitted=max(len(alerts) - MAX_ALERTS, 0) + unreadable,
        )

    async def _ask(self, url: httpx.URL) -> _Answer | IntegrationError:
        try:
            reply = await ask(self._client, SYSTEM, Question("GET", url, headers=self._headers, refusal=_refusal))
            return _answer(reply, _date(reply) or self._clock())
        except IntegrationError as error:
            return error


def _refusal(reply: Reply) -> TransientError | PermanentError:
    if reply.status in _REFUSED:
        return PermanentError(SYSTEM, f"{_REFUSED[reply.status]} (HTTP {reply.status})")
    return refused(SYSTEM, reply)


def _date(reply: Reply) -> datetime | None:
    """When the answer was given, by the member's own clock: its alerts' ends are."""
    try:
        at = parsedate_to_datetime(reply.header("Date") or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _answer(reply: Reply, now: datetime) -> _Answer:
    if not isinstance(reply.body, list):
        raise PermanentError(SYSTEM, "the answer is no list of alerts")
    seen = tuple(_read(reply.body, now))
    return _Answer(seen, len(reply.body) - len(seen))


def _read(body: Sequence[Any], now: datetime) -> Iterator[_Seen]:
    for each in body:
        try:
            alert = _Alert.model_validate(each)
        except ValidationError:
            continue  # counted by the caller
        yield _Seen(_alert(alert, now), alert.updatedAt or alert.startsAt)


def _alert(alert: _Alert, now: datetime) -> Alert:
    name = alert.labels.get("alertname", "") or "an alert without a name"
    said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    summary = f"{name}: {said}" if said else name
    return Alert(
        id=f"alert:{alert.fingerprint}",
        summary=one_line(redact(summary[: 4 * MAX_SUMMARY]), MAX_SUMMARY),
        severity=one_line(alert.labels.get("severity", ""), _NAME) or "unknown",
        state=_state(alert, now),
        started_at=alert.startsAt,
    )


def _state(alert: _Alert, now: datetime) -> AlertState:
    """Whatever is not said to be suppressed or over fires: one that is not processed yet as well."""
    over = alert.endsAt is not None and alert.startsAt <= alert.endsAt <= now  # while it fires, some write the year 1
    if over:
        return AlertState.RESOLVED
    return AlertState.SUPPRESSED if alert.status.state == _SUPPRESSED else AlertState.FIRING


def _once(seen: Iterable[_Seen]) -> Iterable[Alert]:
    """Each fingerprint once, as the member tells that heard of it last; of two that heard at once, one that fires."""
    best: dict[str, _Seen] = {}
    for each in seen:
        known = best.get(each.alert.id)
        if known is None or _precedence(each) > _precedence(known):
            best[each.alert.id] = each
    return (each.alert for each in best.values())


def _precedence(seen: _Seen) -> tuple[datetime, bool]:
    return seen.updated_at, seen.alert.state is AlertState.FIRING


def _rank(alert: Alert) -> tuple[int, datetime, str]:
    return _ORDER.index(alert.state), alert.started_at, alert.id
