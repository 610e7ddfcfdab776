"""JSON bodies, read strictly: what two readers could understand differently is refused, before anything looks at it."""

import json
import math
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import Request

from gateway.problems import Reason, Refusal

MAX_DEPTH = 32
"""How deep objects and lists may be nested: no body of ours or of a known sender has ten."""


class StrictRequest(Request):
    """A request whose JSON is read by `read_json`."""

    async def json(self) -> Any:  # noqa: ANN401 - JSON values have no narrower type
        """The body's value."""
        return read_json(await self.body())


def must_be_json(request: Request) -> None:
    """Returns where the body is JSON in no further encoding.

    Raises:
        Refusal: 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind != "application/json" or coding != "identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json, not encoded further", Reason.ENCODING
        )


def read_json(body: bytes) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    """The value of `body`.

    Raises:
        Refusal: 422; it is not JSON in UTF-8, or a key stands twice, or a number is none (NaN, infinite, too long), or
            a text cannot be kept (a lone surrogate, a NUL), or it is nested too deeply.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_each_once,
            parse_constant=_no_number,
            parse_float=_finite,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # UnicodeDecodeError and JSONDecodeError are such; their texts quote the body.
        raise _unreadable("expected JSON in UTF-8") from None
    _check(value)
    return value


def _check(value: object) -> None:
    level, depth = [value], 0
    while level:
        if depth == MAX_DEPTH and any(isinstance(each, dict | list) for each in level):
            raise _too_deep()
        if not all(_storable(each) for each in level if isinstance(each, str)):
            raise _unreadable("expected text without NUL or lone surrogates")
        level, depth = [inner for each in level for inner in _inside(each)], depth + 1


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _storable(text: str) -> bool:
    """Whether UTF-8 and PostgreSQL can hold it."""
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise _unreadable("expected each key once")
    return read


def _no_number(_: str) -> NoReturn:
    raise _unreadable("expected finite numbers")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _unreadable("expected finite numbers")
    return number


def _unreadable(detail: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, Reason.ENCODING)


def _too_deep() -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"expected at most {MAX_DEPTH} levels", Reason.DEPTH)
