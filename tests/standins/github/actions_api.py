"""GitHub's routes for workflows and their runs."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tests.standins.github import created
from tests.standins.github.behaviour import Reply
from tests.standins.github.calls import DispatchCall
from tests.standins.github.guard import VERSION_WITH_DETAILS, Pages, not_found, unprocessable
from tests.standins.github.history import MAIN
from tests.standins.github.run_wire import RunWire
from tests.standins.github.runs import Run
from tests.standins.github.state import GitHub
from tests.standins.github.wire import Json, Wire
from tests.standins.github.workflow import DEPLOY, INPUTS, ROLLBACK, RollbackInputs, Workflow, fault_in

_FULL_SHA = re.compile(r"^[0-9a-f]{40}$")
_FILTERS: dict[str, Callable[[Run, str], bool]] = {
    "event": lambda run, wanted: run.event == wanted,
    "status": lambda run, wanted: wanted in {run.stage, run.conclusion},
    "head_sha": lambda run, wanted: run.head_sha == wanted,
    "branch": lambda _, wanted: wanted == MAIN,
    "created": lambda run, wanted: created.matches(run.created_at, wanted),
}


class ActionsApi:
    """Workflows, dispatches and runs of the one repository."""

    def __init__(self, github: GitHub, wire: Wire, pages: Pages) -> None:
        self._github = github
        self._wire = wire
        self._runs = RunWire(github, wire)
        self._pages = pages

    def add_to(self, router: APIRouter) -> None:
        """Adds the routes to those of the repository."""
        router.add_api_route("/actions/workflows/{workflow}/dispatches", self.dispatch, methods=["POST"])
        router.add_api_route("/actions/workflows/{workflow}/runs", self.workflow_runs, methods=["GET"])
        router.add_api_route("/actions/workflows/{workflow}", self.workflow, methods=["GET"])
        router.add_api_route("/actions/runs", self.all_runs, methods=["GET"])
        router.add_api_route("/actions/runs/{run_id}", self.run, methods=["GET"])
        router.add_api_route("/actions/runs/{run_id}/jobs", self.jobs, methods=["GET"])
        router.add_api_route("/actions/runs/{run_id}/cancel", self.cancel, methods=["POST"])
        router.add_api_route("/actions/runs/{run_id}/force-cancel", self.force_cancel, methods=["POST"])
        router.add_api_route("/actions/runs/{run_id}/pending_deployments", self.pending, methods=["GET"])
        router.add_api_route("/actions/runs/{run_id}/pending_deployments", self.approve, methods=["POST"])

    async def dispatch(self, workflow: str, call: DispatchCall, request: Request) -> Response:
        """Start a run."""
        try:
            inputs = self._judge(workflow, call)
        except Exception:
            self._github.note_dispatch(call.inputs, None)
            raise
        run = self._github.dispatch(inputs, self._github.history.head.sha)
        by_version = request.headers.get("x-github-api-version", "") >= VERSION_WITH_DETAILS
        details = {
            "workflow_run_id": run.id,
            "run_url": self._runs.url(run),
            "html_url": self._github.runs.page(run),
        }
        reply = self._github.behaviour.reply
        if reply is Reply.MALFORMED:
            del details["workflow_run_id"]
        elif reply is Reply.EMPTY or not (call.return_run_details or by_version):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return JSONResponse(details)

    async def workflow(self, workflow: str) -> Json:
        """One workflow."""
        return self._wire.workflow(self._find_workflow(workflow))

    async def workflow_runs(self, workflow: str, request: Request) -> Response:
        """The runs of one workflow, newest first."""
        found = self._find_workflow(workflow)
        return self._page_of_runs([run for run in self._github.runs if run.workflow is found], request)

    async def all_runs(self, request: Request) -> Response:
        """The runs of all workflows, newest first."""
        return self._page_of_runs(list(self._github.runs), request)

    async def run(self, run_id: int) -> Json:
        """One run."""
        return self._runs.run(self._find_run(run_id))

    async def jobs(self, run_id: int) -> Json:
        """A run's jobs."""
        return {"total_count": 1, "jobs": [self._runs.job(self._find_run(run_id))]}

    async def cancel(self, run_id: int) -> Response:
        """Ask a run to end."""
        return self._cancel(run_id, forced=False)

    async def force_cancel(self, run_id: int) -> Response:
        """Ask a run to end, whatever its steps say."""
        return self._cancel(run_id, forced=True)

    async def pending(self, run_id: int) -> Sequence[Json]:
        """What a run waits for."""
        return self._runs.pending_deployments(self._find_run(run_id))

    async def approve(self, run_id: int) -> Response:
        """Nobody who holds a token of the commander's is among the reviewers."""
        self._find_run(run_id)
        raise unprocessable("There are no pending deployment requests that the current user may approve")

    def _judge(self, workflow: str, call: DispatchCall) -> RollbackInputs:
        """The inputs of a dispatch that GitHub accepts; raises Refused for all others."""
        found = self._find_workflow(workflow)
        if found is not ROLLBACK:
            raise unprocessable("Workflow does not have 'workflow_dispatch' trigger")
        behaviour = self._github.behaviour
        if behaviour.workflow_state != "active":
            raise unprocessable("Cannot trigger a 'workflow_dispatch' on a disabled workflow")
        # A dispatch is of a branch or a tag, never of a commit.
        if _FULL_SHA.match(call.ref) or self._github.history.resolve(call.ref) is None:
            raise unprocessable(f"No ref found for: {call.ref}")
        declared = {} if behaviour.workflow_without_inputs else INPUTS
        if fault := fault_in(call.inputs, declared=declared):
            raise unprocessable(fault)
        return RollbackInputs.model_validate(call.inputs)

    def _cancel(self, run_id: int, *, forced: bool) -> Response:
        run = self._find_run(run_id)
        if self._github.cancel(run, forced=forced):
            return JSONResponse({}, HTTPStatus.ACCEPTED)
        # GitHub declares this reply as an empty error, and sends these words.
        return JSONResponse({"message": "Cannot cancel a workflow run that is completed."}, HTTPStatus.CONFLICT)

    def _page_of_runs(self, runs: Sequence[Run], request: Request) -> Response:
        now = self._github.clock()
        wanted = {name: test for name, test in _FILTERS.items() if name in request.query_params}
        try:
            found = [
                run
                for run in reversed(runs)
                if run.listed(now) and all(test(run, request.query_params[name]) for name, test in wanted.items())
            ]
        except ValueError as exc:
            raise unprocessable(f"Invalid value for parameter 'created': {exc}") from exc
        page, headers = self._pages.cut(found, request)
        body: dict[str, Any] = {"total_count": len(found), "workflow_runs": [self._runs.run(run) for run in page]}
        return JSONResponse(body, headers=dict(headers))

    def _find_workflow(self, name: str) -> Workflow:
        known = [DEPLOY] if self._github.behaviour.workflow_missing else [DEPLOY, ROLLBACK]
        for workflow in known:
            if name in {workflow.file, str(workflow.id)}:
                return workflow
        raise not_found()

    def _find_run(self, run_id: int) -> Run:
        run = self._github.runs.find(run_id)
        if run is None:
            raise not_found()
        return run
