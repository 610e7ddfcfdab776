"""One stack of real processes for all fault cases, and one incident on it for each.

A case begins with `put_right()`, opens an `incident()`, does to the parts what it is about, and asks what came of it:
`closed()`, `snapshot`, `activations()`, `ledger()`. Between them it may `fuse.arm(…)` a point of `boundary` and wait
for `until_killed()` or `until_frozen()`, and `hire()` more workers. `github_world.GitHubWorld` is the same over a
stand-in of GitHub.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from uuid import uuid4

import httpx
from pydantic import JsonValue, SecretStr
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from activities.observation import Observer
from commander.stack import EmbeddedStack, StackPlan, StackPorts
from incident.anomalies import assess
from incident.dossier import Trigger
from incident.evidence import Evidence
from incident.ledger import Remediation
from incident.policy import Mode, Policy
from incident.severity import Severity
from incident.snapshot import Snapshot
from integrations.files import read_registry
from integrations.github import GitHubSettings
from integrations.http import HttpSettings, build_client, fetch_json
from integrations.store import SqlStore, StoreSettings
from tests.fault import processes
from tests.fault.forked import MODULE, Forked
from tests.fault.fuse import Fuse
from tests.fault.trace import Trace
from tests.fault.worker import FUSE_DIRECTORY
from worker.settings import child_environment
from worker.sources import ConfiguredServices
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, IncidentRequest

SERVICE, ENVIRONMENT = "payment-api", "production"
PATIENCE = timedelta(seconds=90)
"""How long anything may take on a busy machine."""
BRISK = Policy(
    mode=Mode.AUTO,
    service_rollbacks_per_hour=10_000,
    fleet_rollbacks_per_hour=10_000,
    cool_down=timedelta(0),
    worker_lost_after=timedelta(seconds=2),
    settle=timedelta(seconds=0.5),
    look_every=timedelta(seconds=0.25),
    max_looks=200,
    page_after=timedelta(minutes=10),
    approve_within=timedelta(minutes=10),
)
"""Waits that are short, but are waits."""
_NO_SECRET = GitHubSettings(token=SecretStr("none"))
"""Where a registry names GitHub; nothing that a test looks at by itself is asked of it."""
_ROOT = Path(__file__).parents[2]
_HOLDS = 3
"""Looks in a row that must say P0 before the incident is opened."""


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str, within: timedelta = PATIENCE) -> None:
    """Returns once `holds`; fails, saying `what` did not come about, if that takes longer than `within`."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            while True:
                answer = holds()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within}: {what}") from None


class BriskStack(EmbeddedStack):
    """The production stack; its server gives a workflow task away again sooner, and its worker is forked."""

    async def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        if name == "worker":
            forked = Forked(environment, self._plan.directory / f"{name}.log")
            self._children[name] = cast("asyncio.subprocess.Process", forked)
            return
        brisk = ["--dynamic-config-value", 'history.defaultWorkflowTaskTimeout="2s"'] if name == "temporal" else []
        await super()._spawn(name, [*command, *brisk], environment)


@dataclass(frozen=True)
class Incident:
    """One incident, and where its part of the patient's journal begins."""

    incident_id: str
    workflow_id: str
    run_id: str
    journal_before: int


