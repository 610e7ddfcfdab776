"""The runs of one workflow: listed, looked at, called off, and what GitHub's words for their state mean."""

import re
from collections.abc import AsyncIterator
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field, StrictInt

from incident.errors import IntegrationError
from incident.ledger import RunState
from incident.services import GitHubEndpoint
from integrations.github.client import GitHub, parsed, parsed_list
from integrations.github.refusals import Need
from integrations.text import one_line

MAX_DETAIL = 500
"""Characters of a run's detail."""
_PER_PAGE = 100
_MAX_PAGES = 10
"""GitHub lists at most 1,000 runs of a filtered search ("List workflow runs for a workflow")."""
_MAX_NAMES = 5

_STATUSES = {
    "queued": RunState.PENDING,
    "requested": RunState.PENDING,
    "pending": RunState.PENDING,
    "waiting": RunState.WAITING,
    "in_progress": RunState.RUNNING,
}
_CONCLUSIONS = {
    "success": RunState.SUCCEEDED,
    "failure": RunState.FAILED,
    "cancelled": RunState.CANCELLED,
    "timed_out": RunState.TIMED_OUT,
    "action_required": RunState.ACTION_REQUIRED,
    "startup_failure": RunState.STARTUP_FAILURE,
}
_MARK = re.compile(r"\[([^\[\]]*)\]\s*\Z")


class Run(BaseModel):
    """One run, as GitHub tells of it."""

    id: StrictInt
    status: str | None = None
    conclusion: str | None = None
    display_title: str = ""
    run_attempt: StrictInt = Field(default=1, ge=1)
    html_url: str = ""
    path: str = Field(default="", description="of the workflow's file; of some runs with @<ref>")
    created_at: AwareDatetime

    @property
    def correlation_id(self) -> str:
        """What stands in brackets at the end of its title, where the workflow's `run-name` puts it; empty: nothing."""
        found = _MARK.search(self.display_title)
        return found[1] if found else ""

    @property
    def state(self) -> RunState:
        """UNKNOWN for every word that is not known to be one of the others: only `success` is success."""
        if self.status == "completed":
            return _CONCLUSIONS.get(self.conclusion or "", RunState.UNKNOWN)
        return _STATUSES.get(self.status or "", RunState.UNKNOWN)

    @property
    def words(self) -> str:
        """Its state in words; quotes a word that is not known."""
        ended = self.status == "completed"
        word = one_line((self.conclusion if ended else self.status) or "nothing", 40)
        if self.state is RunState.UNKNOWN:
            return (
                f"GitHub says {word!r} of {'how it ended' if ended else 'where it is'}, which is not known as success"
            )
        return word.replace("_", " ")


class _RunList(BaseModel):
    workflow_runs: list[Run]


class _Step(BaseModel):
    name: str = ""
    conclusion: str | None = None


class _Job(BaseModel):
    name: str = ""
    conclusion: str | None = None
    steps: list[_Step] = []


class _JobList(BaseModel):
    jobs: list[_Job]


class _Environment(BaseModel):
    name: str


class _PendingDeployment(BaseModel):
    environment: _Environment


class WorkflowRuns:
    """The runs of the endpoint's rollback workflow."""

    def __init__(self, github: GitHub, endpoint: GitHubEndpoint) -> None:
        self._github = github
        self._repository = endpoint.repository
        self._actions = f"/repos/{endpoint.repository}/actions"
        self._file = endpoint.workflow
        self._workflow = f"{self._actions}/workflows/{endpoint.workflow}"
        self.what = f"workflow {endpoint.workflow} of {endpoint.repository}"
        self.page_url = (
            f"{github.settings.web_url.rstrip('/')}/{endpoint.repository}/actions/workflows/{endpoint.workflow}"
        )
        """Where a person sees the workflow's runs."""
        self.dispatches = f"{self._workflow}/dispatches"

    def need(self, permission: str, what: str = "") -> Need:
        """What a request about these runs needs; about the workflow, where `what` is left out."""
        return Need(what or self.what, self._repository, permission)

    async def newest(self, since: datetime | None = None, event: str = "") -> AsyncIterator[list[Run]]:
        """The runs, newest first, a page at a time.

        Args:
            since: only runs created then or later.
            event: only runs started by it, such as `workflow_dispatch`.
        """
        params: dict[str, str | int] = {"per_page": _PER_PAGE, "exclude_pull_requests": "true"}
        if since is not None:
            params["created"] = f">={since:%Y-%m-%dT%H:%M:%SZ}"
        if event:
            params["event"] = event
        async for body in self._github.pages(f"{self._workflow}/runs", self.need("actions=read"), params, _MAX_PAGES):
            yield parsed(_RunList, body, f"the runs of {self.what}").workflow_runs

    async def get(self, run_id: int) -> Run:
        """That run, as it is now."""
        what = f"run {run_id} of {self._repository}"
        reply = await self._github.get(f"{self._actions}/runs/{run_id}", self.need("actions=read", what))
        return parsed(Run, reply.body, what)

    async def is_one(self, run_id: int) -> bool:
        """Whether that run of the repository is one of this workflow's."""
        return (await self.get(run_id)).path.partition("@")[0].endswith(f"/{self._file}")

    async def cancel(self, run_id: int) -> None:
        """Asks GitHub to call it off, which it does in its own time; one that has ended stays as it is (409)."""
        need = self.need("actions=write", f"run {run_id} of {self._repository}")
        await self._github.post(f"{self._actions}/runs/{run_id}/cancel", need)

    async def describe(self, run: Run) -> str:
        """`run.words`, and of a waiting run for whom, of a failed one where; empty where the state says it all.

        What cannot be read is left out.
        """
        try:
            if run.state is RunState.WAITING:
                more = await self._awaited(run)
            elif run.state is RunState.FAILED:
                more = await self._failed_at(run)
            else:
                more = ""
        except IntegrationError:
            more = ""
        plain = run.state.ended and not more
        return "" if plain else one_line(f"{run.words}{more}", MAX_DETAIL)

    async def _awaited(self, run: Run) -> str:
        what = f"the pending deployments of run {run.id}"
        path = f"{self._actions}/runs/{run.id}/pending_deployments"
        reply = await self._github.get(path, self.need("actions=read", what))
        names = [each.environment.name for each in parsed_list(_PendingDeployment, reply.body, what)]
        return f" for a review of the environment {', '.join(names[:_MAX_NAMES])}" if names else ""

    async def _failed_at(self, run: Run) -> str:
        what = f"the jobs of run {run.id}"
        path = f"{self._actions}/runs/{run.id}/jobs"
        reply = await self._github.get(path, self.need("actions=read", what), {"per_page": _PER_PAGE})
        places = [
            f"job {job.name!r}" + "".join(f", step {step.name!r}" for step in job.steps if step.conclusion == "failure")
            for job in parsed(_JobList, reply.body, what).jobs
            if job.conclusion == "failure"
        ]
        return f" in {'; '.join(places[:_MAX_NAMES])}" if places else ""
