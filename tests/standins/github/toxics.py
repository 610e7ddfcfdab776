"""Toxiproxy, which others wrote: a bad network on order."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.standins.github.processes import free_port, running
from tests.standins.github.remote import Remote

TOXIPROXY = Path(__file__).resolve().parents[3] / ".tools" / "bin" / "toxiproxy-server"
Stream = Literal["upstream", "downstream"]
"""The client's bytes, or the server's."""
_PROXY = "/proxies/github"


def why_not() -> str:
    """Why Toxiproxy cannot be started here; empty: it can."""
    return "" if shutil.which(TOXIPROXY) else "Toxiproxy needs: tests/standins/install"


class Toxics:
    """A running Toxiproxy. Each toxic works on connections until it is removed or all are cleared."""

    def __init__(self, url: str, api: Remote) -> None:
        self.url = url
        self._api = api

    async def latency(self, milliseconds: int, *, jitter: int = 0, stream: Stream = "downstream") -> str:
        """Delays all data."""
        return await self._add("latency", stream, latency=milliseconds, jitter=jitter)

    async def reset_peer(self, after_milliseconds: int = 0, *, stream: Stream = "downstream") -> str:
        """Ends connections with a reset. Without delay the request may still get through."""
        return await self._add("reset_peer", stream, timeout=after_milliseconds)

    async def timeout(self, milliseconds: int = 0, *, stream: Stream = "downstream") -> str:
        """Lets no data through and closes the connection after a time; 0: never."""
        return await self._add("timeout", stream, timeout=milliseconds)

    async def bandwidth(self, kilobytes_per_second: int, *, stream: Stream = "downstream") -> str:
        """Narrows the line."""
        return await self._add("bandwidth", stream, rate=kilobytes_per_second)

    async def slow_close(self, milliseconds: int, *, stream: Stream = "downstream") -> str:
        """Delays the end of a connection."""
        return await self._add("slow_close", stream, delay=milliseconds)

    async def limit_data(self, size: int, *, stream: Stream = "downstream") -> str:
        """Closes connections after so many bytes. 0 downstream: the call has its effect and its reply is lost;
        0 upstream: the call never arrives.
        """
        return await self._add("limit_data", stream, bytes=size)

    async def remove(self, name: str) -> None:
        """Takes one toxic out."""
        await self._api.call("DELETE", f"{_PROXY}/toxics/{name}")

    async def clear(self) -> None:
        """Takes all toxics out and lets connections in again."""
        await self._api.call("POST", "/reset")

    async def refuse(self) -> None:
        """Closes all connections and refuses new ones, until `clear`."""
        await self._api.call("POST", _PROXY, {"enabled": False})

    async def _add(self, kind: str, stream: Stream, **attributes: int) -> str:
        """Adds a toxic and returns its name; a second one of the same kind and stream is refused."""
        name = f"{kind}_{stream}"
        toxic = {"name": name, "type": kind, "stream": stream, "attributes": attributes}
        await self._api.call("POST", f"{_PROXY}/toxics", toxic)
        return name


@asynccontextmanager
async def poisoning(upstream: str, directory: Path) -> AsyncIterator[Toxics]:
    """A Toxiproxy between its clients and `upstream`; raises RuntimeError where it is not installed."""
    if reason := why_not():
        raise RuntimeError(reason)
    port = free_port()
    api = Remote(f"http://127.0.0.1:{port}")
    command = [str(TOXIPROXY), "-host", "127.0.0.1", "-port", str(port)]
    async with running(command, log=directory / "toxiproxy.log", ready=lambda: api.answers("/version")):
        wish = {"name": "github", "listen": "127.0.0.1:0", "upstream": upstream.removeprefix("http://")}
        made = await api.call("POST", "/proxies", wish)
        yield Toxics(f"http://{made.json()['listen']}", api)
