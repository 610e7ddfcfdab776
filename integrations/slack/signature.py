"""Whether a request is Slack's own, by "Verifying requests from Slack" (docs.slack.dev)."""

import hashlib
import hmac
import re
from datetime import datetime, timedelta

from incident.errors import PermanentError

MAX_AGE = timedelta(minutes=5)
"""How old a request may be, and how far ahead of this clock: Slack's own measure."""

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)


class ForgedError(PermanentError):
    """A request that Slack did not sign with the app's secret, or not lately; what is wrong with it is not said."""

    def __init__(self) -> None:
        super().__init__("slack", "the request does not bear Slack's signature of these minutes")


def verify(body: bytes, timestamp: str | None, signature: str | None, secret: str, now: datetime) -> None:
    """Returns where Slack signed exactly these bytes at about this time.

    The same request verifies as often as it comes: an answer must mean the same a second time.

    Args:
        body: as it came, before anything is read of it.
        timestamp: the header X-Slack-Request-Timestamp; `None`: none came.
        signature: the header X-Slack-Signature; `None`: none came.
        secret: the app's signing secret.
        now: the time, aware.

    Raises:
        ForgedError: anything else.
    """
    if not secret or not _SECONDS.fullmatch(timestamp or "") or not _SIGNATURE.fullmatch(signature or ""):
        raise ForgedError
    expected = sign(body, timestamp or "", secret)
    fresh = abs(now.timestamp() - int(timestamp or "")) <= MAX_AGE.total_seconds()
    if not hmac.compare_digest(expected.encode(), (signature or "").encode()) or not fresh:
        raise ForgedError


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The signature that `body` bears when it is sent at `timestamp`."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
