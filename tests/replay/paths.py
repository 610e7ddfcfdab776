"""The paths that an incident can take, each run on a real server in real time: what the stored histories hold."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from incident.dossier import AlertNotice, Proposal, Stage
from incident.errors import AnalystUnusableError, TransientError
from incident.evidence import Source
from incident.ledger import RunState, Stop
from incident.messages import ChatKind
from incident.snapshot import Outcome
from tests import builders
from tests.fakes import FakeAnalyst, FakeChat, FakePager, FakeService, InMemoryStore
from tests.workflow.shift import (
    P0,
    P1,
    P2,
    UNREACHABLE,
    WORSE,
    ByDeployment,
    Handle,
    Shift,
    at_stage,
    at_work,
    ended,
    sick,
    under_way,
    until,
    well,
)
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest, OutsideDecision
from workflows.names import late_record_id
from workflows.record import LateRecordWorkflow

Recorded = WorkflowHandle[Any, Any]
Path = Callable[[WorkflowEnvironment, str], Awaitable[Recorded]]
_STOP = Stop(by="grace", reason="a drill", at=builders.NOW)
_QUICK = {"settle": "10ms", "look_every": "10ms", "follow_every": "10ms"}


async def _open(shift: Shift, outside: str = "", **policy: object) -> Handle:
    return await shift.open({**_QUICK, **policy}, skipping=False, outside_analyst=outside)


async def _closed(handle: Handle, outcome: Outcome) -> Handle:
    got = (await ended(handle)).outcome
    if got is not outcome:
        raise RuntimeError(f"{handle.id}: expected {outcome}, it ended {got}")
    return handle


def _unsure() -> FakeAnalyst:
    return FakeAnalyst(builders.decision(confidence=0.7))


async def _asked(handle: Handle) -> Proposal:
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    if proposal is None:
        raise RuntimeError(f"{handle.id}: nothing is proposed")
    return proposal


async def _answer(handle: Handle, *, approved: bool) -> None:
    proposal = await _asked(handle)
    answer = ApprovalAnswer(digest=proposal.digest, approver="ada", approved=approved)
    await handle.execute_update(IncidentWorkflow.answer, answer)


async def bad_deploy(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def paged_beside(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name) as shift:
        recovery = {"stable_for": "30ms"}
        return await _closed(await _open(shift, page_beside=True, recovery=recovery), Outcome.RECOVERED)


async def rollback_does_not_help(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, service=FakeService(live=101, bad=(100, 101))) as shift:
        return await _closed(await _open(shift, max_looks=3), Outcome.ESCALATED)


async def ask_approved(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift)
        await _answer(handle, approved=True)
        return await _closed(handle, Outcome.RECOVERED)


async def ask_denied(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift, max_looks=2)
        await _answer(handle, approved=False)
        return await _closed(handle, Outcome.ESCALATED)


async def ask_unanswered(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        return await _closed(await _open(shift, max_looks=2, approve_within="200ms"), Outcome.ESCALATED)


async def approval_void(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=101)
    async with at_work(where, name, service=service, analyst=_unsure()) as shift:
        handle = await _open(shift)
        await _asked(handle)
        service.deploy(102)
        await _answer(handle, approved=True)
        return await _closed(handle, Outcome.RECOVERED)


async def decided_anew(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=101, bad=(101, 102))
    gate = asyncio.Event()
    analyst = FakeAnalyst(gate=gate)
    async with at_work(where, name, service=service, analyst=analyst) as shift:
        handle = await _open(shift)
        await until(lambda: len(analyst.cases) == 1)
        service.deploy(102)
        gate.set()
        return await _closed(handle, Outcome.RECOVERED)


async def asked_anew(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=101, bad=(101, 102))
    async with at_work(where, name, service=service, analyst=_unsure()) as shift:
        handle = await _open(shift, recheck_every="200ms")
        await _asked(handle)
        service.deploy(102)
        await until(lambda: [each.kind for each in shift.chat.posted].count(ChatKind.QUESTION) == 2)
        await _answer(handle, approved=True)
        return await _closed(handle, Outcome.RECOVERED)


async def stopped_while_asked(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift, max_looks=2)
        await _asked(handle)
        await handle.signal(IncidentWorkflow.stop, _STOP)
        return await _closed(handle, Outcome.ESCALATED)


async def stopped_while_pending(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, service=FakeService(live=101, states=(RunState.PENDING,))) as shift:
        handle = await _open(shift, max_looks=2, follow_every="30s")
        await under_way(handle)
        await handle.signal(IncidentWorkflow.stop, _STOP)
        return await _closed(handle, Outcome.ESCALATED)


async def called_off(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, service=FakeService(live=101, states=(RunState.PENDING,))) as shift:
        handle = await _open(shift, follow_every="30s")
        await under_way(handle)
        await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada"))
        return await _closed(handle, Outcome.CANCELLED)


async def never_begun(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, service=FakeService(live=101, states=(RunState.PENDING,))) as shift:
        return await _closed(await _open(shift, max_looks=2, start_within="50ms"), Outcome.ESCALATED)


async def review(where: WorkflowEnvironment, name: str) -> Recorded:
    states = (RunState.PENDING, RunState.WAITING, RunState.WAITING, RunState.RUNNING, RunState.SUCCEEDED)
    async with at_work(where, name, service=FakeService(live=101, states=states)) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def looked_at_early(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=101, states=(RunState.WAITING, RunState.SUCCEEDED))
    async with at_work(where, name, service=service) as shift:
        handle = await _open(shift, follow_every="30s")
        await under_way(handle)
        await handle.signal(IncidentWorkflow.look_now)
        return await _closed(handle, Outcome.RECOVERED)


async def undone(where: WorkflowEnvironment, name: str) -> Recorded:
    service = ByDeployment({101: builders.DEGRADED_METRICS, 100: WORSE})
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift, worse_looks=2, max_looks=3), Outcome.ESCALATED)


async def not_undone(where: WorkflowEnvironment, name: str) -> Recorded:
    service = ByDeployment({101: builders.DEGRADED_METRICS, 100: WORSE})
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift, worse_looks=2, max_looks=3, undo=False), Outcome.ESCALATED)


async def no_culprit(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift, max_looks=2), Outcome.ESCALATED)


async def chaos(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0), sick(P0), well())
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def p1(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), well())
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def p2(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P2), well())
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def worsening(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=101)
    failing = builders.metrics(builders.DEGRADED_METRICS, deployment_id=101)
    service.answer(Source.METRICS, sick(P2), failing, failing, failing, well())
    service.answer(Source.ALERTS, builders.alerts())
    async with at_work(where, name, service=service) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def healthy(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, service=FakeService(live=100)) as shift:
        return await _closed(await _open(shift), Outcome.NO_INCIDENT)


async def outside_analyst(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name) as shift:
        handle = await _open(shift, outside="kestra")
        await at_stage(handle, Stage.AWAITING_DECISION)
        decision = builders.decision().model_dump(mode="json")
        await handle.execute_update(IncidentWorkflow.decide, OutsideDecision(decision=decision))
        return await _closed(handle, Outcome.RECOVERED)


async def outside_analyst_silent(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name) as shift:
        return await _closed(await _open(shift, outside="kestra", decide_within="200ms"), Outcome.RECOVERED)


async def analyst_fallback(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=FakeAnalyst(AnalystUnusableError("openai", "refused"))) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def page_after(where: WorkflowEnvironment, name: str) -> Recorded:
    gate = asyncio.Event()
    async with at_work(where, name, analyst=FakeAnalyst(gate=gate)) as shift:
        handle = await _open(shift, decide_within="100ms", page_after="200ms")
        await until(lambda: len(shift.pager.sent) == 1)
        gate.set()
        return await _closed(handle, Outcome.RECOVERED)


async def cancelled(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift)
        await _asked(handle)
        await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada", reason="a drill"))
        return await _closed(handle, Outcome.CANCELLED)


async def cancelled_by_temporal(where: WorkflowEnvironment, name: str) -> Recorded:
    gate = asyncio.Event()
    analyst = FakeAnalyst(gate=gate)
    async with at_work(where, name, analyst=analyst) as shift:
        handle = await _open(shift)
        await until(lambda: len(analyst.cases) == 1)
        await handle.cancel()
        await _closed(handle, Outcome.CANCELLED)
        gate.set()
        return handle


async def cancelled_after_the_action(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name) as shift:
        handle = await _open(shift, settle="500ms")
        await at_stage(handle, Stage.SETTLING)
        await handle.execute_update(IncidentWorkflow.cancel, CancelRequest(by="ada"))
        return await _closed(handle, Outcome.RECOVERED)


async def remediation_followed(where: WorkflowEnvironment, name: str) -> Recorded:
    states = (RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED)
    async with at_work(where, name, service=FakeService(live=101, states=states)) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def store_down(where: WorkflowEnvironment, name: str) -> Recorded:
    store = InMemoryStore({"save": TransientError("store", "cannot be written")})
    async with at_work(where, name, store=store) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def late_record(where: WorkflowEnvironment, name: str) -> Recorded:
    store = InMemoryStore({"save": TransientError("store", "cannot be written")})
    async with at_work(where, name, service=FakeService(live=100), store=store) as shift:
        snapshot = await ended(await _open(shift))
        store.errors.clear()
        handle = where.client.get_workflow_handle_for(LateRecordWorkflow.run, late_record_id(snapshot.incident_id))
        await handle.result()
        return handle


async def conversation(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, chat=FakeChat(places=True), analyst=_unsure()) as shift:
        handle = await _open(shift, ask_again_after="100ms")
        proposal = await _asked(handle)
        await until(lambda: [each.kind for each in shift.chat.posted].count(ChatKind.QUESTION) > 1)
        for approver in ("mallory", "ada", "ada"):
            answer = ApprovalAnswer(digest=proposal.digest, approver=approver, approved=True)
            await handle.signal(IncidentWorkflow.answered, answer)
        await handle.signal(IncidentWorkflow.alerted, AlertNotice(source="alertmanager", firing=("HighErrorRate",)))
        return await _closed(handle, Outcome.RECOVERED)


async def two_people(where: WorkflowEnvironment, name: str) -> Recorded:
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift, approvers=("ada", "grace"), approvals_needed=2)
        proposal = await _asked(handle)
        for approver in ("ada", "grace"):
            answer = ApprovalAnswer(digest=proposal.digest, approver=approver, approved=True)
            await handle.execute_update(IncidentWorkflow.answer, answer)
        return await _closed(handle, Outcome.RECOVERED)


async def escalated(where: WorkflowEnvironment, name: str) -> Recorded:
    times = {
        "page_after": "300ms",
        "decide_within": "100ms",
        "page_unanswered_after": "600ms",
        "wake_again_after": "0s",
    }
    async with at_work(where, name, analyst=_unsure()) as shift:
        handle = await _open(shift, **times)
        await until(lambda: len(shift.pager.sent) > 1)
        await _answer(handle, approved=True)
        return await _closed(handle, Outcome.RECOVERED)


async def pager_down(where: WorkflowEnvironment, name: str) -> Recorded:
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P1), sick(P1), well())
    down = FakePager(error=TransientError("pagerduty", "down", retry_after=UNREACHABLE))
    async with at_work(where, name, service=service, pager=down) as shift:
        return await _closed(await _open(shift), Outcome.RECOVERED)


async def nobody_reached(where: WorkflowEnvironment, name: str) -> Recorded:
    down = TransientError("slack", "down", retry_after=UNREACHABLE)
    service = FakeService(live=101, bad=(100, 101))
    async with at_work(where, name, service=service, chat=FakeChat(error=down), pager=FakePager(error=down)) as shift:
        return await _closed(await _open(shift, max_looks=3, keep_calling_for="0s"), Outcome.UNRESOLVED)


PATHS: dict[str, Path] = {
    "bad-deploy": bad_deploy,
    "rollback-does-not-help": rollback_does_not_help,
    "ask-approved": ask_approved,
    "ask-denied": ask_denied,
    "ask-unanswered": ask_unanswered,
    "approval-void": approval_void,
    "decided-anew": decided_anew,
    "asked-anew": asked_anew,
    "stopped-while-asked": stopped_while_asked,
    "stopped-while-pending": stopped_while_pending,
    "called-off": called_off,
    "never-begun": never_begun,
    "review": review,
    "looked-at-early": looked_at_early,
    "undone": undone,
    "not-undone": not_undone,
    "no-culprit": no_culprit,
    "chaos": chaos,
    "p1": p1,
    "p2": p2,
    "worsening": worsening,
    "healthy": healthy,
    "outside-analyst": outside_analyst,
    "outside-analyst-silent": outside_analyst_silent,
    "analyst-fallback": analyst_fallback,
    "page-after": page_after,
    "paged-beside": paged_beside,
    "cancelled": cancelled,
    "cancelled-by-temporal": cancelled_by_temporal,
    "cancelled-after-the-action": cancelled_after_the_action,
    "remediation-followed": remediation_followed,
    "store-down": store_down,
    "late-record": late_record,
    "conversation": conversation,
    "two-people": two_people,
    "escalated": escalated,
    "pager-down": pager_down,
    "nobody-reached": nobody_reached,
}
