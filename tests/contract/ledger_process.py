"""A commander's process for the tests of races over one store: it obeys lines of JSON, and answers each with one.

`python -m tests.contract.ledger_process`; the class below is the test's end of it.
"""

import asyncio
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, event

from incident.budget import BudgetLimits, ModelCall
from incident.errors import TransientError
from incident.ledger import Quota, Remediation, Stop
from integrations.store import SqlStore, StoreSettings

_ROOT = Path(__file__).resolve().parents[2]
_HOLDING = "holding"


class LedgerProcess:
    """The test's end: what is told is done by another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", __spec__.name], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._said = b""

    def tell(self, do: str, url: str, **details: object) -> None:
        """Lets the process begin with that deed."""
        self._write({"do": do, "url": url, **details})

    def hold(self, at_commit: int = 1) -> None:
        """Lets the process stop and say so right before the commit of that number, counted from now."""
        self._write({"do": "hold", "at_commit": at_commit})

    def await_hold(self) -> None:
        """Returns once it stands before that commit."""
        assert self._line(20.0) == _HOLDING

    def go_on(self) -> None:
        """Lets it commit."""
        self._write({})

    def answer(self, within: float = 30.0) -> Any:  # noqa: ANN401 - JSON
        """The answer to what was told first.

        Raises:
            TimeoutError: it has not answered within so many seconds.
        """
        return self._line(within)

    def kill(self) -> None:
        """SIGKILL: it cannot tidy up."""
        self._process.kill()
        self._process.wait(10)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.kill()

    def _write(self, command: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    def _line(self, within: float) -> Any:  # noqa: ANN401 - the same
        assert self._process.stdout is not None
        deadline = time.monotonic() + within
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._said:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"no answer within {within} s")
                # Unbuffered: a line that Python had read ahead would never wake the selector.
                chunk = os.read(self._process.stdout.fileno(), 65536)
                assert chunk, "the process has ended"
                self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


class _Commander:
    """The process's end."""

    def __init__(self) -> None:
        self._stores: dict[str, SqlStore] = {}
        self._deeds: Mapping[str, Callable[[SqlStore, Mapping[str, Any]], Awaitable[object]]] = {
            "open": self._open,
            "begin_together": self._begin_together,
            "begin_until_refused": self._begin_until_refused,
            "stop": self._stop,
            "reserve_together": self._reserve_together,
        }

    async def serve(self) -> None:
        """Obeys until there is nobody left to command."""
        while command := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(command)
            if asked["do"] == "hold":
                _hold(asked["at_commit"])
                continue
            store = self._stores.setdefault(asked["url"], SqlStore(StoreSettings(url=asked["url"])))
            _say(await self._deeds[asked["do"]](store, asked))

    async def _open(self, store: SqlStore, _: Mapping[str, Any]) -> object:
        return [each.words for each in await store.stops()]

    async def _begin_together(self, store: SqlStore, asked: Mapping[str, Any]) -> object:
        return await asyncio.gather(*(_begin(store, each, asked["quota"]) for each in asked["entries"]))

    async def _begin_until_refused(self, store: SqlStore, asked: Mapping[str, Any]) -> object:
        """One incident after the other."""
        answers = [await _begin(store, asked["entry"], asked["quota"])]
        while not answers[-1]["refused"]:
            entry = asked["entry"] | {"correlation_id": f"ic-{len(answers)}"}
            answers.append(await _begin(store, entry, asked["quota"]))
        return answers

    async def _reserve_together(self, store: SqlStore, asked: Mapping[str, Any]) -> object:
        return await asyncio.gather(*(_reserve(store, each, asked["limits"]) for each in asked["calls"]))

    async def _stop(self, store: SqlStore, asked: Mapping[str, Any]) -> object:
        while True:
            try:
                await store.stop(Stop.model_validate(asked["stop"]))
            except TransientError:
                continue
            return {"returned": time.monotonic()}


async def _begin(store: SqlStore, entry: object, quota: object) -> Mapping[str, object]:
    """As Temporal would: again, as long as trying again may help."""
    remediation = Remediation.model_validate(entry)
    allowed = Quota.model_validate(quota) if quota else None
    asked = time.monotonic()
    while True:
        try:
            admission = await store.begin(remediation, allowed)
        except TransientError:
            continue
        return {"correlation_id": remediation.correlation_id, "asked": asked, **admission.model_dump(mode="json")}


async def _reserve(store: SqlStore, call: object, limits: object) -> object:
    """The same, for a call to a model."""
    while True:
        try:
            return await store.reserve(ModelCall.model_validate(call), BudgetLimits.model_validate(limits))
        except TransientError:
            continue


def _hold(at_commit: int) -> None:
    left = iter(range(at_commit - 1, -1, -1))

    def _before_commit(_: Connection) -> None:
        if next(left, None) == 0:
            _say(_HOLDING)
            sys.stdin.readline()

    event.listen(Engine, "commit", _before_commit)


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_Commander().serve())
