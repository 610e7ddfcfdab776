"""A repository's deployments on GitHub as the deployment history of one service."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from pydantic import BaseModel, Field, StrictInt

from incident.errors import IntegrationError, PermanentError
from incident.evidence import Deployment, DeploymentsReport, SourceState
from incident.services import GitHubEndpoint
from integrations.github.client import AT_ONCE, GitHub, parsed, parsed_list
from integrations.github.history import MAX_MESSAGE, History, read_history
from integrations.github.records import (
    ROLLBACK_TASK,
    DeploymentRecord,
    Status,
    Told,
    is_of,
    rollback_of,
    rollback_said,
    told,
)
from integrations.github.refusals import SYSTEM, Need
from integrations.github.runs import WorkflowRuns
from integrations.text import clean, one_line

MAX_LISTED = 30
"""Deployments that are asked for, the environment's newest."""
MAX_READ = 20
"""Deployments whose statuses are read, the newest that may be the service's."""
_STATUSES = 100
_COMPARE_WITHIN = 3.0  # seconds; what changed is worth no more of an incident's time
_COMMITS, _SUBJECTS, _SUBJECT = 100, 5, 120
_MOST_FILES = 300
"""GitHub lists no more of a comparison's files ("Compare two commits")."""
_REVISION = re.compile(r"[0-9a-fA-F]{6,64}")


class _CommitText(BaseModel):
    message: str = ""

    @property
    def subject(self) -> str:
        return one_line(self.message.lstrip().partition("\n")[0], _SUBJECT)


class _Commit(BaseModel):
    commit: _CommitText


class _Comparison(BaseModel):
    status: str
    ahead_by: StrictInt
    behind_by: StrictInt
    base_commit: _Commit | None = None
    commits: list[_Commit] = []
    files: list[object] = Field(default=[])


