"""Drives the engine: a Java process that answers JSON lines, `kestra/engine/src/main/java/engine/Main.java`."""

import asyncio
import base64
import itertools
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from tests.standins.kestra.majors import Major, kestra_missing
from tests.standins.kestra.records import Execution

_BOOTS_WITHIN = timedelta(seconds=200)
"""Five seconds where nothing else runs; the JVM compiles its own code meanwhile, which a busy machine makes long."""
_ANSWERS_WITHIN = timedelta(seconds=90)
_STOPS_WITHIN = timedelta(seconds=10)
_LOOKS_EVERY = timedelta(milliseconds=20)
_LONGEST_LINE = 64 * 1024 * 1024
_SHOWN_OF_LOG = 3000
_OPTIONS = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
_YOUNG = ("-XX:TieredStopAtLevel=1",)
"""Code is compiled once, quickly: half the processor time until an engine is ready, more for one that runs on."""


class KestraError(Exception):
    """The engine did not do what it was asked to, and says why."""


class KestraRefusedError(KestraError):
    """Kestra does not start the flow with these inputs; the message names the input."""


class KestraDiedError(KestraError):
    """The engine is gone; the message has the end of its log."""


class KestraEngine:
    """A Kestra of its own, from `async with` to its end.

    Args:
        major: which one.
        directory: where it keeps its files and its log, `kestra.log`.
        secrets: what `{{ secret('NAME') }}` gives, by name.
        triggers: whether schedules fire.
        long_lived: compiled for speed, as a server's is, and not for a quick start.
    """

    def __init__(
        self,
        major: Major,
        directory: Path,
        secrets: Mapping[str, str] | None = None,
        *,
        triggers: bool = False,
        long_lived: bool = False,
    ) -> None:
        self.major = major
        self.log = directory / "kestra.log"
        self._directory = directory
        self._secrets = secrets or {}
        self._options = _OPTIONS if long_lived else (*_OPTIONS, *_YOUNG)
        self._arguments = ("triggers",) if triggers else ()
        self._numbers = itertools.count(1)
        self._waiting: dict[int | None, asyncio.Future[dict[str, Any]]] = {}
        self._gone = False
        self._process: Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """The engine, ready.

        Raises:
            KestraError: it is not built, does not come up, or not in time.
        """
        if reason := kestra_missing(self.major):
            raise KestraError(reason)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(self.major.home / "java"), *self._options, "-cp", f"{self.major.home}/lib/*", "engine.Main"),
                *(str(self._directory), *self._arguments),
                env={"PATH": os.environ.get("PATH", "")} | _as_variables(self._secrets),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                limit=_LONGEST_LINE,
            )
        try:
            await self._until_ready(self._process)
        except BaseException:
            await self._stop(self._process)
            raise
        self._listening = asyncio.create_task(self._listen(self._process))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it, whatever it is at."""
        if self._process:
            await self._stop(self._process)
        if self._listening:
            await self._listening

    @property
    def pid(self) -> int:
        """Of the Java process."""
        return self._started.pid

    async def validate(self, flow: str) -> tuple[str, ...]:
        """What Kestra has against the flow, line by line; none: it would take it. What it only warns of is no part."""
        return tuple((await self._ask("validate", {"source": flow}))["violations"])

    async def warnings(self, flow: str) -> tuple[str, ...]:
        """What Kestra warns of, and the deprecated properties that the flow uses."""
        found = await self._ask("validate", {"source": flow})
        return (*found["warnings"], *(f"deprecated: {path}" for path in found["deprecated"]))

    async def load(self, flow: str) -> None:
        """Puts the flow in force; one of the same namespace and id is replaced.

        Raises:
            KestraError: it is not valid.
        """
        await self._ask("load", {"source": flow})

    async def run(
        self,
        namespace: str,
        flow: str,
        inputs: Mapping[str, JsonValue] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Starts an execution, and gives its id.

        Raises:
            KestraRefusedError: an input is missing or not valid; nothing was started.
            KestraError: there is no such flow.
        """
        wish: dict[str, JsonValue] = {
            "namespace": namespace,
            "flow": flow,
            "inputs": dict(inputs or {}),
            "labels": {**(labels or {})},
        }
        return str((await self._ask("run", wish))["execution"])

    async def wait(self, execution_id: str, within: timedelta) -> Execution:
        """The execution once it has ended, its `afterExecution` too.

        Raises:
            TimeoutError: it has not; the message says what it is at.
            KestraError: there is no such execution.
        """
        try:
            wish: dict[str, JsonValue] = {"execution": execution_id, "seconds": within.total_seconds()}
            return Execution.model_validate(await self._ask("wait", wish, _ANSWERS_WITHIN + within))
        except TimeoutError as error:
            raise TimeoutError(f"not ended within {within}: {(await self.execution(execution_id)).story}") from error

    async def until(self, execution_id: str, holds: Callable[[Execution], bool], within: timedelta) -> Execution:
        """The execution as soon as `holds` says so of it.

        Raises:
            TimeoutError: it never did; the message says what the execution is at.
            KestraError: there is no such execution.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + within.total_seconds()
        while not holds(now := await self.execution(execution_id)):
            if clock() > until:
                raise TimeoutError(f"not so within {within}: {now.story}")
            await asyncio.sleep(_LOOKS_EVERY.total_seconds())
        return now

    async def kill(self, execution_id: str) -> None:
        """Asks for its end, which `wait` tells; what has ended stays as it is.

        Raises:
            KestraError: there is no such execution.
        """
        await self._ask("kill", {"execution": execution_id})

    async def execution(self, execution_id: str) -> Execution:
        """The execution as it is now.

        Raises:
            KestraError: there is no such execution.
        """
        return Execution.model_validate(await self._ask("execution", {"execution": execution_id}))

    async def executions(self, namespace: str, flow: str) -> tuple[Execution, ...]:
        """Every execution of that flow, those that another flow started too; oldest first."""
        found = await self._ask("executions", {"namespace": namespace, "flow": flow})
        return tuple(Execution.model_validate(each) for each in found["executions"])

    async def _ask(
        self, op: str, fields: Mapping[str, JsonValue], within: timedelta = _ANSWERS_WITHIN
    ) -> dict[str, Any]:
        """The result of a request.

        Raises:
            KestraError: the engine refuses, is gone, or does not answer.
            TimeoutError: the engine says that it took longer than the request allows.
        """
        number = next(self._numbers)
        reply = await self._answer(number, json.dumps({"id": number, "op": op, **fields}), within)
        if "error" in reply:
            raise _error(reply)
        result: dict[str, Any] = reply["result"]
        return result

    async def _answer(self, number: int | None, line: str, within: timedelta = _ANSWERS_WITHIN) -> dict[str, Any]:
        """The reply to a line; `number` is the id in it, which the reply repeats."""
        stdin = self._started.stdin
        if self._gone or stdin is None:
            raise self._died()
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            stdin.write(line.encode() + b"\n")
            async with asyncio.timeout(within.total_seconds()):
                return await self._waiting[number]
        except TimeoutError as error:
            raise KestraDiedError(f"Kestra said nothing within {within}; its log: {self._end_of_log()}") from error
        finally:
            del self._waiting[number]

    async def _until_ready(self, process: Process) -> None:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_BOOTS_WITHIN.total_seconds()):
                ready = await process.stdout.readline()
        except TimeoutError as error:
            raise KestraDiedError(f"Kestra was not ready within {_BOOTS_WITHIN}: {self._end_of_log()}") from error
        if not ready:
            await process.wait()
            raise self._died()

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            reply = json.loads(line)
            waiting = self._waiting.get(reply.get("id"))
            if waiting and not waiting.done():  # nobody waits for an answer that came too late
                waiting.set_result(reply)
        self._gone = True
        await process.wait()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._died())

    async def _stop(self, process: Process) -> None:
        if process.stdin:
            process.stdin.close()  # the engine ends with its standard input
        try:
            await asyncio.wait_for(process.wait(), _STOPS_WITHIN.total_seconds())
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _started(self) -> Process:
        assert self._process is not None, "the engine is used as `async with KestraEngine(...) as kestra`"
        return self._process

    def _died(self) -> KestraDiedError:
        return KestraDiedError(f"Kestra ended with {self._started.returncode}; its log: {self._end_of_log()}")

    def _end_of_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-_SHOWN_OF_LOG:]


def _as_variables(secrets: Mapping[str, str]) -> dict[str, str]:
    """As open-source Kestra takes secrets: from its environment, in base64."""
    return {f"SECRET_{name.upper()}": base64.b64encode(value.encode()).decode() for name, value in secrets.items()}


def _error(reply: Mapping[str, Any]) -> Exception:
    match reply["kind"]:
        case "INPUTS":
            return KestraRefusedError(reply["error"])
        case "LATE":
            return TimeoutError(reply["error"])
        case _:
            return KestraError(reply["error"])
