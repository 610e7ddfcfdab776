"""What goes into an incident's workflow and what comes out: its start, its updates, its queries."""

from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from incident.anomalies import Assessment
from incident.dossier import Stage, Trigger
from incident.evidence import Evidence
from incident.model import EnvironmentName, Fact, ServiceName
from incident.policy import Policy

NOT_AWAITED = "NotAwaited"
"""The type of a refusal because nothing is asked; any other is about what was said."""


class IncidentRequest(Fact):
    """Look at a service, and do what the policy allows."""

    service: ServiceName
    environment: EnvironmentName = "production"
    policy: Policy = Policy()
    trigger: Trigger = Trigger()
    outside_analyst: str = Field(default="", description="who decides outside, such as kestra; empty: the worker's own")


class JoinRequest(Fact):
    """Sent along with a start: learns which incident is open."""

    trigger_id: str = ""


class Joined(Fact):
    """The open incident, and whether this trigger opened it."""

    incident_id: str
    opened: bool


class EvidenceOffer(Fact):
    """What an analyst outside is given."""

    incident_id: str
    stage: Stage
    evidence: Evidence | None
    assessment: Assessment | None


class OutsideDecision(Fact):
    """An outside analyst's decision as it came, or that it declines."""

    decision: dict[str, Any] | None = None
    declined: str = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> "OutsideDecision":
        if (self.decision is None) is (not self.declined):
            raise ValueError("expected either decision or declined")
        return self


class ApprovalAnswer(Fact):
    """A person's answer to a proposal."""

    digest: str = Field(description="of the proposal that was answered")
    approver: str = Field(min_length=1)
    approved: bool
    note: str = Field(default="", max_length=500)


class CancelRequest(Fact):
    """A person wants the incident ended."""

    by: str = Field(min_length=1)
    reason: str = Field(default="", max_length=500)


class CancelReceipt(Fact):
    """What the cancellation leads to."""

    incident_id: str
    acted: bool = Field(description="whether something was done already: then it is still verified, reported, recorded")


class WatchStage(StrEnum):
    """What a watcher does."""

    WATCHING = "watching"
    INCIDENT = "incident"
    """It has opened one, or found one open, and stands back until that has closed."""
    RESTING = "resting"
    """The incident has closed, and the cool-down runs."""
    BLIND = "blind"
    """The checks cannot be made at all, such as where the registry has lost the service; they are tried again."""


class WatchRequest(Fact):
    """Watch a service, and open incidents under that policy."""

    service: ServiceName
    environment: EnvironmentName = "production"
    policy: Policy = Policy()
    checks: tuple[bool, ...] = Field(default=(), description="of the run before: the newest, oldest first; true: bad")
    stage: WatchStage | None = Field(default=None, description="of the run before")
