"""Prometheus and Alertmanager between the patient and the commander: what stands there where people work.

Both programs are this machine's own: Prometheus scrapes the mock service, its rules fire, Alertmanager has the alerts.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from json import dumps
from pathlib import Path

import httpx

from commander.stack import StackPorts
from incident.errors import PermanentError, TransientError

_SYSTEM = "real shapes"
_READY_WITHIN = timedelta(seconds=30)
_STOP_WITHIN = timedelta(seconds=5)
_BESIDE = Path(".tools") / "prometheus"
"""Where tests/standins/prometheus/install puts them."""
_JOB = "payment-api"
_RULES: Mapping[str, str] = {
    "HighErrorRate": "http_request_error_rate_percent > 5",
    "HighLatency": "http_request_duration_p99_milliseconds > 500",
}
_GAUGES: Mapping[str, tuple[str, str]] = {
    "error_rate": ("http_request_error_rate_percent", "percent"),
    "p50_latency": ("http_request_duration_p50_milliseconds", "milliseconds"),
    "p95_latency": ("http_request_duration_p95_milliseconds", "milliseconds"),
    "p99_latency": ("http_request_duration_p99_milliseconds", "milliseconds"),
    "requests_per_second": ("http_requests_per_second", "per second"),
    "cpu_usage": ("process_cpu_usage_percent", "percent"),
    "memory_usage": ("process_memory_usage_percent", "percent"),
    "active_connections": ("active_connections", "count"),
}


@dataclass(frozen=True)
class Shapes:
    """Where both listen."""

    prometheus: str
    alertmanager: str

    def registry(self, mock_url: str, service: str, environment: str) -> str:
        """A registry that knows the service by them, and by the mock service what they do not tell."""
        queries = [
            f'{metric} = {{ query = "max({gauge}{{$selector}})", unit = "{unit}" }}'
            for metric, (gauge, unit) in _GAUGES.items()
        ]
        return "\n".join(
            (
                "[[service]]",
                f'name = "{service}"',
                f'environment = "{environment}"',
                f'source = {{ kind = "mock", url = "{mock_url}" }}',
                f'alerts = {{ kind = "alertmanager", url = "{self.alertmanager}", matchers = [\'job="{_JOB}"\'] }}',
                "[service.metrics]",
                'kind = "prometheus"',
                f'url = "{self.prometheus}"',
                f'selector = {{ job = "{_JOB}" }}',
                'window = "10s"',
                "[service.metrics.queries]",
                'health = "min(deployment_health_status{$selector})"',
                *queries,
                "",
            )
        )


@asynccontextmanager
async def real_shapes(directory: Path, mock: str) -> AsyncIterator[Shapes]:
    """Both programs, which run for as long as the context lasts.

    Args:
        directory: for their files and logs; it must exist.
        mock: host:port of the mock service, which may start later.

    Raises:
        PermanentError: this machine lacks one of them, or one ended by itself.
        TransientError: one was not ready in time.
    """
    ports = StackPorts.free()
    alertmanager, prometheus = f"127.0.0.1:{ports.mock}", f"127.0.0.1:{ports.gateway}"
    _write(directory / "alertmanager.yml", {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
    rules = [{"alert": name, "expr": expression, "for": "1s"} for name, expression in _RULES.items()]
    _write(directory / "rules.yml", {"groups": [{"name": "patient", "rules": rules}]})
    _write(
        directory / "prometheus.yml",
        {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
            "scrape_configs": [{"job_name": _JOB, "static_configs": [{"targets": [mock]}]}],
        },
    )
    async with AsyncExitStack() as running:
        for name, address, options in (
            ("alertmanager", alertmanager, ("--storage.path", "--cluster.listen-address=")),
            ("prometheus", prometheus, ("--storage.tsdb.path",)),
        ):
            storage, *more = options
            data = directory / name
            command = [
                _program(name),
                f"--config.file={directory / name}.yml",
                f"--web.listen-address={address}",
                f"{storage}={data}",
                *more,
            ]
            await running.enter_async_context(_running(name, command, f"http://{address}", directory / f"{name}.log"))
        yield Shapes(prometheus=f"http://{prometheus}", alertmanager=f"http://{alertmanager}")


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(_BESIDE))
    if found is None:
        raise PermanentError(_SYSTEM, f"needs {name} on the PATH, or: tests/standins/prometheus/install")
    return found


@asynccontextmanager
async def _running(name: str, command: Sequence[str], url: str, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
    try:
        await _ready(name, process, url, log)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_WITHIN.total_seconds()):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(name: str, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    try:
        async with asyncio.timeout(_READY_WITHIN.total_seconds()), httpx.AsyncClient(trust_env=False) as http:
            while process.returncode is None:
                try:
                    if (await http.get(f"{url}/-/ready")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise TransientError(_SYSTEM, f"{name} was not ready within {_READY_WITHIN}; see {log}") from error
    raise PermanentError(_SYSTEM, f"{name} ended with status {process.returncode}; see {log}")


def _write(file: Path, config: Mapping[str, object]) -> None:
    file.write_text(dumps(config), encoding="utf-8")  # JSON is YAML
