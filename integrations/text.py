"""Text that others wrote, made fit to be kept and shown: without what nobody sees, and short."""

from incident.text import visible


def clean(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, its line breaks kept, without what nobody sees (`incident.text`)."""
    return visible(text if len(text) <= limit else text[: limit - 1] + "…")


def one_line(text: str, limit: int) -> str:
    """`clean`, on one line, so that no value can pass for a line of ours."""
    return clean(" ".join(text[: 4 * limit].split()), limit)
