"""What people were told, by what the console wrote in the place of chat and pager."""

import re
from collections.abc import Mapping

from incident.identifiers import page_key
from incident.messages import ChatKind

_POSTED = (ChatKind.ALERT, ChatKind.QUESTION, ChatKind.REPORT)


def delivered(logs: str, incident_id: str) -> Mapping[ChatKind, int]:
    """How often each kind of message of that incident was written."""
    posted = {
        kind: len(re.findall(rf"^● {kind}: .*\n  Incident: {re.escape(incident_id)}$", logs, re.MULTILINE))
        for kind in _POSTED
    }
    key = page_key(incident_id)
    paged, resolved = logs.count(f"● page {key} ("), logs.count(f"● page {key}: resolved")
    return {**posted, ChatKind.PAGE: paged, ChatKind.RESOLVE: resolved}
