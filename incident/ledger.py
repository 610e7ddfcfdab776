"""What was done to services before: the memory that the gate reads and remediation writes."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from incident.evidence import SourceState
from incident.model import Fact, Moment

HOUR = timedelta(hours=1)
"""The window in which rollbacks are counted."""


class RunState(StrEnum):
    """How far a remediation is. Only SUCCEEDED is success; UNKNOWN is never success."""

    PENDING = "pending"
    WAITING = "waiting"
    """For somebody's review in the target system: it may take days."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    ACTION_REQUIRED = "action_required"
    STARTUP_FAILURE = "startup_failure"
    NEVER_STARTED = "never_started"
    REFUSED = "refused"
    """The target system refused the order: nothing was started."""
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self not in {RunState.PENDING, RunState.WAITING, RunState.RUNNING, RunState.UNKNOWN}

    @property
    def may_be_cancelled(self) -> bool:
        """Whether it is known not to have begun, so that calling it off leaves nothing half done."""
        return self in {RunState.PENDING, RunState.WAITING}


class RemediationKind(StrEnum):
    """What is done: a rollback, or the undoing of one that made things worse."""

    ROLLBACK = "rollback"
    UNDO = "undo"


class RollbackOrder(Fact):
    """One rollback, as the world is asked for it. Equal correlation ids mean the same rollback."""

    correlation_id: str
    incident_id: str
    execution_id: str
    service: str
    environment: str
    kind: RemediationKind = RemediationKind.ROLLBACK
    target: int = Field(description="the deployment to make live")
    target_revision: str = Field(default="", description="its revision; empty: not known")
    expected_live: int = Field(description="the deployment that must be live, or nothing happens")
    expected_revision: str = Field(default="", description="its revision; empty: not known")
    reason: str
    confidence: float = Field(ge=0, le=1)


class RollbackRun(Fact):
    """What became of a rollback order."""

    correlation_id: str
    state: RunState
    run_id: int | None = Field(default=None, description="the target system's number of the run; null: not known (yet)")
    attempt: int = Field(default=1, ge=1, description="how often that run was run; a re-run keeps its number")
    asked_at: Moment | None = Field(default=None, description="when it was asked for; null: not known")
    url: str = Field(default="", description="where a person can look at it")
    detail: str = ""


class Remediation(Fact):
    """The ledger's entry of one rollback."""

    correlation_id: str
    incident_id: str
    service: str
    environment: str
    kind: RemediationKind = RemediationKind.ROLLBACK
    from_deployment: int
    to_deployment: int
    state: RunState
    at: Moment


class Stop(Fact):
    """The kill switch, pulled: nothing is done to the service until somebody lets it go."""

    environment: str = Field(default="", description="empty: every environment")
    service: str = Field(default="", description="empty: every service")
    by: str
    reason: str = ""
    at: Moment

    def covers(self, environment: str, service: str) -> bool:
        """Whether that service is stopped by it."""
        return self.environment in {"", environment} and self.service in {"", service}

    @property
    def words(self) -> str:
        """Who stopped what, when and why."""
        what = " ".join(part for part in (self.service, self.environment) if part) or "everything"
        return f"{what} stopped by {self.by} at {self.at:%Y-%m-%d %H:%M:%SZ}: {self.reason}".removesuffix(": ")


class Quota(Fact):
    """How many remediations may begin within an hour; counted in the same transaction that enters one."""

    service_per_hour: int = Field(ge=0)
    fleet_per_hour: int = Field(ge=0)


class Admission(Fact):
    """The ledger's answer to an order that asks to begin."""

    refused: tuple[str, ...] = Field(default=(), description="why it may not begin; empty: it is entered")
    entered_before: bool = Field(default=False, description="an earlier attempt entered it: it may have been started")


class LedgerView(Fact):
    """What the ledger holds of one service, newest first; or that it could not be read."""

    state: SourceState
    problem: str = ""
    at: Moment = Field(description="when it was read: what is recent counts from here")
    remediations: tuple[Remediation, ...] = ()
    fleet_last_hour: int = Field(
        default=0, ge=0, description="remediations of all services that began in the last hour"
    )
    stops: tuple[Stop, ...] = Field(default=(), description="the kill switches that cover the service now")

    def rolled_back_from(self, deployment_id: int) -> Remediation | None:
        """The newest rollback (or undoing of one) away from that deployment, or `None`."""
        return next(
            (
                past
                for past in self.remediations
                if past.from_deployment == deployment_id and past.state is RunState.SUCCEEDED
            ),
            None,
        )

    def since(self, at: datetime) -> tuple[Remediation, ...]:
        """The remediations that were entered after `at` and count as something done."""
        return tuple(past for past in self.remediations if past.at > at and past.state not in NOTHING_DONE)

    def without(self, incident_id: str) -> "LedgerView":
        """The view without what that incident did."""
        own = [past for past in self.remediations if past.incident_id == incident_id]
        recent = sum(past.at > self.at - HOUR and past.state not in NOTHING_DONE for past in own)
        return self.model_copy(
            update={
                "remediations": tuple(past for past in self.remediations if past not in own),
                "fleet_last_hour": max(self.fleet_last_hour - recent, 0),
            }
        )


NOTHING_DONE = frozenset({RunState.STARTUP_FAILURE, RunState.NEVER_STARTED, RunState.REFUSED})
"""States in which a remediation is known to have changed nothing; an entry in any other counts as done."""


def objections(
    asked: Remediation, quota: Quota | None, last_hour: Sequence[Remediation], stops: Iterable[Stop], *, undone: bool
) -> tuple[str, ...]:
    """Why `asked` may not begin, in words; empty: it may. Every ledger decides by this, in its own transaction.

    An undoing is held to no quota, for the rollback that it undoes has used it up; there is one for each incident.

    Args:
        asked: the entry that asks to begin.
        quota: `None`: a person allowed it.
        last_hour: the entries of all services that were entered in the hour before `asked.at`.
        stops: the kill switches that are pulled.
        undone: whether the incident has an undoing already.
    """
    pulled = tuple(stop.words for stop in stops if stop.covers(asked.environment, asked.service))
    if pulled:
        return pulled
    if asked.kind is RemediationKind.UNDO:
        return (f"{asked.incident_id} was undone once already",) if undone else ()
    if quota is None:
        return ()
    done = [each for each in last_hour if each.state not in NOTHING_DONE]
    own = [
        each
        for each in done
        if (each.environment, each.service, each.kind) == (asked.environment, asked.service, RemediationKind.ROLLBACK)
    ]
    checks = (
        (len(own), quota.service_per_hour, f"{asked.service} in {asked.environment}"),
        (len(done), quota.fleet_per_hour, "all services"),
    )
    return tuple(
        f"{count} rollback{'' if count == 1 else 's'} of {whose} within the last hour, the policy allows {allowed}"
        for count, allowed, whose in checks
        if count >= allowed
    )
