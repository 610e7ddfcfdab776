"""All that is known of an open incident: the one state of the workflow, from which its snapshot is made."""

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from incident.analysis import Analysis
from incident.anomalies import Assessment
from incident.evidence import Evidence
from incident.gate import Finding, Verdict
from incident.ledger import NOTHING_DONE, RollbackOrder, RollbackRun, Stop
from incident.messages import ChatKind
from incident.model import EnvironmentName, Fact, Moment, ServiceName
from incident.policy import Policy
from incident.recovery import Look, Recovery


class Stage(StrEnum):
    """Where an incident is."""

    DETECTING = "detecting"
    ANALYZING = "analyzing"
    AWAITING_DECISION = "awaiting-decision"
    AWAITING_APPROVAL = "awaiting-approval"
    REMEDIATING = "remediating"
    SETTLING = "settling"
    VERIFYING = "verifying"
    REPORTING = "reporting"
    CLOSED = "closed"


class Trigger(Fact):
    """Who or what asked for a look at the service."""

    source: str = Field(default="cli", description="such as cli, demo, kestra, alertmanager")
    trigger_id: str = Field(
        default="", description="unique to the request, so that it can tell whether it started the run"
    )
    execution_id: str = Field(default="", description="Kestra's execution, where there is one")
    reason: str = ""
    chaos_mode: bool = Field(default=False, description="whether chaos was injected on purpose")


class Proposal(Fact):
    """What a person is asked to approve, and until when."""

    digest: str = Field(description="binds the answer to exactly this: target, expected live deployment, evidence")
    target: int
    expected_live: int
    question: str
    proposed_at: Moment
    deadline: Moment


class Approval(Fact):
    """What a person answered."""

    digest: str
    approver: str
    approved: bool
    note: str = ""
    at: Moment


class RemediationRecord(Fact):
    """What was done, not what was recommended."""

    order: RollbackOrder
    authorised_by: str = Field(description="`policy`, or who approved")
    run: RollbackRun | None = Field(default=None, description="null: nothing was started")
    refused: tuple[str, ...] = Field(default=(), description="why the gate at the head of the remediation refused it")
    void: bool = Field(default=False, description="refused because what it rested on had changed meanwhile")
    findings: tuple[Finding, ...] = Field(default=(), description="what the gate found right before it")

    @property
    def acted(self) -> bool:
        """Whether something was done, as far as can be told."""
        return self.run is not None and self.run.state not in NOTHING_DONE


class Channel(StrEnum):
    """How people are told."""

    CHAT = "chat"
    PAGER = "pager"


class Notification(Fact):
    """One message, and whether it arrived."""

    channel: Channel
    kind: ChatKind
    title: str
    text: str = ""
    delivered: bool
    problem: str = ""
    at: Moment


class TimelineEntry(Fact):
    """One thing that happened."""

    at: Moment
    stage: Stage
    text: str


class Dossier(BaseModel):
    """Everything known of one incident. The workflow alone changes it."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    incident_id: str
    workflow_id: str
    service: ServiceName
    environment: EnvironmentName
    trigger: Trigger
    policy: Policy
    opened_at: Moment
    stage: Stage = Stage.DETECTING
    evidence: Evidence | None = None
    assessment: Assessment | None = None
    analysis: Analysis | None = None
    verdict: Verdict | None = None
    proposal: Proposal | None = None
    approval: Approval | None = None
    remediation: RemediationRecord | None = None
    undo: RemediationRecord | None = Field(default=None, description="the undoing of a rollback that made it worse")
    stopped: Stop | None = Field(default=None, description="the kill switch, pulled while the incident ran")
    rounds: int = Field(default=0, description="how often it was decided: what is live may change meanwhile")
    cancelled_by: str = Field(default="", description="who asked for the end; empty: nobody")
    looks: list[Look] = Field(default_factory=list)
    recovery: Recovery | None = None
    notifications: list[Notification] = Field(default_factory=list)
    timeline: list[TimelineEntry] = Field(default_factory=list)

    @property
    def paged(self) -> bool:
        """Whether a person was paged and the page arrived."""
        return any(each.channel is Channel.PAGER and each.delivered for each in self.notifications)

    @property
    def acted(self) -> bool:
        """Whether a remediation was started."""
        return self.remediation is not None and self.remediation.acted

    def objection(self, digest: str, approver: str, now: datetime) -> str:
        """Why an answer of `approver` to the proposal of that `digest` cannot be taken; empty: it can."""
        if self.proposal is None:
            return "nothing is proposed"
        if self.approval is not None:
            answer = "approved" if self.approval.approved else "denied"
            return f"already {answer} by {self.approval.approver}"
        if now > self.proposal.deadline:
            return f"the deadline was {self.proposal.deadline:%Y-%m-%d %H:%M:%SZ}"
        if digest != self.proposal.digest:
            return "this is not the proposal that is open: its digest differs"
        if approver not in self.policy.approvers:
            return f"{approver} is not one of the policy's approvers"
        return ""


def proposal_digest(incident_id: str, target: int, expected_live: int, evidence: Evidence) -> str:
    """SHA-256 over exactly what is proposed, 64 hex digits."""
    return hashlib.sha256(f"{incident_id}:{target}:{expected_live}:{evidence.digest()}".encode()).hexdigest()
