"""Kestra's engine in a process of its own, both majors: it judges flows, runs them, and is no reason to hang."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio

from tests.standins.kestra import (
    KestraDiedError,
    KestraEngine,
    KestraError,
    KestraRefusedError,
    Major,
    State,
    kestra_missing,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
MAJORS = [
    pytest.param(major, marks=pytest.mark.skipif(bool(kestra_missing(major)), reason=kestra_missing(major)))
    for major in Major
]
PATIENCE = timedelta(seconds=60)
"""For what takes a tenth of a second where nothing else runs."""
TOKEN = "wörd of honour"  # noqa: S105 - nobody's
CALL = """
id: call
namespace: house
inputs:
  - {id: url, type: URI}
  - {id: times, type: INT, min: 1, max: 3, defaults: 1}
labels: {team: payments}
tasks:
  - id: ask
    type: io.kestra.plugin.core.http.Request
    uri: "{{ inputs.url }}"
    method: POST
    contentType: application/json
    headers: {Authorization: "Bearer {{ secret('TOKEN') }}"}
    body: "{{ {'times': inputs.times, 'execution': execution.id} | toJson }}"
  - id: tell
    type: io.kestra.plugin.core.log.Log
    message: "{{ fromJson(outputs.ask.body).word }}, with {{ secret('TOKEN') }}"
outputs:
  - {id: word, type: STRING, value: "{{ fromJson(outputs.ask.body).word }}"}
afterExecution:
  - id: afterwards
    type: io.kestra.plugin.core.debug.Return
    format: "{{ execution.state }}"
"""
SLEEP = """
id: sleep
namespace: house
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT10M}
afterExecution:
  - {id: afterwards, type: io.kestra.plugin.core.debug.Return, format: "{{ execution.state }}"}
"""
PARENT = """
id: parent
namespace: house
tasks:
  - {id: child, type: io.kestra.plugin.core.flow.Subflow, namespace: house, flowId: child, wait: true}
outputs:
  - {id: word, type: STRING, value: "{{ outputs.child.outputs.word }}"}
"""
CHILD = """
id: child
namespace: house
tasks:
  - {id: work, type: io.kestra.plugin.core.output.OutputValues, values: {word: WORD}}
outputs:
  - {id: word, type: STRING, value: "{{ outputs.work.values.word }}"}
