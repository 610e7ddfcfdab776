"""The steady profile's two log stories: who complained how many seconds ago, in which words."""

from datetime import datetime, timedelta

from mock_service.clock import iso

_TRACE_ID = "5f0c2a7e-1d34-4b6a-9c8e-7a2b90d1e4f6"
_DATABASE_STACK = "DatabaseConnectionError: gave up after 5000 ms\n  in pool.acquire\n  in payments.charge"

LogLine = tuple[int, str, str, dict[str, object], dict[str, object] | None]
"""Age in seconds, level, message, metadata, error."""

HEALTHY_LOG: tuple[LogLine, ...] = (
    (300, "INFO", "service started", {"version": "1.0.0", "environment": "production"}, None),
    (240, "INFO", "health check passed", {"health_check": "passed"}, None),
    (
        180,
        "INFO",
        "payment settled",
        {"payment_id": "pay_demo_1", "amount": 99.99, "currency": "USD", "processing_time_ms": 142},
        None,
    ),
    (
        120,
        "INFO",
        "settlement batch reconciled",
        {"job_type": "settlement_reconciliation", "duration_ms": 2341, "records_processed": 1523},
        None,
    ),
)
DEGRADED_LOG: tuple[LogLine, ...] = (
    (300, "INFO", "deployment 101 went live", {"version": "1.0.1", "environment": "production"}, None),
    (
        240,
        "WARN",
        "request slower than its budget",
        {"latency_ms": 850, "endpoint": "/api/payment", "method": "POST"},
        None,
    ),
    (
        180,
        "ERROR",
        "database connection failed: no free connection in the pool",
        {"pool_size": 10, "active_connections": 10, "wait_time_ms": 5000},
        {
            "type": "DatabaseConnectionError",
            "message": "gave up after 5000 ms waiting for a connection",
            "stack": _DATABASE_STACK,
        },
    ),
    (
        120,
        "ERROR",
        "payment provider did not answer in time",
        {"payment_id": "pay_demo_2", "provider": "new_provider_v2", "timeout_ms": 3000},
        {"type": "TimeoutError", "message": "no answer within 3000 ms"},
    ),
    (
        90,
        "ERROR",
        "circuit to the payment gateway is open",
        {"circuit": "payment-gateway", "failure_rate": "76%", "threshold": "50%", "state": "OPEN"},
        None,
    ),
    (60, "WARN", "heap is nearly full", {"heap_used_mb": 450, "heap_total_mb": 512, "usage_percent": 88}, None),
    (
        30,
        "ERROR",
        "payment request failed",
        {"status_code": 500, "path": "/api/payment", "method": "POST", "response_time_ms": 3542},
        {"type": "InternalServerError", "message": "database connection failed"},
    ),
)


def log_page(story: tuple[LogLine, ...], deployment_id: int, now: datetime) -> dict[str, object]:
    """The body of GET /logs, oldest line first."""
    entries = [_entry(line, deployment_id, now) for line in story]
    return {"logs": entries, "total_count": len(entries), "next_cursor": None}


def _entry(line: LogLine, deployment_id: int, now: datetime) -> dict[str, object]:
    age, level, message, metadata, error = line
    entry: dict[str, object] = {
        "timestamp": iso(now - timedelta(seconds=age)),
        "level": level,
        "service": "payment-api",
        "deployment_id": deployment_id,
        "message": message,
        "trace_id": _TRACE_ID,
        "metadata": metadata,
    }
    return entry if error is None else {**entry, "error": error}
