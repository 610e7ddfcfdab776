"""A message as Slack shows it: what was measured, apart from it what the analyst says, and the buttons.

Everything that others wrote stands in `plain_text` objects or in rich text, which Slack shows as they are; only labels
stand in markup, without what would format. Limits by Block Kit's reference (docs.slack.dev) and slack_sdk's models.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from incident.identifiers import parse_incident_id
from incident.messages import Ask, ChatKind, ChatMessage, Claim
from incident.redaction import redact
from integrations.slack.literal import literal, shorten, units, unmarked

APPROVE, DENY = "commander.approve", "commander.deny"
"""The buttons' action ids."""
MAX_HEADER = 150
MAX_FIELDS_OF_SECTION = 10
MAX_CONFIRM = 300
MAX_MESSAGE = 10_000
"""Characters of all blocks as JSON, and of text and blocks together: above some 13,200 Slack answers
msg_blocks_too_long, a limit that it does not document (slackapi/bolt-js #2509)."""
MAX_TEXT = 1_000
"""Of the text that notifications show; Slack recommends at most 4,000."""
MAX_SHOWN_FIELDS, MAX_SHOWN_CLAIMS = 24, 6
"""More than these are counted instead of shown."""

_SIZES = (2_000, 1_000, 500, 250, 120, 60, 32)
"""The longest texts are cut to the first of these at which the whole fits; a field of a section takes 2,000."""
_NARROW = 80
"""Up to so many characters a value stands beside its label, else under it, over the whole width."""
_MAX_LABEL = 60
_MAX_WORD = 160
_MAX_CITED = 8
_MAX_LINK = 500
_ID = re.compile(r"[A-Za-z0-9._:-]{1,160}")
"""Of an incident; percent-encoded, anything else could hide a secret from redaction."""
_VALUE = re.compile(r"[A-Za-z0-9]{8,128}")
_LINK = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*", re.ASCII)

