"""What the two profiles have in common: the questions that the API asks, and the deployments' part of the answers."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from mock_service.calls import ActivationCall
from mock_service.chaos import ChaosKind
from mock_service.clock import epoch_ms, iso
from mock_service.readings import Reading, plain
from mock_service.releases import BAD, GOOD, Release, Releases

Body = dict[str, object]
"""A JSON object whose shape the seed contract fixes."""

QUICK_ACTIONS: Body = {
    "trigger_incident": "POST /demo/trigger-incident",
    "reset": "POST /demo/reset",
    "enable_chaos": "POST /chaos/latency",
    "rollback": f"POST /deployment/{GOOD}/activate",
}
PROFILE_DELAY = timedelta(milliseconds=800)
FAILED_PAYMENT_DELAY = timedelta(milliseconds=1500)
_SERVICE_LABELS = {"service": "payment-api", "environment": "production"}


@dataclass(frozen=True)
class Answer:
    """A reply, and how long the service takes over it beyond the time that it needs."""

    body: Body
    status: int = 200
    delay: timedelta = timedelta()


@dataclass(frozen=True)
class Gauge:
    """One sample of GET /metrics."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=lambda: dict(_SERVICE_LABELS))


class Patient(Protocol):
    """The service under one profile. Every method speaks of the present instant."""

    @property
    def releases(self) -> Releases:
        """The deployments and which one is live."""

    @property
    def kinds_of_chaos(self) -> frozenset[ChaosKind]:
        """The chaos that this profile can do."""

    def delay(self, method: str, path: str) -> timedelta:
        """How long a request waits before it is looked at."""

    def activate(self, release: Release, call: ActivationCall) -> Body:
        """Make a deployment live and say so."""

    def trigger(self) -> Body:
        """Make the bad deployment live."""

    def reset(self) -> Body:
        """Make the good deployment live and end all chaos."""

    def inject(self, kind: ChaosKind, amount: float, lasting: timedelta) -> None:
        """Begin chaos of a kind, in place of what there was of it."""

    def health(self) -> Answer:
        """GET /health."""

    def metrics(self) -> Body:
        """GET /metrics/json."""

    def gauges(self) -> list[Gauge]:
        """The service's own samples in GET /metrics."""

    def alerts(self) -> Body:
        """GET /alerts."""

    def logs(self) -> Body:
        """GET /logs."""

    def status(self) -> Body:
        """GET /deployment/status."""

    def dashboard(self) -> Body:
        """GET /dashboard."""

    def payment(self) -> Answer:
        """POST /api/payment."""

    def user_profile(self) -> Answer:
        """GET /api/user/profile."""


def status_word(release: Release, releases: Releases) -> str:
    """`active` for the live deployment, `inactive` for the others."""
    return "active" if release is releases.live else "inactive"


def history_entry(release: Release, releases: Releases) -> Body:
    """One deployment as GET /deployment/status lists it."""
    entry: Body = {
        "id": release.id,
        "status": status_word(release, releases),
        "timestamp": epoch_ms(release.built_at),
        "sha": release.sha,
        "message": release.message,
    }
    if release.rolled_back_at is not None:
        entry["rolledBackAt"] = iso(release.rolled_back_at)
    if release.rollback_reason is not None:
        entry["rollbackReason"] = release.rollback_reason
    return entry


def recent_deployment(release: Release, releases: Releases, now: datetime) -> Body:
    """One deployment as GET /dashboard lists it."""
    return {
        "id": release.id,
        "sha": release.sha,
        "status": status_word(release, releases),
        "message": release.message,
        "age_minutes": (now - release.built_at) // timedelta(minutes=1),
    }


def rollback_info(call: ActivationCall, *, replaced: int, to: int, at: datetime) -> Body:
    """What an activation's reply says it did; fields that the call left out are left out here."""
    info: Body = {"from": replaced, "to": to}
    if call.reason is not None:
        info["reason"] = call.reason
    if call.confidence is not None:
        info["confidence"] = plain(call.confidence)
    return {**info, "timestamp": iso(at)}


def reading_gauges(reading: Reading, release: Release, *, healthy: bool) -> list[Gauge]:
    """The ten samples that GET /metrics carries beside the process's own."""
    deployment = {"deployment_id": str(release.id)}
    return [
        Gauge("deployment_info", 1.0, {**deployment, "sha": release.sha, "environment": "production"}),
        Gauge("deployment_health_status", float(healthy), deployment),
        Gauge("http_request_error_rate_percent", reading.error_rate_percent),
        Gauge("http_request_duration_p50_milliseconds", reading.p50_latency_ms),
        Gauge("http_request_duration_p95_milliseconds", reading.p95_latency_ms),
        Gauge("http_request_duration_p99_milliseconds", reading.p99_latency_ms),
        Gauge("http_requests_per_second", reading.requests_per_second),
        Gauge("process_cpu_usage_percent", reading.cpu_usage_percent),
        Gauge("process_memory_usage_percent", reading.memory_usage_percent),
        Gauge("active_connections", reading.active_connections),
    ]


def deployment_info(release: Release, releases: Releases, deployed_at: datetime) -> Body:
    """The live deployment as GET /metrics/json describes it."""
    return {
        "id": release.id,
        "sha": release.sha,
        "message": release.message,
        "deployed_at": epoch_ms(deployed_at),
        "status": status_word(release, releases),
    }


def health_answer(*, ok: bool, deployment_id: int) -> Answer:
    """The reply of GET /health: 200, or 503 for a service that should not be sent requests."""
    message = "serving" if ok else "failing too many requests, or answering too late"
    return Answer({"ok": ok, "deployment": deployment_id, "message": message}, 200 if ok else 503)


def health_summary(reading: Reading, active_alerts: int) -> Body:
    """The figures of GET /dashboard."""
    return {
        "error_rate": f"{plain(reading.error_rate_percent)}%",
        "p99_latency": f"{plain(reading.p99_latency_ms)}ms",
        "cpu": f"{plain(reading.cpu_usage_percent)}%",
        "active_alerts": active_alerts,
    }


def expected_metrics(error_rate_percent: float, p99_latency_ms: float, *, healthy: bool) -> Body:
    """What a demo call says the service is heading for."""
    return {
        "error_rate": f"{plain(error_rate_percent)}%",
        "p99_latency": f"{plain(p99_latency_ms)}ms",
        "status": "healthy" if healthy else "degraded",
    }


def demo_message(deployment_id: int) -> str:
    """What a demo call did, for people."""
    return {GOOD: f"deployment {GOOD} is live, chaos is off", BAD: f"deployment {BAD} is live, expect trouble"}[
        deployment_id
    ]
