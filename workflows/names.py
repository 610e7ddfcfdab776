"""Names that histories, the Web UI and other programs know. None may change once histories exist."""

from temporalio.common import SearchAttributeKey

INCIDENT = "incident"
LATE_RECORD = "late-record"
WATCH = "watch"
TASK_QUEUE = "incident-commander"
DEPLOYMENT = "incident-commander"
"""The worker deployment, for versioning."""

INCIDENT_ID = SearchAttributeKey.for_keyword("IncidentId")
SERVICE = SearchAttributeKey.for_keyword("Service")
ENVIRONMENT = SearchAttributeKey.for_keyword("Environment")
SEVERITY = SearchAttributeKey.for_keyword("Severity")
STAGE = SearchAttributeKey.for_keyword("Stage")
OUTCOME = SearchAttributeKey.for_keyword("Outcome")
SEARCH_ATTRIBUTES = (INCIDENT_ID, SERVICE, ENVIRONMENT, SEVERITY, STAGE, OUTCOME)
"""Register these with the server before the first incident."""


def late_record_id(incident_id: str) -> str:
    """The workflow that writes the snapshot of that incident once the store is back."""
    return f"late-record-{incident_id}"


def watch_id(environment: str, service: str) -> str:
    """The workflow that watches that service."""
    return f"watch-{environment}-{service}"


def watch_queue(task_queue: str) -> str:
    """Where the checks of watched services wait: apart, so that they cannot keep the work of incidents waiting."""
    return f"{task_queue}-watch"


def act_queue(task_queue: str) -> str:
    """Where remediations and pages wait: apart, so that no number of slow analysts or sources can hold them up."""
    return f"{task_queue}-act"
