"""Everything the stand-in knows. One event loop owns it, and no change waits for anything half way."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.standins.github.behaviour import (
    Behaviour,
    CancelEntry,
    Deploy,
    DeploymentEntry,
    DispatchEntry,
    EffectEntry,
    Journal,
    RequestEntry,
    RunEntry,
    Seed,
)
from tests.standins.github.clock import Clock
from tests.standins.github.deployments import Deployment, Deployments
from tests.standins.github.faults import Faults
from tests.standins.github.history import History
from tests.standins.github.runs import CANCELLED, Run, Runs, Stage
from tests.standins.github.tokens import Tokens
from tests.standins.github.workflow import RollbackInputs

OWNER = "acme"
REPOSITORY = "payment-api"
PAGE = f"https://github.com/{OWNER}/{REPOSITORY}"


class GitHub:
    """One repository with its commits, deployments and runs, and what a test wants of it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.public_url = "https://api.github.com"
        self.reset(Seed())

    def reset(self, seed: Seed) -> None:
        """Forgets all but its own address."""
        now = self.clock()
        self.behaviour = Behaviour()
        self.history = History(now)
        self.deployments = Deployments(now, page=PAGE)
        self.runs = Runs(self.deployments, self.clock, page=PAGE)
        self.faults = Faults()
        self.tokens = Tokens(self.clock)
        self._dispatches: list[DispatchEntry] = []
        self._effects: list[EffectEntry] = []
        self.requests: list[RequestEntry] = []
        self._cancels: list[CancelEntry] = []
        if self.deployments.live("production") != (wanted := self.deployments.find(seed.live)):
            assert wanted is not None
            self.deployments.succeed(wanted, at=now)

    def dispatch(self, inputs: RollbackInputs, head_sha: str) -> Run:
        """Accepts a dispatch."""
        run = self.runs.dispatch(inputs, self.behaviour, head_sha)
        self.note_dispatch(inputs.model_dump(), run)
        return run

    def note_dispatch(self, inputs: Mapping[str, str], run: Run | None) -> None:
        """Enters a dispatch in the journal; without a run it was refused."""
        self._dispatches.append(
            DispatchEntry(
                at=self.clock(),
                correlation_id=inputs.get("correlation_id"),
                inputs=inputs,
                accepted=run is not None,
                run_id=run.id if run else None,
            )
        )

    def knows(self, run: Run) -> bool:
        """Whether the run is one of this world, and not of one before the last reset."""
        return self.runs.find(run.id) is run

    def cancel(self, run: Run, *, forced: bool) -> bool:
        """Asks a run to end; whether it can still be asked."""
        accepted = not run.completed
        if accepted:
            self.runs.cancel(run)
        self._cancels.append(CancelEntry(at=self.clock(), run_id=run.id, forced=forced, accepted=accepted))
        return accepted

    def deploy(self, order: Deploy) -> Deployment:
        """Somebody deploys, with success."""
        now = self.clock()
        known = self.deployments.find(order.deployment_id) if order.deployment_id is not None else None
        if known is None:
            sha = order.sha or self.history.head.sha
            if self.history.resolve(sha) is None:
                self.history.push(sha, "Change something", at=now)
            known = self.deployments.record(Deployment(order.deployment_id or self.deployments.next_id, sha, now))
        self.deployments.succeed(known, at=now)
        return known

    def roll_back(self, run: Run) -> None:
        """Makes a run's target live, and records the deployment by which the job says so."""
        assert run.inputs is not None
        order, now = run.inputs, self.clock()
        before = self.deployments.live(order.environment)
        payload = {
            "rollback": {
                "correlation_id": order.correlation_id,
                "incident_id": order.incident_id,
                "service": order.service,
                "deployment_id": int(order.deployment_id),
                "from_deployment_id": int(order.expected_deployment_id),
                "run_id": run.id,
            }
        }
        deployment = Deployment(
            self.deployments.next_id,
            order.target_revision,
            now,
            ref=order.target_revision,
            task="rollback",
            environment=order.environment,
            payload=payload,
        )
        self.deployments.record(deployment)
        self.deployments.add_status(deployment, "success", at=now, log_url=self.runs.page(run))
        run.effective = True
        self._effects.append(
            EffectEntry(
                correlation_id=order.correlation_id,
                from_=before.id if before else None,
                to=int(order.deployment_id),
                from_revision=order.expected_revision,
                to_revision=order.target_revision,
                run_id=run.id,
                at=now,
            )
        )

    def end(self, run: Run, conclusion: str) -> None:
        """Ends a run whose last step is over; one that was to be cancelled meanwhile ends as cancelled."""
        if not run.completed:
            self.runs.complete(run, CANCELLED if run.cancel_after is not None else conclusion)

    def journal(self) -> Journal:
        """All that happened since the last reset."""
        return Journal(
            dispatches=self._dispatches,
            runs=[_run_entry(run) for run in self.runs.rollbacks()],
            effective=self._effects,
            requests=self.requests,
            cancels=self._cancels,
            deployments=[_deployment_entry(each) for each in self.deployments],
        )


def _run_entry(run: Run) -> RunEntry:
    assert run.inputs is not None
    completed_at: datetime | None = run.since if run.stage is Stage.COMPLETED else None
    return RunEntry(
        id=run.id,
        attempt=run.attempt,
        correlation_id=run.inputs.correlation_id,
        inputs=run.inputs.model_dump(),
        status=run.stage,
        conclusion=run.conclusion,
        effective=run.effective,
        created_at=run.created_at,
        completed_at=completed_at,
    )


def _deployment_entry(each: Deployment) -> DeploymentEntry:
    names: Sequence[str] = ("id", "sha", "ref", "task", "environment", "payload", "creator", "state", "automatic_of")
    fields: dict[str, Any] = {name: getattr(each, name) for name in names}
    return DeploymentEntry.model_validate(fields)
