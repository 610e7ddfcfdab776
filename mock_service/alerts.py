"""Alerts that fire late and resolve: the rules, their memory, and how the API words them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mock_service.clock import iso
from mock_service.readings import CPU_LIMIT_PERCENT, ERROR_RATE_LIMIT_PERCENT, P99_LIMIT_MS, Reading, plain

SERVICE = {"id": "PSERVICE-001", "name": "payment-api"}


@dataclass(frozen=True)
class AlertRule:
    """One limit and the alert that its breach raises."""

    id: str
    key: str
    severity: str
    urgency: str
    limit: float
    signal: Callable[[Reading], float]
    summary: str

    def breached(self, reading: Reading) -> bool:
        """Whether a reading is over the limit."""
        return self.signal(reading) > self.limit

    def certain(self, lowest: Reading, highest: Reading) -> bool:
        """Whether noise between these two cannot change the verdict."""
        return self.breached(lowest) == self.breached(highest)


ERROR_RATE = AlertRule(
    id="PDALERT-001",
    key="payment-api/error-rate-spike",
    severity="critical",
    urgency="high",
    limit=ERROR_RATE_LIMIT_PERCENT,
    signal=lambda reading: reading.error_rate_percent,
    summary="payment-api fails more requests than it may",
)
LATENCY = AlertRule(
    id="PDALERT-002",
    key="payment-api/latency-spike",
    severity="error",
    urgency="high",
    limit=P99_LIMIT_MS,
    signal=lambda reading: reading.p99_latency_ms,
    summary="payment-api answers its slowest requests too late",
)
CPU = AlertRule(
    id="PDALERT-003",
    key="payment-api/cpu-spike",
    severity="warning",
    urgency="low",
    limit=CPU_LIMIT_PERCENT,
    signal=lambda reading: reading.cpu_usage_percent,
    summary="payment-api is short of cpu",
)
RULES = (ERROR_RATE, LATENCY, CPU)


class AlertMemory:
    """What one rule remembers: since when it fires, and since when the value has said otherwise."""

    def __init__(self, after: timedelta) -> None:
        self._after = after
        self._contrary_since: datetime | None = None
        self.firing_since: datetime | None = None

    def observe(self, *, breached: bool, at: datetime) -> None:
        """Take in the value's verdict; between two observations of the same verdict it is taken not to have changed."""
        if breached == (self.firing_since is not None):
            self._contrary_since = None
            return
        self._contrary_since = self._contrary_since or at
        turned = self._contrary_since + self._after
        if at >= turned:
            self.firing_since = turned if breached else None
            self._contrary_since = None


@dataclass(frozen=True)
class Firing:
    """A rule that fires, since an instant; the status change is when the API says the alert last moved."""

    rule: AlertRule
    created_at: datetime
    status_changed_at: datetime


def page_of_alerts(firing: list[Firing], reading: Reading, deployment_id: int) -> dict[str, object]:
    """The body of GET /alerts."""
    alerts = [_alert(each, reading, deployment_id) for each in firing]
    return {"alerts": alerts, "limit": 25, "offset": 0, "total": len(alerts), "more": False}


def _alert(firing: Firing, reading: Reading, deployment_id: int) -> dict[str, object]:
    rule = firing.rule
    alert: dict[str, object] = {
        "id": rule.id,
        "type": "incident",
        "summary": rule.summary,
        "severity": rule.severity,
        "status": "triggered",
        "urgency": rule.urgency,
        "service": SERVICE,
        "incident_key": rule.key,
        "created_at": iso(firing.created_at),
        "last_status_change_at": iso(firing.status_changed_at),
        "body": {"details": _details(rule, reading, deployment_id)},
    }
    if rule is ERROR_RATE:
        alert["service"] = {**SERVICE, "html_url": "https://pagerduty.example/services/PSERVICE-001"}
        alert["assignments"] = [{"assignee": {"summary": "Payments on-call", "type": "user_reference"}}]
    return alert


def _details(rule: AlertRule, reading: Reading, deployment_id: int) -> dict[str, object]:
    value, limit = plain(rule.signal(reading)), plain(rule.limit)
    if rule is ERROR_RATE:
        return {
            "error_rate": f"{value}%",
            "threshold": f"{limit}%",
            "deployment_id": deployment_id,
            "correlation": f"deployment {deployment_id} is live",
        }
    if rule is LATENCY:
        return {"p99_latency_ms": value, "threshold_ms": limit, "sla_breach": value > limit}
    return {"cpu_usage": f"{value}%", "threshold": f"{limit}%"}
