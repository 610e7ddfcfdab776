"""`python -m gateway`: takes requests until SIGTERM, then finishes those that are under way."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from math import ceil
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from gateway.app import build_app
from gateway.interactivity import Presses
from gateway.metrics import Metrics
from gateway.office import Office
from gateway.settings import Settings, load_settings
from gateway.tokens import TokenBook
from incident.errors import ConfigurationError, IntegrationError
from integrations.files import read_policies, read_redaction, read_registry
from integrations.redaction import redacting
from integrations.slack import Directory, SlackSettings, SocketMode
from integrations.store import SqlStore
from integrations.telemetry import configure_logging
from integrations.temporal import connect, leave
from workflows.desk import IncidentDesk
from workflows.lookout import Lookout

_log = structlog.get_logger()
_PATIENCE = timedelta(seconds=5)
"""How long the store may take: somebody waits."""
_PROBE = timedelta(seconds=2)
_BACKLOG = 1024
"""Connections that wait to be taken: alerts come in storms."""


def main() -> int:
    """0 after SIGTERM or SIGINT, 2 where the settings or a system they name cannot be used."""
    try:
        settings = load_settings()
        with redacting(settings.redaction, read_redaction(settings.policy_file)):
            asyncio.run(_serve(settings))
    except (ConfigurationError, IntegrationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


class GatewayServer(uvicorn.Server):
    """Uvicorn as a guest: the process's signals belong to the gateway."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Takes no signal."""
        yield


async def _serve(settings: Settings) -> None:
    configure_logging(settings.gateway.log_level)
    registry = read_registry(settings.services_file)
    policies = read_policies(settings.policy_file, registry, settings.services_file)
    tokens = read_tokens(settings.gateway.tokens_file)
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    client = await connect(settings.temporal)
    store, desk, metrics = SqlStore(settings.store, _PATIENCE), IncidentDesk(client), Metrics()
    office = Office(desk, Lookout(client), store, store, store, store, registry, policies, tokens, settings)
    with _listen(settings.gateway.bind) as listening:
        async with _presses(settings.slack, desk, metrics) as presses:
            app = build_app(office, metrics, presses, {"temporal": lambda: _answers(client)})
            await _until(stop, _server(app, settings.gateway.drain), listening)
    await store.close()
    _log.info("gateway.stopped")


async def _until(stop: asyncio.Event, server: GatewayServer, listening: socket.socket) -> None:
    """Serves until `stop` is set, and then what is under way."""
    serving, told = asyncio.create_task(server.serve(sockets=[listening])), asyncio.create_task(stop.wait())
    host, port = listening.getsockname()[:2]
    _log.info("gateway.started", address=f"{host}:{port}")
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    _log.info("gateway.draining")
    told.cancel()
    server.should_exit = True
    await serving


def _server(app: FastAPI, drain: timedelta) -> GatewayServer:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # anybody could claim to be another sender
        timeout_graceful_shutdown=ceil(drain.total_seconds()),
    )
    return GatewayServer(config)


def _listen(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    try:
        return socket.create_server((host, int(port)), backlog=_BACKLOG)
    except (OSError, OverflowError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else "expected host:port"
        raise ConfigurationError(f"GATEWAY__BIND: cannot listen there: {problem}") from error


def read_tokens(path: Path) -> TokenBook:
    """The tokens that the file holds; none where there is no such file."""
    try:
        tokens = TokenBook.parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        _log.warning("gateway.no_tokens", file=str(path), effect="every call is refused")
        return TokenBook()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error
    _log.info("gateway.tokens", names=sorted({entry.name for entry in tokens.entries}))
    return tokens


@asynccontextmanager
async def _presses(settings: SlackSettings, desk: IncidentDesk, metrics: Metrics) -> AsyncIterator[Presses | None]:
    """What takes presses of Slack's buttons, listening by Socket Mode where there is an app token; `None`: nothing."""
    if not settings.interactive:
        yield None
        return
    directory = Directory(settings)
    presses = Presses(desk, directory, metrics)
    try:
        if settings.app_token is None:
            yield presses
        else:
            async with SocketMode(settings, presses.take_or_drop):
                yield presses
    finally:
        await presses.close()
        await directory.close()


async def _answers(client: Client) -> bool:
    return await client.service_client.check_health(timeout=_PROBE)


if __name__ == "__main__":
    leave(main())
