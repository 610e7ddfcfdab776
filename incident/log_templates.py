"""What many log lines have in common, and what of it is new since the live deployment."""

from pydantic import Field

from incident.model import Fact, Moment

MAX_TEMPLATES = 30
"""Templates in the evidence: what is new, what is an error, and what is said most often are among the first of them."""


class LogTemplate(Fact):
    """What many log lines have in common; `<*>` stands for what differs."""

    id: str = Field(description="`log:template-<n>`, for citation")
    level: str
    text: str
    count: int = Field(ge=1, description="lines that were read and are of this form")
    first_at: Moment = Field(description="of the oldest of them")
    last_at: Moment = Field(description="of the newest of them")
    example: str = Field(description="the newest of them, whole")
    new: bool | None = Field(
        default=None, description="whether no line from before the live deployment is of this form; null: not known"
    )

    @property
    def grave(self) -> bool:
        """Whether its lines tell of an error."""
        return self.level in GRAVE

    @property
    def words(self) -> str:
        """It and how often it was seen, on one line."""
        since = "new since the live deployment, " if self.new else ""
        return f"{since}{self.count} times: {self.level} {self.text}"


GRAVE = frozenset({"FATAL", "CRITICAL", "ERROR"})
"""The levels of errors."""


def told_apart(templates: tuple[LogTemplate, ...], live_since: Moment | None) -> tuple[LogTemplate, ...]:
    """`templates`, each marked new or not: new ones first, then errors, then by count; MAX_TEMPLATES of them.

    One is new where lines from before the live deployment were read, and none of them is of its form. Where no such
    line was read, it cannot be told.

    Args:
        templates: as their source gave them.
        live_since: when the live deployment went live; `None`: not known.
    """
    before = live_since is not None and any(each.first_at < live_since for each in templates)
    marked = (
        each.model_copy(update={"new": each.first_at >= live_since if before and live_since else None})
        for each in templates
    )
    ranked = sorted(marked, key=_rank)[:MAX_TEMPLATES]
    return tuple(
        each.model_copy(update={"id": f"log:template-{number}"}) for number, each in enumerate(ranked, start=1)
    )


def _rank(template: LogTemplate) -> tuple[bool, bool, int, str, str]:
    return not template.new, not template.grave, -template.count, template.level, template.text
