"""A gateway that says what a case wants, where the real one could not be brought to; and a patient to hurt."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from pydantic import JsonValue

INCIDENT = "production.payment-api.double"
_LINKS = {"page_url": "http://double/page", "workflow_url": "http://double/workflow"}


@dataclass
class GatewayDouble:
    """One incident that awaits a decision, and closes as soon as it has one. Keeps every body that it was sent.

    Args:
        evidence: what it offers, as JSON text.
        refuses: how many decisions it refuses.
        status: what it answers to everything; 0: what the real one would.
        delay: seconds that it keeps every answer back.
        chaos: whether it says that the service may be hurt.
        ended: how the incident ends.
    """

    evidence: str = "{}"
    refuses: int = 0
    status: int = 0
    delay: float = 0
    chaos: bool = True
    ended: Mapping[str, JsonValue] = field(default_factory=lambda: {"outcome": "RECOVERED", "summary": "well again"})

    def __post_init__(self) -> None:
        self.url = ""
        self.bodies: dict[str, list[Any]] = {}
        """What came, by path."""
        self._closed = False
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.bodies.setdefault(request.path, []).append(await request.json() if request.can_read_body else None)
        await asyncio.sleep(self.delay)
        if self.status:
            return _problem(self.status, "as the case wants it")
        route = request.path.removeprefix(f"/incidents/{INCIDENT}")
        if route == "/decision":
            return self._decision()
        opened = {"incident_id": INCIDENT, "opened": True, **_LINKS}
        found = {"service": "payment-api", "environment": "production", "chaos_url": self.url if self.chaos else ""}
        told = {
            "/services/check": found,
            "/incidents": opened,
            "": self._view(),
            "/evidence": json.loads(self.evidence),
        }
        status = HTTPStatus.CREATED if route == "/incidents" else HTTPStatus.OK
        return web.json_response(told.get(route, {"status": "ok"}), status=status)

    def _decision(self) -> web.Response:
        if self.refuses:
            self.refuses -= 1
            return _problem(422, "expected a valid decision", "decision.confidence: expected at most 1")
        self._closed = True
        return web.json_response({"incident_id": INCIDENT}, status=202)

    def _view(self) -> Mapping[str, JsonValue]:
        if self._closed:
            return {"stage": "closed", "classification": None, **self.ended, **_LINKS}
        return {"stage": "awaiting-decision", "outcome": None, **_LINKS}


def _problem(status: int, detail: str, *errors: str) -> web.Response:
    return web.json_response({"detail": detail, "errors": list(errors)}, status=status)
