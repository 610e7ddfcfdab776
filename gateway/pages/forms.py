"""What a browser sends with a form."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from gateway.pages.problems import PageError

MAX_FORM = 16 * 1024
"""Bytes; the largest of our forms holds a note of 500 characters."""
_MAX_FIELDS = 16
_CONTENT_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form, each of them once.

    Raises:
        PageError: it is no form, too large, not UTF-8, or says a field twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _CONTENT_TYPE:
        raise PageError(415, "Not a form", f"Expected {_CONTENT_TYPE}.")
    body = await _body(request)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise PageError(422, "Unreadable form", "The form could not be read.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise PageError(422, "Unreadable form", "A field is there twice.")
    return fields


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM:
                raise PageError(413, "Too much", f"A form holds at most {MAX_FORM} bytes.")
    except ClientDisconnect as error:
        raise PageError(400, "Unreadable form", "The form was cut off.") from error
    return body
