"""A repository's rollback workflow on GitHub as a rollback target.

GitHub knows no idempotency key: a run is found again by the correlation id in brackets at the end of its title. The
workflow itself compares what is live before it changes anything, so that a second run changes nothing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import BaseModel, JsonValue, StrictInt, ValidationError

from incident.errors import IntegrationError, PermanentError
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.redaction import redact
from incident.services import GitHubEndpoint
from integrations.github.client import CONFLICT, GitHub
from integrations.github.refusals import message
from integrations.github.runs import Run, WorkflowRuns
from integrations.http import Reply
from integrations.text import one_line

INPUTS = (
    "service",
    "environment",
    "deployment_id",
    "target_revision",
    "expected_deployment_id",
    "expected_revision",
    "incident_id",
    "execution_id",
    "reason",
    "confidence",
    "correlation_id",
)
"""What the rollback workflow is given, all of it text. GitHub takes 25 inputs."""
MAX_PAYLOAD = 65_535
"""Characters of all inputs together (docs.github.com, "Workflow syntax", on.workflow_dispatch.inputs)."""
MAX_REASON = 500
CLOCKS_DIFFER = timedelta(minutes=10)
"""How far apart our clocks and GitHub's may be: a run is looked for from this long before it was asked for."""
LOOK_BACK = timedelta(days=1)
"""How far back a run is looked for that nobody is known to have asked for."""
_ALWAYS_DETAILS_SINCE = "2026-03-10"
"""From this API version on the run's id always comes back, and asking for it is refused."""
_SLOWER, _SLOWEST = 1.5, 4
_NOT_LISTED = "accepted; its run is not listed yet"
_log = structlog.get_logger()


class _Dispatched(BaseModel):
    workflow_run_id: StrictInt
    html_url: str = ""


