"""Text that others wrote, made fit for Slack: it shows what it says, and means nothing to Slack.

Escaping by "Formatting text for app surfaces" (docs.slack.dev): &, < and >, which ends mentions and disguised links.
Where bold or links could still be faked, `blocks` puts it into text objects that Slack shows as they are.
"""

from incident.redaction import redact
from integrations.text import one_line

CUT = "… [cut]"
"""Ends every text that was longer."""

MAX_READ = 16 * 1024
"""Characters of a text that are looked at: far more than are shown, whatever has to be taken out of them."""
_LONGEST_SECRET = 4096
"""Characters left out before the point where reading stops, which could halve a secret."""
_MARKS = str.maketrans({"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb", "|": "\u01c0"})
"""What formats in Slack's markup, and what looks like it."""


def literal(text: str, most: int) -> str:
    """`text` on one line of at most `most` characters: redacted, nothing unseen in it, escaped once, cut last."""
    short = text if len(text) <= MAX_READ else text[:MAX_READ]
    seen = one_line(short, MAX_READ)
    if short is not text:
        seen = seen[:-_LONGEST_SECRET] + CUT
    return shorten(_escaped(redact(seen)), most)


def unmarked(text: str, most: int) -> str:
    """`literal`, for where Slack reads markup: what would format looks as before and formats nothing."""
    return shorten(literal(text, most).translate(_MARKS), most)


def shorten(escaped: str, most: int) -> str:
    """`escaped` in at most `most` characters, and never half an entity.

    Counted in UTF-16 units, the larger of the ways in which Slack may count.
    """
    if units(escaped) <= most:
        return escaped
    kept = escaped.encode("utf-16-le")[: 2 * (most - len(CUT))].decode("utf-16-le", "ignore")
    opened = kept.rfind("&")
    return (kept if kept.find(";", opened) >= 0 or opened < 0 else kept[:opened]) + CUT


def units(text: str) -> int:
    """The length of `text` in UTF-16 units."""
    return len(text) + sum(each > "\uffff" for each in text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
