"""The production worker before the stand-in for GitHub: real adapters, a bad network, and a judge of every call."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Literal, Protocol, TypedDict, Unpack

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import ResetActivityRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from incident.analysis import Analysis, Case
from incident.evidence import AlertsReport, DeploymentsReport, LogsReport, MetricsReport
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.rules import RulesAnalyst
from incident.services import GitHubEndpoint
from incident.snapshot import Outcome, Snapshot
from integrations.github import GitHub, GitHubDeployments, GitHubRollback, GitHubSettings
from integrations.http import HttpSettings, build_client
from integrations.store import SqlStore
from tests import builders
from tests.fakes import FakeService, FakeServices
from tests.fault import histories
from tests.fault.invariants import Record, violations
from tests.standins.github import judge, toxics
from tests.standins.github.behaviour import Journal, RunEntry
from tests.standins.github.chain import GitHubChain
from tests.standins.github.judge import Violation
from tests.workflow.shift import PATIENCE, Handle, Shift, until_true
from worker.bootstrap import Ports, build_worker
from worker.settings import WorkerSettings
from workflows.incident import IncidentWorkflow
from workflows.messages import IncidentRequest

GOOD: Literal[100] = 100
BAD: Literal[101] = 101
NEW = 102
"""The last good deployment, the bad one that is live at the start, and what somebody deploys next."""
DISPATCHES = "/dispatches$"
MARKS = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.slow,
    pytest.mark.needs_node,
    pytest.mark.skipif(bool(judge.why_not()), reason=judge.why_not()),
    pytest.mark.skipif(bool(toxics.why_not()), reason=toxics.why_not()),
]
"""Of every scenario."""
_BRISK: Mapping[str, object] = {
    "settle": "0s",
    "look_every": "0s",
    "follow_every": "100ms",
    "recheck_every": "100ms",
    "source_timeout": "5s",
    "max_looks": 4,
}
"""Waits that are short, but are waits; a busy machine may take its time for each call."""
Deed = Callable[[], Awaitable[object]]


class Moment(Enum):
    """When something else happens."""

    BEFORE_METRICS = auto()
    BEFORE_DEPLOYMENTS = auto()
    DECIDED = auto()
    BEFORE_FIND = auto()
    BEFORE_START = auto()
    STARTED = auto()
    """Whether `start` gave a run or an error."""


class Occasions:
    """What else happens at a moment: the deeds given for it, one each time it comes."""

    def __init__(self) -> None:
        self._deeds: dict[Moment, list[Deed]] = defaultdict(list)

    def at(self, moment: Moment, *deeds: Deed) -> None:
        """Adds `deeds` for the next times that `moment` comes."""
        self._deeds[moment] += deeds

    async def come(self, moment: Moment) -> None:
        """Does what is due."""
        if deeds := self._deeds[moment]:
            await deeds.pop(0)()


class MovingClock:
    """The time of day, and how far a test has moved it."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        """The time, aware."""
        return datetime.now(UTC) + self._ahead

    def move(self, duration: timedelta) -> None:
        """Moves it on."""
        self._ahead += duration


class Repository:
    """The stand-in's repository: what people do to it, and the truth about it, which no adapter told."""

    def __init__(self, chain: GitHubChain) -> None:
        self.chain = chain
        self.control = chain.control
        self._deployed: list[tuple[datetime, int]] = []
        self._judged_before = len(chain.violations())

    async def begin(self) -> None:
        """A world in which the bad deployment has just gone live, and the network is good."""
        await self.chain.toxics.clear()
        await self.control.reset(live=BAD)
        self._deployed.append((datetime.now(UTC), BAD))

    async def deploy(self) -> int:
        """Somebody deploys something new through GitHub; its number."""
        number = await self.control.deploy(sha=f"{len(self._deployed):040x}")
        self._deployed.append((datetime.now(UTC), number))
        return number

    async def journal(self) -> Journal:
        """All that happened."""
        return await self.control.journal()

    async def live(self) -> int:
        """The deployment that is live, by what people and runs did."""
        effects = [(each.at, each.to) for each in (await self.journal()).effective]
        return max([*self._deployed, *effects])[1]

    async def run(self) -> RunEntry:
        """The one run there is."""
        (run,) = (await self.journal()).runs
        return run

    async def until_run(self, holds: Callable[[RunEntry], bool]) -> RunEntry:
        """The newest run, once there is one of which that holds."""
        found: list[RunEntry] = []

        async def _holds() -> bool:
            found[:] = [each for each in (await self.journal()).runs[-1:] if holds(each)]
            return bool(found)

        await until_true(_holds)
        return found[0]

    def wrongs(self) -> Sequence[Violation]:
        """What the judge had against calls and replies of this scenario."""
        return self.chain.violations()[self._judged_before :]


