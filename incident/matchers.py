"""Label matchers, as Prometheus, Loki and Alertmanager write them: `app="payment-api"`, `level=~"warn|error"`.

What is sent to these systems is written anew from what was read, so that no value can end its quotes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

Operator = Literal["=", "!=", "=~", "!~"]

_MATCHER = re.compile(r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\["\\nt])*)"\s*""")
"""Values in double quotes; of Go's escapes those that one needs: \\" \\\\ \\n \\t."""
_UNESCAPED = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_EXPECTED = 'expected a matcher such as app="payment-api", with =, !=, =~ or !~ and the value in double quotes'


@dataclass(frozen=True)
class Matcher:
    """What one label must be."""

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        """The matcher as the systems read it, its value quoted and escaped."""
        return f'{self.name}{self.operator}"{"".join(_ESCAPED.get(each, each) for each in self.value)}"'

    @property
    def narrows(self) -> bool:
        """Whether it leaves out whatever has not this label."""
        if self.operator != "=~":
            return self.operator == "=" and self.value != ""
        try:
            return re.fullmatch(self.value, "") is None
        except re.error:
            return True  # the system itself refuses it, or knows more than Python


def parse_matcher(text: str) -> Matcher:
    """The one matcher that `text` holds.

    Raises:
        ValueError: it holds none, or something else as well.
    """
    found = tuple(_matchers(text))
    if len(found) != 1:
        raise ValueError(f"{_EXPECTED}; one of them")
    return found[0]


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a selector in braces.

    Raises:
        ValueError: it is no selector, or something follows it: lines are not filtered here.
    """
    inner = text.strip()
    if not (inner.startswith("{") and inner.endswith("}")):
        raise ValueError('expected a selector such as {app="payment-api"}, and nothing after it')
    return tuple(_matchers(inner[1:-1]))


def selector(matchers: tuple[Matcher, ...]) -> str:
    """The selector of those matchers."""
    return f"{{{', '.join(map(str, matchers))}}}"


def narrowing(matchers: tuple[Matcher, ...]) -> None:
    """Nothing, where `matchers` cannot hold for everything there is.

    Raises:
        ValueError: they can.
    """
    if not any(each.narrows for each in matchers):
        raise ValueError(
            'expected at least one matcher such as app="payment-api", or everything there is would be read'
        )


def _matchers(text: str) -> Iterator[Matcher]:
    place = 0
    while True:
        match = _MATCHER.match(text, place)
        if match is None:
            raise ValueError(_EXPECTED)
        value = re.sub(r"\\(.)", lambda escape: _UNESCAPED[escape[1]], match[3])
        yield Matcher(match[1], cast("Operator", match[2]), value)
        place = match.end()
        if place == len(text):
            return
        if text[place] != ",":
            raise ValueError(_EXPECTED)
        place += 1
