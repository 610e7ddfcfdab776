"""A worker that is forked from a process which has loaded it already: it stands in a fraction of a second."""

import asyncio
import importlib
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_LOOKS_EVERY_SECONDS = 0.02
MODULE = "tests.fault.worker"


class Forked:
    """One such process, with what a stack asks of an `asyncio.subprocess.Process`."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        _CONTEXT.set_forkserver_preload([MODULE])
        self._process = _CONTEXT.Process(target=_run, args=(dict(environment), str(log)), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; `None`: it has not."""
        return self._process.exitcode

    def terminate(self) -> None:
        """Asks it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._process.kill()

    async def wait(self) -> int:
        """How it ended, once it has."""
        while (status := self.returncode) is None:  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(_LOOKS_EVERY_SECONDS)
        return status


def _run(environment: dict[str, str], log: str) -> None:
    os.setsid()
    os.environ.update(environment)
    with Path(log).open("ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    importlib.import_module(MODULE).main()
