"""Log templates by Drain, as drain3-improved has it: what many lines have in common, how often, and one of them.

Only its algorithm is used, not its persistence. It orders by nothing but the lines it is given, so that the same lines
in the same order give the same templates.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from drain3.drain import Drain, LogCluster

MAX_WORDS = 40
"""Words of a line that are compared; with MAX_GROUPS, 2,000 lines that share nothing take about a second."""
MAX_WORD = 100
"""Characters of a word that is compared; a longer one is data."""
MAX_GROUPS = 100
"""Groups of one level that a line is compared with; one that was not seen for long makes room."""
SIMILAR = 0.6
"""The share of words that two lines of a form have in common: of five words, two may differ."""

_DATA = "<#>"
"""Stands for a number or an id. For Drain a word like any other: as its own mark it would count as a difference."""
_ANY = "<*>"
_PART = re.compile(r"[^=:,;()\[\]{}\"'<>/|]+")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Line:
    """One log line, as far as templates go."""

    nanoseconds: int
    level: str
    message: str


@dataclass(frozen=True)
class Group:
    """The lines of one form."""

    level: str
    text: str
    lines: tuple[Line, ...]


def group(lines: Iterable[Line]) -> tuple[Group, ...]:
    """The lines by level and form, in the order of each form's first line.

    Args:
        lines: oldest first; of several-line messages, the first line tells the form.
    """
    miners: dict[str, Drain] = {}
    found: list[tuple[LogCluster, Line]] = []
    for line in lines:
        if line.level not in miners:
            miners[line.level] = Drain(sim_th=SIMILAR, max_clusters=MAX_GROUPS)
        cluster, _ = miners[line.level].add_log_message(" ".join(_words(line.message)))
        found.append((cluster, line))
    # Only now is a group's form known; where one had to make room and came again, it is one again.
    groups: dict[tuple[str, str], list[Line]] = {}
    for cluster, line in found:
        text = cluster.get_template().replace(_DATA, _ANY)
        groups.setdefault((line.level, text), []).append(line)
    return tuple(Group(level, text, tuple(members)) for (level, text), members in groups.items())


def _words(message: str) -> Iterator[str]:
    head = message.lstrip().partition("\n")[0][: MAX_WORDS * MAX_WORD]
    for word in head.split(maxsplit=MAX_WORDS)[:MAX_WORDS]:
        if len(word) > MAX_WORD:
            yield _DATA
        elif word.isalpha():
            yield word
        else:
            yield _PART.sub(_without_data, word)


def _without_data(part: re.Match[str]) -> str:
    return _DATA if _DIGIT.search(part[0]) else part[0]
