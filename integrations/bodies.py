"""The bytes of an answer as what they are meant to be: one JSON value, or text."""

from json import loads
from typing import cast

from pydantic import JsonValue


class UnreadableError(Exception):
    """The body cannot be used; the text says why."""


class TooLargeError(UnreadableError):
    """It is larger than what is read."""


def as_json(body: bytes) -> JsonValue:
    """The JSON value that `body` is.

    Raises:
        UnreadableError: it is none.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("is not UTF-8") from error
    _refuse_html(text, "JSON")
    try:
        return cast("JsonValue", loads(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("is not JSON") from error


def as_text(body: bytes) -> str:
    """`body` as text; what is no UTF-8 in it is replaced.

    Raises:
        UnreadableError: it is a page for people.
    """
    text = body.decode("utf-8-sig", "replace")
    _refuse_html(text, "text")
    return text


def _refuse_html(text: str, awaited: str) -> None:
    if text.lstrip()[:1] == "<":
        raise UnreadableError(f"is HTML, not {awaited}")
