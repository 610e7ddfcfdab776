"""Presses of buttons without an open port: Socket Mode, by "Using Socket Mode" (docs.slack.dev).

The SDK's own client is not used: it asks for one address, good once, and calls that for ever where the call fails; it
logs that address, which is a secret; and it ends without waiting for what it started.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import aiohttp

from incident.errors import ConfigurationError, IntegrationError, TransientError
from integrations.egress import within
from integrations.slack.api import SlackApi, unredirected
from integrations.slack.replies import SYSTEM
from integrations.slack.settings import SlackSettings, secret

HEARTBEAT = timedelta(seconds=10)
"""How often the connection is tried; one that does not answer in half of it is given up."""
PAUSES = (timedelta(0), timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30))
"""Before the first, second … try to connect again; the last holds for all that follow."""
STEADY = timedelta(seconds=30)
"""A connection that stood so long was a good one: the pauses begin anew."""
TAKES_WITHIN = timedelta(seconds=10)
"""How long a press may be handled; Slack sends it again long before."""
MAX_FRAME = 1024 * 1024
_LOGGER = logging.getLogger(__name__)

Handle = Callable[[dict[str, Any]], Awaitable[None]]
"""Takes the payload of a press; where it raises, Slack sends the press again."""


class SocketMode:
    """While it is entered, gives each press to `handle` and tells Slack only then that it was taken.

    Args:
        settings: with an app token.
        handle: takes the payload of a press. It must bear the same press twice.
        pauses: before the first, second … try to connect again.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, settings: SlackSettings, handle: Handle, pauses: tuple[timedelta, ...] = PAUSES) -> None:
        problems = settings.problems()
        if problems or settings.app_token is None:
            raise ConfigurationError(*(problems or ("SLACK__APP_TOKEN: expected an app-level token",)))
        self._settings, self._handle, self._pauses = settings, handle, pauses
        self._api = SlackApi(settings.api_url, secret(settings.app_token), settings.timeout)
        self._schemes = ("wss://",) if settings.api_url.startswith("https://") else ("wss://", "ws://")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connects in the background, however long that takes."""
        self._task = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects; a press that is being handled is not confirmed, and Slack sends it again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._api.close()

    async def _keep_connected(self) -> None:
        clock, tries = asyncio.get_running_loop().time, 0
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.timeout.total_seconds())
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False, trace_configs=[unredirected()]) as session:
            while True:
                began, asked = clock(), timedelta(0)
                try:
                    await self._listen(session)
                except IntegrationError as error:
                    _LOGGER.warning("slack socket mode: %s", error)
                    asked = getattr(error, "retry_after", None) or asked
                except Exception as error:  # noqa: BLE001 - whatever it was, presses must go on coming
                    # Its text may hold the address, which is as good as a token.
                    _LOGGER.warning("slack socket mode: the connection failed (%s)", type(error).__name__)
                tries = 0 if clock() - began >= STEADY.total_seconds() else tries
                await asyncio.sleep(max(asked, self._pauses[min(tries, len(self._pauses) - 1)]).total_seconds())
                tries += 1

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        """Serves one connection until Slack ends it."""
        url = (await self._api.write("apps.connections.open", {})).body.get("url")
        if not isinstance(url, str) or not url.startswith(self._schemes):
            raise TransientError(SYSTEM, "did not say where to connect")
        if not within(url, self._settings.api_url):  # Slack's own are wss-primary.slack.com and its like
            raise TransientError(SYSTEM, "says to connect to a host that is not beneath the one of SLACK__API_URL")
        taken: set[asyncio.Task[None]] = set()
        async with session.ws_connect(url, heartbeat=HEARTBEAT.total_seconds(), max_msg_size=MAX_FRAME) as socket:
            try:
                async for frame in socket:
                    envelope = _read(frame)
                    if envelope.get("type") == "disconnect":
                        break
                    if isinstance(envelope.get("envelope_id"), str):
                        task = asyncio.create_task(self._take(socket, envelope))
                        taken.add(task)
                        task.add_done_callback(taken.discard)
                if taken:
                    await asyncio.wait(taken, timeout=TAKES_WITHIN.total_seconds())
            finally:
                for task in taken:
                    task.cancel()
                await asyncio.gather(*taken, return_exceptions=True)

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        payload = envelope.get("payload")
        try:
            if envelope.get("type") == "interactive" and isinstance(payload, dict):
                async with asyncio.timeout(TAKES_WITHIN.total_seconds()):
                    await self._handle(payload)
            await socket.send_json({"envelope_id": envelope["envelope_id"]})
        except Exception as error:  # noqa: BLE001 - whatever it was, Slack sends the press again
            _LOGGER.warning("slack socket mode: a press was not handled (%s)", type(error).__name__)


def _read(frame: aiohttp.WSMessage) -> dict[str, Any]:
    if frame.type is not aiohttp.WSMsgType.TEXT:
        return {}
    try:
        read = json.loads(frame.data)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
