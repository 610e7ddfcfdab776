"""What GitHub's refusals mean: a rate limit passes, everything else tells a person what to do.

By "Rate limits for the REST API" and "Best practices for using the REST API" (docs.github.com): on 403 or 429, wait
for `retry-after`; else, with `x-ratelimit-remaining: 0`, until `x-ratelimit-reset`; else at least a minute.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from incident.errors import PermanentError, TransientError
from incident.redaction import redact
from integrations.http import Reply, retry_after
from integrations.text import one_line

SYSTEM = "github"
MAX_WAIT = timedelta(minutes=65)
"""The primary limit counts by the hour: no wait that GitHub means is longer, clocks a few minutes apart included."""
MIN_WAIT = timedelta(minutes=1)
"""Of a limit that does not say how long it holds."""
MAX_SAID = 300
"""Characters kept of what GitHub says."""

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _UNPROCESSABLE, _TOO_MANY = 401, 403, 404, 410, 422, 429
_REQUEST_TIMEOUT = 408
_REDIRECTS = frozenset({301, 302, 307, 308})
_LIMITED = ("rate limit", "abuse detection")


@dataclass(frozen=True)
class Need:
    """What a request is about, for the words of its refusal."""

    what: str
    """Such as `workflow rollback.yml of acme/payment-api`."""
    repository: str
    permission: str
    """In GitHub's words, such as `actions=write`."""


def refusal(reply: Reply, need: Need, now: datetime) -> TransientError | PermanentError:
    """The error for an answer outside 2xx; `now` is what a moment in it is counted from."""
    said = f"HTTP {reply.status} {message(reply)}".rstrip()
    if reply.status in {_FORBIDDEN, _TOO_MANY} and (pause := _limit(reply, now)) is not None:
        return TransientError(SYSTEM, f"rate limit, {said}: asked again in {round(pause.total_seconds())} s", pause)
    if reply.status >= 500 or reply.status == _REQUEST_TIMEOUT:  # noqa: PLR2004 - HTTP's server errors
        pause = retry_after(reply.header("Retry-After"), now)
        return TransientError(SYSTEM, f"answered {said}", pause)
    return PermanentError(SYSTEM, f"{said}: {_remedy(reply, need)}")


def message(reply: Reply) -> str:
    """What GitHub says is wrong, on one short line and redacted; empty where it says nothing that can be read."""
    if not isinstance(reply.body, dict):
        return ""
    said = reply.body.get("message")
    parts = [said] if isinstance(said, str) else []
    errors = reply.body.get("errors")
    for each in errors[:3] if isinstance(errors, list) else []:
        text = each.get("message") if isinstance(each, dict) else each
        parts += [text] if isinstance(text, str) else []
    return one_line(redact("; ".join(part[: 2 * MAX_SAID] for part in parts)), MAX_SAID)


def _limit(reply: Reply, now: datetime) -> timedelta | None:
    """How long the limit holds; `None`: it is no limit."""
    pause = retry_after(reply.header("Retry-After"), now, MAX_WAIT)
    if pause is not None:
        return pause
    if reply.count("X-RateLimit-Remaining") == 0:
        reset = reply.count("X-RateLimit-Reset")
        if reset is None:
            return MIN_WAIT
        seconds = min(max(reset - now.timestamp(), 1.0), MAX_WAIT.total_seconds())
        return timedelta(seconds=seconds)
    said = message(reply).casefold()
    return MIN_WAIT if reply.status == _TOO_MANY or any(words in said for words in _LIMITED) else None


def _remedy(reply: Reply, need: Need) -> str:
    status = reply.status
    if status == _UNAUTHORIZED:
        return "the token is not valid (any more): set GITHUB__TOKEN, or the App's variables, anew"
    accepted = one_line(reply.header("X-Accepted-GitHub-Permissions") or "", MAX_SAID)
    hint = f" (X-Accepted-GitHub-Permissions said {accepted})" if accepted else ""
    if status == _FORBIDDEN:
        return f"the token needs {need.permission} on {need.repository}{hint}"
    if status in {_NOT_FOUND, _GONE}:
        return f"there is no {need.what}, or the token cannot see it: it needs {need.permission}{hint}"
    if status in _REDIRECTS:
        return f"{need.repository} has moved: write its new name into services.toml"
    if status == _UNPROCESSABLE:
        return f"GitHub does not take this request for {need.what}"
    return f"GitHub refuses {need.what}"
