"""One night of the whole: a service goes bad twice, is rolled back once, and somebody is woken at last.

The files of observability/ are what runs, with other addresses and shorter waits: Prometheus measures the stack and a
worker to which mishaps happen, its alerts go to Alertmanager, and those of the service from there to the gateway.
"""

import asyncio
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import yaml

from commander.stack import EmbeddedStack, StackPlan, StackPorts
from incident.snapshot import Outcome
from integrations.store import SqlStore, StoreSettings
from tests.standins.github.behaviour import Fault, FaultKind
from tests.standins.pagerduty import PagerDutyStandin, running_pagerduty
from tests.standins.pagerduty.contract import EVENTS
from tests.standins.postgres import running_postgres
from tests.standins.prometheus import Prometheus, running

OBSERVABILITY = Path(__file__).parents[2] / "observability"
SECRET = "an-alertmanager-of-the-tests"  # noqa: S105 - of a gateway that nobody else reaches
_WITHIN = 60.0
_LOOK = 0.1
_BELOW_EPHEMERAL = range(20_000, 30_000)
"""Linux gives out ports from 32768 on where it is asked for any (net.ipv4.ip_local_port_range)."""
_POLICY = """
version = 1
mode = "auto"
allow = ["production/payment-api"]
settle = "1s"
look_every = "1s"
"""
WENT_WRONG = frozenset(
    {"HighErrorRate", "HighLatency", "WorkflowTasksFail", "WorkflowFailed", "SnapshotsUnkept", "WebhooksRefused"}
)
"""What must be said of a bad deployment, the mishaps of a worker, and a webhook with another secret."""
_STARTS = "NoWorkerPolls"
"""Fires until the worker has begun to ask for work: that is no part of the night."""
_UNREACHED = Fault(method="POST", path=f"^{EVENTS}$", kind=FaultKind.STATUS, times=1000, status=500)
"""Of every page, until it is taken back."""


@dataclass(frozen=True)
class Night:
    """What is left of it in the morning."""

    prometheus: Prometheus
    store: str
    """SQLAlchemy's URL."""
    began: float
    fired: Mapping[str, frozenset[str]]
    """The alerts that fired, by the moment."""
    outcomes: tuple[Outcome, ...]
    """Of the incidents that closed, newest first."""


@dataclass(frozen=True)
class _Places:
    """A port for everything that is started."""

    stack: StackPorts
    worker: int
    prometheus: int
    alertmanager: int
    orphan: int
    orphan_metrics: int
    mishaps: int

    @classmethod
    def free(cls) -> "_Places":
        """Ports that nobody uses now, and that nobody is given who takes whichever is free, as both servers do."""
        chosen: dict[int, None] = {}
        while len(chosen) < len(fields(StackPorts)) + len(fields(cls)) - 1:
            port = _BELOW_EPHEMERAL.start + secrets.randbelow(len(_BELOW_EPHEMERAL))
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                chosen[port] = None
        ports = list(chosen)
        ours = len(fields(StackPorts))
        return cls(StackPorts(*ports[:ours]), *ports[ours:])

    @property
    def addresses(self) -> Mapping[str, list[str]]:
        """Where each job's targets are."""
        local = {
            "payment-api": [self.stack.mock],
            "gateway": [self.stack.gateway],
            "worker": [self.worker, self.mishaps],
            "temporal": [self.orphan_metrics],
            "alertmanager": [self.alertmanager],
            "prometheus": [self.prometheus],
        }
        return {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in local.items()}


@asynccontextmanager
async def night(directory: Path) -> AsyncIterator[Night]:
    """It is over, and everything still runs, so that it can be asked."""
    places = _Places.free()
    began = time.time()
    with ExitStack() as open_:
        store = open_.enter_context(running_postgres()).new_place()
        pager = open_.enter_context(running_pagerduty())
        open_.enter_context(
            running("alertmanager", directory / "alertmanager", _alertmanager(directory, places), places.alertmanager)
        )
        url = open_.enter_context(
            running("prometheus", directory / "prometheus", _prometheus(directory, places), places.prometheus)
        )
        prometheus = Prometheus(url)
        open_.callback(prometheus.close)
        orphan = open_.enter_context(_orphan(places, directory))
        async with EmbeddedStack(_plan(directory, places, store, pager)) as stack:
            fired = await _play(stack, prometheus, pager, orphan)
            kept = SqlStore(StoreSettings(url=store))
            outcomes = tuple(each.outcome for each in await kept.newest(10))
            await kept.close()
            yield Night(prometheus=prometheus, store=store, began=began, fired=fired, outcomes=outcomes)


