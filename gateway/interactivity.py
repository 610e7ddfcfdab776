"""Presses of Slack's buttons, however they come: who pressed is checked, and the incident is told.

Whether that person may approve is the incident's to say, in the message where the question stands.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from starlette.datastructures import Headers

from gateway.access import Admission, guarded
from gateway.documents import Responses, problems
from gateway.metrics import Metrics
from gateway.problems import Reason, Refusal, unknown_caller
from incident.errors import IntegrationError, TransientError
from integrations.slack import (
    Directory,
    ForgedError,
    Press,
    SlackSettings,
    UnusablePressError,
    read_form,
    read_press,
    verify,
)
from workflows.desk import IncidentDesk
from workflows.messages import ApprovalAnswer

_log = structlog.get_logger()
ANSWERS_WITHIN = timedelta(seconds=2.5)
"""Slack waits three seconds (docs.slack.dev, "Handling user interaction")."""
_UNCHECKED = "Slack could not be asked who you are, so your answer does not count. Try again."
_CLOSED = "This incident has closed: your answer changes nothing."
_SOURCE = "slack"
_TAKEN: Responses = {200: {"description": "Taken"}}
_FORM = {
    "application/x-www-form-urlencoded": {
        "schema": {"type": "object", "required": ["payload"], "properties": {"payload": {"type": "string"}}},
        "example": {"payload": '{"type": "block_actions", "actions": []}'},
    }
}


class Presses:
    """Takes presses; it must bear the same one twice, and does, since an incident takes the same answer twice.

    Args:
        desk: where the incidents are told.
        directory: whom Slack knows.
        metrics: where presses are counted.
        within: how long one may take.
    """

    def __init__(
        self, desk: IncidentDesk, directory: Directory, metrics: Metrics, within: timedelta = ANSWERS_WITHIN
    ) -> None:
        self._desk, self._directory, self._metrics, self._within = desk, directory, metrics, within
        self._telling: set[asyncio.Task[None]] = set()

    async def take(self, payload: dict[str, Any]) -> None:
        """Tells the incident what was pressed; whoever pressed is told where it does not count.

        Raises:
            UnusablePressError: it is no press as Slack sends it.
            TransientError: Slack or Temporal does not answer, and nothing was told: the press must come again.
        """
        press = read_press(payload)
        if press is None:
            self._metrics.webhook(_SOURCE, "ignored")
            return
        try:
            async with asyncio.timeout(self._within.total_seconds()):
                result, words = await self._answer(press)
        except TransientError:
            self._metrics.webhook(_SOURCE, "away")
            raise
        except TimeoutError as error:
            self._metrics.webhook(_SOURCE, "away")
            raise TransientError("temporal", "did not take a press in time") from error
        self._metrics.webhook(_SOURCE, result)
        _log.info("gateway.pressed", incident_id=press.incident_id, by=press.approver, result=result)
        if words:
            self._tell(press, words)

    async def take_or_drop(self, payload: dict[str, Any]) -> None:
        """The same for a way in that would send what is unusable again and again: that is dropped."""
        try:
            await self.take(payload)
        except UnusablePressError as error:
            self._metrics.refuse(Reason.FIELD)
            _log.warning("gateway.unusable_press", problem=error.problem)

    async def close(self) -> None:
        """Ends what is still being told."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _answer(self, press: Press) -> tuple[str, str]:
        """What became of it, and what whoever pressed is told; empty: the incident's message says it."""
        try:
            objection = await self._directory.objection(press)
        except IntegrationError as error:
            # Nobody knows who it was: that is never a yes.
            self._tell(press, _UNCHECKED)
            raise TransientError(_SOURCE, f"could not say who pressed a button: {error.problem}") from error
        if objection:
            return "refused", objection
        answer = ApprovalAnswer(digest=press.digest, approver=press.approver, approved=press.approved)
        if not await self._desk.press(press.incident_id, answer):
            return "closed", _CLOSED
        self._metrics.signal("answered")
        return "accepted", ""

    def _tell(self, press: Press, words: str) -> None:
        """In the background, for Slack waits for the answer to the press; best effort."""
        task = asyncio.create_task(self._told(press, words))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, press: Press, words: str) -> None:
        try:
            await self._directory.tell(press, words)
        except IntegrationError as error:
            _log.warning("gateway.untold", incident_id=press.incident_id, by=press.approver, problem=str(error))


def build_interactivity(settings: SlackSettings, presses: Presses | None, clock: Callable[[], datetime]) -> APIRouter:
    """Where Slack posts presses; closed without a signing secret, or without `presses`."""
    signing = settings.signing_secret if presses is not None else None
    router = APIRouter(route_class=guarded(by_slack_signature(signing, clock)))

    @router.post(
        "/slack/interactivity",
        status_code=HTTPStatus.OK,
        response_class=Response,
        responses=_TAKEN | problems(HTTPStatus.UNAUTHORIZED, token=False),
        openapi_extra={"requestBody": {"required": True, "content": _FORM}},
    )
    async def take(request: Request) -> Response:
        """Tells an incident what was pressed under its message."""
        if presses is None:
            raise unknown_caller()
        try:
            await presses.take(read_form(await request.body()))
        except UnusablePressError:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "no press of a button", Reason.FIELD) from None
        return Response()

    return router


def by_slack_signature(secret: SecretStr | None, clock: Callable[[], datetime]) -> Admission:
    """Lets in what Slack signed with `secret` in these minutes."""

    async def admit(request: Request) -> None:
        body, given = await request.body(), request.headers
        stamp, signature = (_only(given, f"x-slack-{name}") for name in ("request-timestamp", "signature"))
        known = secret.get_secret_value() if secret else ""
        try:
            verify(body, stamp, signature, known, clock())
        except ForgedError:
            raise unknown_caller(_why(body, stamp, signature, known)) from None

    return admit


def _only(headers: Headers, name: str) -> str | None:
    """The header of that name; `None`: there is none, or more than one."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else None


def _why(body: bytes, timestamp: str | None, signature: str | None, secret: str) -> Reason:
    """TIME where it would have verified when it was signed."""
    try:
        verify(body, timestamp, signature, secret, datetime.fromtimestamp(int(timestamp or ""), UTC))
    except (ForgedError, ValueError, OverflowError, OSError):
        return Reason.SIGNATURE
    return Reason.TIME
