"""The record of deployments and their statuses, and what it says is live."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.standins.github.history import BAD_SHA, GOOD_SHA, MAIN, OLDER_SHA

ACTIONS_BOT = "github-actions[bot]"
PRODUCTION = "production"
SUCCESS = "success"
DEPLOY_RUNS = {99: 7_099, 100: 7_100, 101: 7_101}
"""The run of deploy.yml behind each deployment that the stand-in starts with."""


@dataclass(frozen=True)
class DeploymentStatus:
    """One entry of a deployment's course."""

    id: int
    state: str
    creator: str
    at: datetime
    description: str = ""
    log_url: str = ""
    environment_url: str = ""


@dataclass
class Deployment:
    """A deployment. `automatic_of`: the rollback run for whose job GitHub recorded it by itself."""

    id: int
    sha: str
    at: datetime
    ref: str = MAIN
    task: str = "deploy"
    environment: str = PRODUCTION
    payload: Any = field(default_factory=dict)
    description: str | None = None
    creator: str = ACTIONS_BOT
    automatic_of: int | None = None
    statuses: list[DeploymentStatus] = field(default_factory=list)

    @property
    def state(self) -> str | None:
        """The latest status's; None without any."""
        return self.statuses[-1].state if self.statuses else None


class Deployments:
    """All deployments of the repository, oldest first."""

    def __init__(self, now: datetime, *, page: str) -> None:
        """`page`: the repository's address for people."""
        self._page = page
        self._deployments: dict[int, Deployment] = {}
        self._last_status = 5_000
        for id_, sha, age in (
            (99, OLDER_SHA, timedelta(days=3)),
            (100, GOOD_SHA, timedelta(days=1)),
            (101, BAD_SHA, timedelta(minutes=30)),
        ):
            deployment = self.record(Deployment(id_, sha, now - age))
            self.add_status(deployment, "queued", at=deployment.at, log_url=self.deploy_log(id_))
        for id_ in (99, 100):
            self.succeed(self._deployments[id_], at=self._deployments[id_].at + timedelta(minutes=2))

    def __iter__(self) -> Iterator[Deployment]:
        return iter(self._deployments.values())

    def find(self, id_: int) -> Deployment | None:
        """The deployment with that id."""
        return self._deployments.get(id_)

    @property
    def next_id(self) -> int:
        """What the next deployment will be called."""
        return max(self._deployments) + 1

    def record(self, deployment: Deployment) -> Deployment:
        """Adds a deployment and returns it."""
        self._deployments[deployment.id] = deployment
        return deployment

    def add_status(  # noqa: PLR0913 - one keyword a field of the status
        self,
        deployment: Deployment,
        state: str,
        *,
        at: datetime,
        log_url: str = "",
        description: str = "",
        environment_url: str = "",
        creator: str = ACTIONS_BOT,
    ) -> DeploymentStatus:
        """Adds a status to a deployment and returns it."""
        self._last_status += 1
        status = DeploymentStatus(self._last_status, state, creator, at, description, log_url, environment_url)
        deployment.statuses.append(status)
        return status

    def succeed(self, deployment: Deployment, *, at: datetime) -> None:
        """Somebody's deployment makes it to production."""
        self.add_status(deployment, SUCCESS, at=at, log_url=self.deploy_log(deployment.id))

    def deploy_log(self, id_: int) -> str:
        """The log of the run of deploy.yml behind a deployment; empty for one that was not made by a run."""
        run = DEPLOY_RUNS.get(id_)
        return f"{self._page}/actions/runs/{run}/job/{run}1" if run else ""

    def live(self, environment: str) -> Deployment | None:
        """The deployment that succeeded last and has no later status.

        A run of the rollback workflow makes GitHub record a deployment of the commit that the workflow was taken
        from. Nothing of that commit was deployed, so it does not count.
        """
        succeeded = [
            deployment
            for deployment in self
            if deployment.environment == environment and deployment.state == SUCCESS and deployment.automatic_of is None
        ]
        return max(succeeded, key=lambda each: (each.statuses[-1].at, each.statuses[-1].id), default=None)
