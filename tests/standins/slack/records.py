"""What the stand-in keeps, and tells of."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

_MENTION = re.compile(r"<[!@#][^>]*>")
_DATE = re.compile(r"<!date\^[^>]*>")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Message(Record):
    """A message as it stands now."""

    channel: str
    ts: str
    via: Literal["bot", "webhook"]
    text: str
    blocks: Sequence[Any] = ()
    thread_ts: str | None = None
    broadcast: bool = False
    metadata: Any = None
    updates: int = 0

    @property
    def place(self) -> str:
        """Where it stands, as the commander names it."""
        return f"{self.channel}/{self.ts}"

    @property
    def key(self) -> str:
        """The key in its metadata; empty: none."""
        key = ((self.metadata or {}).get("event_payload") or {}).get("key", "")
        return str(key)

    @property
    def shown(self) -> str:
        """Every text in it, entities resolved, a line each."""
        texts = (text for _, text in texts_of(self.blocks))
        return "\n".join(_resolved(text) for text in (self.text, *texts))

    @property
    def mentions(self) -> Sequence[str]:
        """Whom or what Slack would call, of the text and of what stands in markup."""
        marked = [self.text, *(text for kind, text in texts_of(self.blocks) if kind == "mrkdwn")]
        return [each for text in marked for each in _MENTION.findall(_DATE.sub("", text))]

    @property
    def buttons(self) -> Mapping[str, str]:
        """The values of its buttons by their action ids."""
        elements = [each for block in self.blocks for each in block.get("elements", ())]
        return {each["action_id"]: each["value"] for each in elements if each.get("type") == "button"}


class Ephemeral(Record):
    """What one person was told."""

    channel: str
    user: str
    text: str
    blocks: Sequence[Any] = ()


class RequestEntry(Record):
    """A call that came in. `status` is None where no answer was given; `body` is as it came."""

    at: datetime
    method: str
    path: str
    query: str
    status: int | None
    body: bytes

    @property
    def arguments(self) -> Any:  # noqa: ANN401 - JSON
        """The body as JSON."""
        return json.loads(self.body)


class EnvelopeEntry(Record):
    """A press that goes through Socket Mode."""

    id: str
    payload: Any
    sent: int = 0
    acked: bool = False


class Journal(Record):
    """All that happened since the start or the last reset, oldest first."""

    messages: Sequence[Message]
    posts: int
    ephemerals: Sequence[Ephemeral]
    requests: Sequence[RequestEntry]
    envelopes: Sequence[EnvelopeEntry]
    connections: int
    connected: int


def texts_of(value: object, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every text in blocks, with the type of what holds it."""
    if isinstance(value, Mapping):
        inner = str(value.get("type", kind))
        for key, each in value.items():
            if key == "text" and isinstance(each, str):
                yield inner, each
            else:
                yield from texts_of(each, inner)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts_of(each, kind)


def _resolved(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