class World:
    """The stack, and what a test does to it.

    Args:
        directory: for the logs and files of every part.
        services: the text of a registry, given where the mock service is; left out, one that knows that alone.
        worker: settings of the workers, as environment variables.
    """

    def __init__(
        self,
        directory: Path,
        services: Callable[[str], str] | None = None,
        worker: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.store_directory = directory / "store"
        store_url = f"sqlite:///{self.store_directory / 'incidents.db'}"
        self.fuse, self.trace = Fuse(directory), Trace(directory)
        self.store = SqlStore(StoreSettings(url=store_url))
        ports, services_file = StackPorts.free(), None
        if services is not None:
            services_file = directory / "services.toml"
            services_file.write_text(services(f"http://127.0.0.1:{ports.mock}"), encoding="utf-8")
        variables = {
            "PYTHONPATH": str(_ROOT),
            "STORE__URL": store_url,
            "WORKER__ANALYST": "rules",
            "WORKER__STICKY_TIMEOUT": "500ms",
            FUSE_DIRECTORY: str(directory),
            **(worker or {}),
        }
        self._plan = StackPlan(
            directory=directory,
            ports=ports,
            services_file=services_file,
            database=directory / "temporal.db",
            mock={"MOCK_PROFILE": "live", "MOCK_RAMP_SECONDS": "0.2", "MOCK_ALERT_AFTER_SECONDS": "0.1"},
            worker=variables,
        )
        self.stack = BriskStack(self._plan)
        self._http = build_client(HttpSettings())
        self.hired: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.dismiss()
        await self.stack.__aexit__(kind, error, trace)
        await self._http.aclose()
        await self.store.close()

    # What a case begins with.

    async def put_right(self) -> None:
        """As if nothing had happened yet, whatever the last case left behind."""
        self.fuse.disarm()
        self.trace.clear()
        await self.dismiss()
        for name in ("mock", "worker"):
            if self.alive(name):
                self.signal(name, signal.SIGCONT)
        if not self.alive("temporal"):
            await self.stack.start_temporal()
        if not self.alive("worker"):
            await self.stack.start_worker()
        desk = IncidentDesk(self.stack.client)
        for each in await desk.all_open():
            await self.stack.client.get_workflow_handle(each.workflow_id, run_id=each.run_id).terminate("case over")
        await self._forget()
        await self.post("/demo/reset")
        await until(self._says(Severity.P3), "the service is well")

    async def deploy_badly(self) -> None:
        """The bad deployment goes live."""
        await self.post("/demo/trigger-incident")

    async def incident(self, policy: Policy = BRISK, outside_analyst: str = "") -> Incident:
        """A new incident of a bad deployment."""
        await self.deploy_badly()
        held = 0
        while held < _HOLDS:
            await until(self._says(Severity.P0), "the service is ill")
            held += 1
        journal_before = len(await self.journal())
        request = IncidentRequest(
            service=SERVICE,
            environment=ENVIRONMENT,
            policy=policy,
            trigger=Trigger(source="fault test", trigger_id=uuid4().hex),
            outside_analyst=outside_analyst,
        )
        joined, handle = await IncidentDesk(self.stack.client).open(request)
        assert joined.opened, "another incident is open"
        run_id = handle.first_execution_run_id or handle.result_run_id or handle.run_id
        return Incident(joined.incident_id, handle.id, run_id or "", journal_before)

    # What may happen to the parts.

    async def until_killed(self, name: str = "worker") -> None:
        """Returns once the fuse has killed the part."""
        await until(lambda: self.fuse.burnt and not self.alive(name), f"the fuse kills the {name}")

    async def until_frozen(self, name: str = "worker") -> None:
        """Returns once the fuse has frozen the part."""
        pid = self.stack.pid(name)
        await until(lambda: self.fuse.burnt and processes.frozen(pid), f"the fuse freezes the {name}")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a part that runs."""
        os.kill(self.stack.pid(name), number)

    def alive(self, name: str) -> bool:
        """Whether the part runs."""
        return self.stack._children[name].returncode is None

    async def until_struck(self) -> int:
        """The process that the fuse has killed or frozen, once it has."""
        await until(lambda: self.fuse.burnt, "the fuse burns")
        pid = self.fuse.struck
        assert pid is not None
        await until(lambda: processes.frozen(pid) or processes.gone(pid), "the deed is done")
        return pid

    async def hire(self, module: str = MODULE) -> asyncio.subprocess.Process:
        """One more worker, ready; it is dismissed when the next case begins."""
        port = StackPorts.free().health
        log = self.directory / f"hired-{len(self.hired)}-{port}.log"
        variables = {
            "TEMPORAL__ADDRESS": self.stack.temporal.address,
            "SERVICES_FILE": str(self.stack.services_file),
            "WORKER__HEALTH_BIND": f"127.0.0.1:{port}",
            **self._plan.worker,
        }
        if module == MODULE:
            process = cast("asyncio.subprocess.Process", Forked(variables, log))
        else:
            with log.open("ab") as said:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", module),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env=child_environment(**variables),
                    start_new_session=True,
                )
        self.hired.append(process)
        await until(lambda: self._ready(port), f"a hired worker is ready; see {log.name}")
        return process

    def logs(self) -> str:
        """Everything that any part has written."""
        return "\n".join(path.read_text(encoding="utf-8") for path in sorted(self.directory.glob("*.log")))

    # What can be seen of an incident.

    async def closed(self, incident: Incident, within: timedelta = PATIENCE) -> Snapshot:
        """The incident's result; AssertionError says what it does where it does not close in time."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self.handle(incident).result()
        except TimeoutError:
            raise AssertionError(f"not closed within {within}:\n{await self.doings(incident)}") from None

    async def doings(self, incident: Incident) -> str:
        """What an incident has done so far and what it waits for, a line each."""
        handle = self.handle(incident)
        timeline = (await IncidentDesk(self.stack.client).dossier(handle)).timeline
        pending = (await handle.describe()).raw_description.pending_activities
        return "\n".join(
            (
                *map(str, timeline),
                *(f"{each.activity_type.name}, attempt {each.attempt}: {each.last_failure}" for each in pending),
            )
        )

    def handle(self, incident: Incident) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
        """Its workflow, over a connection to the server that runs now."""
        client = self.stack.client
        return client.get_workflow_handle_for(IncidentWorkflow.run, incident.workflow_id, run_id=incident.run_id)

    async def until_timer(self, incident: Incident, summary: str) -> HistoryEvent:
        """The event of a timer of that summary being started."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            async for event in self.handle(incident).fetch_history_events(wait_new_event=True):
                if event.HasField("timer_started_event_attributes") and (
                    json.loads(event.user_metadata.summary.data) == summary
                ):
                    return event
        raise AssertionError(f"the incident closed without the timer: {summary}")

    async def until_fired(self, incident: Incident, timer: HistoryEvent) -> None:
        """Returns once that timer has fired."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            async for event in self.handle(incident).fetch_history_events(wait_new_event=True):
                if event.timer_fired_event_attributes.started_event_id == timer.event_id:
                    return
        raise AssertionError("the incident closed without the timer having fired")

    async def still_ran(self, incident: Incident, timer: HistoryEvent, at: datetime) -> bool:
        """Whether that timer had not fired by then: a timer is pending until it is fired or cancelled."""
        async for event in self.handle(incident).fetch_history_events():
            for ended in (event.timer_fired_event_attributes, event.timer_canceled_event_attributes):
                if ended.started_event_id == timer.event_id:
                    return event.event_time.ToDatetime(UTC) > at
        return True

    async def approve(self, incident: Incident, approver: str) -> None:
        """A person approves what is proposed."""
        desk, handle = IncidentDesk(self.stack.client), self.handle(incident)
        proposal = (await desk.dossier(handle)).proposal
        assert proposal
        await desk.answer(handle, ApprovalAnswer(digest=proposal.digest, approver=approver, approved=True))

    async def until_under_way(self, incident: Incident, activity: str) -> None:
        """Returns once a worker has that activity in hand."""

        async def _under_way() -> bool:
            description = await self.handle(incident).describe()
            return any(
                each.activity_type.name == activity
                and each.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
                for each in description.raw_description.pending_activities
            )

        await until(_under_way, f"{activity} is under way")

    async def attempts(self, incident: Incident, activity: str) -> set[int]:
        """The numbers of the attempts in which the activities of that name were done."""
        scheduled: set[int] = set()
        attempts: set[int] = set()
        async for event in self.handle(incident).fetch_history_events():
            if event.activity_task_scheduled_event_attributes.activity_type.name == activity:
                scheduled.add(event.event_id)
            started = event.activity_task_started_event_attributes
            if started.scheduled_event_id in scheduled:
                attempts.add(started.attempt)
        return attempts

    async def journal(self) -> list[dict[str, Any]]:
        """Every control call that reached the patient."""
        reply = await fetch_json(self._http, "fault test", "GET", f"{self.stack.mock_url}/demo/journal")
        assert isinstance(reply.body, dict)
        entries: Any = reply.body["entries"]
        return list(entries)

    async def activations(self, incident: Incident) -> list[dict[str, Any]]:
        """The patient's journal of activation calls since the incident was opened."""
        entries = (await self.journal())[incident.journal_before :]
        return [entry for entry in entries if entry["action"] == "activate"]

    async def ledger(self, incident: Incident) -> tuple[Remediation, ...]:
        """The ledger's entries of the incident."""
        view = await self.store.view(ENVIRONMENT, SERVICE, datetime.now(UTC))
        return tuple(entry for entry in view.remediations if entry.incident_id == incident.incident_id)

    async def post(self, path: str, **body: JsonValue) -> None:
        """Has the patient do something."""
        url = f"{self.stack.mock_url}{path}"
        await fetch_json(self._http, "fault test", "POST", url, json=body or None)

    async def _forget(self) -> None:
        """Empties the ledger, so that no case is held up by what another one did."""
        await self.store.stops()  # makes the tables
        with closing(sqlite3.connect(self.store_directory / "incidents.db", timeout=10)) as database, database:
            database.execute("DELETE FROM remediations")
            database.execute("DELETE FROM stops")

    def _says(self, severity: Severity) -> Callable[[], Awaitable[bool]]:
        async def _said() -> bool:
            return assess(await self._pulse(), BRISK.thresholds).severity is severity

        return _said

    async def _pulse(self) -> Evidence:
        """The patient's metrics and alerts."""
        services = ConfiguredServices(read_registry(self.stack.services_file), self._http, _NO_SECRET)
        return await Observer(services, lambda: datetime.now(UTC)).pulse(ENVIRONMENT, SERVICE, BRISK.source_timeout)

    async def _ready(self, port: int) -> bool:
        try:
            return (await self._http.get(f"http://127.0.0.1:{port}/readyz")).is_success
        except httpx.HTTPError:
            return False

    async def dismiss(self) -> None:
        """Ends every hired worker."""
        while self.hired:
            process = self.hired.pop()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
