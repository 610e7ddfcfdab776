"""What went wrong while a model was asked, as the errors of `incident.errors`: is it worth another try?

Texts never hold what the server wrote: it may repeat the prompt or a part of the key. For the same reason a status
error is not kept as the cause, since a cause's text ends in Temporal's history.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError

from incident.errors import IntegrationError, PermanentError, TransientError
from integrations.http import retry_after
from integrations.openai.client import ReplyTooLargeError

SYSTEM = "openai"
NOT_ITS_API = "answered something that is not its API"
MAX_RETRY_AFTER = timedelta(seconds=30)
"""No longer wait is obeyed: an incident does not wait for a model, the rules decide instead."""

_TIMED_OUT = 408
_TRANSIENT_STATUS = frozenset({_TIMED_OUT, 409, 429})
_MEANING = {
    401: "refused the key",
    403: "refused access",
    404: "knows no such model or address",
    429: "limits the rate",
}
_QUOTA = "insufficient_quota"
"""OpenAI's code for an account without credit; it comes with status 429, and waiting does not help."""
_MACHINE_CODE = re.compile(r"[a-z][a-z_]{1,39}")
"""What an error code looks like. Anything else in its place is text, and stays out."""


def from_connection(error: APIConnectionError) -> TransientError:
    """The error for a connection that was not made, broke off or went silent, or whose reply is too large."""
    if isinstance(error.__cause__, ReplyTooLargeError):
        return TransientError(SYSTEM, f"the answer {error.__cause__}")
    if isinstance(error, APITimeoutError):
        return TransientError(SYSTEM, "did not answer in time")
    return TransientError(SYSTEM, "the connection failed or broke off")


def nothing_was_taken(error: APIConnectionError | APIStatusError) -> bool:
    """Whether it is sure that no model ran: no connection was made, or the server refused the request.

    A server that fails, or times out, may have run the model all the same.
    """
    if isinstance(error, APIStatusError):
        return 400 <= error.status_code < 500 and error.status_code != _TIMED_OUT  # noqa: PLR2004 - HTTP's refusals
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def from_status(error: APIStatusError, now: datetime) -> IntegrationError:
    """The error for a reply whose status is not 2xx; `now` is what an HTTP date in it is counted from."""
    status = error.status_code
    code = f" {error.code}" if error.code and _MACHINE_CODE.fullmatch(error.code) else ""
    if error.code == _QUOTA:
        return PermanentError(SYSTEM, f"the account has no credit left ({status}{code})")
    transient = status in _TRANSIENT_STATUS or status >= 500  # noqa: PLR2004 - HTTP's server errors
    meaning = _MEANING.get(status, "failed" if transient else "refused the request")
    if transient:
        return TransientError(SYSTEM, f"{meaning} ({status}{code})", _pause(error.response.headers, now))
    return PermanentError(SYSTEM, f"{meaning} ({status}{code})")


def _pause(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    asked = retry_after(headers.get("Retry-After"), now)
    return None if asked is None else min(asked, MAX_RETRY_AFTER)
