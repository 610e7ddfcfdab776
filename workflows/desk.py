"""The incident desk: how a program opens, finds, follows and answers incidents over a Temporal client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from pydantic import Field
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from incident.dossier import AlertNotice, Approval, Dossier, Stage
from incident.errors import NotOpenError, TransientError
from incident.identifiers import parse_incident_id, workflow_id
from incident.ledger import Stop
from incident.model import Fact, Moment
from incident.snapshot import Snapshot
from workflows import names
from workflows.answers import ANSWER_WITHIN, answered, signalled
from workflows.incident import IncidentWorkflow
from workflows.messages import (
    ApprovalAnswer,
    CancelReceipt,
    CancelRequest,
    EvidenceOffer,
    IncidentRequest,
    Joined,
    JoinRequest,
    OutsideDecision,
)
from workflows.said import redacted

_JOINING = 8
"""Updates under way at once: a Temporal server takes 10 of one workflow (history.maxInFlightUpdates), not more."""
_LOOK = 0.25
"""Seconds between two looks at how far an incident is; the server has nothing to wait on."""


class OpenIncident(Fact):
    """One open incident, as the server's visibility store knows it."""

    incident_id: str
    workflow_id: str
    run_id: str
    service: str
    environment: str
    severity: str
    stage: str
    opened_at: Moment


class Standing(Fact):
    """How far an incident is, as the server knows it: no worker is needed to say so."""

    stage: str
    closed: bool
    events: int = Field(ge=0, description="how long its history is: another number, and something has happened")