async def _play(
    stack: EmbeddedStack, prometheus: Prometheus, pager: PagerDutyStandin, orphan: subprocess.Popen[bytes]
) -> Mapping[str, frozenset[str]]:
    fired = {}
    async with httpx.AsyncClient() as http:
        await http.post(f"{stack.gateway_url}/webhooks/alertmanager", headers={"Authorization": "Bearer another"})
        await http.post(f"{stack.mock_url}/demo/trigger-incident")
        said: set[str] = set()  # not all at once: the first is over when the last begins, where all goes fast

        def _all_said() -> bool:
            firing = prometheus.firing()
            said.update(firing & WENT_WRONG)
            return said >= WENT_WRONG and _STARTS not in firing

        await _until("all that went wrong is said", _all_said)
        fired["bad deployment"] = prometheus.firing() | said
        await _until("the incident closes", lambda: bool(prometheus.now("temporal_workflow_completed > 0")))
        await _until("nothing is said of the service", lambda: not prometheus.now('ALERTS{service!=""}'))
        fired["rolled back"] = prometheus.firing()
        pager.faults(_UNREACHED)
        await http.post(f"{stack.mock_url}/chaos/errors", json={"error_rate_percent": 30, "duration_seconds": 600})
        await _until("nobody is said to be woken", lambda: "PagesUnsent" in prometheus.firing())
        fired["nobody woken"] = prometheus.firing()
        pager.reset()
        await _until("the page arrives", lambda: pager.woken > 0)
        await _until("somebody is said to be woken", lambda: "PagesUnsent" not in prometheus.firing())
        fired["somebody woken"] = prometheus.firing()
    orphan.terminate()
    await _until("Temporal is said to be away", lambda: "TemporalDown" in prometheus.firing())
    await _until("polls are seen to fail", lambda: bool(prometheus.now("temporal_long_request_failure > 1")))
    fired["Temporal away"] = prometheus.firing()
    return fired


async def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"not within {_WITHIN:g} s: {what}"
        await asyncio.sleep(_LOOK)


def _plan(directory: Path, places: _Places, store: str, pager: PagerDutyStandin) -> StackPlan:
    policy = directory / "policy.toml"
    policy.write_text(_POLICY)
    both = {"STORE__URL": store, "POLICY_FILE": str(policy)}
    return StackPlan(
        directory=directory,
        ports=places.stack,
        mock={"MOCK_RAMP_SECONDS": "0", "MOCK_ALERT_AFTER_SECONDS": "0"},
        worker={
            **both,
            "WORKER__METRICS_BIND": f"127.0.0.1:{places.worker}",
            "WORKER__DRAIN": "2s",
            "PAGERDUTY__ROUTING_KEY": pager.routing_key,
            "PAGERDUTY__EVENTS_URL": pager.url,
        },
        gateway={**both, "GATEWAY__ALERTMANAGER_SECRET": SECRET},
    )


@contextmanager
def _orphan(places: _Places, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Temporal server on whose queue mishaps happen, until it is terminated; its worker stays."""
    server = [
        str(Path(sys.executable).with_name("temporal")),
        *("server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"),
        *("--port", str(places.orphan), "--metrics-port", str(places.orphan_metrics)),
        # Once a minute by default.
        *("--dynamic-config-value", 'matching.backlogMetricsEmitInterval="1s"'),
    ]
    worker = [sys.executable, "-m", "tests.observability.mishap", str(places.orphan), str(places.mishaps)]
    with (
        (directory / "orphan.log").open("wb") as log,
        subprocess.Popen(server, stdout=log, stderr=log) as orphan,  # noqa: S603 - our own command, no shell
        subprocess.Popen(worker, stdout=log, stderr=log) as mishap,  # noqa: S603 - our own command, no shell
    ):
        try:
            yield orphan
        finally:
            mishap.kill()
            orphan.terminate()


def _prometheus(directory: Path, places: _Places) -> Path:
    """The configuration with the run's addresses, every second, and rules that do not wait."""
    config = _read("prometheus/prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        assert len(job["static_configs"]) == 1
        job["static_configs"][0]["targets"] = places.addresses[job["job_name"]]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = places.addresses["alertmanager"]
    rules = directory / "rules"
    rules.mkdir()
    for file in sorted((OBSERVABILITY / "prometheus" / "rules").glob("*.yml")):
        shutil.copy(file, rules)
        document = yaml.safe_load(file.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"] if "for" in rule):
            rule["for"] = "1s"
        (rules / file.name).write_text(yaml.safe_dump(document))
    return _written(directory / "prometheus.yml", config)


def _alertmanager(directory: Path, places: _Places) -> Path:
    """The configuration with the gateway's address and secret, and without waits."""
    config = _read("alertmanager/alertmanager.yml")
    quick = {"group_wait": "100ms", "group_interval": "1s", "repeat_interval": "5s"}
    for route in (config["route"], *config["route"]["routes"]):
        route.update(quick)
    secret = directory / "secret"
    secret.write_text(f"{SECRET}\n")
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            path = httpx.URL(webhook["url"]).path
            webhook["url"] = f"http://127.0.0.1:{places.stack.gateway}{path}"
            webhook["http_config"]["authorization"]["credentials_file"] = str(secret)
    return _written(directory / "alertmanager.yml", config)


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((OBSERVABILITY / name).read_text())
    return document


def _written(path: Path, document: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path
