"""What was done to services before: the memory that the gate reads and remediation writes."""

from enum import StrEnum

from pydantic import Field

from incident.evidence import SourceState
from incident.model import Fact, Moment


class RunState(StrEnum):
    """How far a remediation is. Only SUCCEEDED is success; UNKNOWN is never success."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self in {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}


class RollbackOrder(Fact):
    """One rollback, as the world is asked for it. Equal correlation ids mean the same rollback."""

    correlation_id: str
    incident_id: str
    execution_id: str
    service: str
    environment: str
    target: int = Field(description="the deployment to make live")
    expected_live: int = Field(description="the deployment that must be live, or nothing happens")
    reason: str
    confidence: float = Field(ge=0, le=1)


class RollbackRun(Fact):
    """What became of a rollback order."""

    correlation_id: str
    state: RunState
    url: str = Field(default="", description="where a person can look at it")
    detail: str = ""


class Remediation(Fact):
    """The ledger's entry of one rollback."""

    correlation_id: str
    incident_id: str
    service: str
    environment: str
    from_deployment: int
    to_deployment: int
    state: RunState
    at: Moment


class LedgerView(Fact):
    """What the ledger holds of one service, newest first; or that it could not be read."""

    state: SourceState
    problem: str = ""
    remediations: tuple[Remediation, ...] = ()

    def rolled_back_from(self, deployment_id: int) -> Remediation | None:
        """The newest rollback away from that deployment, or `None`."""
        return next(
            (
                past
                for past in self.remediations
                if past.from_deployment == deployment_id and past.state is RunState.SUCCEEDED
            ),
            None,
        )
