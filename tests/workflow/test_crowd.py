"""Many incidents whose analysts or sources are slow: what acts, and what wakes people, waits for none of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from incident.dossier import Stage
from incident.evidence import Source
from tests import builders
from tests.fakes import FakeAnalyst, FakeService, FakeServices
from tests.workflow.shift import Handle, Shift, at_stage, unique, until
from worker.bootstrap import build_worker
from worker.settings import WorkerSettings
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROWD, ROOM = 50, 10
PATIENT = {"source_timeout": "25s", "decide_within": "10ms", "page_after": "20ms"}


class Crowded(Shift):
    """A worker with less room than there are incidents, all of them of services that hang where they are told to."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self.slow = FakeService(live=101)
        well = FakeService(live=101)
        self.registry = FakeServices(well)
        self.thinking = asyncio.Event()
        self.thinking.set()
        self.doubting = FakeAnalyst(builders.decision(confidence=0.7), gate=self.thinking)
        super().__init__(environment, service=well, services=self.registry, analyst=self.doubting)

    async def one_more(self) -> Handle:
        """An incident of the crowd, which was just started."""
        name = f"s-{unique()}"
        self.registry.add(self.slow, builders.ENVIRONMENT, name)
        return await self.environment.client.start_workflow(
            IncidentWorkflow.run, self.request(PATIENT, service=name), id=name, task_queue=self.name
        )

    def taken(self, hanging: Source | None) -> int:
        """How many of the crowd hang."""
        return self.slow.reads[hanging] if hanging else len(self.doubting.cases) - 1


@asynccontextmanager
async def crowded(server: WorkflowEnvironment) -> AsyncIterator[Crowded]:
    shift = Crowded(server)
    settings = WorkerSettings(drain=timedelta(0), activities=ROOM)
    async with build_worker(server.client, shift.world, settings, task_queue=shift.name, versioned=False):
        yield shift


@pytest.mark.parametrize("hanging", [None, Source.DEPLOYMENTS], ids=["slow analysts", "slow sources"])
async def test_an_approved_rollback_begins_and_people_are_paged_while_every_analyst_or_source_hangs(
    server: WorkflowEnvironment, hanging: Source | None
) -> None:
    async with crowded(server) as shift:
        asking = await shift.open({"settle": "0s", "look_every": "0s"}, skipping=False)
        proposal = (await at_stage(asking, Stage.AWAITING_APPROVAL)).proposal
        assert proposal
        shift.thinking.clear()
        if hanging:
            shift.slow.hang(hanging)
        with server.with_time_skipping_disabled():
            crowd = await asyncio.gather(*(shift.one_more() for _ in range(CROWD)))
        await until(lambda: shift.taken(hanging) == ROOM)
        approval = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=True)
        await asking.execute_update(IncidentWorkflow.answer, approval)
        await until(lambda: bool(shift.service.rollback.begun))
        assert shift.taken(hanging) == ROOM
        if hanging is None:
            # Those whose turn came to be seen: they are P0, and nobody has done anything.
            await until(lambda: len(shift.pager.sent) >= ROOM)
        await asyncio.gather(*(each.terminate() for each in (asking, *crowd)))