class IncidentDesk:
    """Opens incidents and speaks to them."""

    def __init__(self, client: Client, task_queue: str = names.TASK_QUEUE) -> None:
        self._client = client
        self._task_queue = task_queue
        self._joining = asyncio.Semaphore(_JOINING)

    async def open(self, request: IncidentRequest) -> tuple[Joined, WorkflowHandle[IncidentWorkflow, Snapshot]]:
        """The incident of that service: a new one, or the one that is open.

        Raises:
            TransientError: Temporal, or a worker, does not answer.
        """
        request = redacted(request)
        start = WithStartWorkflowOperation(
            IncidentWorkflow.run,
            request,
            id=workflow_id(request.environment, request.service),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"{request.service} in {request.environment}",
            static_details=f"Asked by {request.trigger.source}. {request.trigger.reason}".rstrip(),
        )
        joining = partial(
            self._client.execute_update_with_start_workflow,
            IncidentWorkflow.join,
            JoinRequest(trigger_id=request.trigger.trigger_id),
            start_workflow_operation=start,
            rpc_timeout=ANSWER_WITHIN,
        )
        try:
            async with self._joining:
                joined = await answered(joining())
        except TransientError:
            with suppress(RPCError):
                await start.workflow_handle()  # it failed with the same, which asyncio would report as never seen
            raise
        return joined, await start.workflow_handle()

    async def alert(self, request: IncidentRequest, notice: AlertNotice) -> bool:
        """Tells the service's open incident what an alert says, or opens one: then true. No worker is needed.

        Raises:
            TransientError: Temporal does not answer; what has returned without it is kept.
        """
        # Most alerts of a storm find it open, and a signal costs half of what a start does.
        if await self.hear(request.environment, request.service, notice):
            return False
        await answered(
            self._client.start_workflow(
                IncidentWorkflow.run,
                request,
                id=workflow_id(request.environment, request.service),
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal="alerted",
                start_signal_args=[notice],
                static_summary=f"{request.service} in {request.environment}",
                static_details=f"Asked by {request.trigger.source}. {request.trigger.reason}".rstrip(),
                rpc_timeout=ANSWER_WITHIN,
            )
        )
        return True

    async def hear(self, environment: str, service: str, notice: AlertNotice) -> bool:
        """Tells the open incident of that service what an alert says; whether there is one.

        Raises:
            TransientError: Temporal does not answer.
        """
        return await signalled(
            self._of(environment, service).signal(IncidentWorkflow.alerted, notice, rpc_timeout=ANSWER_WITHIN)
        )

    async def look_now(self, environment: str, service: str) -> bool:
        """Lets the open incident of that service look at its rollback's run at once; whether there is one.

        Raises:
            TransientError: Temporal does not answer.
        """
        return await signalled(
            self._of(environment, service).signal(IncidentWorkflow.look_now, rpc_timeout=ANSWER_WITHIN)
        )

    async def press(self, incident_id: str, answer: ApprovalAnswer) -> bool:
        """Hands in a person's answer without waiting for what the incident makes of it; whether one is open.

        It is kept even where no worker runs. The digest binds it to this incident, not to the service's next.

        Raises:
            ValueError: it is not an incident id.
            TransientError: Temporal does not answer.
        """
        handle, answer = self._of(*parse_incident_id(incident_id)), redacted(answer)
        return await signalled(handle.signal(IncidentWorkflow.answered, answer, rpc_timeout=ANSWER_WITHIN))

    async def all_open(self) -> tuple[OpenIncident, ...]:
        """The open incidents, newest first.

        Raises:
            TransientError: Temporal does not answer.
        """
        return tuple([incident async for incident in self._listed('ExecutionStatus = "Running"')])

    async def find(self, incident_id: str) -> WorkflowHandle[IncidentWorkflow, Snapshot] | None:
        """The run of that incident, open or lately closed; `None` where the server knows none.

        Raises:
            ValueError: it is not an incident id.
            TransientError: Temporal does not answer.
        """
        # What is listed lags behind what happens; the service's newest run is known at once.
        newest = self._of(*parse_incident_id(incident_id))
        try:
            described = await answered(newest.describe(rpc_timeout=ANSWER_WITHIN))
        except NotOpenError:
            return None
        if described.typed_search_attributes.get(names.INCIDENT_ID) == incident_id:
            return self._client.get_workflow_handle_for(IncidentWorkflow.run, described.id, run_id=described.run_id)
        async for incident in self._listed(f'{names.INCIDENT_ID.name} = "{incident_id}"'):
            return self._client.get_workflow_handle_for(
                IncidentWorkflow.run, incident.workflow_id, run_id=incident.run_id
            )
        return None

    async def standing(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> Standing:
        """How far the incident is.

        Raises:
            NotOpenError: the server does not know it any more.
            TransientError: Temporal does not answer.
        """
        described = await answered(handle.describe(rpc_timeout=ANSWER_WITHIN))
        running = described.status is WorkflowExecutionStatus.RUNNING
        return Standing(
            stage=described.typed_search_attributes.get(names.STAGE, "") if running else Stage.CLOSED,
            closed=not running,
            events=described.history_length,
        )

    async def until(
        self,
        handle: WorkflowHandle[IncidentWorkflow, Snapshot],
        changed: Callable[[Standing], bool],
        within: timedelta,
    ) -> Standing:
        """How far the incident is once `changed` holds of it, or it has closed, or the time is over.

        Raises:
            NotOpenError: the server does not know it any more.
            TransientError: Temporal does not answer.
        """
        standing = await self.standing(handle)
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                while not standing.closed and not changed(standing):
                    await asyncio.sleep(_LOOK)
                    standing = await self.standing(handle)
        return standing

    async def dossier(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> Dossier:
        """All that is known of the incident so far.

        Raises:
            TransientError: Temporal, or a worker, does not answer.
        """
        return await answered(handle.query(IncidentWorkflow.dossier, rpc_timeout=ANSWER_WITHIN))

    async def evidence(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> EvidenceOffer:
        """What an analyst outside decides on. Raises as `dossier` does."""
        return await answered(handle.query(IncidentWorkflow.evidence, rpc_timeout=ANSWER_WITHIN))

    async def decide(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], answer: OutsideDecision) -> None:
        """Hands in an outside analyst's decision.

        Raises:
            RefusedError: none is awaited, or it does not validate; then `errors` holds a line for each field.
            NotOpenError: the incident has closed.
            TransientError: Temporal, or a worker, does not answer.
        """
        await answered(handle.execute_update(IncidentWorkflow.decide, redacted(answer), rpc_timeout=ANSWER_WITHIN))

    async def answer(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], answer: ApprovalAnswer) -> Approval:
        """Hands in a person's answer to the open proposal.

        Raises:
            RefusedError: the text says why.
            NotOpenError: the incident has closed.
            TransientError: Temporal, or a worker, does not answer.
        """
        answer = redacted(answer)
        return await answered(handle.execute_update(IncidentWorkflow.answer, answer, rpc_timeout=ANSWER_WITHIN))

    async def cancel(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], request: CancelRequest) -> CancelReceipt:
        """Ends the incident, if nothing has been done yet.

        Raises:
            NotOpenError: it has closed.
            TransientError: Temporal, or a worker, does not answer.
        """
        request = redacted(request)
        return await answered(handle.execute_update(IncidentWorkflow.cancel, request, rpc_timeout=ANSWER_WITHIN))

    async def stop(self, stop: Stop) -> tuple[str, ...]:
        """Tells every open incident that the kill switch covers; their ids.

        Raises:
            TransientError: Temporal does not answer; the incidents not told yet still meet the switch in the ledger.
        """
        covered = [each for each in await self.all_open() if stop.covers(each.environment, each.service)]
        for each in covered:
            handle = self._client.get_workflow_handle_for(IncidentWorkflow.run, each.workflow_id, run_id=each.run_id)
            await answered(handle.signal(IncidentWorkflow.stop, redacted(stop), rpc_timeout=ANSWER_WITHIN))
        return tuple(each.incident_id for each in covered)

    def _of(self, environment: str, service: str) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
        return self._client.get_workflow_handle_for(IncidentWorkflow.run, workflow_id(environment, service))

    async def _listed(self, query: str) -> AsyncIterator[OpenIncident]:
        found = self._client.list_workflows(f'WorkflowType = "{names.INCIDENT}" AND {query}')
        while True:
            try:
                execution = await anext(found)
            except StopAsyncIteration:
                return
            except RPCError as error:
                raise TransientError("temporal", error.message) from error
            known = execution.typed_search_attributes
            yield OpenIncident(
                incident_id=known.get(names.INCIDENT_ID, ""),
                workflow_id=execution.id,
                run_id=execution.run_id,
                service=known.get(names.SERVICE, ""),
                environment=known.get(names.ENVIRONMENT, ""),
                severity=known.get(names.SEVERITY, ""),
                stage=known.get(names.STAGE, ""),
                opened_at=execution.start_time,
            )
