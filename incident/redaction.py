"""The one place where secrets are taken out of text before it leaves: `redact`, and `redact_model` for whole values.

What `incident.kinds` knows is taken out, and what the policy adds; it lowers the risk and does not end it. RE2 needs
time that grows with the text alone, and texts are capped. What nobody sees goes first, so that nothing can hide in a
secret.

A mark names the kind and, where there is a key, the first digits of a keyed hash of the secret: whoever reads two marks
sees whether the secrets are equal, and without the key nobody can try guesses. Whoever may write into a text and read
the mark can compare a guess, which no key prevents; it helps them only with what can be guessed, such as an e-mail
address.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from incident.kinds import KINDS, Found, Kind, Lookout
from incident.text import visible

MAX_LINE = 8 * 1024
"""Characters kept of one line."""
MAX_TEXT = 256 * 1024
"""Characters kept of one text."""
_SPARE = 4 * 1024
"""Characters after a cut that are still looked at: no format's secret is longer, so none is cut in halves."""
_MAY_GROW_TO = 256
"""A longer text never grows by its marks, so that a field's limit on its length still holds."""
_ROUNDS = 4
"""A cut may bring things together that match; so often it is looked again."""
_DIGITS = 8
"""Hex digits that tell secrets apart: among a thousand, two have the same with a chance of 1 : 8,000."""
_CUT = b"[CUT]"
_STANDING = re.compile(rb"\[REDACTED:[a-z][a-z0-9-]{0,29}(?::[0-9a-f]{8})?\]|\[CUT\]")
_OPEN_MARK = re.compile(r"\[[A-Za-z0-9:-]{0,60}\Z")
_YIELDING = "email"
"""What follows a password in a URL looks like one as well."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class _Rules:
    key: bytes | None
    added: tuple[Kind, ...]
    lookouts: tuple[tuple[tuple[Kind, ...], Lookout], ...]
    suspected: tuple[Callable[[bytes], Collection[int] | None], ...]
    """The lookouts' one pass over a text each."""


class _Piece(NamedTuple):
    start: int
    end: int
    mark: bytes


def _rules(key: bytes | None, added: tuple[Kind, ...]) -> _Rules:
    own = ((added, Lookout(added, text=True)),) if added else ()
    lookouts = ((KINDS, _BUILT_IN), *own)
    return _Rules(key, added, lookouts, tuple(lookout.match for _, lookout in lookouts))


_BUILT_IN = Lookout(KINDS)
_NOW = [_rules(None, ())]
"""The rules in force, of all of this process: no text gets out by a way that was not handed them."""


@contextmanager
def redacting_by(key: bytes | None, patterns: Mapping[str, str]) -> Iterator[None]:
    """Within it this process, all of it, redacts by these; each process enters one before it reads anything.

    Args:
        key: makes equal secrets' marks equal; `None`: marks name the kind only.
        patterns: kinds of a team's own, by name, as expressions of RE2; the first group, if any, is the secret.

    Raises:
        ValueError: a pattern is none of RE2's.
    """
    before = _NOW[0]
    # BLAKE2b takes 64 bytes as key at the most (RFC 7693 §2.1).
    _NOW[0] = _rules(
        None if key is None else sha256(key).digest(),
        tuple(Kind(name, expression) for name, expression in patterns.items()),
    )
    try:
        yield
    finally:
        _NOW[0] = before


def redact(text: str, *, keyed: bool = True) -> str:
    """`text` without what nobody sees, with `[REDACTED:<kind>]` for every secret it recognises, cut to the caps above.

    Args:
        text: anybody's.
        keyed: whether the marks of equal secrets are equal and others' are not. Workflows say no: what they make must
            be the same when another process replays it.
    """
    rules = _NOW[0]
    seen = visible(text if len(text) <= MAX_LINE else text[: MAX_TEXT + _SPARE])
    if len(seen) <= MAX_LINE:
        data = seen.encode()
        for suspected in rules.suspected:  # a plain loop: most texts are short and hold nothing
            if suspected(data):
                break
        else:
            return seen
    limit = max(len(seen), _MAY_GROW_TO)
    for _ in range(_ROUNDS):
        before = seen
        seen = _capped(_pass(seen, rules, keyed=keyed), limit)
        if seen == before:
            break
    return seen


