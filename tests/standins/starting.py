"""Starts a program that others wrote, waits until it answers, and stops it by its own process at the end."""

import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

# Never used: all is on the loopback, in plain HTTP. A default one would read the system's certificates for each call.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_STOPS_WITHIN = 10.0
_LOOKS_EVERY = 0.05


@contextmanager
def started(command: Sequence[str], *, log: Path, ready: str, within: float) -> Iterator[None]:
    """The program, once the address `ready` answers well. AssertionError: that takes longer than `within` seconds."""
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:  # noqa: S603 - our own command, no shell
        try:
            _await_ready(ready, process, log, within)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False, verify=NO_TLS).is_success:
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(_LOOKS_EVERY)
            break
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"{process.args!r} did not start: {log.read_text()[-3000:]}")
