"""`/healthz`, `/readyz` and `/metrics`: they need no token and say nothing of any incident."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from gateway.documents import Responses, told
from gateway.metrics import CONTENT_TYPE, Metrics
from incident.model import Fact

Probe = Callable[[], Awaitable[object]]
"""Gives something false, or raises, or does not return in time, where what it asks for is not there."""

_log = structlog.get_logger()
PROBE_WITHIN = timedelta(seconds=2)
"""How long each may take: Kubernetes' own probes wait one second, and are set to more where that matters."""


class Live(Fact):
    """The process runs."""

    status: Literal["live"] = "live"


class Readiness(Fact):
    """Whether the gateway can do its work."""

    status: Literal["ready", "not ready"]
    missing: tuple[str, ...] = ()


def build_probes(metrics: Metrics, needs: dict[str, Probe], within: timedelta = PROBE_WITHIN) -> APIRouter:
    """The routes that a supervisor asks.

    Args:
        metrics: what is counted.
        needs: what must answer, by name.
        within: how long each may take.
    """
    router = APIRouter()
    busy: Responses = {429: {"description": "Too Many Requests"}}
    text: Responses = {
        200: {"description": "Prometheus's text format", "content": {"text/plain": {"example": "# HELP …"}}}
    }
    not_ready = Readiness(status="not ready", missing=("temporal",))

    @router.get("/healthz", responses=told(200, "The process runs", Live()) | busy)
    async def live() -> Live:
        """200 while the process runs."""
        return Live()

    @router.get(
        "/readyz",
        responses=told(200, "Temporal and the store answer", Readiness(status="ready"))
        | told(503, "One of them does not", not_ready, model=True)
        | busy,
    )
    async def ready(response: Response) -> Readiness:
        """200 while Temporal and the store answer."""
        answers = await asyncio.gather(*(_holds(name, probe, within) for name, probe in needs.items()))
        missing = tuple(name for name, holds in zip(needs, answers, strict=True) if not holds)
        response.status_code = 503 if missing else 200
        return Readiness(status="not ready" if missing else "ready", missing=missing)

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=text | busy,
    )
    async def counts() -> Response:
        """What the gateway counts."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return router


async def _holds(name: str, probe: Probe, within: timedelta) -> bool:
    try:
        async with asyncio.timeout(within.total_seconds()):
            return bool(await probe())
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the answer is "not ready"
        _log.warning("gateway.not_ready", missing=name, problem=type(error).__name__)
        return False
