"""The durable watcher of one service: it opens incidents, and decides nothing in them."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.watch import Watch, Watched, WatchInput
    from incident.dossier import Trigger
    from incident.identifiers import workflow_id
    from incident.policy import Policy
    from workflows import names, options
    from workflows.incident import IncidentWorkflow
    from workflows.messages import IncidentRequest, WatchRequest, WatchStage

_STRETCH = timedelta(minutes=10)
"""Of checks that leave six events of history together; another worker build takes over after one at the latest."""
_AGAIN = timedelta(minutes=1)
"""After checks that could not be made at all, such as of a service that the registry has lost."""
_EVENTS = 200
"""Of history, after which the watcher begins anew."""


@workflow.defn(name=names.WATCH, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class WatchWorkflow:
    """Checks a service until it is told to stop; at most one incident of it is open, whoever opened that."""

    @workflow.init
    def __init__(self, request: WatchRequest) -> None:
        self._policy = request.policy
        self._checks = request.checks
        self._service, self._environment = request.service, request.environment
        self._stage = request.stage
        self._stopped = self._changed = self._woken = False

    @workflow.run
    async def run(self, request: WatchRequest) -> None:  # noqa: ARG002 - __init__ took it
        """Returns once it is told to stop."""
        while not self._stopped:
            self._stands(WatchStage.WATCHING)
            watched = await self._stretch()
            if watched and watched.holds:
                self._checks = ()
                await self._incident(watched.said)
            if workflow.info().get_current_history_length() > _EVENTS and not self._stopped:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(
                    WatchRequest(
                        service=self._service,
                        environment=self._environment,
                        policy=self._policy,
                        checks=self._checks,
                        stage=self._stage,
                    )
                )

    async def _stretch(self) -> Watched | None:
        """What the checks of a while have come to; `None`: it was cut short."""
        at_once, self._changed, self._woken = self._woken, False, False
        order = WatchInput(
            environment=self._environment,
            service=self._service,
            thresholds=self._policy.thresholds,
            source_timeout=self._policy.source_timeout,
            limits=self._policy.watch,
            sensitivity=self._policy.sensitivity,
            objective=self._policy.objective,
            checks=self._checks,
            lasts=_STRETCH,
            at_once=at_once,
        )
        checking = workflow.start_activity_method(
            Watch.stretch, order, task_queue=names.watch_queue(workflow.info().task_queue), **options.watching(_STRETCH)
        )
        await workflow.wait_condition(lambda: checking.done() or self._interrupted() or self._woken)
        if not checking.done():
            checking.cancel()
        try:
            watched = await checking
        except ActivityError:
            if not (self._interrupted() or self._woken):
                self._stands(WatchStage.BLIND)
                await self._pause(_AGAIN, "until the checks are tried again")
            return None
        self._checks = watched.checks
        return watched

    async def _incident(self, said: str) -> None:
        """Opens an incident, if none is open, and stands back until it has closed and the cool-down is over."""
        self._stands(WatchStage.INCIDENT)
        request = IncidentRequest(
            service=self._service,
            environment=self._environment,
            policy=self._policy,
            trigger=Trigger(source="watch", trigger_id=str(workflow.uuid4()), reason=said),
        )
        with suppress(WorkflowAlreadyStartedError, ChildWorkflowError):
            incident = await workflow.start_child_workflow(
                IncidentWorkflow.run,
                request,
                id=workflow_id(self._environment, self._service),
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"{self._service} in {self._environment}",
                static_details=f"Opened by its watcher. {said}",
            )
            await workflow.wait_condition(lambda: incident.done() or self._stopped)
            if incident.done():
                await incident
        self._stands(WatchStage.RESTING)
        await self._pause(self._policy.watch.cool_down, "cool down")

    async def _pause(self, duration: timedelta, summary: str) -> None:
        self._changed = False
        with suppress(TimeoutError):
            await workflow.wait_condition(self._interrupted, timeout=duration, timeout_summary=summary)

    def _interrupted(self) -> bool:
        return self._stopped or self._changed

    def _stands(self, stage: WatchStage) -> None:
        if stage is not self._stage:
            self._stage = stage
            workflow.upsert_search_attributes(
                [
                    names.SERVICE.value_set(self._service),
                    names.ENVIRONMENT.value_set(self._environment),
                    names.STAGE.value_set(stage),
                ]
            )

    @workflow.signal
    def follow(self, policy: Policy) -> None:
        """Checks and opens incidents under that policy from now on."""
        self._changed = self._changed or policy != self._policy
        self._policy = policy

    @workflow.signal
    def wake(self) -> None:
        """Checks at once; while an incident is open or the cool-down runs, once that is over."""
        self._woken = True

    @workflow.signal
    def stop(self) -> None:
        """Ends the watch; an incident that it opened goes on."""
        self._stopped = True
