"""Alerts a second through the gateway, Temporal's acceptance awaited, beside a handler that only validates them.

Both are processes of their own, and so is wrk (Debian's package), which sends the alerts. No worker runs: what it would
take of the machine is no property of the gateway.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import httpx

from bench.stack import silent_server
from worker.settings import child_environment

WRK = "wrk"
GATEWAY, BARE_HANDLER = "gateway", "bare handler"
SERVICES = 200
"""So that no workflow comes near the 10,000 signals that Temporal takes of one."""
_CONNECTIONS, _THREADS = 32, 1
_ROUNDS, _LASTS, _WARM_UP = 4, timedelta(seconds=4), timedelta(seconds=2)
_READY_WITHIN = timedelta(seconds=40)
_SCRIPT = Path(__file__).with_name("alerts.lua")
_UNBOUNDED = "1000000"
"""Requests a second: the gateway's limit is another matter."""


@dataclass(frozen=True)
class Drive:
    """What wrk says of one round."""

    per_second: float
    p50: float
    """Milliseconds."""
    p95: float
    """Milliseconds."""

    @classmethod
    def read(cls, output: str) -> "Drive":
        """What stands in the last line of `output`.

        Raises:
            RuntimeError: not every alert was answered with 2xx, so that the rate would say nothing.
        """
        told = json.loads(output.strip().splitlines()[-1])
        if told["failed"] or not told["answered"]:
            raise RuntimeError(f"{told['failed']} of {told['answered']} alerts were not taken")
        seconds = told["microseconds"] / 1e6
        return cls(told["answered"] / seconds, told["p50_us"] / 1000, told["p95_us"] / 1000)


def why_not() -> str:
    """Why alerts cannot be driven here; empty: they can."""
    return "" if shutil.which(WRK) else "alert webhooks need wrk: apt-get install wrk"


async def drive_alerts() -> Mapping[str, list[Drive]]:
    """What wrk says of gateway and bare handler, round by round, in turns; some forty seconds.

    Raises:
        RuntimeError: one of them does not come up, or does not take every alert.
    """
    secret = token_hex(16)
    taken: dict[str, list[Drive]] = {GATEWAY: [], BARE_HANDLER: []}
    with TemporaryDirectory() as directory:
        async with silent_server() as server, _gateway(Path(directory), server, secret) as gateway, _bare() as bare:
            urls = {GATEWAY: gateway, BARE_HANDLER: bare}
            for url in urls.values():
                await _drive(url, secret, _WARM_UP)
            for number in range(_ROUNDS):
                names = list(urls) if number % 2 else list(reversed(urls))
                for name in names:
                    taken[name].append(await _drive(urls[name], secret, _LASTS))
    return taken


async def _drive(url: str, secret: str, lasts: timedelta) -> Drive:
    shape = [f"-t{_THREADS}", f"-c{_CONNECTIONS}", f"-d{lasts.total_seconds():.0f}s", "--timeout", "10s"]
    wrk = await asyncio.create_subprocess_exec(
        *(WRK, *shape, "-s", str(_SCRIPT), f"{url}/webhooks/alertmanager", "--", secret, str(SERVICES)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await wrk.communicate()
    if wrk.returncode:
        raise RuntimeError(f"wrk ended with {wrk.returncode}: {complained.decode(errors='replace')[:500]}")
    return Drive.read(said.decode())


@asynccontextmanager
async def _gateway(directory: Path, temporal: str, secret: str) -> AsyncIterator[str]:
    services = directory / "services.toml"
    source = '{ kind = "mock", url = "http://127.0.0.1:9" }'
    names = [f"bench-{number}" for number in range(SERVICES)]
    services.write_text("\n".join(f'[[service]]\nname = "{name}"\nsource = {source}\n' for name in names))
    settings = {
        "TEMPORAL__ADDRESS": temporal,
        "SERVICES_FILE": str(services),
        "POLICY_FILE": str(directory / "policy.toml"),
        "STORE__URL": f"sqlite:///{directory / 'incidents.db'}",
        "GATEWAY__TOKENS_FILE": str(directory / "tokens.toml"),
        "GATEWAY__ALERTMANAGER_SECRET": secret,
        "GATEWAY__REQUESTS_PER_SECOND": _UNBOUNDED,
        "GATEWAY__BURST": _UNBOUNDED,
        "GATEWAY__LOG_LEVEL": "ERROR",
    }
    async with _serving("gateway", "GATEWAY__BIND", settings) as url:
        yield url


@asynccontextmanager
async def _bare() -> AsyncIterator[str]:
    async with _serving("bench.bare_handler", "BIND", {}) as url:
        yield url


@asynccontextmanager
async def _serving(module: str, bind: str, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """Where the module serves, as long as it lasts."""
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = "127.0.0.1:{1}".format(*listening.sockets[0].getsockname())
    listening.close()
    await listening.wait_closed()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        env=child_environment(**settings, **{bind: address}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _ready(f"http://{address}/readyz", module, process)
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


async def _ready(url: str, module: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_READY_WITHIN.total_seconds()):
        while process.returncode is None:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"{module} ended with {process.returncode} before it was ready")
