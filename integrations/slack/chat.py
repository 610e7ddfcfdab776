"""The channel, written to by a bot: messages that stand under others, and that are changed as the matter goes on."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from incident.errors import ConfigurationError, PermanentError, TransientError
from incident.messages import ChatMessage
from integrations.slack.api import Answer, SlackApi
from integrations.slack.blocks import render
from integrations.slack.replies import SYSTEM
from integrations.slack.settings import SlackSettings, secret

EVENT_TYPE = "incident_commander"
"""Of the metadata by which a message's key is found again; Slack itself knows no such key."""
LOOKS_BACK = timedelta(hours=24)
"""How old a message may be that is looked for: far longer than Temporal tries to post one."""
MAX_PAGES, PAGE_SIZE = 5, 200
"""How much of a channel is looked through, newest first; Slack recommends at most 200 a page."""
QUIET: Mapping[str, Any] = {
    "unfurl_links": False,
    "unfurl_media": False,
    "link_names": False,
    "parse": "none",
    "mrkdwn": False,
}
"""Nothing in the text becomes a link, a mention or a preview that is none in our own markup."""

_PLACE = re.compile(r"(?P<channel>[CGD][A-Z0-9]{2,30})/(?P<ts>[0-9]{1,12}\.[0-9]{1,9})", re.ASCII)


class Place(NamedTuple):
    """Where a message stands."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.channel}/{self.ts}"


class SlackChat:
    """One channel of a workspace.

    Args:
        settings: with a bot token.
        incident_url: where the incidents' pages stand; an incident's id is appended to it. Empty: nothing is linked.
        clock: gives the time, aware.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(
        self, settings: SlackSettings, incident_url: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        problems = settings.problems()
        if problems or not settings.by_bot:
            raise ConfigurationError(*(problems or ("SLACK__BOT_TOKEN: expected a bot token",)))
        self._settings, self._incident_url, self._clock = settings, incident_url, clock
        self._api = SlackApi(settings.api_url, secret(settings.bot_token), settings.timeout)

    async def post(self, message: ChatMessage) -> str:
        """Posts `message`, or changes the one that stands where it says; where it stands now, as "channel/ts".

        Raises:
            TransientError: it is not known whether it stands; with `again` it is looked for before it is posted anew.
            PermanentError: Slack refuses it, or the message to change is gone.
        """
        rendered = render(
            message, self._incident_url, buttons=self._settings.interactive, mention=self._settings.mention
        )
        said = {**QUIET, "text": rendered.text, "blocks": list(rendered.blocks), **_metadata(message.key)}
        if message.stands:
            place = _place(message.stands)
            await self._api.write("chat.update", {**said, "channel": place.channel, "ts": place.ts})
            return str(place)
        above = _place(message.thread) if message.thread else None
        if message.again and message.key and (found := await self._find(message.key, above)):
            return str(found)
        under = {"thread_ts": above.ts, "reply_broadcast": message.announce} if above else {}
        channel = above.channel if above else self._settings.channel
        return str(_stands(await self._api.write("chat.postMessage", {**said, **under, "channel": channel})))

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def _find(self, key: str, above: Place | None) -> Place | None:
        """Where the message of that key stands; `None`: in the newest pages there is none."""
        channel = above.channel if above else self._settings.channel
        method = "conversations.replies" if above else "conversations.history"
        where = {
            "channel": channel,
            "oldest": f"{(self._clock() - LOOKS_BACK).timestamp():.6f}",
            "limit": str(PAGE_SIZE),
            "include_all_metadata": "true",
            **({"ts": above.ts} if above else {}),
        }
        for _ in range(MAX_PAGES):
            answer = await self._api.read(method, **where)
            for ts in _keyed(answer, key):
                return Place(channel, ts)
            cursor = _dict(answer.body.get("response_metadata")).get("next_cursor")
            if not isinstance(cursor, str) or not cursor:
                break
            where["cursor"] = cursor
        return None


def _keyed(answer: Answer, key: str) -> Iterator[str]:
    """The time stamps of the messages of that key on one page."""
    messages = answer.body.get("messages")
    if not isinstance(messages, list):
        raise TransientError(SYSTEM, "did not say which messages there are")
    for each in messages:
        metadata = _dict(_dict(each).get("metadata"))
        ours = metadata.get("event_type") == EVENT_TYPE and _dict(metadata.get("event_payload")).get("key") == key
        if ours and isinstance(each.get("ts"), str):
            yield each["ts"]


def _metadata(key: str) -> dict[str, Any]:
    return {"metadata": {"event_type": EVENT_TYPE, "event_payload": {"key": key}}} if key else {}


def _stands(answer: Answer) -> Place:
    place = f"{answer.body.get('channel')}/{answer.body.get('ts')}"
    if not _PLACE.fullmatch(place):
        raise TransientError(SYSTEM, "did not say where the message stands")
    return _place(place)


def _place(text: str) -> Place:
    match = _PLACE.fullmatch(text)
    if match is None:
        raise PermanentError(SYSTEM, f"no place of a message: {text!r:.80}")
    return Place(match["channel"], match["ts"])


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