def redact_value(value: Any) -> Any:  # noqa: ANN401 - JSON values have no narrower type
    """A JSON value with every string in it redacted; keys stay."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: redact_value(each) for key, each in value.items()}
        case list() | tuple():
            return [redact_value(each) for each in value]
        case _:
            return value


def redact_model(model: _Model) -> _Model:
    """`model` with every string in it redacted; the same object where there was nothing to redact."""
    before = model.model_dump(mode="json")
    if not _suspicious(list(_strings(before))):
        return model
    after = redact_value(before)
    return model if after == before else type(model).model_validate_json(json.dumps(after))


def _suspicious(texts: list[str]) -> bool:
    """Whether any of `texts` could change: one pass over all of them, instead of one for each."""
    if max(map(len, texts), default=0) > MAX_LINE:
        return True
    together = "\n".join(texts)
    if visible(together) != together:
        return True
    rules = _NOW[0]
    # A team's own expression may speak of a text's beginning or end.
    return bool(_BUILT_IN.suspects(together.encode())) or any(
        lookout.suspects(each.encode()) for _, lookout in rules.lookouts[1:] for each in texts
    )


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON values have no narrower type
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)


def _pass(text: str, rules: _Rules, *, keyed: bool) -> str:
    data, cuts = _bounded(text)
    found = _found(data, rules)
    if not found and not cuts:
        return text
    standing = [match.span() for match in _STANDING.finditer(data)]
    cuts = [_Piece(_before(standing, start), end, mark) for start, end, mark in cuts]
    closed = sorted([(start, end) for start, end, _ in cuts] + standing)
    key = rules.key if keyed else None
    marks = [piece for name, each in _merged(found) for piece in _around(closed, each, _mark(name, each, data, key))]
    lines = _replaced(data, sorted([*marks, *cuts])).decode().split("\n")
    return _capped("\n".join(_capped(line, MAX_LINE) for line in lines), MAX_TEXT)


def _bounded(text: str) -> tuple[bytes, list[_Piece]]:
    """`text` in UTF-8, with no more than is looked at of each line and of all, and which pieces of that are cut out."""
    if len(text) <= MAX_LINE or (len(text) <= MAX_TEXT and max(map(len, text.split("\n"))) <= MAX_LINE):
        return text.encode(), []
    kept = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - len(_CUT)]
    data, cuts = bytearray(), []
    for number, line in enumerate(kept.split("\n")):
        data += b"\n" if number else b""
        if len(line) <= MAX_LINE:
            data += line.encode()
            continue
        data += line[: MAX_LINE - len(_CUT)].encode()
        start = len(data)
        data += line[MAX_LINE - len(_CUT) : MAX_LINE + _SPARE].encode()
        cuts.append(_Piece(start, len(data), _CUT))
    if kept is not text:
        start = cuts.pop().start if cuts and cuts[-1].end == len(data) else len(data)
        data += text[len(kept) : len(kept) + _SPARE].encode()
        cuts.append(_Piece(start, len(data), _CUT))
    return bytes(data), cuts


def _found(data: bytes, rules: _Rules) -> list[tuple[str, Found]]:
    """What is found, of the kinds in their order; each with the kind's name."""
    found = [
        (kinds[which].name, each)
        for kinds, lookout in rules.lookouts
        for which in sorted(lookout.suspects(data))
        for each in lookout.find(which, data)
    ]
    if len({name for name, _ in found}) > 1:
        others = _joined((each.start, each.end) for name, each in found if name != _YIELDING)
        found = [(name, each) for name, each in found if name != _YIELDING or not _touches(others, each)]
    return found


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _touches(spans: list[tuple[int, int]], found: Found) -> bool:
    at = bisect_left(spans, (found.end, 0)) - 1
    return at >= 0 and spans[at][1] > found.start


def _merged(found: list[tuple[str, Found]]) -> list[tuple[str, Found]]:
    """What overlaps as one: all that any of it takes out, of the kind of the widest, or of the first of equals."""
    merged: list[tuple[str, Found]] = []
    widest = 0
    for name, each in sorted(found, key=lambda one: one[1].start):  # stable: of equal ones the first kind stays first
        if not merged or each.start >= merged[-1][1].end:
            merged.append((name, each))
            widest = each.end - each.start
            continue
        known, all_of_it = merged[-1]
        wider = each.end - each.start > widest
        widest = max(widest, each.end - each.start)
        value = each.value if wider else all_of_it.value
        merged[-1] = (name if wider else known, Found(all_of_it.start, max(each.end, all_of_it.end), value))
    return merged


def _mark(name: str, found: Found, data: bytes, key: bytes | None) -> bytes:
    if key is None:
        return f"[REDACTED:{name}]".encode()
    start, end = found.value
    digits = blake2b(data[start:end], digest_size=_DIGITS // 2, key=key).hexdigest()
    return f"[REDACTED:{name}:{digits}]".encode()


def _before(standing: list[tuple[int, int]], cut: int) -> int:
    """Where to cut instead of within a mark that stands there."""
    return next((start for start, end in standing if start < cut < end), cut)


def _around(closed: list[tuple[int, int]], found: Found, mark: bytes) -> Iterator[_Piece]:
    """The pieces of what was found that stand in none of `closed`, which is in order."""
    at, number = found.start, max(0, bisect_left(closed, (found.start, 0)) - 1)
    while number < len(closed) and closed[number][0] < found.end:
        start, end = closed[number]
        if start > at:
            yield _Piece(at, start, mark)
        at, number = max(at, end), number + 1
    if at < found.end:
        yield _Piece(at, found.end, mark)


def _replaced(data: bytes, pieces: list[_Piece]) -> bytes:
    shown, at = [], 0
    for start, end, mark in pieces:
        shown += [data[at:start], mark]
        at = end
    return b"".join([*shown, data[at:]])


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else _OPEN_MARK.sub("", text[: limit - len(_CUT)]) + _CUT.decode()