class GitHubDeployments:
    """The deployment history of one service in one environment.

    Args:
        github: the connection.
        endpoint: the repository and what of it counts.
        environment: the service's, where the endpoint names none.
        service: whose rollbacks count.
    """

    def __init__(self, github: GitHub, endpoint: GitHubEndpoint, environment: str, service: str) -> None:
        self._github, self._endpoint, self._service = github, endpoint, service
        self._environment = endpoint.environment or environment
        self._repository = f"/repos/{endpoint.repository}"
        self._runs = WorkflowRuns(github, endpoint)
        self._compared: tuple[tuple[str, str], _Comparison] | None = None

    async def read_deployments(self) -> DeploymentsReport:
        """The newest deployments. The live one's message says what changed since the last known good one.

        `once_healthy` is what GitHub can know: whether the deployment ever succeeded.

        Raises:
            TransientError: GitHub could not be asked; no part of a history is given for the whole.
            PermanentError: it refuses, or what it tells cannot be read.
        """
        history = await self.read()
        return DeploymentsReport(
            source=SYSTEM,
            state=SourceState.OK if history.deployments else SourceState.EMPTY,
            problem=history.problem,
            deployments=await self._with_changes(history),
        )

    async def read(self) -> History:
        """The history, without what changed; raises as `read_deployments` does."""
        need = Need(f"repository {self._endpoint.repository}", self._endpoint.repository, "deployments=read")
        asked = {"environment": self._environment, "per_page": str(MAX_LISTED)}
        listed = await self._github.get(f"{self._repository}/deployments", need, asked)
        records = parsed_list(DeploymentRecord, listed.body, "the deployments")
        counted = {self._endpoint.task, ROLLBACK_TASK}
        mine = (each for each in records if each.task in counted and is_of(each, self._service))
        newest = sorted(mine, key=lambda each: each.id, reverse=True)
        if not newest:
            where = f"the environment {self._environment} of {self._endpoint.repository}"
            words = f"none of the newest deployments in {where} has the task {self._endpoint.task} and is the service's"
            return History(problem=words)
        read = await self._told(newest[:MAX_READ])
        return read_history(
            read,
            service=self._service,
            task=self._endpoint.task,
            leave_out=await self._recorded_for_rollbacks(read),
            others=await self._targets(read, {each.id: each for each in records}),
        )

    async def _told(self, records: Sequence[DeploymentRecord]) -> list[Told]:
        limit = asyncio.Semaphore(AT_ONCE)

        async def read(record: DeploymentRecord) -> Told:
            async with limit:
                what = f"the statuses of deployment {record.id}"
                path = f"{self._repository}/deployments/{record.id}/statuses"
                need = Need(f"deployment {record.id}", self._endpoint.repository, "deployments=read")
                reply = await self._github.get(path, need, {"per_page": _STATUSES})
                return told(record, parsed_list(Status, reply.body, what), self._endpoint.repository)

        found = await asyncio.gather(*(read(record) for record in records), return_exceptions=True)
        failed = next((each for each in found if isinstance(each, BaseException)), None)
        if failed is not None:
            raise failed
        return [each for each in found if isinstance(each, Told)]

    async def _recorded_for_rollbacks(self, read: Sequence[Told]) -> frozenset[int]:
        """The deployments that GitHub recorded by itself for a job of the rollback workflow.

        The list of runs may lag behind: a run that has recorded a rollback is known for one all the same, and one that
        is too young to be missed in the list is asked for by its id. Run ids ascend, so that a page whose lowest id is
        under every id in question settles them all.
        """
        suspects = {each.record.id: each.runs for each in read if each.runs}
        open_ids = {run for runs in suspects.values() for run in runs}
        rollbacks = {run for each in read if rollback_said(each.record) is not None for run in each.runs}
        if not open_ids:
            return frozenset()
        async for page in self._runs.newest():
            rollbacks |= open_ids & {run.id for run in page}
            if not page or min(open_ids) >= min(run.id for run in page):
                break
        rollbacks |= await self._too_young_for_the_list(read, open_ids - rollbacks)
        return frozenset(number for number, runs in suspects.items() if runs & rollbacks)

    async def _too_young_for_the_list(self, read: Sequence[Told], unlisted: AbstractSet[int]) -> set[int]:
        since = self._github.clock() - self._github.settings.run_appears_within
        young = {
            run
            for each in read
            if each.latest and each.latest.created_at >= since
            for run in each.runs
            if run in unlisted
        }
        return {run for run in young if await self._runs.is_one(run)}

    async def _targets(self, read: Sequence[Told], listed: Mapping[int, DeploymentRecord]) -> dict[int, Told]:
        """The deployments that a rollback led back to and whose statuses were not read; not those that are gone."""
        known = {each.record.id for each in read}
        targets: dict[int, Told] = {}
        for each in read:
            rollback = rollback_of(each.record, self._service) if each.successes else None
            number = rollback.deployment_id if rollback else None
            if number is None or number in known or number in targets:
                continue
            record = listed.get(number) or await self._deployment(number)
            if record is not None:
                targets[number] = told(record, (), self._endpoint.repository)
        return targets

    async def _deployment(self, number: int) -> DeploymentRecord | None:
        need = Need(f"deployment {number}", self._endpoint.repository, "deployments=read")
        try:
            reply = await self._github.get(f"{self._repository}/deployments/{number}", need)
        except PermanentError:
            return None
        return parsed(DeploymentRecord, reply.body, need.what)

    async def _with_changes(self, history: History) -> tuple[Deployment, ...]:
        live, good = history.live, history.last_known_good
        if live is None or good is None:
            return history.deployments
        compared: _Comparison | None = None
        try:
            compared = await self._compare(good.revision, live.revision)
            said = _changes(compared, good.deployment_id)
        except (IntegrationError, TimeoutError) as error:
            why = error.problem if isinstance(error, IntegrationError) else f"no answer within {_COMPARE_WITHIN:g} s"
            said = f"what changed since deployment {good.deployment_id} could not be read: {why}"
        texts = {live.deployment_id: _joined(live.message or _head(compared), said)}
        if not good.message:
            texts[good.deployment_id] = _base(compared)
        return tuple(
            each.model_copy(update={"message": texts.get(each.deployment_id, each.message)})
            for each in history.deployments
        )

    async def _compare(self, base: str, head: str) -> _Comparison:
        """What GitHub says of `base...head`. Kept, since two revisions never differ otherwise than they do."""
        if self._compared and self._compared[0] == (base, head):
            return self._compared[1]
        if not (_REVISION.fullmatch(base) and _REVISION.fullmatch(head)):
            raise PermanentError(SYSTEM, "a revision is no commit's")
        need = Need(f"comparison {base:.12}...{head:.12}", self._endpoint.repository, "contents=read")
        async with asyncio.timeout(_COMPARE_WITHIN):
            reply = await self._github.get(f"{self._repository}/compare/{base}...{head}", need, {"per_page": _COMMITS})
        compared = parsed(_Comparison, reply.body, need.what)
        self._compared = ((base, head), compared)
        return compared


def _changes(compared: _Comparison, good: int) -> str:
    """Such as "3 commits since deployment 100: Pool of 5; New provider; Log less (7 files changed)"."""
    subjects = [each.commit.subject for each in compared.commits if each.commit.subject][-_SUBJECTS:]
    count = f"{compared.ahead_by} commit{'' if compared.ahead_by == 1 else 's'} since deployment {good}"
    behind = f", and {compared.behind_by} of its commits are missing" if compared.behind_by else ""
    files = f"{len(compared.files)}{'+' if len(compared.files) >= _MOST_FILES else ''}"
    names = f": {'; '.join(subjects)}" if subjects else ""
    return f"{count}{behind}{names} ({files} files changed)"


def _head(compared: _Comparison | None) -> str:
    return compared.commits[-1].commit.subject if compared and compared.commits else ""


def _base(compared: _Comparison | None) -> str:
    return compared.base_commit.commit.subject if compared and compared.base_commit else ""


def _joined(message: str, said: str) -> str:
    return clean(f"{message}. {said}" if message else said, MAX_MESSAGE)
