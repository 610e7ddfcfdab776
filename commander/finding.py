"""What an examination found of one system."""

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass

from incident.errors import ConfigurationError, IntegrationError


@dataclass(frozen=True)
class Finding:
    """Whether one system would work, and what was seen or what to set."""

    system: str
    works: bool
    words: str


def unusable(system: str, problems: Iterable[str]) -> list[Finding]:
    """A finding for each setting that cannot be used."""
    return [Finding(system, works=False, words=line) for line in problems]


async def asked(system: str, answer: Awaitable[str]) -> Finding:
    """What `system` answers, or what keeps it from answering."""
    try:
        return Finding(system, works=True, words=await answer)
    except IntegrationError as error:
        return Finding(system, works=False, words=error.problem)
    except ConfigurationError as error:
        return Finding(system, works=False, words="; ".join(error.lines))
