"""The incident desk: how a program opens, finds, follows and answers incidents over a Temporal client."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from incident.dossier import Approval, Dossier
from incident.errors import PermanentError, TransientError
from incident.identifiers import parse_incident_id, workflow_id
from incident.ledger import Stop
from incident.model import Fact, Moment
from incident.snapshot import Snapshot
from workflows import names
from workflows.incident import IncidentWorkflow
from workflows.messages import (
    ApprovalAnswer,
    CancelReceipt,
    CancelRequest,
    IncidentRequest,
    Joined,
    JoinRequest,
    OutsideDecision,
)

_T = TypeVar("_T")
_ANSWER_WITHIN = timedelta(seconds=10)
"""How long a query or an update may take: they need a worker."""
_NO_WORKER = (
    f"no worker answered within {_ANSWER_WITHIN.total_seconds():g} s; what was asked for waits for one: "
    "start `python -m worker`, and make its build the current one"
)


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


class IncidentDesk:
    """Opens incidents and speaks to them."""

    def __init__(self, client: Client, task_queue: str = names.TASK_QUEUE) -> None:
        self._client = client
        self._task_queue = task_queue

    async def open(self, request: IncidentRequest) -> tuple[Joined, WorkflowHandle[IncidentWorkflow, Snapshot]]:
        """The incident of that service: a new one, or the one that is open.

        Raises:
            TransientError: Temporal, or a worker, does not answer.
        """
        start = WithStartWorkflowOperation(
            IncidentWorkflow.run,
            request,
            id=workflow_id(request.environment, request.service),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"{request.service} in {request.environment}",
            static_details=f"Asked by {request.trigger.source}. {request.trigger.reason}".rstrip(),
        )
        joining = self._client.execute_update_with_start_workflow(
            IncidentWorkflow.join,
            JoinRequest(trigger_id=request.trigger.trigger_id),
            start_workflow_operation=start,
            rpc_timeout=_ANSWER_WITHIN,
        )
        try:
            joined = await _answered(joining)
        except TransientError:
            with suppress(RPCError):
                await start.workflow_handle()  # it failed with the same, which asyncio would report as never seen
            raise
        return joined, await start.workflow_handle()

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
        parse_incident_id(incident_id)
        async for incident in self._listed(f'{names.INCIDENT_ID.name} = "{incident_id}"'):
            return self._client.get_workflow_handle_for(
                IncidentWorkflow.run, incident.workflow_id, run_id=incident.run_id
            )
        return None

    async def dossier(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> Dossier:
        """All that is known of the incident so far.

        Raises:
            TransientError: Temporal, or a worker, does not answer.
        """
        return await _answered(handle.query(IncidentWorkflow.dossier, rpc_timeout=_ANSWER_WITHIN))

    async def decide(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], answer: OutsideDecision) -> None:
        """Hands in an outside analyst's decision.

        Raises:
            PermanentError: none is awaited, or it does not validate; the text holds every field's error.
            TransientError: Temporal, or a worker, does not answer.
        """
        await _answered(handle.execute_update(IncidentWorkflow.decide, answer, rpc_timeout=_ANSWER_WITHIN))

    async def answer(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], answer: ApprovalAnswer) -> Approval:
        """Hands in a person's answer to the open proposal.

        Raises:
            PermanentError: it is refused; the text says why.
            TransientError: Temporal, or a worker, does not answer.
        """
        return await _answered(handle.execute_update(IncidentWorkflow.answer, answer, rpc_timeout=_ANSWER_WITHIN))

    async def cancel(self, handle: WorkflowHandle[IncidentWorkflow, Snapshot], request: CancelRequest) -> CancelReceipt:
        """Ends the incident, if nothing has been done yet.

        Raises:
            PermanentError: it has closed.
            TransientError: Temporal, or a worker, does not answer.
        """
        return await _answered(handle.execute_update(IncidentWorkflow.cancel, request, rpc_timeout=_ANSWER_WITHIN))

    async def stop(self, stop: Stop) -> tuple[str, ...]:
        """Tells every open incident that the kill switch covers; their ids.

        Raises:
            TransientError: Temporal does not answer; the incidents not told yet still meet the switch in the ledger.
        """
        covered = [each for each in await self.all_open() if stop.covers(each.environment, each.service)]
        for each in covered:
            handle = self._client.get_workflow_handle_for(IncidentWorkflow.run, each.workflow_id, run_id=each.run_id)
            await _answered(handle.signal(IncidentWorkflow.stop, stop, rpc_timeout=_ANSWER_WITHIN))
        return tuple(each.incident_id for each in covered)

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


async def _answered(question: Awaitable[_T]) -> _T:
    try:
        return await question
    except WorkflowUpdateFailedError as error:
        cause: Any = error.cause
        raise PermanentError(
            "incident", cause.message if isinstance(cause, ApplicationError) else str(cause)
        ) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise TransientError("incident", _NO_WORKER) from error
    except WorkflowQueryFailedError as error:
        raise TransientError("incident", str(error)) from error
    except RPCError as error:
        silent = error.status in {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}
        raise TransientError("temporal", _NO_WORKER if silent else error.message or error.status.name) from error
