"""`python -m worker`: takes work from Temporal until SIGTERM, then drains."""

import asyncio
import signal
import sys
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.runtime import Runtime

from incident.errors import ConfigurationError, IntegrationError
from integrations.egress import build_guarded_client
from integrations.files import read_redaction, read_registry
from integrations.redaction import redacting
from integrations.telemetry import configure_logging
from integrations.temporal import connect, leave, runtime_with_metrics
from worker.bootstrap import build_ports, build_watcher, build_worker
from worker.health import build_server
from worker.settings import Settings, load_settings

_log = structlog.get_logger()
_PROBE = timedelta(seconds=2)


def main() -> int:
    """0 after SIGTERM or SIGINT, 2 where the settings or a system they name cannot be used."""
    try:
        settings = load_settings()
        with redacting(settings.redaction, read_redaction(settings.policy_file)):
            asyncio.run(_serve(settings))
    except (ConfigurationError, IntegrationError) as error:
        return _complain(error)
    except OSError as error:
        return _complain(f"WORKER__HEALTH_BIND: cannot listen there: {error.strerror}")
    return 0


def _complain(problem: object) -> int:
    sys.stderr.write(f"{problem}\n")
    return 2


async def _serve(settings: Settings) -> None:
    configure_logging(settings.worker.log_level)
    registry = read_registry(settings.services_file)
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with build_guarded_client(settings.http, settings.destinations(registry)) as http:
        world = build_ports(settings, registry, http)
        client = await connect(settings.temporal, _runtime(settings))
        server, listening = build_server(lambda: _ready(client), settings.worker.health_bind)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with build_worker(client, world, settings.worker), build_watcher(client, world, settings.worker):
            host, port = listening.getsockname()[:2]
            _log.info("worker.started", build_id=settings.worker.build_id, health=f"{host}:{port}")
            await stop.wait()
            _log.info("worker.draining", within=settings.worker.drain.total_seconds())
        server.should_exit = True
        await serving
        await world.close()
    _log.info("worker.stopped")


def _runtime(settings: Settings) -> Runtime | None:
    return runtime_with_metrics(settings.worker.metrics_bind) if settings.worker.metrics_bind else None


async def _ready(client: Client) -> bool:
    try:
        return await client.service_client.check_health(timeout=_PROBE)
    except Exception:  # noqa: BLE001 - whatever is wrong with Temporal, the answer is "not ready"
        return False


if __name__ == "__main__":
    leave(main())
