"""Workflow runs: how they queue, wait for each other and for reviewers, run, and end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tests.standins.github.behaviour import Behaviour
from tests.standins.github.clock import Clock
from tests.standins.github.deployments import DEPLOY_RUNS, Deployment, Deployments
from tests.standins.github.history import MAIN
from tests.standins.github.workflow import DEPLOY, ROLLBACK, RollbackInputs, Workflow

CANCELLED = "cancelled"
FAILURE = "failure"
SUCCESS = "success"


class Stage(StrEnum):
    """A run's status, in GitHub's words."""

    QUEUED = "queued"
    PENDING = "pending"  # another run of its concurrency group is not done yet
    WAITING = "waiting"  # for the environment's reviewers
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


@dataclass
class Run:
    """A run. `since`: when it came to its stage; `at_work`: its last step has begun to roll back."""

    id: int
    number: int
    workflow: Workflow
    event: str
    head_sha: str
    created_at: datetime
    since: datetime
    stage: Stage = Stage.QUEUED
    conclusion: str | None = None
    attempt: int = 1
    inputs: RollbackInputs | None = None
    plan: Behaviour = field(default_factory=Behaviour)
    started_at: datetime | None = None
    approved: bool = False
    cancel_after: datetime | None = None
    at_work: bool = False
    effective: bool = False
    deployment: Deployment | None = None

    @property
    def title(self) -> str:
        """What lists show."""
        return self.inputs.title if self.inputs else self.workflow.name

    @property
    def completed(self) -> bool:
        """Whether it has ended."""
        return self.stage is Stage.COMPLETED

    @property
    def job_id(self) -> int:
        """The id of its only job."""
        return self.id * 10 + 1

    @property
    def group(self) -> tuple[str, str] | None:
        """What it must not run beside: another rollback of the service in the environment."""
        return (self.inputs.service, self.inputs.environment) if self.inputs else None

    def listed(self, now: datetime) -> bool:
        """Whether lists show it by now."""
        return now >= self.created_at + timedelta(seconds=self.plan.list_lag_s)


class Runs:
    """All runs, oldest first. Nothing moves between two calls of `advance`."""

    def __init__(self, deployments: Deployments, clock: Clock, *, page: str) -> None:
        """`page`: the repository's address for people."""
        self._deployments = deployments
        self._clock = clock
        self._page = page
        self._runs: dict[int, Run] = {}
        for number, (deployment_id, run_id) in enumerate(DEPLOY_RUNS.items(), start=1):
            deployment = deployments.find(deployment_id)
            assert deployment is not None
            run = Run(run_id, number, DEPLOY, "push", deployment.sha, deployment.at, deployment.at)
            run.stage, run.conclusion = Stage.COMPLETED, SUCCESS
            self._runs[run_id] = run

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs.values())

    def find(self, id_: int) -> Run | None:
        """The run with that id."""
        return self._runs.get(id_)

    def rollbacks(self) -> Sequence[Run]:
        """The runs of the rollback workflow."""
        return [run for run in self if run.workflow is ROLLBACK]

    def page(self, run: Run) -> str:
        """The run, for people."""
        return f"{self._page}/actions/runs/{run.id}"

    def log_url(self, run: Run) -> str:
        """The log of its job."""
        return f"{self.page(run)}/job/{run.job_id}"

    def dispatch(self, inputs: RollbackInputs, plan: Behaviour, head_sha: str) -> Run:
        """Adds a run. The newest one to wait for its group takes the place of any that waited before it."""
        now = self._clock()
        number = len(self.rollbacks()) + 1
        run = Run(9_000 + number, number, ROLLBACK, "workflow_dispatch", head_sha, now, now, inputs=inputs, plan=plan)
        others = [other for other in self if other.group == run.group and not other.completed]
        if others:
            run.stage = Stage.PENDING
        for other in others:
            if other.stage is Stage.PENDING:
                self.complete(other, CANCELLED)
        self._runs[run.id] = run
        return run

    def cancel(self, run: Run) -> None:
        """Ends a run that has no runner at once, and one that has at the end of the step it is in."""
        if run.stage is not Stage.IN_PROGRESS:
            self.complete(run, CANCELLED)
        elif run.cancel_after is None:
            half = timedelta(seconds=run.plan.run_s / 2)
            in_first_step = self._clock() < run.since + half
            run.cancel_after = run.since + half * (1 if in_first_step else 2)

    def review(self, run: Run, *, approved: bool) -> None:
        """A reviewer lets a waiting run go on, or ends it."""
        if approved:
            run.approved = True
        else:
            self.complete(run, FAILURE)

    def complete(self, run: Run, conclusion: str) -> None:
        """Ends a run, and with it the deployment that GitHub recorded for its job."""
        self._move(run, Stage.COMPLETED)
        run.conclusion = conclusion
        if run.deployment is not None:
            state = SUCCESS if conclusion == SUCCESS else FAILURE
            self._deployments.add_status(run.deployment, state, at=run.since, log_url=self.log_url(run))

    def advance(self) -> Sequence[Run]:
        """Moves every run on to where it stands by now; returns those that must roll back now, each once."""
        now = self._clock()
        due = []
        for run in [run for run in self if not run.completed and not run.at_work]:
            if run.stage is Stage.PENDING and self._leads_its_group(run):
                self._move(run, Stage.QUEUED)
            if run.stage is Stage.QUEUED and not run.plan.stuck and now >= _after(run, run.plan.queue_s):
                self._move(run, Stage.WAITING if run.plan.reviewers and not run.approved else Stage.IN_PROGRESS)
            if run.stage is Stage.WAITING and run.approved:
                self._move(run, Stage.IN_PROGRESS)
            if run.stage is Stage.IN_PROGRESS and self._work(run, now):
                run.at_work = True
                due.append(run)
        return due

    def _work(self, run: Run, now: datetime) -> bool:
        """Whether the job has come to its rollback."""
        if run.deployment is None:
            self._start_job(run)
        end = _after(run, run.plan.run_s)
        if run.cancel_after is not None and run.cancel_after < end:
            if now >= run.cancel_after:
                self.complete(run, CANCELLED)
            return False
        return now >= end

    def _start_job(self, run: Run) -> None:
        run.started_at = run.since
        deployment = Deployment(self._deployments.next_id, run.head_sha, run.since, ref=MAIN, automatic_of=run.id)
        if run.inputs is not None:
            deployment.environment = run.inputs.environment
        run.deployment = self._deployments.record(deployment)
        self._deployments.add_status(deployment, "in_progress", at=run.since, log_url=self.log_url(run))

    def _leads_its_group(self, run: Run) -> bool:
        return all(other.completed or other.id >= run.id for other in self if other.group == run.group)

    def _move(self, run: Run, stage: Stage) -> None:
        run.stage = stage
        run.since = self._clock()


def _after(run: Run, seconds: float) -> datetime:
    return run.since + timedelta(seconds=seconds)