class GitHubRollback:
    """Rolls back by dispatching the endpoint's workflow.

    Whoever starts an order that may have been started before looks with `find` first: each dispatch makes a run.

    Args:
        github: the connection.
        endpoint: the repository, its workflow and the branch that it runs from.
        pause: waits that many seconds.
    """

    def __init__(
        self, github: GitHub, endpoint: GitHubEndpoint, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._github, self._endpoint, self._pause = github, endpoint, pause
        self._runs = WorkflowRuns(github, endpoint)

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:
        """The run of `order`, or `None`.

        With `asked_at`, looked for again and again until the settings' `run_appears_within` has passed since then.

        Raises:
            TransientError: GitHub could not be asked.
            PermanentError: it refuses; the words say what to do.
        """
        since, listed_by = self._since(asked_at), self._listed_by(asked_at)
        pause = self._github.settings.search_every.total_seconds()
        slowest = pause * _SLOWEST
        while True:
            if run := await self._search(order, since):
                return await self._told(order, run, asked_at)
            left = (listed_by - self._github.clock()).total_seconds()
            if left <= 0:
                return None
            await self._pause(min(pause, left))
            pause = min(pause * _SLOWER, slowest)

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        """The run, PENDING: dispatched, and its id known where GitHub gives it. REFUSED: nothing was started.

        Raises:
            TransientError: whether it was dispatched is not known; or a rate limit holds, or it was too late, and it
                was not.
        """
        inputs = self._inputs(order)
        if problem := _unfit(order, inputs):
            return self._refused(order, problem)
        body: dict[str, JsonValue] = {"ref": self._endpoint.ref, "inputs": {**inputs}}
        if self._github.settings.api_version < _ALWAYS_DETAILS_SINCE:
            body["return_run_details"] = True
        asked_at = self._github.clock()
        try:
            reply = await self._github.post(self._runs.dispatches, self._runs.need("actions=write"), body, not_after)
        except PermanentError as error:
            return self._refused(order, error.problem)
        if reply.status == CONFLICT:
            return self._refused(order, f"HTTP 409 {message(reply)}".rstrip())
        return self._dispatched(order, reply, asked_at)

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """`run` as it is now; unchanged where it has ended, or is not listed yet."""
        if run.state.ended:
            return run
        if run.run_id is None:
            found = await self._search(order, self._since(run.asked_at))
            return await self._told(order, found, run.asked_at) if found else run
        return await self._told(order, await self._runs.get(run.run_id), run.asked_at)

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        """`run` after it was called off, if a fresh look shows that it has not begun; GitHub may take its time."""
        now = await self.look(order, run)
        if now.run_id is None or not now.state.may_be_cancelled:
            return now
        await self._runs.cancel(now.run_id)
        return await self.look(order, now)

    def _since(self, asked_at: datetime | None) -> datetime:
        now = self._github.clock().astimezone(UTC)
        return now - LOOK_BACK if asked_at is None else min(asked_at.astimezone(UTC), now) - CLOCKS_DIFFER

    def _listed_by(self, asked_at: datetime | None) -> datetime:
        """When a run that was asked for at `asked_at`, by whichever clock, is listed at the latest."""
        now = self._github.clock()
        return now if asked_at is None else min(asked_at, now) + self._github.settings.run_appears_within

    async def _search(self, order: RollbackOrder, since: datetime) -> Run | None:
        found = [
            run
            async for page in self._runs.newest(since, event="workflow_dispatch")
            for run in page
            if run.correlation_id == order.correlation_id
        ]
        if not found:
            return None
        first, *others = sorted(found, key=lambda run: run.id)
        for other in others:
            if other.state.may_be_cancelled:
                await self._call_off(order, other)
        return first

    async def _call_off(self, order: RollbackOrder, run: Run) -> None:
        """Calls off a second run of the same order; where that fails, the workflow's own comparison stops it."""
        try:
            await self._runs.cancel(run.id)
        except IntegrationError as error:
            _log.warning(
                "rollback.duplicate_stays", correlation_id=order.correlation_id, run_id=run.id, problem=error.problem
            )
        else:
            _log.warning("rollback.duplicate_cancelled", correlation_id=order.correlation_id, run_id=run.id)

    async def _told(self, order: RollbackOrder, run: Run, asked_at: datetime | None) -> RollbackRun:
        return RollbackRun(
            correlation_id=order.correlation_id,
            state=run.state,
            run_id=run.id,
            attempt=run.run_attempt,
            asked_at=asked_at or run.created_at,
            url=_link(run.html_url) or self._runs.page_url,
            detail=await self._runs.describe(run),
        )

    def _dispatched(self, order: RollbackOrder, reply: Reply, asked_at: datetime) -> RollbackRun:
        pending = RollbackRun(
            correlation_id=order.correlation_id,
            state=RunState.PENDING,
            asked_at=asked_at,
            url=self._runs.page_url,
            detail=_NOT_LISTED,
        )
        try:
            dispatched = _Dispatched.model_validate(reply.body)
        except ValidationError:
            return pending
        url = _link(dispatched.html_url) or self._runs.page_url
        return pending.model_copy(update={"run_id": dispatched.workflow_run_id, "url": url, "detail": "accepted"})

    def _refused(self, order: RollbackOrder, why: str) -> RollbackRun:
        return RollbackRun(
            correlation_id=order.correlation_id,
            state=RunState.REFUSED,
            asked_at=self._github.clock(),
            url=self._runs.page_url,
            detail=why,
        )

    def _inputs(self, order: RollbackOrder) -> dict[str, str]:
        values = (
            order.service,
            self._endpoint.environment or order.environment,
            str(order.target),
            order.target_revision,
            str(order.expected_live),
            order.expected_revision,
            order.incident_id,
            order.execution_id,
            one_line(redact(order.reason), MAX_REASON) or "no reason was given",
            f"{order.confidence:.2f}",
            order.correlation_id,
        )
        return dict(zip(INPUTS, values, strict=True))


def _unfit(order: RollbackOrder, inputs: dict[str, str]) -> str:
    """Why the order cannot be dispatched; empty: it can."""
    if not order.target_revision:
        return f"the revision of deployment {order.target} is not known, so the workflow could not check it out"
    if not order.expected_revision:
        return f"the revision of deployment {order.expected_live} is not known, so the workflow could not compare it"
    if order.target_revision == order.expected_revision:
        return f"deployments {order.target} and {order.expected_live} are the same revision: nothing would change"
    size = len(json.dumps(inputs, ensure_ascii=False))
    return f"the inputs are {size} characters, GitHub takes {MAX_PAYLOAD}" if size > MAX_PAYLOAD else ""


def _link(url: str) -> str:
    return one_line(url, 500) if url.startswith(("https://", "http://")) else ""
