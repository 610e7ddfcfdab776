"""Turns what is known into HTML. Everything is escaped, and nothing that steers a reader's eye or ear gets through."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from integrations.text import clean

_TEMPLATES = Path(__file__).with_name("templates")
_LONGEST = 8 * 1024
"""Characters shown of one value: nothing that is kept is longer (`incident.redaction.MAX_LINE`)."""
_MAX_LINK = 2048
_VERSION = 16
"""Hex digits that tell one state of a fragment from another."""


class Fragment(NamedTuple):
    """A part of a page, and what tells its state from another."""

    version: str
    html: Markup


class Renderer:
    """Renders the templates of this package."""

    def page(self, template: str, status: int = 200, **shown: object) -> HTMLResponse:
        """A whole page."""
        return HTMLResponse(_environment().get_template(template).render(shown), status)

    def fragment(self, template: str, **shown: object) -> Fragment:
        """A part of a page."""
        html = _environment().get_template(template).render(shown)
        version = hashlib.sha256(html.encode()).hexdigest()[:_VERSION]
        return Fragment(version, Markup(html))  # noqa: S704 - the template has escaped it

    def fragments(self, templates: Iterable[str], **shown: object) -> Mapping[str, Fragment]:
        """Parts of a page by their names; each is the template `incident/<name>.html`."""
        return {name: self.fragment(f"incident/{name}.html", **shown) for name in templates}


def when(moment: datetime | None) -> str:
    """`moment` in UTC to the second; "not known" where there is none."""
    return f"{moment:%Y-%m-%d %H:%M:%SZ}" if moment else "not known"


def lasting(taken: timedelta | None) -> str:
    """A duration in its two largest units, such as `2 h 05 min`; "not known" where there is none."""
    if taken is None:
        return "not known"
    seconds = round(taken.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{sign}{hours} h {minutes:02} min"
    return f"{sign}{minutes} min {seconds % 60:02} s" if minutes else f"{sign}{seconds} s"


def worded(name: str) -> str:
    """An enum's value or a rule's name as words."""
    return str(name).replace("_", " ").replace("-", " ")


def path(part: str) -> str:
    """`part` as one part of an address's path."""
    return quote(part, safe="")


def outside(address: str) -> str:
    """`address` where it leads to a web page; empty where it could be anything else."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    plain = address.isascii() and address.isprintable() and " " not in address and len(address) <= _MAX_LINK
    web = parts.scheme in {"http", "https"} and bool(parts.netloc) and "@" not in parts.netloc
    return address if plain and web else ""


@cache
def _environment() -> Environment:
    """The templates, each compiled once."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_seen,
    )
    environment.filters.update({"when": when, "lasting": lasting, "worded": worded, "path": path, "outside": outside})
    return environment


def _seen(value: object) -> object:
    """What stands in a page for `value`: text without what is unseen or turns the line around."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return clean(value, _LONGEST)
