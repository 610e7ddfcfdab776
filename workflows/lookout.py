"""The lookout: how a program has services watched, and learns which are, over a Temporal client."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from incident.errors import TransientError
from incident.watching import WatchedService
from workflows import names
from workflows.answers import ANSWER_WITHIN, answered, signalled
from workflows.messages import WatchRequest
from workflows.watch import WatchWorkflow


class Lookout:
    """Begins watches, and ends them."""

    def __init__(self, client: Client, task_queue: str = names.TASK_QUEUE) -> None:
        self._client = client
        self._task_queue = task_queue

    async def watch(self, request: WatchRequest) -> None:
        """Has that service watched; where it is already, it is under the request's policy from now on.

        Raises:
            TransientError: Temporal does not answer.
        """
        await answered(
            self._client.start_workflow(
                WatchWorkflow.run,
                request,
                id=names.watch_id(request.environment, request.service),
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal="follow",
                start_signal_args=[request.policy],
                static_summary=f"watches {request.service} in {request.environment}",
                rpc_timeout=ANSWER_WITHIN,
            )
        )

    async def stop(self, environment: str, service: str) -> bool:
        """Ends the watch of that service; whether there was one. An incident that it opened goes on.

        Raises:
            TransientError: Temporal does not answer.
        """
        handle = self._client.get_workflow_handle_for(WatchWorkflow.run, names.watch_id(environment, service))
        return await signalled(handle.signal(WatchWorkflow.stop, rpc_timeout=ANSWER_WITHIN))

    async def wake(self, environment: str, service: str) -> bool:
        """Has a watched service checked at once; whether it is watched.

        Raises:
            TransientError: Temporal does not answer.
        """
        handle = self._client.get_workflow_handle_for(WatchWorkflow.run, names.watch_id(environment, service))
        return await signalled(handle.signal(WatchWorkflow.wake, rpc_timeout=ANSWER_WITHIN))

    async def watched(self) -> tuple[WatchedService, ...]:
        """Every service that is watched, by name.

        Raises:
            TransientError: Temporal does not answer.
        """
        found = self._client.list_workflows(f'WorkflowType = "{names.WATCH}" AND ExecutionStatus = "Running"')
        try:
            known = [each.typed_search_attributes async for each in found]
        except RPCError as error:
            raise TransientError("temporal", error.message) from error
        watched = [
            WatchedService(
                service=attributes.get(names.SERVICE, ""),
                environment=attributes.get(names.ENVIRONMENT, ""),
                stands=attributes.get(names.STAGE, ""),
            )
            for attributes in known
        ]
        return tuple(sorted(watched, key=lambda each: (each.environment, each.service)))
