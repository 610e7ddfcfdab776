"""The bodies that PagerDuty takes, within its limits and, where ours are tighter, within ours.

Limits by "Events API v2" (developer.pagerduty.com): a summary of 1024 characters, a key of 255, a body of 512 KB.
No image is ever sent, and no `class`: what kind of failure it is, nobody has measured by the time of a page.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from pydantic import JsonValue

from incident.messages import Change, MessageField, Page
from incident.redaction import MAX_LINE, redact
from incident.severity import Severity
from integrations.text import one_line

MAX_SUMMARY = 1024
MAX_KEY = 255
MAX_BODY = 64 * 1024
"""Bytes of a whole body; PagerDuty takes 512 KB, but what is longer than this nobody reads at night."""
MAX_VALUE = 1024
"""Bytes of one detail."""
MAX_DETAILS = 100
"""So many fit into a body whatever stands in them, once each is cut to the last of the sizes below."""
CUT = "… [cut]"
"""Ends every text that was longer."""

_SIZES = (MAX_VALUE, 512, 256, 128, 64)
_MAX_LABEL = 64
_MAX_WORD = 255
_MAX_LINK = 2048
_CLIENT = "Incident Commander"
_LEFT_OUT = "left out"
_SEVERITIES = {Severity.P0: "critical", Severity.P1: "error", Severity.P2: "warning", Severity.P3: "info"}

Body = Mapping[str, JsonValue]
Links = tuple[tuple[str, str], ...]
"""Addresses, each with the words that it stands under."""


def trigger(page: Page, routing_key: str, incident_url: str) -> Body:
    """The event that opens `page`, or updates it where it is open.

    Args:
        page: what to tell.
        routing_key: the integration's key.
        incident_url: where the incident's page stands, without its id; empty: nowhere.
    """
    source = _source(page.service, page.environment)
    fixed = (("priority", page.priority), ("incident_id", page.incident_id))
    links = _links((_address(incident_url, page.incident_id), "Incident"))
    envelope = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": dedup_key(page.key),
        "client": _CLIENT,
        **({"client_url": links[0][0], **_shown(links)} if links else {}),
    }
    payload = {
        "summary": _text(page.summary, MAX_SUMMARY) or f"{page.severity} {source}",
        "severity": _SEVERITIES[page.severity],
        "source": source,
        "component": _text(page.service, _MAX_WORD) or "unknown",
        "group": _text(page.environment, _MAX_WORD) or "unknown",
    }
    return _fitted(envelope, payload, _details(fixed, page.details))


def resolve(key: str, routing_key: str) -> Body:
    """The event that closes the page of `key`."""
    return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": dedup_key(key)}


def change_event(change: Change, routing_key: str, incident_url: str) -> Body:
    """The event that shows `change`; the arguments are those of `trigger`."""
    source = _source(change.service, change.environment)
    links = _links((change.url, "Run"), (_address(incident_url, change.incident_id), "Incident"))
    payload = {
        "summary": _text(change.summary, MAX_SUMMARY) or f"Change of {source}",
        "source": source,
        "timestamp": change.at.isoformat(timespec="milliseconds"),
    }
    details = _details((("incident_id", change.incident_id),), change.details)
    return _fitted({"routing_key": routing_key, **_shown(links)}, payload, details)


def dedup_key(key: str) -> str:
    """The key by which PagerDuty knows the page of `key`: itself, or a digest of one that PagerDuty might alter.

    Never cut: two keys with the same beginning would become one page.
    """
    if key.isascii() and key.isprintable() and 0 < len(key) <= MAX_KEY and key == key.strip():
        return key
    return "ic-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def size(body: Body) -> int:
    """The bytes of `body` on the wire: JSON as httpx writes it."""
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def _fitted(envelope: Mapping[str, JsonValue], payload: Mapping[str, JsonValue], details: Mapping[str, str]) -> Body:
    """The whole, its longest details cut first until it fits."""
    body: Body = {}
    for most in _SIZES:
        shown: dict[str, JsonValue] = {label: _short(text, most) for label, text in details.items()}
        body = {**envelope, "payload": {**payload, "custom_details": shown}}
        if size(body) <= MAX_BODY:
            break
    return body


def _details(fixed: Iterable[tuple[str, str]], fields: tuple[MessageField, ...]) -> Mapping[str, str]:
    """Details by label, ours first; an equal label gets a number, so that none hides another."""
    details = {label: _text(text, _MAX_WORD) for label, text in fixed}
    for field in fields[:MAX_DETAILS]:
        label = next(each for each in _numbered(_text(field.label, _MAX_LABEL) or "detail") if each not in details)
        details[label] = _short(_text(field.text, MAX_LINE), MAX_VALUE)
    if len(fields) > MAX_DETAILS:
        details[_LEFT_OUT] = f"{len(fields) - MAX_DETAILS} more details"
    return details


def _numbered(label: str) -> Iterator[str]:
    if label != _LEFT_OUT:
        yield label
    for number in range(2, MAX_DETAILS + 3):
        yield f"{label} ({number})"


def _text(text: str, most: int) -> str:
    """`text` on one line of at most `most` characters, without what is unseen and what is secret.

    Redacted after the unseen is out, which could hide a secret, and before the cut, which could halve one.
    """
    whole = redact(one_line(text, MAX_LINE))
    return whole if len(whole) <= most else whole[: most - len(CUT)] + CUT


def _short(text: str, most: int) -> str:
    """`text` in at most `most` bytes of UTF-8."""
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    return encoded[: most - len(CUT.encode())].decode(errors="ignore") + CUT


def _source(service: str, environment: str) -> str:
    return _text(f"{service}/{environment}", _MAX_WORD)


def _address(incident_url: str, incident_id: str) -> str:
    return incident_url + quote(incident_id, safe="", errors="replace") if incident_url else ""


def _links(*links: tuple[str, str]) -> Links:
    """Those of `links` that lead somewhere and give nothing away."""
    return tuple((address, words) for address, words in links if _presentable(address))


def _presentable(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    plain = address.isascii() and address.isprintable() and " " not in address and len(address) <= _MAX_LINK
    web = parts.scheme in {"http", "https"} and bool(parts.netloc) and "@" not in parts.netloc
    return plain and web and all(redact(each) == each for each in (address, unquote(address)))


def _shown(links: Links) -> dict[str, JsonValue]:
    return {"links": [{"href": address, "text": words} for address, words in links]} if links else {}
