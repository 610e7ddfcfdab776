"""What the live service writes in its log: a line per cause every few seconds, and every activation."""

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mock_service.chaos import ChaosKind
from mock_service.clock import epoch_ms, iso
from mock_service.noise import identifier
from mock_service.releases import BAD, Releases
from mock_service.simulation import Simulation

PERIOD = timedelta(seconds=2)
LOOK_BACK = timedelta(minutes=5)
_RECENT = timedelta(seconds=30)
_QUIET_EVERY = 15  # periods between two lines of a service with nothing to complain of
_MOST_LINES = 100
_MOST_EVENTS = 20


@dataclass(frozen=True)
class Line:
    """What a log line says, apart from when and by whom."""

    level: str
    message: str
    metadata: dict[str, object]
    error: dict[str, object] | None = None


def _failure(kind: str, message: str, *, stack: str | None = None) -> dict[str, object]:
    failure: dict[str, object] = {"type": kind, "message": message}
    return failure if stack is None else {**failure, "stack": stack}


QUIET = (
    Line("INFO", "health check passed", {"health_check": "passed"}),
    Line("INFO", "payment settled", {"amount": 99.99, "currency": "USD", "processing_time_ms": 142}),
    Line("INFO", "settlement batch reconciled", {"job_type": "settlement_reconciliation", "records_processed": 1523}),
)
_NO_CONNECTION = Line(
    "ERROR",
    "database connection failed: no free connection in the pool",
    {"pool_size": 10, "active_connections": 10, "wait_time_ms": 5000},
    _failure(
        "DatabaseConnectionError",
        "gave up after 5000 ms waiting for a connection",
        stack="DatabaseConnectionError: gave up after 5000 ms\n  in pool.acquire\n  in payments.charge",
    ),
)
_CONSEQUENCES = (
    Line(
        "ERROR",
        "payment provider did not answer in time",
        {"provider": "new_provider_v2", "timeout_ms": 3000},
        _failure("TimeoutError", "no answer within 3000 ms"),
    ),
    Line(
        "ERROR",
        "circuit to the payment gateway is open",
        {"circuit": "payment-gateway", "failure_rate": "76%", "threshold": "50%", "state": "OPEN"},
    ),
    Line("WARN", "heap is nearly full", {"heap_used_mb": 450, "heap_total_mb": 512, "usage_percent": 88}),
    Line(
        "ERROR",
        "payment request failed",
        {"status_code": 500, "path": "/api/payment", "method": "POST", "response_time_ms": 3542},
        _failure("InternalServerError", "database connection failed"),
    ),
)
DATABASE = tuple((_NO_CONNECTION, consequence) for consequence in _CONSEQUENCES)
_TIMED_OUT = Line(
    "ERROR",
    "upstream call timed out",
    {"path": "/api/payment", "method": "POST"},
    _failure("TimeoutError", "no answer within the request's budget"),
)
SLOW = (
    (Line("WARN", "request slower than its budget", {"endpoint": "/api/payment", "method": "POST"}),),
    (_TIMED_OUT,),
)
_GAVE_UP = Line(
    "ERROR",
    "payment request failed",
    {"status_code": 500, "path": "/api/payment", "method": "POST"},
    _failure("InternalServerError", "the handler gave up"),
)
FAILING = ((_GAVE_UP,),)
BUSY = ((Line("WARN", "event loop lags, cpu saturated", {"resource": "cpu"}),),)

# What a cause must measure before it is written about: a quarter degraded, and chaos that a reader would notice.
_DEGRADED_FROM = 0.25
_SLOW_FROM_MS = 50.0
_FAILING_FROM_PERCENT = 1.0
_BUSY_FROM_PERCENT = 70.0


class Logbook:
    """The log as a function of the instant, so that two readers at one instant see the same lines."""

    def __init__(self, simulation: Simulation, releases: Releases, *, seed: int) -> None:
        self._simulation = simulation
        self._releases = releases
        self._seed = seed
        self._events: deque[tuple[datetime, int, Line]] = deque(maxlen=_MOST_EVENTS)

    def note_activation(self, *, deployment_id: int, replaced: int, at: datetime) -> None:
        """Record that a deployment went live."""
        line = Line(
            "INFO", f"deployment {deployment_id} activated", {"replaced": replaced, "environment": "production"}
        )
        self._events.append((at, deployment_id, line))

    def entries(self, now: datetime) -> list[dict[str, object]]:
        """The log up to now, oldest first."""
        lines = [*self._periodic(now)][-_MOST_LINES:]
        merged = sorted([*lines, *self._events], key=lambda entry: entry[0])
        return [self._entry(at, deployment_id, line) for at, deployment_id, line in merged]

    def recent_errors(self, now: datetime) -> list[str]:
        """The last three complaints, newest last."""
        since = now - _RECENT
        return [line.message for at, _, line in self._periodic(now) if at >= since and line.level != "INFO"][-3:]

    def _periodic(self, now: datetime) -> list[tuple[datetime, int, Line]]:
        last = math.floor(now.timestamp() / PERIOD.total_seconds())
        written = []
        for index in range(last - LOOK_BACK // PERIOD + 1, last + 1):
            at = datetime.fromtimestamp(index * PERIOD.total_seconds(), UTC)
            serving = self._releases.live_at(at)
            written += [(at, serving, line) for line in self._lines(index, at, serving)]
        return written

    def _lines(self, index: int, at: datetime, serving: int) -> list[Line]:
        chaos = self._simulation.chaos
        causes = [
            (DATABASE, serving == BAD and self._simulation.degradation.value(at) >= _DEGRADED_FROM),
            (SLOW, chaos.level(ChaosKind.LATENCY, at) >= _SLOW_FROM_MS),
            (FAILING, chaos.level(ChaosKind.ERRORS, at) >= _FAILING_FROM_PERCENT),
            (BUSY, chaos.level(ChaosKind.CPU, at) >= _BUSY_FROM_PERCENT),
        ]
        lines = [line for repertoire, present in causes if present for line in repertoire[index % len(repertoire)]]
        if not lines and index % _QUIET_EVERY == 0:
            return [QUIET[index // _QUIET_EVERY % len(QUIET)]]
        return lines

    def _entry(self, at: datetime, deployment_id: int, line: Line) -> dict[str, object]:
        entry: dict[str, object] = {
            "timestamp": iso(at),
            "level": line.level,
            "service": "payment-api",
            "deployment_id": deployment_id,
            "message": line.message,
            "trace_id": str(identifier(self._seed, line.message, epoch_ms(at))),
            "metadata": line.metadata,
        }
        return entry if line.error is None else {**entry, "error": line.error}
