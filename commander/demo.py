"""`commander demo`: one scenario from the injury to the record, on a stack of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
from rich.console import Console
from temporalio.client import WorkflowHandle

from activities.observation import Observer
from commander.direct_line import follow
from commander.scenarios import PLOTS, Plot, Scenario
from commander.shapes import real_shapes
from commander.stack import EmbeddedStack, StackPlan, StackPorts
from commander.view import Progress, comparison, say, summary
from incident.anomalies import assess
from incident.dossier import Trigger
from incident.errors import PermanentError
from incident.policy import Policy
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot
from integrations.egress import Egress, addresses, build_guarded_client
from integrations.files import read_registry
from integrations.http import HttpSettings, fetch_json
from integrations.prometheus import PrometheusSettings
from worker.settings import Settings
from worker.sources import ConfiguredServices
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import IncidentRequest

_SERVICE = "payment-api"
_SYSTEM = "demo"
_INJURED_WITHIN = timedelta(seconds=30)
_CLOSED_WITHIN = timedelta(minutes=3)
_LOOK = 0.25
"""Seconds between two looks at the numbers."""
_HOLDS = 6
"""Looks in a row that must show the trouble before the incident is opened."""
_LAG = timedelta(seconds=1)
"""Behind now, where Prometheus is asked: a sample is as old as that at the most."""
_QUICK_MOCK = {"MOCK_PROFILE": "live", "MOCK_RAMP_SECONDS": "2", "MOCK_ALERT_AFTER_SECONDS": "1"}


class Demo:
    """Runs one scenario and tells it on `console`."""

    def __init__(self, scenario: Scenario, console: Console, settings: Settings, directory: Path) -> None:
        self._scenario = scenario
        self._plot: Plot = PLOTS[scenario]
        self._console = console
        self._settings = settings
        self._directory = directory
        # Of its own for each run: what an earlier demo did to its deployment 101 says nothing about this one's.
        self._environment = f"demo_{uuid4().hex[:6]}"

    async def run(self, *, keep: bool) -> tuple[Snapshot, tuple[str, ...]]:
        """The incident's snapshot, and what did not end as it should.

        Args:
            keep: whether to hold the stack and its Web UI until the task is cancelled.

        Raises:
            PermanentError: the stack cannot be started, or the scenario does not come about.
            TransientError: a part of the stack does not answer.
        """
        self._console.rule(f"[bold]commander demo --scenario {self._scenario}")
        self._console.print(self._plot.story)
        async with (
            self._planned() as plan,
            EmbeddedStack(plan) as stack,
            build_guarded_client(HttpSettings(), _places(stack)) as http,
        ):
            say(self._console, "Temporal Web UI", stack.temporal.ui_url)
            say(self._console, "Mock service", f"{stack.mock_url}/ui")
            snapshot = await self._incident(stack, http)
            differences = self._plot.differences(snapshot, await _activations(http, stack))
            self._tell(stack, snapshot, differences)
            if keep:
                await self._held(stack)
        return snapshot, differences

    @asynccontextmanager
    async def _planned(self) -> AsyncIterator[StackPlan]:
        plan = StackPlan(
            directory=self._directory,
            ports=StackPorts.free(),
            environment=self._environment,
            mock=_QUICK_MOCK,
            worker={"WORKER__DRAIN": "2s", "STORE__URL": self._settings.store.url},
        )
        if not self._plot.real_shapes:
            yield plan
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        mock, services_file = f"127.0.0.1:{plan.ports.mock}", self._directory / "services.toml"
        with TemporaryDirectory(prefix="commander-shapes-") as place:
            async with real_shapes(Path(place), mock) as shapes:
                services_file.write_text(shapes.registry(f"http://{mock}", _SERVICE, self._environment))
                say(self._console, "Prometheus", shapes.prometheus)
                say(self._console, "Alertmanager", shapes.alertmanager)
                lag = f"{_LAG.total_seconds():g}s"
                yield replace(plan, services_file=services_file, worker={**plan.worker, "PROMETHEUS__LAG": lag})

    async def _held(self, stack: EmbeddedStack) -> None:
        """Until Ctrl-C, which is how this ends well."""
        self._console.print("The Web UI stays until Ctrl-C.")
        task = asyncio.current_task()
        try:
            raise PermanentError("embedded stack", await stack.first_death())
        except asyncio.CancelledError:
            if task:
                task.uncancel()

    async def _incident(self, stack: EmbeddedStack, http: httpx.AsyncClient) -> Snapshot:
        for injury in self._plot.injuries:
            await fetch_json(http, _SYSTEM, "POST", f"{stack.mock_url}{injury.path}", json=injury.body)
        policy = self._plot.policy(datetime.now(UTC))
        await self._injured(stack, http, policy)
        desk = IncidentDesk(stack.client)
        request = IncidentRequest(
            service=_SERVICE,
            environment=self._environment,
            policy=policy,
            trigger=Trigger(
                source="demo", trigger_id=uuid4().hex, reason=self._plot.story, chaos_mode=self._is_chaos()
            ),
        )
        joined, handle = await desk.open(request)
        say(self._console, "Incident", joined.incident_id)
        say(self._console, "In the Web UI", _link(stack, handle))
        try:
            async with asyncio.timeout(_CLOSED_WITHIN.total_seconds()):
                return await follow(desk, handle, Progress(self._console))
        except TimeoutError as error:
            raise PermanentError(_SYSTEM, f"the incident did not close within {_CLOSED_WITHIN}") from error

    def _is_chaos(self) -> bool:
        return any(injury.path.startswith("/chaos/") for injury in self._plot.injuries)

    async def _injured(self, stack: EmbeddedStack, http: httpx.AsyncClient, policy: Policy) -> None:
        """Waits, as an alert rule would, until the numbers show what the scenario is about, and go on showing it."""
        settings = self._settings.model_copy(update={"services_file": stack.services_file})
        prometheus = PrometheusSettings(lag=_LAG)
        services = ConfiguredServices(read_registry(settings.services_file), http, prometheus=prometheus)
        observer = Observer(services, lambda: datetime.now(UTC))
        severity, held = Severity.P3, 0
        try:
            async with asyncio.timeout(_INJURED_WITHIN.total_seconds()):
                while held < _HOLDS:
                    evidence = await observer.pulse(self._environment, _SERVICE, policy.source_timeout)
                    severity = assess(evidence, policy.thresholds).severity
                    held = held + 1 if severity is self._plot.opens_as else 0
                    await asyncio.sleep(_LOOK)
        except TimeoutError as error:
            problem = f"the numbers still say {severity} after {_INJURED_WITHIN}, expected {self._plot.opens_as}"
            raise PermanentError(_SYSTEM, problem) from error

    def _tell(self, stack: EmbeddedStack, snapshot: Snapshot, differences: tuple[str, ...]) -> None:
        file = self._directory / f"{snapshot.incident_id}.json"
        file.write_text(snapshot.model_dump_json(indent=2), encoding="utf-8")
        if snapshot.outcome is not Outcome.NO_INCIDENT:
            self._console.print(comparison(snapshot))
        self._console.print(summary(snapshot))
        say(self._console, "Snapshot", str(file))
        say(self._console, "", f"commander show {snapshot.incident_id} --json --direct")
        workflows = f"{stack.temporal.ui_url}/namespaces/{stack.temporal.namespace}/workflows"
        say(self._console, "All incidents", f"{workflows} (the Web UI stays with --keep)")
        if differences:
            self._console.print(f"[bold red]Not as it should be:[/] {'; '.join(differences)}")
        else:
            self._console.print("[bold green]Ended as it should.[/]")


def _places(stack: EmbeddedStack) -> Egress:
    """What the demo asks: the mock service, and whatever else the stack's registry names."""
    return Egress({"the demo": [stack.mock_url, *addresses(read_registry(stack.services_file))]})


async def _activations(http: httpx.AsyncClient, stack: EmbeddedStack) -> int:
    """Rollbacks that the patient's journal says were applied."""
    journal = await fetch_json(http, _SYSTEM, "GET", f"{stack.mock_url}/demo/journal")
    entries = journal.body.get("entries", []) if isinstance(journal.body, dict) else []
    if not isinstance(entries, list):
        raise PermanentError(_SYSTEM, "the journal holds no list of entries")
    return sum(isinstance(each, dict) and each["action"] == "activate" and each["applied"] is True for each in entries)


def _link(stack: EmbeddedStack, handle: WorkflowHandle[IncidentWorkflow, Snapshot]) -> str:
    run = handle.first_execution_run_id or handle.result_run_id or ""
    return f"{stack.temporal.ui_url}/namespaces/{stack.temporal.namespace}/workflows/{handle.id}/{run}".rstrip("/")
