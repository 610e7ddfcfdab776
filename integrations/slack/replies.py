"""What Slack's answers mean: try again, or never.

By "Web API" and "Rate limits" (docs.slack.dev): most refusals come as HTTP 200 with `ok: false` and a code; a limit is
HTTP 429 with Retry-After.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from incident.errors import PermanentError, TransientError
from integrations.http import retry_after

SYSTEM = "slack"
PAUSE = timedelta(seconds=30)
"""After a limit that names no pause: a channel takes a message a second, a method at least one call a minute."""
TOO_MANY, SERVER_ERROR = 429, 500

_PASSING = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "rollup_error"}
)
_LIMITED = frozenset({"ratelimited", "rate_limited"})
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SCOPES = re.compile(r"[a-z][a-z.:,_-]{0,199}")
_TOKEN = "see SLACK__BOT_TOKEN"  # noqa: S105 - a variable's name
_CHANNEL = "see SLACK__CHANNEL"
_REMEDIES = {
    "invalid_auth": _TOKEN,
    "not_authed": _TOKEN,
    "account_inactive": _TOKEN,
    "token_revoked": _TOKEN,
    "token_expired": _TOKEN,
    "channel_not_found": f"{_CHANNEL}, and invite the app to a private channel",
    "not_in_channel": "invite the app to the channel",
    "is_archived": f"{_CHANNEL}: it is archived",
    "channel_is_archived": f"{_CHANNEL}: it is archived",
    "no_service": "see SLACK__WEBHOOK_URL: it was revoked",
    "invalid_token": "see SLACK__WEBHOOK_URL",
    "no_active_hooks": "see SLACK__WEBHOOK_URL: it was switched off",
}


class RefusedError(PermanentError):
    """Slack says no, by a code of its own."""

    def __init__(self, code: str, remedy: str = "") -> None:
        super().__init__(SYSTEM, f"refuses: {code}{f'; {remedy}' if remedy else ''}")
        self.code = code


def refusal(code: object, headers: Mapping[str, str], needed: object = "") -> TransientError | PermanentError:
    """The error for an answer that says what is wrong.

    Args:
        code: Slack's, as it came; one that is none is not shown.
        headers: the answer's.
        needed: the scopes that Slack says are missing.
    """
    shown = code if isinstance(code, str) and _CODE.fullmatch(code) else "an error without a name"
    if code in _LIMITED:
        return limited(headers)
    if code in _PASSING:
        return TransientError(SYSTEM, f"refuses for now: {shown}", pause(headers))
    remedy = _REMEDIES.get(shown, "")
    if shown == "missing_scope" and isinstance(needed, str) and _SCOPES.fullmatch(needed):
        remedy = f"give the app the scope {needed}"
    return RefusedError(shown, remedy)


def limited(headers: Mapping[str, str]) -> TransientError:
    """The error for a limit, with its pause."""
    after = pause(headers)
    after = PAUSE if after is None else after
    return TransientError(SYSTEM, f"rate limit: asked again in {round(after.total_seconds())} s", after)


def pause(headers: Mapping[str, str]) -> timedelta | None:
    """The pause that Slack asks for; `None`: none."""
    return retry_after(headers.get("Retry-After"), datetime.now(UTC))


def unavailable(status: int, headers: Mapping[str, str], words: str) -> TransientError | PermanentError:
    """The error for an answer that is not in Slack's words, `words` being what it is instead."""
    if status == TOO_MANY:
        return limited(headers)
    return TransientError(SYSTEM, f"answered HTTP {status} {words}", pause(headers))
