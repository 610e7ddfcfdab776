"""All that is known of an open incident: the one state of the workflow, from which its snapshot is made."""

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from incident.analysis import Analysis
from incident.anomalies import Assessment
from incident.evidence import Evidence
from incident.gate import Finding, Verdict
from incident.ledger import NOTHING_DONE, LedgerView, RollbackOrder, RollbackRun, Stop
from incident.messages import ChatKind
from incident.model import EnvironmentName, Fact, Moment, ServiceName
from incident.policy import Policy
from incident.recovery import Look, Recovery

_NAMES_HEARD = 20
"""Alert names that an incident remembers: more of them say nothing new."""
_NAME = 100
"""Characters kept of one."""


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
    by: str = Field(default="", description="the person who asked, as the way in knows them; empty: no person")
    reason: str = ""
    chaos_mode: bool = Field(default=False, description="whether chaos was injected on purpose")


class Heard(Fact):
    """What alerts said while the incident was open, each of them once or a thousand times."""

    notices: int = Field(default=0, ge=0, description="messages that came")
    alerts: tuple[str, ...] = Field(default=(), description="names of what fired, in the order they came; capped")
    left_out: int = Field(default=0, ge=0, description="alerts that the senders said they left out")
    firing: bool = Field(default=False, description="whether the last message said that something fires")
    last_at: Moment | None = None


class AlertNotice(Fact):
    """What one message of an alert manager says of one service."""

    source: str = Field(max_length=32)
    firing: tuple[str, ...] = Field(default=(), max_length=500, description="names of the alerts that fire")
    resolved: tuple[str, ...] = Field(default=(), max_length=500, description="names of those that no longer do")
    left_out: int = Field(default=0, ge=0, description="alerts that the sender left out")


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

    digest: str = Field(description="of exactly what was proposed")
    approver: str = Field(description="who answered, as the way in knows them: ada, slack:T024/U061")
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
    ledger: LedgerView | None = Field(default=None, description="what the verdict knew of the past; null: no verdict")
    proposal: Proposal | None = None
    approval: Approval | None = Field(default=None, description="the answer that decided; null: none has yet")
    approvals: list[Approval] = Field(default_factory=list, description="every answer that was taken, oldest first")
    remediation: RemediationRecord | None = None
    undo: RemediationRecord | None = Field(default=None, description="the undoing of a rollback that made it worse")
    stopped: Stop | None = Field(default=None, description="the kill switch, pulled while the incident ran")
    rounds: int = Field(default=0, description="how often it was decided: what is live may change meanwhile")
    cancelled_by: str = Field(default="", description="who asked for the end; empty: nobody")
    looks: list[Look] = Field(default_factory=list)
    recovery: Recovery | None = None
    notifications: list[Notification] = Field(default_factory=list)
    unreached: str = Field(default="", description="why nobody could be told, while that is so; empty: somebody was")
    heard: Heard = Heard()
    timeline: list[TimelineEntry] = Field(default_factory=list)

    @property
    def paged(self) -> bool:
        """Whether a page arrived: by the pager or, where that was away, in the chat."""
        return any(each.kind is ChatKind.PAGE and each.delivered for each in self.notifications)

    @property
    def acted(self) -> bool:
        """Whether a remediation was started."""
        return self.remediation is not None and self.remediation.acted

    def given(self, digest: str, approver: str, *, approved: bool) -> Approval | None:
        """The same answer of the same person to the same proposal, where it was taken already: a repeat is no error."""
        same = (digest, self.policy.person(approver), approved)
        taken = ((each, (each.digest, self.policy.person(each.approver), each.approved)) for each in self.approvals)
        return next((each for each, was in taken if was == same), None)

    def objection(self, digest: str, approver: str, now: datetime) -> str:
        """Why an answer of `approver` to the proposal of that `digest` cannot be taken; empty: it can."""
        if self.proposal is None:
            return "nothing is proposed"
        if digest != self.proposal.digest:
            return "this is not the proposal that is open: its digest differs"
        if self.approval is not None:
            answer = "approved" if self.approval.approved else "denied"
            return f"already {answer} by {self.approval.approver}"
        if now > self.proposal.deadline:
            return f"the deadline was {self.proposal.deadline:%Y-%m-%d %H:%M:%SZ}"
        return self._objection_to(approver)

    def _objection_to(self, approver: str) -> str:
        person = self.policy.person(approver)
        if person not in self.policy.approvers:
            return f"{approver} is not one of the policy's approvers"
        if self.policy.approvals_needed > 1 and person == self.policy.person(self.trigger.by):
            return f"{approver} asked for this incident, and two others must approve"
        return ""

    def take(self, approval: Approval) -> None:
        """Keeps an answer to which there is no objection; the first denial decides, and the approval that completes."""
        self.approvals.append(approval)
        agreed = {
            self.policy.person(each.approver)
            for each in self.approvals
            if each.approved and each.digest == approval.digest
        }
        if not approval.approved or len(agreed) >= self.policy.approvals_needed:
            self.approval = approval

    def hear(self, notice: AlertNotice, now: datetime) -> tuple[str, ...]:
        """Counts `notice` in; the names that nobody had heard of before, as far as there is room."""
        room = _NAMES_HEARD - len(self.heard.alerts)
        new = tuple(dict.fromkeys(each[:_NAME] for each in notice.firing if each[:_NAME] not in self.heard.alerts))
        self.heard = Heard(
            notices=self.heard.notices + 1,
            alerts=(*self.heard.alerts, *new[:room]),
            left_out=max(self.heard.left_out, notice.left_out),
            firing=bool(notice.firing),
            last_at=now,
        )
        return new[:room]


def proposal_digest(incident_id: str, target: int, expected_live: int, evidence: Evidence) -> str:
    """SHA-256 over exactly what is proposed, 64 hex digits."""
    return hashlib.sha256(f"{incident_id}:{target}:{expected_live}:{evidence.digest()}".encode()).hexdigest()
