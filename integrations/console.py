"""Chat and pager for whoever has no account: each message is one block of text on a stream, by default stderr."""

import sys
from collections.abc import Iterable
from typing import TextIO

from incident.errors import PermanentError, TransientError
from incident.messages import Change, ChatMessage, MessageField, Page, said_again
from incident.text import visible


class ConsoleChat:
    """Writes chat messages."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    async def post(self, message: ChatMessage) -> str:
        """Writes `message`; what is written cannot be changed."""
        message = said_again(message)
        incident = MessageField(label="Incident", text=message.incident_id)
        status = (MessageField(label="Status", text=message.status),) if message.status else ()
        _write(self._stream, f"{message.kind}: {message.title}", (incident, *status, *message.fields, *message.said))
        return ""


class ConsolePager:
    """Writes pages. It keeps no state: the same key again is written again, under the same key."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    async def page(self, page: Page) -> None:
        """Writes `page`."""
        _write(self._stream, f"page {page.key} ({page.priority}): {page.summary}", page.details)

    async def resolve(self, key: str) -> None:
        """Writes that the page of that key is closed."""
        _write(self._stream, f"page {key}: resolved", ())

    async def record_change(self, change: Change) -> None:
        """Writes `change`."""
        _write(self._stream, f"change: {change.summary}", change.details)


def _write(stream: TextIO, title: str, fields: Iterable[MessageField]) -> None:
    lines = [f"● {_plain(title)}", *(f"  {_plain(field.label)}: {_plain(field.text)}" for field in fields)]
    try:
        stream.write("\n".join(lines) + "\n\n")
        stream.flush()
    except OSError as error:
        raise TransientError("console", f"cannot be written ({type(error).__name__})") from error
    except ValueError as error:  # a closed stream, or one whose encoding lacks a character
        raise PermanentError("console", f"cannot be written ({type(error).__name__})") from error


def _plain(text: str) -> str:
    """`text` on one line, so that no value can pass for a line of ours, and without what a terminal would obey."""
    return visible(" ".join(text.split()))
