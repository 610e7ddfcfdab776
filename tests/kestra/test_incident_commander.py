"""The documented path on the real engine of both majors, against the real stack and a model server."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fault.world import ENVIRONMENT, SERVICE
from tests.kestra import flows
from tests.kestra.conftest import Noted
from tests.kestra.world import ASKS, HASTY, LINGERS, Kestra, LoneKestra, decided, said
from tests.standins.kestra import KestraRefusedError, Major, State

pytestmark = [pytest.mark.slow, pytest.mark.needs_node, pytest.mark.asyncio(loop_scope="session")]

REFUSED = "Your last answer was refused."
GARBAGE = {"content": json.dumps({"severity": "SEV1", "confidence": 7, "action": "reboot everything"})}


async def test_the_agents_decision_is_carried_out_once_and_recovery_is_a_success(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    kestra.model.script(decided())
    ended = noted(await kestra.play(min_confidence_for_rollback=90))
    assert ended.state is State.SUCCESS, ended.story
    told = said(ended)
    assert (told["outcome"], told["classification"], told["action"]) == ("RECOVERED", "FULLY_RECOVERED", "rollback")
    assert (told["severity"], told["stage"], told["opened"]) == ("P0", "closed", True)
    assert told["before"]["deployment_id"] == 101
    assert told["after"]["deployment_id"] == 100
    record = told["snapshot"]
    assert (record["incident_id"], record["execution_id"]) == (told["incident_id"], ended.id)
    assert (record["analysis"]["analyst"], record["trigger"]["source"]) == ("kestra", "kestra")
    assert record["policy"]["min_confidence"] == 0.9
    assert str(told["page_url"]).endswith(f"/ui/incidents/{told['incident_id']}")
    assert "/workflows/" in str(told["workflow_url"])
    assert len(kestra.model.calls()) == 1
    assert len(await kestra.world.deeds("/deployment/")) == 1
    assert {"incident": told["incident_id"], "service": SERVICE, "environment": ENVIRONMENT}.items() <= (
        ended.labels.items()
    )


async def test_what_is_wrong_with_an_answer_goes_back_to_the_agent_once(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    kestra.model.script(GARBAGE, decided())
    ended = noted(await kestra.play())
    assert ended.state is State.SUCCESS, ended.story
    assert said(ended)["snapshot"]["analysis"]["analyst"] == "kestra"
    first, second = [call["body"]["messages"][-1]["content"] for call in kestra.model.calls()]
    assert REFUSED not in first
    errors = second.partition(REFUSED)[2]
    assert [field for field in ("severity: ", "confidence: ", "action: ", "summary: ") if field not in errors] == []


async def test_without_an_answer_of_the_agent_the_workflow_decides_alone(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    ended = noted(await kestra.play())
    assert ended.state is State.SUCCESS, ended.story
    assert ended.outputs["outcome"] == "RECOVERED"
    assert said(ended)["snapshot"]["analysis"]["analyst"] == "rules"
    # One try and a second one; 2.0 begins a task that fails once more beside itself.
    assert len(kestra.model.calls()) in {2, 4}


@pytest_asyncio.fixture(loop_scope="session")
async def keyless(kestra: Kestra) -> AsyncIterator[Kestra]:
    """The agent's key is not among Kestra's secrets."""
    await kestra.engine.load(flows.by_http().replace("OPENAI_API_KEY", "NOBODY_SET_THIS"))
    yield kestra
    await kestra.engine.load(flows.by_http())


async def test_without_a_key_no_model_is_asked_and_the_workflow_decides_alone(keyless: Kestra, noted: Noted) -> None:
    await keyless.world.fall_ill()
    keyless.model.script(decided())
    ended = noted(await keyless.play())
    assert ended.state is State.SUCCESS, ended.story
    assert said(ended)["snapshot"]["analysis"]["analyst"] == "rules"
    assert keyless.model.calls() == []


async def test_an_incident_that_ends_badly_fails_the_execution_and_says_why(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.post("/chaos/errors", error_rate_percent=30, duration_seconds=600)
    ended = noted(await kestra.play(service_name=HASTY))
    assert (ended.state, ended.outputs["outcome"]) == (State.FAILED, "ESCALATED"), ended.story
    assert ended.said("the incident ended badly, ESCALATED")
    assert ended.said(str(ended.outputs["page_url"]))


async def test_a_kill_before_the_action_cancels_the_incident(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    execution = await kestra.begin(service_name=ASKS, watch_for="PT3S")
    incident = await kestra.incident_of(execution)
    await kestra.world.until_stage(incident, "awaiting-decision", "awaiting-approval")
    await kestra.engine.kill(execution)
    ended = noted(await kestra.end(execution))
    assert ended.state is State.KILLED, ended.story
    seen = await kestra.world.until_stage(incident, "closed")
    assert (seen["outcome"], seen["snapshot"]["cancelled_by"]) == ("CANCELLED", "kestra")
    assert await kestra.world.deeds("/deployment/") == []


async def test_a_kill_after_the_action_cancels_nothing(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    kestra.model.script(decided())
    execution = await kestra.begin(service_name=LINGERS)
    incident = await kestra.incident_of(execution)
    await kestra.world.until_stage(incident, "settling")
    await kestra.engine.kill(execution)
    ended = noted(await kestra.end(execution))
    assert ended.state is State.KILLED, ended.story
    seen = await kestra.world.until_stage(incident, "closed")
    assert (seen["outcome"], seen["action"]) == ("RECOVERED", "rollback")


async def test_a_run_that_joins_watches_and_decides_nothing(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    incident = await kestra.world.open_by_hand(outside_analyst="somebody-else")
    await kestra.world.until_stage(incident, "awaiting-decision")
    ended = noted(await kestra.play(watch_for="PT2S"))
    assert ended.state is State.WARNING, ended.story
    told = said(ended)
    assert (told["incident_id"], told["opened"], told["stage"]) == (incident, False, "awaiting-decision")
    assert ended.said("the incident goes on without being watched from here, awaiting-decision")
    assert ended.said(str(told["page_url"]))
    assert kestra.model.calls() == []
    assert (await kestra.world.seen(incident))["stage"] == "awaiting-decision"


async def test_a_scheduled_run_that_joins_ends_at_once(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    incident = await kestra.world.open_by_hand(ASKS)
    ended = noted(await kestra.play(service_name=ASKS, **flows.inputs_of("every_five_minutes")))
    assert ended.state is State.SUCCESS, ended.story
    assert (ended.outputs["incident_id"], ended.outputs["opened"]) == (incident, False)
    assert ended.runs("poll") == ()


async def test_killing_a_run_that_joined_cancels_nothing(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    incident = await kestra.world.open_by_hand(ASKS)
    execution = await kestra.begin(service_name=ASKS, watch_for="PT3S")
    await kestra.incident_of(execution)
    await kestra.engine.kill(execution)
    ended = noted(await kestra.end(execution))
    assert ended.state is State.KILLED, ended.story
    assert (await kestra.world.seen(incident))["outcome"] is None


async def test_watching_ends_in_a_warning_and_the_incident_goes_on(kestra: Kestra, noted: Noted) -> None:
    await kestra.world.fall_ill()
    kestra.model.script(decided())
    ended = noted(await kestra.play(service_name=ASKS, watch_for="PT4S"))
    assert ended.state is State.WARNING, ended.story
    assert ended.said("without being watched from here")
    incident = str(ended.outputs["incident_id"])
    seen = await kestra.world.until_stage(incident, "awaiting-approval")
    assert seen["outcome"] is None


async def test_a_scheduled_run_with_nothing_wrong_is_a_success_without_the_agent(kestra: Kestra, noted: Noted) -> None:
    kestra.model.script(decided())
    ended = noted(await kestra.play(**flows.inputs_of("every_five_minutes")))
    assert ended.state is State.SUCCESS, ended.story
    assert (ended.outputs["outcome"], ended.outputs["opened"]) == ("NO_INCIDENT", True)
    assert kestra.model.calls() == []


async def test_chaos_is_injected_first_and_noted_in_the_record(kestra: Kestra, noted: Noted) -> None:
    kestra.model.script(decided(action="escalate", rollback_to=None))
    execution = await kestra.begin(chaos_mode=True, chaos_duration="PT10M")
    incident = await kestra.incident_of(execution)
    await kestra.world.until_stage(incident, "verifying")
    harmed = await kestra.world.deeds("/chaos/")
    await kestra.world.post("/demo/reset")
    ended = noted(await kestra.end(execution))
    assert ended.state is State.SUCCESS, ended.story
    assert said(ended)["snapshot"]["chaos_mode"] is True
    assert harmed == ["/chaos/latency", "/chaos/errors"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_name", "Payment API"),
        ("environment", "Production!"),
        ("min_confidence_for_rollback", "much"),
        ("min_confidence_for_rollback", 101),
        ("chaos_type", "fire"),
        ("chaos_intensity", "extreme"),
        ("gateway_url", "not a url"),
    ],
)
async def test_kestra_refuses_inputs_of_the_wrong_kind_by_name(alone: LoneKestra, name: str, value: str | int) -> None:
    with pytest.raises(KestraRefusedError, match=name):
        await alone.begin(**{name: value})


@pytest.mark.parametrize("name", ["chaos_duration", "watch_for", "answer_within"])
async def test_kestra_refuses_what_is_no_duration(alone: LoneKestra, name: str) -> None:
    # 1.3 says what is wrong with a duration, and not which one.
    words = "cannot be parsed to a Duration" if alone.engine.major is Major.V1 else name
    with pytest.raises(KestraRefusedError, match=words):
        await alone.begin(**{name: "30s"})


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("service_name", "unknown", "body.service"),
        ("metrics_url", "http://elsewhere/metrics", "body.metrics_url"),
        ("deployments_repo", "acme/elsewhere", "body.deployments_repo"),
    ],
)
async def test_what_the_registry_contradicts_fails_before_anything_starts(
    kestra: Kestra, noted: Noted, name: str, value: str, field: str
) -> None:
    before = len(await kestra.world.all())
    ended = noted(await kestra.play(chaos_mode=True, **{name: value}))
    assert ended.state is State.FAILED, ended.story
    assert ended.said("nothing was started; the gateway says 422")
    assert ended.said(field)
    assert len(await kestra.world.all()) == before
    assert await kestra.world.deeds("/chaos/") == []
    assert len(ended.runs("check")) == 1


async def test_the_engine_has_nothing_against_the_flow(alone: LoneKestra) -> None:
    assert await alone.engine.validate(flows.source(flows.COMMANDER)) == ()
    assert [each for each in await alone.engine.warnings(flows.source(flows.COMMANDER)) if "deprecated" in each] == []