"""


class Desk:
    """What came in at a tiny server that answers every POST."""

    def __init__(self, url: str, heard: Sequence[tuple[str, dict[str, object]]]) -> None:
        self.url, self.heard = url, heard


@contextmanager
def _desk() -> Iterator[Desk]:
    heard: list[tuple[str, dict[str, object]]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((self.headers["Authorization"], body))
            reply = json.dumps({"word": "taken ✓"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Desk(f"http://127.0.0.1:{server.server_port}/", heard)
        finally:
            server.shutdown()
            thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=MAJORS)
async def kestra(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[KestraEngine]:
    async with KestraEngine(request.param, tmp_path_factory.mktemp("kestra"), {"token": TOKEN}) as engine:
        for flow in (CALL, SLEEP):
            await engine.load(flow)
        yield engine


async def test_a_flow_runs_and_all_of_it_is_told(kestra: KestraEngine) -> None:
    with _desk() as desk:
        started = await kestra.run("house", "call", {"url": desk.url, "times": 2}, {"incident": "i-1"})
        ended = await kestra.wait(started, PATIENCE)

    assert (ended.id, ended.state, ended.ended) == (started, State.SUCCESS, True), ended.story
    assert desk.heard == [(f"Bearer {TOKEN}", {"times": 2, "execution": started})]
    assert ended.inputs["times"] == 2
    assert ended.outputs == {"word": "taken ✓"}
    assert {"team": "payments", "incident": "i-1"}.items() <= ended.labels.items()
    assert [(task.id, task.state) for task in ended.tasks] == [
        ("ask", State.SUCCESS),
        ("tell", State.SUCCESS),
        ("afterwards", State.SUCCESS),
    ]
    assert ended.runs("ask")[0].outputs["code"] == 200
    assert ended.runs("afterwards")[0].outputs["value"] == "SUCCESS"
    logged = await kestra.until(started, lambda now: now.said("taken ✓"), PATIENCE)
    assert not logged.said(TOKEN)


async def test_valid_flows_pass_and_each_mistake_is_named(kestra: KestraEngine) -> None:
    mistakes = {
        "core.log.Log": ("core.log.Lag", "core.log.Lag"),
        "method: POST": ("methud: POST", "methud"),
        "id: tell": ("id: ask", "Duplicate task id"),
        'uri: "{{ inputs.url }}"\n': ("\n", "uri"),
        "inputs:": ("inputs: [", "YAML"),
    }
    assert await kestra.validate(CALL) == ()
    for right, (wrong, named) in mistakes.items():
        assert right in CALL
        assert named in " ".join(await kestra.validate(CALL.replace(right, wrong))), wrong


async def test_what_kestra_only_warns_of_is_told_apart(kestra: KestraEngine) -> None:
    assert await kestra.warnings(CALL) == ()
    lonely = PARENT.replace("flowId: child", "flowId: nobody")
    assert await kestra.validate(lonely) == ()
    assert "nobody" in " ".join(await kestra.warnings(lonely))


async def test_an_invalid_flow_is_not_loaded(kestra: KestraEngine) -> None:
    with pytest.raises(KestraError, match=r"core\.log\.Lag"):
        await kestra.load(CALL.replace("core.log.Log", "core.log.Lag").replace("id: call", "id: broken"))
    with pytest.raises(KestraError, match=r"house\.broken"):
        await kestra.run("house", "broken")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"url": "http://127.0.0.1/", "times": "often"}, "times"),
        ({"url": "http://127.0.0.1/", "times": 4}, "times"),
        ({}, "url"),
    ],
)
async def test_invalid_inputs_start_nothing_and_are_named(
    kestra: KestraEngine, inputs: dict[str, str | int], named: str
) -> None:
    before = await kestra.executions("house", "call")
    with pytest.raises(KestraRefusedError, match=named):
        await kestra.run("house", "call", {**inputs})
    assert await kestra.executions("house", "call") == before


async def test_a_flow_loaded_again_replaces_the_one_of_its_name_for_its_callers_too(kestra: KestraEngine) -> None:
    words = []
    await kestra.load(CHILD.replace("WORD", "real"))
    await kestra.load(PARENT)
    for word in ("real", "stub"):
        await kestra.load(CHILD.replace("WORD", word))
        words.append((await kestra.wait(await kestra.run("house", "parent"), PATIENCE)).outputs["word"])

    assert words == ["real", "stub"]
    children = await kestra.executions("house", "child")
    assert [child.outputs["word"] for child in children] == words


async def test_a_killed_execution_ends_with_what_comes_after_it(kestra: KestraEngine) -> None:
    started = await kestra.run("house", "sleep")
    await kestra.until(started, lambda now: any(task.state is State.RUNNING for task in now.runs("nap")), PATIENCE)
    with pytest.raises(TimeoutError, match="nap RUNNING"):
        await kestra.wait(started, timedelta(seconds=0.05))

    await kestra.kill(started)

    ended = await kestra.wait(started, PATIENCE)
    assert (ended.state, ended.runs("nap")[0].state) == (State.KILLED, State.KILLED), ended.story
    assert ended.runs("afterwards")[0].outputs["value"] == "KILLED"


async def test_what_does_not_exist_is_said_and_requests_go_on(kestra: KestraEngine) -> None:
    for asked in (kestra.execution("nobody"), kestra.kill("nobody"), kestra.wait("nobody", PATIENCE)):
        with pytest.raises(KestraError, match="no execution nobody"):
            await asked
    with pytest.raises(KestraError, match=r"house\.nobody"):
        await kestra.run("house", "nobody")
    assert await kestra.executions("house", "nobody") == ()


async def test_requests_are_answered_while_others_wait(kestra: KestraEngine) -> None:
    slow = await kestra.run("house", "sleep")
    waiting = asyncio.create_task(kestra.wait(slow, PATIENCE))
    with _desk() as desk:
        quick = await kestra.wait(await kestra.run("house", "call", {"url": desk.url}), PATIENCE)
    assert quick.state is State.SUCCESS
    assert not waiting.done()
    await kestra.kill(slow)
    assert (await waiting).state is State.KILLED


@pytest.mark.parametrize(
    ("number", "line", "complaint"),
    [
        (None, "no JSON", "one line with a JSON object"),
        (None, "[]", "one line with a JSON object"),
        (0, '{"id": 0}', "op: a text is wanted"),
        (0, '{"id": 0, "op": "dance"}', "dance"),
        (0, '{"id": 0, "op": "wait", "execution": "x", "seconds": "1"}', "seconds: a number"),
        (0, '{"id": 0, "op": "run", "namespace": "n", "flow": "f", "inputs": []}', "inputs: an object"),
    ],
)
async def test_a_bad_request_is_answered_and_the_engine_stays_up(
    kestra: KestraEngine, number: int | None, line: str, complaint: str
) -> None:
    reply = await kestra._answer(number, line)
    assert complaint in reply["error"]
    assert reply["kind"] == "REQUEST"
    assert await kestra.executions("house", "nobody") == ()


@pytest.mark.skipif(bool(kestra_missing(Major.V1)), reason=kestra_missing(Major.V1))
async def test_a_dead_engine_is_noticed_at_once_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with KestraEngine(Major.V1, tmp_path) as kestra:
        await kestra.load(SLEEP)
        waiting = asyncio.create_task(kestra.wait(await kestra.run("house", "sleep"), timedelta(hours=1)))
        await kestra.until((await kestra.executions("house", "sleep"))[0].id, lambda now: bool(now.tasks), PATIENCE)
        kestra.log.write_text("its last words")

        os.kill(kestra.pid, signal.SIGKILL)

        async with asyncio.timeout(PATIENCE.total_seconds()):
            with pytest.raises(KestraDiedError, match=r"-9.*its last words"):
                await waiting
            with pytest.raises(KestraDiedError, match="its last words"):
                await kestra.validate(SLEEP)


async def test_a_kestra_that_is_not_built_says_what_it_needs(tmp_path: Path) -> None:
    assert "JDK 21" in kestra_missing(Major.V1, tmp_path)
    assert "JDK 25" in kestra_missing(Major.V2, tmp_path)
