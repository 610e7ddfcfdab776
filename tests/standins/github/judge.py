"""Prism, which others wrote: judges every request and every reply by GitHub's published description."""

import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.standins.github.contract import DESCRIPTION, HERE, write_contract
from tests.standins.github.processes import free_port, running

PRISM = HERE / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
_INSTALL = "npm ci --prefix tests/standins/github --ignore-scripts --omit=dev"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REFUSED = re.compile(r"\[HTTP SERVER\] (\w+) (\S+) .*terminated with error: \S*/prism/errors#\w+: (.+)$")
_FOUND = re.compile(r"\[VALIDATOR\].*?Violation: (.+)$")
_LISTENING = "Prism is listening"


def why_not() -> str:
    """Why Prism cannot be started here; empty: it can."""
    if shutil.which("node") is None:
        return "Prism needs node"
    return "" if PRISM.exists() and DESCRIPTION.exists() else f"Prism needs: {_INSTALL}"


@dataclass(frozen=True)
class Violation:
    """What Prism had against a call. `call` is empty where it only warned."""

    call: str
    problem: str


class Judge:
    """A running Prism."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def violations(self) -> Sequence[Violation]:
        """What it has judged wrong so far, in requests and in replies. A reply that never came is none."""
        found = []
        for line in _COLOUR.sub("", self._log.read_text(encoding="utf-8")).splitlines():
            if refused := _REFUSED.search(line):
                found.append(Violation(f"{refused[1].upper()} {refused[2]}", refused[3].strip()))
            elif warned := _FOUND.search(line):
                found.append(Violation("", warned[1].strip()))
        return found


@asynccontextmanager
async def judging(upstream: str, directory: Path) -> AsyncIterator[Judge]:
    """A Prism between its clients and `upstream`; raises RuntimeError where it is not installed."""
    if reason := why_not():
        raise RuntimeError(reason)
    contract, log, port = directory / "contract.json", directory / "prism.log", free_port()
    write_contract(contract)

    async def listens() -> bool:
        return _LISTENING in log.read_text(encoding="utf-8")

    command = ["node", str(PRISM), "proxy", "--errors", "--port", str(port), str(contract), upstream]
    async with running(command, log=log, ready=listens):
        yield Judge(f"http://127.0.0.1:{port}", log)
