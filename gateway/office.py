"""What every way in stands on: the incident desk, the archive, who may call, and what is known of one incident."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from pydantic import Field
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from gateway.settings import Settings
from gateway.tokens import TokenBook
from incident.dossier import Dossier, Proposal, Stage
from incident.errors import NotOpenError, TransientError
from incident.ledger import Stop
from incident.model import Fact, Moment
from incident.policy import PolicyBook
from incident.ports import ChangeBook, IncidentArchive, LabelBook
from incident.recovery import Classification
from incident.services import ServiceRegistry
from incident.severity import Severity
from incident.snapshot import ActionTaken, Outcome, Snapshot, action_taken
from workflows.desk import IncidentDesk, OpenIncident
from workflows.incident import IncidentWorkflow
from workflows.lookout import Lookout

Handle = WorkflowHandle[IncidentWorkflow, Snapshot]
_RESULT_WITHIN = timedelta(seconds=10)
"""How long Temporal may take to give the result of a run that has ended."""


class KillSwitch(Protocol):
    """Where kill switches are pulled and let go."""

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch; the same scope again replaces it."""
        ...

    async def release(self, environment: str, service: str) -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        ...

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled, oldest first."""
        ...


class IncidentView(Fact):
    """One incident, open or closed, as people and programs are shown it."""

    incident_id: str
    service: str
    environment: str
    stage: Stage
    outcome: Outcome | None = Field(description="null: it is open, or it was ended from outside without a record")
    classification: Classification | None = Field(description="of the recovery; null: not known (yet)")
    severity: Severity | None = Field(description="null: nobody has looked yet")
    action: ActionTaken | None = Field(description="what was done; null: nothing so far")
    opened_at: Moment
    closed_at: Moment | None = Field(description="null: it is open, or it left no record")
    summary: str
    run_url: str = Field(description="where a person can look at the rollback's run; empty: there is none")
    unreached: str = Field(description="why nobody could be told, while that is so; empty: somebody was")
    proposal: Proposal | None = Field(description="what a person is asked to approve now; null: nothing")
    workflow_url: str
    page_url: str
    dossier: Dossier | None = Field(default=None, description="all that is known, while there is no snapshot")
    snapshot: Snapshot | None = Field(default=None, description="the record, once it has closed")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Office:
    """What the API, the webhooks and the pages are handed."""

    desk: IncidentDesk
    lookout: Lookout
    archive: IncidentArchive
    switch: KillSwitch
    labels: LabelBook
    changes: ChangeBook
    registry: ServiceRegistry
    policies: PolicyBook
    tokens: TokenBook
    settings: Settings
    clock: Callable[[], datetime] = field(default=_now)

    async def view(self, incident_id: str) -> IncidentView | None:
        """What is known of that incident; `None`: nobody knows it.

        Raises:
            ValueError: it is not an incident id.
            TransientError: the store, or Temporal, or a worker, does not answer.
        """
        missed: TransientError | None = None
        try:
            if (snapshot := await self.archive.load(incident_id)) is not None:
                return self.closed(snapshot)
        except TransientError as error:
            missed = error  # an open incident has no record yet: the desk knows it
        handle = await self.desk.find(incident_id)
        if handle is not None:
            return await self._by_handle(handle)
        if missed is not None:
            raise missed
        return None

    async def snapshot(self, handle: Handle) -> Snapshot | None:
        """The record of a run that has ended; `None`: it was ended from outside and left none.

        Raises:
            TransientError: Temporal does not answer.
        """
        try:
            async with asyncio.timeout(_RESULT_WITHIN.total_seconds()):
                return await handle.result()
        except WorkflowFailureError:
            return None
        except RPCError as error:
            raise TransientError("temporal", error.message) from error
        except TimeoutError as error:
            raise TransientError("temporal", "did not give the result of a run that has ended") from error

    def closed(self, snapshot: Snapshot) -> IncidentView:
        """A closed incident."""
        return IncidentView(
            incident_id=snapshot.incident_id,
            service=snapshot.service,
            environment=snapshot.environment,
            stage=Stage.CLOSED,
            outcome=snapshot.outcome,
            classification=snapshot.recovery.classification if snapshot.recovery else None,
            severity=snapshot.severity,
            action=snapshot.action_taken,
            opened_at=snapshot.opened_at,
            closed_at=snapshot.closed_at,
            summary=snapshot.summary,
            run_url=snapshot.remediation.run.url if snapshot.remediation and snapshot.remediation.run else "",
            unreached=snapshot.unreached,
            proposal=None,
            workflow_url=self.workflow_url(snapshot.workflow_id),
            page_url=self.page_url(snapshot.incident_id),
            snapshot=snapshot,
        )

    def of(self, dossier: Dossier, run_id: str = "") -> IncidentView:
        """An incident without a record: it is open."""
        decision = dossier.analysis.decision if dossier.analysis else None
        found = dossier.assessment
        # An incident that did nothing would be said to have monitored; an open one is not through yet.
        taken = action_taken(dossier, Outcome.NO_INCIDENT)
        return IncidentView(
            incident_id=dossier.incident_id,
            service=dossier.service,
            environment=dossier.environment,
            stage=dossier.stage,
            outcome=None,
            classification=dossier.recovery.classification if dossier.recovery else None,
            severity=dossier.verdict.severity if dossier.verdict else found.severity if found else None,
            action=None if taken is ActionTaken.NONE else taken,
            opened_at=dossier.opened_at,
            closed_at=None,
            summary=decision.summary if decision else found.summary if found else "",
            run_url=dossier.remediation.run.url if dossier.remediation and dossier.remediation.run else "",
            unreached=dossier.unreached,
            proposal=dossier.proposal if dossier.stage is Stage.AWAITING_APPROVAL else None,
            workflow_url=self.workflow_url(dossier.workflow_id, run_id),
            page_url=self.page_url(dossier.incident_id),
            dossier=dossier,
        )

    def workflow_url(self, workflow_id: str, run_id: str = "") -> str:
        """Where Temporal's Web UI shows that workflow: that run, or the newest one."""
        temporal = self.settings.temporal
        path = "/".join(quote(part, safe="") for part in (workflow_id, run_id) if part)
        return f"{temporal.ui_url.rstrip('/')}/namespaces/{quote(temporal.namespace, safe='')}/workflows/{path}"

    def page_url(self, incident_id: str) -> str:
        """The incident's page; without a public address, the path of it."""
        return f"{self.settings.public_url.rstrip('/')}/ui/incidents/{quote(incident_id, safe='')}"

    async def all_open(self) -> tuple[OpenIncident, ...] | None:
        """The open incidents, newest first; `None`: Temporal does not say."""
        try:
            return await self.desk.all_open()
        except TransientError:
            return None

    async def _by_handle(self, handle: Handle) -> IncidentView | None:
        try:
            ended = (await self.desk.standing(handle)).closed
        except NotOpenError:
            return None
        if ended and (snapshot := await self.snapshot(handle)) is not None:
            return self.closed(snapshot)
        view = self.of(await self.desk.dossier(handle), handle.run_id or "")
        if ended:
            return view.model_copy(update={"stage": Stage.CLOSED, "proposal": None})
        # The workflow calls itself closed while its record is still being kept.
        return view.model_copy(update={"stage": Stage.REPORTING}) if view.stage is Stage.CLOSED else view