Block = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What is sent: the text of the notification, and the blocks of the message."""

    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Line:
    """A label and what stands by it, both literal."""

    label: str
    text: str
    note: str = ""


def render(message: ChatMessage, incident_url: str, *, buttons: bool, mention: str = "") -> Rendered:
    """`message` within Slack's limits, whatever stands in it.

    Args:
        message: what to tell.
        incident_url: where the incident's page stands, without its id; empty: nowhere.
        buttons: whether a press of a button would reach the commander.
        mention: whom a PAGE calls, in Slack's markup; empty: nobody.
    """
    called = mention if message.kind is ChatKind.PAGE else ""
    ends = tuple(_ends(message, incident_url, buttons=buttons))
    title, status = literal(message.title, MAX_HEADER) or "Incident", literal(message.status, _SIZES[0])
    fields = tuple(_fields(message, incident_url))
    claims = tuple(_claim(claim) for claim in message.claims[:MAX_SHOWN_CLAIMS])
    left_out = len(message.claims) - len(claims)
    text = _text(called, title, status, fields)
    blocks: tuple[Block, ...] = ()
    for most in _SIZES:
        blocks = (
            *_head(message.kind, title, called),
            *((_rich(_run(shorten(status, most), bold=True)),) if status else ()),
            *_measured(_cut(fields, most)),
            *_said(_cut(claims, most), left_out),
            *ends,
        )
        if size(blocks) + units(text) <= MAX_MESSAGE:
            break
    return Rendered(text, blocks)


def size(blocks: Sequence[Block]) -> int:
    """The characters of `blocks` as JSON."""
    return units(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))


def plain(text: str) -> dict[str, Any]:
    """The text object that shows `text`, which is literal already, as it is."""
    return {"type": "plain_text", "text": text, "emoji": False}


def _text(called: str, title: str, status: str, fields: Iterable[_Line]) -> str:
    lines = (title, status, *(f"{line.label}: {line.text}" for line in fields))
    said = shorten("\n".join(line for line in lines if line), MAX_TEXT - units(called) - 1)
    return f"{called} {said}" if called else said


def _head(kind: ChatKind, title: str, called: str) -> Iterator[Block]:
    yield _rich(_run(title, bold=True)) if kind is ChatKind.NOTE else {"type": "header", "text": plain(title)}
    if called:
        yield {"type": "section", "text": _markup(called)}


def _fields(message: ChatMessage, incident_url: str) -> Iterator[_Line]:
    for field in message.fields[:MAX_SHOWN_FIELDS]:
        yield _Line(unmarked(field.label, _MAX_LABEL) or "Detail", literal(field.text, _SIZES[0]) or "-")
    if len(message.fields) > MAX_SHOWN_FIELDS:
        where = " on the incident's page" if incident_url else ""
        yield _Line("Left out", f"{len(message.fields) - MAX_SHOWN_FIELDS} more{where}")


def _claim(claim: Claim) -> _Line:
    cited = ", ".join(literal(each, _MAX_LABEL) for each in claim.cites[:_MAX_CITED])
    more = f" and {len(claim.cites) - _MAX_CITED} more" if len(claim.cites) > _MAX_CITED else ""
    note = f"Cites {cited}{more}" if cited else "Cites no evidence"
    return _Line(literal(claim.label, _MAX_LABEL) or "Claim", literal(claim.text, _SIZES[0]) or "-", note)


def _cut(lines: Iterable[_Line], most: int) -> tuple[_Line, ...]:
    return tuple(_Line(*(shorten(each, most) for each in (line.label, line.text, line.note))) for line in lines)


def _measured(lines: Sequence[_Line]) -> Iterator[Block]:
    """Sections of label and value side by side; a long value has a block of its own, in its place."""
    row: list[Mapping[str, Any]] = []
    for line in lines:
        wide = units(line.text) > _NARROW
        if row and (wide or len(row) == MAX_FIELDS_OF_SECTION):
            yield {"type": "section", "fields": row}
            row = []
        if wide:
            yield _rich(_run(f"{line.label}\n", bold=True), _run(line.text))
        else:
            row = [*row, _markup(f"*{line.label}*"), plain(line.text)]
    if row:
        yield {"type": "section", "fields": row}


def _said(claims: Sequence[_Line], left_out: int) -> Iterator[Block]:
    if not claims:
        return
    yield {"type": "divider"}
    yield {"type": "section", "text": _markup("*The analyst says* (not measured)")}
    for claim in claims:
        yield _rich(_run(f"{claim.label}: ", bold=True), _run(claim.text), _run(f"\n{claim.note}", italic=True))
    if left_out:
        yield _context(plain(f"{left_out} more claims are left out"))


def _ends(message: ChatMessage, incident_url: str, *, buttons: bool) -> Iterator[Block]:
    if message.ask is not None:
        yield from _asked(message, message.ask, buttons=buttons)
    links = ((address(incident_url, message.incident_id), "Incident page"), *_reviews(message))
    shown = (_markup(f"<{_entities(link)}|{words}>") for link, words in links if link)
    yield _context(*shown, plain(literal(message.incident_id, _MAX_WORD) or "-"))


def _reviews(message: ChatMessage) -> Iterator[tuple[str, str]]:
    """Where a review is given: an address that code found, and the only one in a message that can be clicked."""
    for field in message.fields[:MAX_SHOWN_FIELDS] if message.kind is ChatKind.REVIEW else ():
        yield _presentable(field.text), "Review"


def _asked(message: ChatMessage, ask: Ask, *, buttons: bool) -> Iterator[Block]:
    value = button_value(message.incident_id, ask.digest) if buttons else ""
    if value:
        said = literal(message.title, MAX_CONFIRM) or "What the message asks"
        yield {"type": "actions", "elements": [_approve(value, said), _button(DENY, "Deny", "danger", value)]}
    until = f"{ask.deadline:%Y-%m-%d %H:%M:%SZ}"
    local = f"<!date^{int(ask.deadline.timestamp())}^{{date_short_pretty}} {{time_secs}}|{until}>"
    yield _context(
        _markup(f"Answer before {local}{'.' if value else ':'}"),
        plain("The command line answers too:" if value else "by the command line, or on the incident's page:"),
        plain(f"commander approve {literal(message.incident_id, _MAX_WORD)}"),
    )


def _approve(value: str, said: str) -> Block:
    confirm = {
        "title": plain("Approve exactly this?"),
        "text": plain(said),
        "confirm": plain("Approve"),
        "deny": plain("Not yet"),
    }
    return {**_button(APPROVE, "Approve", "primary", value), "confirm": confirm}


def _button(action: str, words: str, style: str, value: str) -> Block:
    return {"type": "button", "action_id": action, "text": plain(words), "style": style, "value": value}


def button_value(incident_id: str, digest: str) -> str:
    """What a button says of what it answers; empty: of these nothing can be said that could be read again."""
    try:
        parse_incident_id(incident_id)
    except ValueError:
        return ""
    return f"{incident_id} {digest}" if _VALUE.fullmatch(digest) else ""


def read_button_value(value: str) -> tuple[str, str]:
    """The incident and the digest in a button's value.

    Raises:
        ValueError: it is none of ours.
    """
    incident_id, _, digest = value.partition(" ")
    if not button_value(incident_id, digest):
        raise ValueError("not the value of one of the commander's buttons")
    return incident_id, digest


def address(incident_url: str, incident_id: str) -> str:
    """Where the incident's page stands; empty: nowhere that could be linked."""
    named = incident_url and _ID.fullmatch(incident_id)
    return _presentable(incident_url + quote(incident_id, safe="")) if named else ""


def _presentable(link: str) -> str:
    """`link` where it is an address that gives nothing away; else nothing."""
    if len(link) > _MAX_LINK or not _LINK.fullmatch(link):
        return ""
    try:
        private = "@" in urlsplit(link).netloc or any(redact(each) != each for each in (link, unquote(link)))
    except ValueError:
        return ""
    return "" if private else link


def _entities(link: str) -> str:
    return link.replace("&", "&amp;")


def _markup(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _context(*elements: Mapping[str, Any]) -> Block:
    return {"type": "context", "elements": list(elements)}


def _rich(*runs: Mapping[str, Any]) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(runs)}]}


def _run(text: str, **style: bool) -> Mapping[str, Any]:
    return {"type": "text", "text": text, **({"style": style} if style else {})}
