"""Names that everything else derives from.

The workflow id belongs to a service and is reused by its next incident; every key of an incident (correlation ids,
pager keys, snapshots, links) derives from the incident id, which is minted once for each run.
"""

import hashlib
import re
from datetime import datetime
from uuid import UUID

_INCIDENT_ID = re.compile(
    r"(?P<environment>[a-z][a-z0-9_]{0,31})\.(?P<service>[a-z0-9][a-z0-9-]{0,62})\.[0-9]{8}T[0-9]{6}Z\.[0-9a-f]{8}"
)


def workflow_id(environment: str, service: str) -> str:
    """The one id under which incidents of this service run, one at a time."""
    return f"incident-{environment}-{service}"


def mint_incident_id(environment: str, service: str, started_at: datetime, entropy: UUID) -> str:
    """`<environment>.<service>.<UTC start>.<8 hex digits>`: sorts by time within a service, fits a file name and a URL.

    Args:
        environment: where the service runs; holds no dot.
        service: the service's name; holds no dot.
        started_at: in UTC.
        entropy: from `workflow.uuid4()`, so that a replay mints the same id.
    """
    return f"{environment}.{service}.{started_at:%Y%m%dT%H%M%SZ}.{entropy.hex[:8]}"


def parse_incident_id(incident_id: str) -> tuple[str, str]:
    """Environment and service of `incident_id`.

    Raises:
        ValueError: it is not an incident id.
    """
    match = _INCIDENT_ID.fullmatch(incident_id)
    if match is None:
        raise ValueError(
            f"not an incident id: {incident_id!r:.100}; "
            "expected <environment>.<service>.<YYYYMMDDTHHMMSSZ>.<8 hex digits>"
        )
    return match["environment"], match["service"]


def correlation_id(incident_id: str, action: str, ordinal: int = 1) -> str:
    """The key by which the world knows one action of one incident: equal inputs, equal key."""
    return "ic-" + hashlib.sha256(f"{incident_id}:{action}:{ordinal}".encode()).hexdigest()[:20]


def page_key(incident_id: str) -> str:
    """The pager's deduplication key: one page for one incident, however often it is sent."""
    return f"ic/{incident_id}"


def escalation_key(incident_id: str, ordinal: int) -> str:
    """The key of the incident's `ordinal`-th escalation, from 1: a page that somebody acknowledged stays silent."""
    return f"{page_key(incident_id)}/escalation-{ordinal}"
