"""Slack's memory: messages, what people were told, and how the app may behave."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from tests.standins.github.clock import Clock
from tests.standins.github.faults import Faults
from tests.standins.slack.records import EnvelopeEntry, Ephemeral, Message, RequestEntry
from tests.standins.slack.world import SCOPES, people

_BURST = 3


class Slack:
    """A workspace with one app."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Forgets everything, faults and limits included."""
        self.faults = Faults()
        self.requests: list[RequestEntry] = []
        self.messages: list[Message] = []
        self.posts = 0
        self.ephemerals: list[Ephemeral] = []
        self.envelopes: dict[str, EnvelopeEntry] = {}
        self.scopes: Sequence[str] = SCOPES
        self.people: dict[str, dict[str, Any]] = dict(people())
        self.limiting = False
        self._posted: dict[str, list[datetime]] = defaultdict(list)

    def find(self, channel: str, ts: str) -> Message | None:
        """The message there."""
        return next((each for each in self.messages if (each.channel, each.ts) == (channel, ts)), None)

    def post(self, channel: str, via: Literal["bot", "webhook"], said: Mapping[str, Any]) -> Message:
        """Keeps a message that was found good."""
        self.posts += 1
        ts = f"{int(self.clock().timestamp())}.{self.posts:06d}"
        message = Message(
            channel=channel,
            ts=ts,
            via=via,
            text=said.get("text") or "",
            blocks=said.get("blocks") or [],
            thread_ts=said.get("thread_ts"),
            broadcast=bool(said.get("reply_broadcast")),
            metadata=said.get("metadata"),
        )
        self.messages.append(message)
        return message

    def update(self, message: Message, said: Mapping[str, Any]) -> None:
        """Changes a message; metadata that is not given stays."""
        changed = {"text": said.get("text") or "", "updates": message.updates + 1, "blocks": said.get("blocks") or []}
        if said.get("metadata") is not None:
            changed["metadata"] = said["metadata"]
        self.messages[self.messages.index(message)] = message.model_copy(update=changed)

    def takes(self, channel: str) -> bool:
        """Whether another message may be posted there now: one a second, after a short burst."""
        now = self.clock()
        lately = [at for at in self._posted[channel] if (now - at).total_seconds() < _BURST]
        self._posted[channel] = [*lately, now]
        return not self.limiting or len(lately) < _BURST
