"""The hand of a test on the stand-in, from any thread or event loop."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import httpx
from aiohttp import web
from pydantic import SecretStr

from integrations.slack import SlackSettings
from tests.standins.github.behaviour import Fault
from tests.standins.slack.fake import CONTROL, create_app
from tests.standins.slack.payloads import block_actions, form, signed
from tests.standins.slack.records import EnvelopeEntry, Ephemeral, Journal, Message, RequestEntry
from tests.standins.slack.world import APP_TOKEN, BOT_TOKEN, CHANNEL, SIGNING_SECRET, TEAM, WEBHOOK, Person

_WITHIN = 10.0
Answer = Literal["approve", "deny"]


class SlackStandin:
    """A running stand-in at `url`, in this process or another."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.webhook_url = url + WEBHOOK
        self._control = httpx.Client(base_url=url + CONTROL, trust_env=False, timeout=_WITHIN)

    def settings(self, **changes: object) -> SlackSettings:
        """The settings of its app: a bot in the channel, with buttons pressed by HTTP."""
        values = {
            "bot_token": SecretStr(BOT_TOKEN),
            "channel": CHANNEL,
            "signing_secret": SecretStr(SIGNING_SECRET),
            "team": TEAM,
            "api_url": f"{self.url}/api/",
        }
        return SlackSettings.model_validate({**values, **changes})

    def socket_settings(self, **changes: object) -> SlackSettings:
        """The same, with buttons pressed by Socket Mode."""
        return self.settings(**{"signing_secret": None, "app_token": SecretStr(APP_TOKEN), **changes})

    def webhook_settings(self, **changes: object) -> SlackSettings:
        """The settings of its webhook."""
        return SlackSettings.model_validate({"webhook_url": SecretStr(self.webhook_url), **changes})

    def close(self) -> None:
        """Ends the connection, not the stand-in."""
        self._control.close()

    def messages(self) -> Sequence[Message]:
        """Every message as it stands now, oldest first, replies included."""
        return self.journal().messages

    def message(self, ts: str) -> Message:
        """The message of that time stamp."""
        return next(each for each in self.messages() if each.ts == ts)

    @property
    def posts(self) -> int:
        """How often something was posted, by the bot or the webhook; changes do not count."""
        return self.journal().posts

    def ephemerals(self) -> Sequence[Ephemeral]:
        """What single people were told, oldest first."""
        return self.journal().ephemerals

    def requests(self) -> Sequence[RequestEntry]:
        """Every call that came to Slack, oldest first, whatever became of it."""
        return self.journal().requests

    def envelope(self, envelope_id: str) -> EnvelopeEntry:
        """How far a press by Socket Mode is."""
        return next(each for each in self.journal().envelopes if each.id == envelope_id)

    @property
    def connected(self) -> int:
        """How many connections of Socket Mode there are."""
        return self.journal().connected

    def journal(self) -> Journal:
        """All that happened."""
        return Journal.model_validate_json(self._control.get("/journal").raise_for_status().content)

    def faults(self, *faults: Fault) -> None:
        """Lets calls to come go wrong, in this order, behind what waits already; `faults.py` makes them."""
        self._post("faults", [fault.model_dump(mode="json") for fault in faults])

    def limit(self) -> None:
        """Takes a message a second in each channel, after a short burst, from now on."""
        self._post("behave", {"limiting": True})

    def allow(self, *scopes: str) -> None:
        """Lets the app do this and nothing else."""
        self._post("behave", {"scopes": scopes})

    def know(self, person: Mapping[str, Any]) -> None:
        """Tells of a person so from now on."""
        self._post("behave", {"people": {person["id"]: person}})

    def chatter(self, messages: int) -> None:
        """Others post so many messages in the channel."""
        self._post("chatter", messages)

    def reset(self) -> None:
        """Forgets everything, faults and limits included; connections stay."""
        self._post("reset", None)

    def press(  # noqa: PLR0913 - each is one thing that a caller may send wrongly
        self,
        message_ts: str,
        answer: Answer,
        *,
        url: str,
        user: str = Person.MEMBER,
        signing_secret: str = SIGNING_SECRET,
        timestamp: str | None = None,
        tamper: Callable[[bytes], bytes] = lambda body: body,
        times: int = 1,
        **changes: object,
    ) -> int:
        """A person presses a button, and Slack tells `url` of it; the status of the last answer.

        Args:
            message_ts: the message with the button.
            answer: which button.
            url: where presses go.
            user: who presses.
            signing_secret: what it is signed with.
            timestamp: of the request, in seconds; left out, now.
            tamper: changes the body after it was signed.
            times: how often the same request is sent.
            changes: of the payload, by its keys.
        """
        payload = block_actions(self.message(message_ts), f"commander.{answer}", user, **changes)
        body = form(payload)
        headers = signed(body, str(int(time.time())) if timestamp is None else timestamp, signing_secret)
        with httpx.Client(trust_env=False, timeout=_WITHIN) as client:
            return [client.post(url, content=tamper(body), headers=headers).status_code for _ in range(times)][-1]

    def press_socket(self, message_ts: str, answer: Answer, *, user: str = Person.MEMBER, **changes: object) -> str:
        """A person presses a button, and Slack tells of it by Socket Mode; the envelope's id."""
        payload = block_actions(self.message(message_ts), f"commander.{answer}", user, **changes)
        return str(self._post("push", payload))

    def disconnect(self) -> None:
        """Asks the app to open its connections of Socket Mode anew."""
        self._post("disconnect", None)

    def cut(self) -> None:
        """Breaks the connections of Socket Mode off."""
        self._post("cut", None)

    def _post(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        return self._control.post(f"/{path}", json=body).raise_for_status().json()


@contextmanager
def running_slack() -> Iterator[SlackStandin]:
    """A stand-in in a thread of this process, on a port that the system chose."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ready, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(_serve(listening, ready, stop)), daemon=True)
        thread.start()
        assert ready.wait(_WITHIN), f"the stand-in for Slack was not ready within {_WITHIN} s"
        standin = SlackStandin(f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            yield standin
        finally:
            standin.close()
            stop.set()
            thread.join(_WITHIN)


async def _serve(listening: socket.socket, ready: threading.Event, stop: threading.Event) -> None:
    runner = web.AppRunner(create_app(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        ready.set()
        await asyncio.to_thread(stop.wait)
    finally:
        await runner.cleanup()
