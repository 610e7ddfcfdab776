"""Text that others wrote, made fit to be kept and shown: without what steers a terminal or fits no UTF-8, and short."""

import unicodedata

_BREAKS = frozenset("\n\t")
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Control and format characters, and the two separators that some terminals take for a line break."""


def clean(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, its line breaks kept; a lone surrogate becomes a question mark."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    seen = short if short.isprintable() else "".join(map(_shown, short))
    return seen.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int) -> str:
    """`clean`, on one line, so that no value can pass for a line of ours."""
    return clean(" ".join(text[: 4 * limit].split()), limit)


def _shown(character: str) -> str:
    if character in _BREAKS:
        return character
    return "" if unicodedata.category(character) in _UNSEEN else character
