"""Starts aimock, a model server that others wrote, and scripts what it answers.

Its packages come from `npm ci --prefix tests/standins/aimock --ignore-scripts --omit=dev`.
"""

import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
CLI = HERE / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
MODEL = "standin-model"
_STARTS_WITHIN = 20.0
_STOPS_WITHIN = 10.0
_LISTENING = re.compile(rb"listening on (\S+)\n")


def why_not() -> str:
    """Why aimock cannot be started here; empty: it can."""
    if shutil.which("node") is None:
        return "aimock needs node"
    return "" if CLI.exists() else "aimock needs: npm ci --prefix tests/standins/aimock --ignore-scripts --omit=dev"


class Aimock:
    """A running aimock. What is scripted stays until `reset`."""

    def __init__(self, url: str) -> None:
        self.base_url = f"{url}/v1"
        self._control = httpx.Client(base_url=f"{url}/__aimock", trust_env=False)

    def close(self) -> None:
        self._control.close()

    def reset(self) -> None:
        """Forgets every script and every call."""
        self._control.post("/reset").raise_for_status()

    def script(self, *replies: Mapping[str, Any], **fixture: Any) -> None:  # noqa: ANN401 - aimock's own JSON
        """Lets the calls to MODEL be answered by `replies`, in this order; what comes after them gets a 404."""
        fixtures = [
            {"match": {"model": MODEL, "sequenceIndex": place}, "response": reply, **fixture}
            for place, reply in enumerate(replies)
        ]
        self._control.post("/fixtures", json={"fixtures": fixtures}).raise_for_status()

    def calls(self) -> Sequence[Mapping[str, Any]]:
        """The requests that came in, oldest first. Bodies are as aimock understood them, not as they were sent."""
        answer = self._control.get("/journal", params={"method": "POST", "path": "/v1/"})
        calls: list[Mapping[str, Any]] = answer.raise_for_status().json()
        return calls


@contextmanager
def running_aimock(host: str = "127.0.0.1", port: int = 0) -> Iterator[Aimock]:
    """An aimock on that port, or on one that the system chose."""
    node = shutil.which("node")
    assert node is not None
    listening = ["--host", host, "--port", str(port)]
    command = [node, str(CLI), *listening, "--fixtures", str(HERE / "no-fixtures.json")]
    with subprocess.Popen(  # noqa: S603 - our own command, no shell
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
    ) as process:
        try:
            aimock = Aimock(_address(process))
            try:
                yield aimock
            finally:
                aimock.close()
        finally:
            process.terminate()
            try:
                process.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes]) -> str:
    """The URL that aimock prints once it listens."""
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + _STARTS_WITHIN
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            # Unbuffered: a line that Python had read ahead would never wake the selector.
            chunk = os.read(process.stdout.fileno(), 4096)
            said += chunk
            if found := _LISTENING.search(said):
                return found[1].decode()
            if not chunk:
                break
    raise AssertionError(f"aimock did not start: {said!r}")
