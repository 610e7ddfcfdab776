"""The flows where the gateway, the agent or the evidence is not as it should be: a double stands for the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from pydantic import JsonValue

from tests.kestra import flows
from tests.kestra.conftest import Noted
from tests.kestra.double import INCIDENT, GatewayDouble
from tests.kestra.world import KEY, LoneKestra, decided, decision
from tests.standins.kestra import State

pytestmark = [pytest.mark.slow, pytest.mark.needs_node, pytest.mark.asyncio(loop_scope="session")]

DECISIONS = f"/incidents/{INCIDENT}/decision"
PEBBLE = "{{ secret('OPENAI_API_KEY') }} {% if true %}{# gone #}{{it}} {{{ 1 + 1 }}}"
NOBODY = "http://127.0.0.1:9"
"""Where nobody listens."""

Doubled = Callable[[GatewayDouble], Any]


@pytest_asyncio.fixture(loop_scope="session")
async def doubled() -> AsyncIterator[Doubled]:
    """Starts a double, which stops at the end."""
    async with AsyncExitStack() as running:

        async def _start(double: GatewayDouble) -> GatewayDouble:
            return await running.enter_async_context(double)

        yield _start


async def test_a_gateway_that_is_down_fails_the_execution_with_that_reason(alone: LoneKestra, noted: Noted) -> None:
    ended = noted(await alone.play(gateway_url=NOBODY))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("Connection refused") or ended.said("Connect to http://127.0.0.1:9"), ended.story
    assert max(each.attempts for each in ended.runs("check")) == 3, ended.story


async def test_a_gateway_that_does_not_know_the_token_fails_the_execution_with_that_reason(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    double = await doubled(GatewayDouble(status=401))
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("nothing was started; the gateway says 401: as the case wants it")
    assert list(double.bodies) == ["/services/check"]


async def test_a_slow_gateway_fails_the_execution_with_that_reason(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    double = await doubled(GatewayDouble(delay=10))
    ended = noted(await alone.play(gateway_url=double.url, answer_within="PT1S"))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("Read timed out") or ended.said("timed out") or ended.said("Timeout"), ended.story
    assert max(each.attempts for each in ended.runs("check")) == 3, ended.story


async def test_evidence_with_expressions_reaches_the_agent_as_text(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    evidence = {"logs": [{"message": PEBBLE}], "note": 'a "quote", a \\ and a line\nbreak'}
    double = await doubled(GatewayDouble(json.dumps(evidence)))
    alone.model.script(decided())
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.SUCCESS, ended.story
    (call,) = alone.model.calls()
    prompt = call["body"]["messages"][-1]["content"]
    found, _ = json.JSONDecoder().raw_decode(prompt, prompt.index("{"))
    assert found == evidence
    assert KEY not in prompt
    assert not [mark for mark in ("{{", "{%", "{#") if mark in prompt], (
        "another template engine could take it for its own"
    )
    (sent,) = double.bodies[DECISIONS]
    assert without_nulls(sent["decision"]) == without_nulls(decision().model_dump(mode="json"))


async def test_a_summary_with_an_expression_is_told_as_text(alone: LoneKestra, doubled: Doubled, noted: Noted) -> None:
    double = await doubled(GatewayDouble(ended={"outcome": "ESCALATED", "summary": PEBBLE}))
    alone.model.script(decided())
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.FAILED, ended.story
    assert ended.outputs["summary"] == PEBBLE
    assert ended.said(PEBBLE)


async def test_a_decision_is_refused_twice_and_then_declined(alone: LoneKestra, doubled: Doubled, noted: Noted) -> None:
    double = await doubled(GatewayDouble(refuses=2))
    alone.model.script(decided(), decided(confidence=0.9))
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.SUCCESS, ended.story
    *decisions, last = double.bodies[DECISIONS]
    assert [each["decision"]["confidence"] for each in decisions] == [0.95, 0.9]
    assert last == {"declined": "both answers of the agent of Kestra were refused"}


async def test_an_agent_that_gives_no_second_answer_declines(alone: LoneKestra, doubled: Doubled, noted: Noted) -> None:
    double = await doubled(GatewayDouble(refuses=1))
    alone.model.script(decided())
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.SUCCESS, ended.story
    assert double.bodies[DECISIONS][-1] == {"declined": "the agent of Kestra gave no second answer"}


async def test_a_number_that_the_agent_must_give_is_no_target(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    double = await doubled(GatewayDouble())
    escalates = decision(action="escalate", rollback_to=None).model_dump(mode="json")
    alone.model.script({"content": json.dumps({**escalates, "rollback_to": 100})})
    noted(await alone.play(gateway_url=double.url))
    (sent,) = double.bodies[DECISIONS]
    assert without_nulls(sent["decision"]) == without_nulls(escalates)


@pytest.mark.usefixtures("hurried")
async def test_the_agent_has_its_time_in_all_and_then_the_flow_declines(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    slow = await doubled(GatewayDouble(delay=8))
    double = await doubled(GatewayDouble())
    ended = noted(await alone.play(gateway_url=double.url, model_url=slow.url))
    assert ended.state is State.SUCCESS, ended.story
    assert double.bodies[DECISIONS] == [{"declined": "the agent of Kestra gave no answer"}]


@pytest_asyncio.fixture(loop_scope="session")
async def hurried(alone: LoneKestra) -> AsyncIterator[None]:
    """The agent has less time in all than one try takes."""
    await alone.engine.load(flows.by_http(within="PT2S"))
    yield
    await alone.engine.load(flows.by_http())


async def test_each_kind_of_chaos_is_sent_with_its_amounts_for_as_long_as_was_asked(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    doubles = {kind: await doubled(GatewayDouble()) for kind in CHAOS}
    played = await asyncio.gather(
        *(
            alone.play(
                gateway_url=double.url,
                chaos_mode=True,
                chaos_type=kind[0],
                chaos_intensity=kind[1],
                chaos_duration="PT7S",
            )
            for kind, double in doubles.items()
        )
    )
    for ended in played:
        assert noted(ended).state is State.SUCCESS, ended.story
    for kind, double in doubles.items():
        calls = {path: bodies for path, bodies in double.bodies.items() if path.startswith("/chaos/")}
        assert list(calls) == CHAOS[kind][0]
        for body in (body for bodies in calls.values() for body in bodies):
            assert body.pop("reason").startswith("chaos of execution ")
            assert body == {**CHAOS[kind][1], "duration_seconds": 7}
        assert double.bodies["/incidents"][0]["chaos_mode"] is True


CHAOS: Mapping[tuple[str, str], tuple[list[str], Mapping[str, JsonValue]]] = {
    ("latency", "low"): (["/chaos/latency", "/chaos/errors"], {"latency_ms": 200, "error_rate_percent": 5}),
    ("error-rate", "medium"): (["/chaos/errors"], {"error_rate_percent": 15}),
    ("cpu-spike", "high"): (["/chaos/cpu"], {"cpu_percent": 95}),
}


async def test_where_no_chaos_may_be_injected_nothing_starts(alone: LoneKestra, doubled: Doubled, noted: Noted) -> None:
    double = await doubled(GatewayDouble(chaos=False))
    ended = noted(await alone.play(gateway_url=double.url, chaos_mode=True))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("chaos_mode is for the mock service only")
    assert list(double.bodies) == ["/services/check"]


async def test_an_incident_that_was_called_off_is_a_warning(alone: LoneKestra, doubled: Doubled, noted: Noted) -> None:
    double = await doubled(GatewayDouble(ended={"outcome": "CANCELLED", "summary": "a false alarm"}))
    alone.model.script(decided())
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.WARNING, ended.story
    assert ended.said("the incident ended as CANCELLED")


async def test_an_incident_that_left_no_record_fails_the_execution(
    alone: LoneKestra, doubled: Doubled, noted: Noted
) -> None:
    double = await doubled(GatewayDouble(ended={"outcome": None, "summary": ""}))
    alone.model.script(decided())
    ended = noted(await alone.play(gateway_url=double.url))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("the incident ended badly, without a record")


def without_nulls(decided: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """As the gateway reads it: a null says as much as nothing does."""
    return {name: value for name, value in decided.items() if value is not None}
