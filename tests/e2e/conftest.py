"""The commander as a person runs it: as processes, in a directory of its own."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.settings import child_environment

COMMANDER = Path(sys.executable).with_name("commander")
DEADLINE = 180
"""Seconds that one command may take on a busy machine."""


@dataclass(frozen=True)
class Ended:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str


async def commander(directory: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """Runs `commander` in `directory` until it ends."""
    process = await asyncio.create_subprocess_exec(
        COMMANDER,
        *arguments,
        cwd=directory,
        env=child_environment(**(environment or {})),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def processes_of(directory: Path) -> list[str]:
    """The command lines of the processes that work in `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == directory.resolve():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended while it was looked at
    return found
