"""What PagerDuty's answers mean: taken, try again, or never.

By "Events API v2" (developer.pagerduty.com): 202 is taken, 400 is wrong and stays so, 429 asks to back off for some
minutes, and every 5xx may be tried again.
"""

from datetime import UTC, datetime, timedelta

from incident.errors import PermanentError, TransientError
from incident.redaction import redact
from integrations.http import Reply, retry_after
from integrations.text import one_line

SYSTEM = "pagerduty"
PAUSE = timedelta(seconds=60)
"""After a 429 that names no pause: the limit counts calls over a sliding minute."""
MAX_SAID = 300
"""Characters kept of what PagerDuty says."""
SUCCESSES = range(200, 300)

_ACCEPTED, _BAD_REQUEST, _NOT_FOUND, _TIMEOUT, _TOO_MANY, _SERVER_ERROR = 202, 400, 404, 408, 429, 500
_REDIRECTS = range(300, 400)
_SAID_FROM = 4096
_HIDDEN = "[REDACTED:routing-key]"


def check(reply: Reply, routing_key: str) -> None:
    """Returns where the event was taken; `reply` is one of SUCCESSES.

    A 202 is PagerDuty's word that it has the event, and nothing in the body is needed: one that cannot be read counts
    as taken. But a page of HTML, or a 202 that says otherwise, is not PagerDuty's word; the event is sent again, which
    wakes nobody twice, as its key stays the same.

    Raises:
        TransientError: anything else.
    """
    if reply.status != _ACCEPTED or _is_page(reply):
        raise TransientError(SYSTEM, f"{_how(reply)}, which does not say that the event was taken")
    status = reply.body.get("status", "success") if isinstance(reply.body, dict) else "success"
    if status != "success":
        said = _said(reply, routing_key)
        raise TransientError(SYSTEM, f"answered HTTP {_ACCEPTED}, but not that the event was taken: {said}")


def refusal(reply: Reply, routing_key: str) -> TransientError | PermanentError:
    """The error for an answer outside 2xx; no text of it holds `routing_key`."""
    status = reply.status
    pause = retry_after(reply.header("Retry-After"), datetime.now(UTC))
    if status == _TOO_MANY:
        pause = PAUSE if pause is None else pause
        return TransientError(
            SYSTEM, f"rate limit, HTTP {status}: asked again in {round(pause.total_seconds())} s", pause
        )
    if status in _REDIRECTS:
        return PermanentError(
            SYSTEM, f"answered HTTP {status}, a redirect, which is not followed: set PAGERDUTY__EVENTS_URL anew"
        )
    if status >= _SERVER_ERROR or status == _TIMEOUT or _is_page(reply):
        return TransientError(SYSTEM, _how(reply), pause)
    said = _said(reply, routing_key)
    return PermanentError(SYSTEM, f"refuses the event, HTTP {status}{f' {said}' if said else ''}: {_remedy(status)}")


def _is_page(reply: Reply) -> bool:
    """Whether somebody else answered, such as a proxy: PagerDuty itself answers in JSON."""
    return "html" in f"{reply.problem} {reply.header('Content-Type') or ''}".casefold()


def _how(reply: Reply) -> str:
    return f"answered HTTP {reply.status}{' with a page of HTML' if _is_page(reply) else ''}"


def _said(reply: Reply, routing_key: str) -> str:
    """What PagerDuty says is wrong, on one short line, without the key or any other secret."""
    if not isinstance(reply.body, dict):
        return ""
    message, errors = reply.body.get("message"), reply.body.get("errors")
    parts = [message, *(errors[:3] if isinstance(errors, list) else [])]
    said = one_line("; ".join(part[:_SAID_FROM] for part in parts if isinstance(part, str)), len(parts) * _SAID_FROM)
    return one_line(redact(said.replace(routing_key, _HIDDEN)), MAX_SAID)


def _remedy(status: int) -> str:
    if status == _BAD_REQUEST:
        return "see that PAGERDUTY__ROUTING_KEY is the key of an Events API v2 integration"
    if status == _NOT_FOUND:
        return "see that PAGERDUTY__EVENTS_URL is the Events API's address"
    return "see PAGERDUTY__ROUTING_KEY and PAGERDUTY__EVENTS_URL"
