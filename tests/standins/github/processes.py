"""Starts and stops the processes that a chain is made of."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 10.0
_LOOKS_EVERY = 0.02


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    command: Sequence[str], *, log: Path, ready: Callable[[], Awaitable[bool]]
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The process, once it is ready; it is stopped at the end.

    What it says goes to `log`. Raises RuntimeError, with the end of the log, for one that ends before it is ready,
    and TimeoutError for one that never is.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said)  # noqa: ASYNC220, S603 - started at once, our own command
    try:
        await _ready(process, log, ready)
        yield process
    finally:
        await asyncio.to_thread(_stop, process)


async def _ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while not await ready():
        if (status := process.poll()) is not None:
            raise RuntimeError(f"{log.stem} ended with {status} before it was ready: {_end_of(log)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{log.stem} was not ready within {_STARTS_WITHIN} s: {_end_of(log)}")
        await asyncio.sleep(_LOOKS_EVERY)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