class _Followed:
    """Readings of a fake service that is kept in step with what is live on GitHub."""

    def __init__(self, repository: Repository, fake: FakeService, occasions: Occasions) -> None:
        self._repository, self._fake, self._occasions = repository, fake, occasions

    async def read_metrics(self) -> MetricsReport:
        await self._occasions.come(Moment.BEFORE_METRICS)
        return await (await self._in_step()).read_metrics()

    async def read_logs(self) -> LogsReport:
        return await (await self._in_step()).read_logs()

    async def read_alerts(self) -> AlertsReport:
        return await (await self._in_step()).read_alerts()

    async def _in_step(self) -> FakeService:
        self._fake.deploy(await self._repository.live())
        return self._fake


class _Interfered:
    """The real deployment history and rollback target of GitHub, at whose calls something else may happen."""

    def __init__(self, deployments: GitHubDeployments, rollback: GitHubRollback, occasions: Occasions) -> None:
        self._deployments, self._rollback, self._occasions = deployments, rollback, occasions

    async def read_deployments(self) -> DeploymentsReport:
        await self._occasions.come(Moment.BEFORE_DEPLOYMENTS)
        return await self._deployments.read_deployments()

    async def find(self, order: RollbackOrder, asked_at: datetime | None) -> RollbackRun | None:
        await self._occasions.come(Moment.BEFORE_FIND)
        return await self._rollback.find(order, asked_at)

    async def start(self, order: RollbackOrder, not_after: float) -> RollbackRun:
        await self._occasions.come(Moment.BEFORE_START)
        try:
            return await self._rollback.start(order, not_after)
        finally:
            await self._occasions.come(Moment.STARTED)

    async def look(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        return await self._rollback.look(order, run)

    async def cancel(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        return await self._rollback.cancel(order, run)


class GitHubService:
    """A service whose deployments and rollbacks are GitHub's."""

    def __init__(self, followed: _Followed, interfered: _Interfered) -> None:
        self.metrics = self.logs = self.alerts = followed
        self.deployments = self.rollback = interfered


class _Decider:
    """The rules, after which something else may happen."""

    def __init__(self, occasions: Occasions) -> None:
        self._rules, self._occasions = RulesAnalyst(), occasions

    async def decide(self, case: Case) -> Analysis:
        decided = await self._rules.decide(case)
        await self._occasions.come(Moment.DECIDED)
        return decided


class Wishes(TypedDict, total=False):
    """How a shift differs from the usual one."""

    bad: Sequence[int]
    """The deployments under which the service is ill."""
    sql: SqlStore
    """Ledger and snapshots; left out, both are kept in memory."""
    ledger: SqlStore
    """The ledger alone."""
    judged: bool
    """Whether Prism stands between; without it, the network is good."""
    client: Client
    """Of another namespace."""
    run_appears_within: str
    read_timeout: str


@dataclass(kw_only=True)
class GitHubShift(Shift):
    """One worker whose deployments and rollbacks are GitHub's."""

    repository: Repository
    occasions: Occasions = field(default_factory=Occasions)
    clock: MovingClock = field(default_factory=MovingClock)
    reader: GitHubDeployments
    """The commander's own view of what is live."""
    sql: SqlStore | None = None
    ledger: SqlStore | None = None
    note: Callable[[str, object], None]

    @property
    def world(self) -> Ports:
        """The ports that the worker is built of."""
        assert self.services
        return Ports(
            services=self.services,
            analyst=self.analyst,
            rules=RulesAnalyst(),
            chat=self.chat,
            pager=self.pager,
            store=self.sql or self.store,
            ledger=self.ledger or self.sql or self.store,
        )

    def request(self, policy: Mapping[str, object] | None = None, **changes: object) -> IncidentRequest:
        """A look at the service, under a brisk policy and `policy` on top."""
        return super().request({**_BRISK, **(policy or {})}, **changes)

    async def begin(self, policy: Mapping[str, object] | None = None, **changes: object) -> Handle:
        """An incident that was just started and waits in real time."""
        return await self.open(policy, skipping=False, **changes)

    async def through(self, policy: Mapping[str, object] | None = None, *, stored: bool = True) -> Snapshot:
        """The snapshot of an incident, from beginning to end in real time."""
        return await self.end(await self.begin(policy), stored=stored)

    async def end(self, handle: Handle, *, stored: bool = True, left_open: bool = False) -> Snapshot:
        """The snapshot of an incident, once it has closed; noted for the table of cases.

        What must hold of every incident holds of it.

        Args:
            handle: the incident.
            stored: whether it can be stored by now.
            left_open: whether the page stays open, for the person who ended the incident to close.
        """
        async with asyncio.timeout(PATIENCE.total_seconds() * 2):
            snapshot = await handle.result()
        self.note("ended", await self._told(snapshot))
        broken = violations(await self._record(handle, snapshot, stored=stored))
        assert [line.partition(":")[0] for line in broken] == ["I4"] * left_open, broken
        return snapshot

    async def recovered(self, snapshot: Snapshot, target: int = GOOD) -> None:
        """Holds a rollback to all that makes it one: taken effect once, told as it was, and live by our own reader."""
        journal = await self.repository.journal()
        (effect,) = journal.effective
        record = snapshot.remediation
        assert record
        assert record.run
        assert (snapshot.outcome, record.run.state) == (Outcome.RECOVERED, RunState.SUCCEEDED)
        assert (effect.correlation_id, effect.to) == (record.order.correlation_id, target)
        assert any(each.automatic_of == effect.run_id for each in journal.deployments), "GitHub records one by itself"
        live = next(each for each in (await self.reader.read()).deployments if each.live)
        assert live.deployment_id == target == await self.repository.live()

    async def attempts(self) -> int:
        """How many dispatches reached GitHub, whatever became of them."""
        journal = await self.repository.journal()
        return sum(each.method == "POST" and each.path.endswith("/dispatches") for each in journal.requests)

    async def pending(self, handle: Handle, activity: str) -> PendingActivityInfo | None:
        """What Temporal says of that activity while it has not ended; `None`: it is not pending."""
        described = (await handle.describe()).raw_description.pending_activities
        return next((each for each in described if each.activity_type.name == activity), None)

    async def retry_now(self, handle: Handle, activity: str) -> None:
        """Cuts the pause before that activity's next attempt."""
        await self.environment.client.workflow_service.reset_activity(
            ResetActivityRequest(
                namespace=self.environment.client.namespace,
                execution=WorkflowExecution(workflow_id=handle.id),
                type=activity,
            )
        )

    async def until_run_is(self, handle: Handle, state: str) -> None:
        """Returns once the incident knows its run to be in that state."""

        async def _is() -> bool:
            record = (await handle.query(IncidentWorkflow.dossier)).remediation
            return bool(record and record.run and record.run.state == state)

        await until_true(_is)

    async def _record(self, handle: Handle, snapshot: Snapshot, *, stored: bool) -> Record:
        incident_id, journal = snapshot.incident_id, await self.repository.journal()
        runs = [run for run in journal.runs if run.inputs["incident_id"] == incident_id]
        github = journal.model_copy(
            update={
                "dispatches": [each for each in journal.dispatches if each.inputs["incident_id"] == incident_id],
                "runs": runs,
                "effective": [each for each in journal.effective if each.run_id in {run.id for run in runs}],
            }
        )
        history = await histories.read(handle.fetch_history_events())
        return Record(
            policy=snapshot.policy,
            history=history,
            github=github,
            seen_at=datetime.now(UTC),
            result=snapshot,
            stored=await (self.sql or self.store).load(incident_id) if stored else snapshot,
            outbound={
                "history": history.raw.decode(errors="replace"),
                "chat": "\n".join(map(str, self.chat.posted)),
                "pager": "\n".join(map(str, self.pager.sent)),
            },
            canaries=[self.repository.chain.token],
        )

    async def _told(self, snapshot: Snapshot) -> str:
        journal = await self.repository.journal()
        run = snapshot.remediation.run if snapshot.remediation else None
        accepted = sum(each.accepted for each in journal.dispatches)
        return (
            f"{snapshot.outcome}; {len(journal.dispatches)} dispatched, {accepted} accepted, "
            f"{len(journal.effective)} effective; run {run.state if run else 'none'}; "
            f"{'paged' if self.pager.sent else 'not paged'}"
        )


class Commission(Protocol):
    """Puts a worker to work."""

    async def __call__(self, **wishes: Unpack[Wishes]) -> GitHubShift:
        """A shift on the one GitHub; its worker stops when the test ends."""
        ...


@asynccontextmanager
async def at_work(
    where: WorkflowEnvironment, repository: Repository, note: Callable[[str, object], None], wishes: Wishes
) -> AsyncIterator[GitHubShift]:
    """A shift whose worker runs meanwhile."""
    chain, clock, occasions = repository.chain, MovingClock(), Occasions()
    settings = GitHubSettings.model_validate(
        {
            "api_url": chain.url if wishes.get("judged", True) else chain.direct_url,
            "token": chain.token,
            "run_appears_within": wishes.get("run_appears_within", "3s"),
            "search_every": "100ms",
        }
    )
    limits = HttpSettings.model_validate({"connect_timeout": "1s", "read_timeout": wishes.get("read_timeout", "4s")})
    endpoint = GitHubEndpoint(kind="github", repository="acme/payment-api")
    fake = FakeService(live=GOOD, bad=wishes.get("bad", (BAD,)))
    async with build_client(limits) as http:
        github = GitHub(http, settings, clock)
        reader = GitHubDeployments(github, endpoint, builders.ENVIRONMENT, builders.SERVICE)
        service = GitHubService(
            _Followed(repository, fake, occasions), _Interfered(reader, GitHubRollback(github, endpoint), occasions)
        )
        shift = GitHubShift(
            environment=where,
            service=fake,
            services=FakeServices(service),
            analyst=_Decider(occasions),
            repository=repository,
            occasions=occasions,
            clock=clock,
            reader=reader,
            sql=wishes.get("sql"),
            ledger=wishes.get("ledger"),
            note=note,
        )
        client = wishes.get("client") or where.client
        quick = WorkerSettings(drain=timedelta(0))
        async with build_worker(client, shift.world, quick, task_queue=shift.name, versioned=False):
            yield shift
