"""What people, alert managers and analysts outside wrote, redacted before Temporal has it, whichever way it came in."""

from typing import TypeVar

from incident.model import Fact
from incident.redaction import redact_value

_WRITTEN = ("decision", "declined", "note", "reason", "trigger")
"""The fields that hold what somebody wrote, and what holds such a field. Names are none of them: whoever approves may
be known by an e-mail address. What an alert manager says was redacted when its message was read."""
_Said = TypeVar("_Said", bound=Fact)


def redacted(said: _Said) -> _Said:
    """`said` without secrets in what somebody wrote; all else stays as it is."""
    written = {name: getattr(said, name) for name in _WRITTEN if name in type(said).model_fields}
    return said.model_copy(
        update={
            name: redacted(value) if isinstance(value, Fact) else redact_value(value) for name, value in written.items()
        }
    )
