"""The one place where secrets are taken out of text before it leaves: `redact`, and `redact_model` for whole values.

A modest set of patterns on lines capped in length, so that no line can stall it: it lowers the risk and does not end
it. Every quantifier is bounded. A mark names the kind only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

MAX_LINE = 8 * 1024
"""Characters kept of one line: at this length the worst hostile line took 31 ms (measured for the patterns' kind)."""
MAX_TEXT = 256 * 1024
"""Characters kept of one text."""
_MAY_GROW_TO = 256
"""A longer text never grows by its marks, so that a field's limit on its length still holds."""
_CUT = "[CUT]"
_OPEN_MARK = re.compile(r"\[[A-Za-z:-]{0,30}\Z")


class _Pattern(NamedTuple):
    kind: str
    hints: tuple[str, ...]
    """Case-folded; a text without any of them cannot match, which is far cheaper to see."""
    expression: re.Pattern[str]

    @property
    def mark(self) -> str:
        return rf"\g<keep>[REDACTED:{self.kind}]" if "keep" in self.expression.groupindex else f"[REDACTED:{self.kind}]"


_PATTERNS = (
    _Pattern(
        "private-key",
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-]|-(?!----)){0,8000}"
            r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
        ),
    ),
    _Pattern("aws-key", ("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    _Pattern(
        "github-token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
    ),
    _Pattern("slack-token", ("xox", "xapp-"), re.compile(r"\bx(?:ox[abeprs]|app)-[A-Za-z0-9-]{10,255}")),
    _Pattern("slack-webhook", ("hooks.slack.com",), re.compile(r"hooks\.slack\.com/services/[A-Za-z0-9/]{1,255}")),
    _Pattern("openai-key", ("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{20,255}")),
    _Pattern(
        "jwt", ("eyj",), re.compile(r"\beyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{2,4000}\.[A-Za-z0-9_-]{0,1000}")
    ),
    _Pattern("url-password", ("://",), re.compile(r"(?<=://)[^\s:/@]{0,100}:[^\s/@]{1,200}(?=@)")),
    _Pattern(
        "authorization",
        ("authorization",),
        re.compile(
            r"(?i)\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:bearer|basic|token)\s{1,3})?[^\s\"',]{4,4000}"
        ),
    ),
    _Pattern("bearer", ("bearer",), re.compile(r"(?i)\bbearer\s{1,3}[A-Za-z0-9._~+/-]{12,4000}=*")),
    _Pattern("cookie", ("cookie",), re.compile(r"(?i)\b(?:set-)?cookie[\"']?\s{0,3}:[^\r\n]{1,4000}")),
    _Pattern(
        "secret",
        ("passw", "secret", "token", "api", "routing"),
        re.compile(
            r"(?i)\b(?P<keep>[a-z0-9_-]{0,40}"
            r"(?:passwo?r?d|passwd|secret(?:[_-]access)?(?:[_-]key)?|token|api[_-]?key|routing[_-]?key)[\"']?"
            r"\s{0,3}[:=]\s{0,3}[\"']?)(?!\[(?:REDACTED|CUT))[^\s\"',;&]{3,1000}"
        ),
    ),
    _Pattern(
        "email", ("@",), re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}\b")
    ),
)

_Model = TypeVar("_Model", bound=BaseModel)


def redact(text: str) -> str:
    """`text` with every secret it recognises replaced by `[REDACTED:<kind>]`, cut to the caps above."""
    short = _short(text)
    for pattern in _hinted(short):
        short = pattern.expression.sub(pattern.mark, short)
    if len(short) > max(len(text), _MAY_GROW_TO):
        short = _capped(short, max(len(text), _MAY_GROW_TO))
    return _short(short)


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
    return any(pattern.expression.search(together) for pattern in _hinted(together))


def _hinted(text: str) -> list[_Pattern]:
    folded = text.casefold()
    return [pattern for pattern in _PATTERNS if any(hint in folded for hint in pattern.hints)]


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


def _short(text: str) -> str:
    return "\n".join(_capped(line, MAX_LINE) for line in _capped(text, MAX_TEXT).split("\n"))


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else _OPEN_MARK.sub("", text[: limit - len(_CUT)]) + _CUT
