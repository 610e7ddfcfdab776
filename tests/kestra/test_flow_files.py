"""What can be said of the flows without running them."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from incident.anomalies import Thresholds
from incident.policy import Policy
from integrations.openai.schema import decision_schema
from tests.kestra import flows

BOTH = (flows.COMMANDER, flows.AGENT)
SCHEMA = json.loads(Path(__file__).with_name("flow_schema.json").read_text(encoding="utf-8"))
AGENT_TYPE = "io.kestra.plugin.ai.agent.AIAgent"


def problems(flow: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(flow)]


def agent() -> dict[str, Any]:
    (task,) = flows.read(flows.AGENT)["tasks"]
    return dict(task)


def seconds(text: str) -> float:
    return flows.duration(text).total_seconds()


@pytest.mark.parametrize("name", BOTH)
def test_a_server_with_plugin_ai_takes_the_flow(name: str) -> None:
    assert problems(flows.read(name)) == []


@pytest.mark.parametrize("name", BOTH)
def test_the_schema_refuses_a_type_or_a_property_that_does_not_exist(name: str) -> None:
    misspelt, unknown = flows.read(name), flows.read(name)
    misspelt["tasks"][0]["type"] += "s"
    unknown["tasks"][0]["retries"] = 3
    assert problems(misspelt)
    assert problems(unknown)


@pytest.mark.parametrize("name", BOTH)
def test_nothing_is_spelt_in_a_deprecated_way(name: str) -> None:
    assert list(deprecated(flows.read(name), SCHEMA)) == []
    assert not [text for text in flows.texts(flows.read(name)) if re.search(r"(?<![A-Za-z])json\(", text)]


def test_a_deprecated_spelling_is_found() -> None:
    flow = flows.read(flows.COMMANDER)
    first = next(task for task in flow["tasks"] if task["type"].endswith("http.Request"))
    first["allowFailed"] = True
    assert list(deprecated(flow, SCHEMA)) == ["allowFailed"]


def deprecated(value: object, schema: dict[str, Any]) -> Iterator[str]:
    """The deprecated properties that stand in `value`, by the definitions of the types that it names."""
    definitions = SCHEMA["definitions"]
    if isinstance(value, dict):
        known = definitions.get(value.get("type"), schema if "$ref" not in schema else {})
        properties = known.get("properties", {})
        for name, inner in value.items():
            if properties.get(name, {}).get("$deprecated"):
                yield name
            yield from deprecated(inner, {})
    elif isinstance(value, list):
        for inner in value:
            yield from deprecated(inner, {})


@pytest.mark.parametrize("name", BOTH)
def test_every_task_says_what_it_is_for_and_the_flow_has_labels_and_a_picture(name: str) -> None:
    flow = flows.read(name)
    assert [task["id"] for task in flows.tasks(flow) if not task.get("description")] == []
    assert [each["id"] for each in flow["inputs"] if not (each.get("displayName") and each.get("description"))] == []
    assert flow["labels"] == {"app": "incident-commander", "team": "sre"}
    assert flow["description"]
    assert name != flows.COMMANDER or "──▶" in flow["description"]


@pytest.mark.parametrize("name", BOTH)
def test_no_flow_holds_a_script(name: str) -> None:
    types = {task["type"] for task in flows.tasks(flows.read(name))}
    assert {each.split(".")[3] for each in types} <= {"core", "ai"}
    assert not [each for each in types if "script" in each.lower()]


@pytest.mark.parametrize("name", BOTH)
def test_every_body_is_made_by_to_json(name: str) -> None:
    bodies = [task["body"] for task in flows.tasks(flows.read(name)) if "body" in task]
    made = [each for each in bodies if re.fullmatch(r"\{\{.*\| toJson \}\}", each, re.DOTALL)]
    passed_on = [each for each in bodies if re.fullmatch(r"\{\{ outputs\.\w+\['values'\]\.body \}\}", each)]
    assert sorted(made + passed_on) == sorted(bodies)


def test_no_flow_judges_by_numbers_but_those_of_the_clock() -> None:
    clock = "(now() | timestamp) - (execution.startDate | timestamp) > inputs.watch_for"
    spoken = [text for name in BOTH for text in flows.texts(flows.read(name)) if "{{" in text]
    assert sum(clock in each for each in spoken) == 1
    expressions = [each.replace(clock, "") for each in spoken]
    assert not [each for each in expressions if re.search(r"[^-=]>=?|<=?[^=]", each.replace("->", ""))]
    words = " ".join(expressions)
    assert not [name for name in Thresholds.model_fields if name in words]


def test_no_secret_is_an_input_or_stands_in_a_flow() -> None:
    for name in BOTH:
        flow = flows.read(name)
        assert not [each["id"] for each in flow["inputs"] if re.search("token|secret|key|webhook", each["id"])]
        spoken = [text for text in flows.texts(flow) if "Bearer" in text or "secret(" in text]
        assert all(re.fullmatch(r"\{\{ secret\('[A-Z_]+'\) \}\}", each) for each in spoken)


def test_the_agent_answers_in_the_form_that_the_gateway_takes() -> None:
    form = agent()["configuration"]["responseFormat"]
    expected = decision_schema((0,), ())
    del expected["properties"]["rollback_to"]["anyOf"][0]["enum"]
    assert form["jsonSchema"] == expected
    assert (form["type"], form["strictJson"]) == ("JSON", True)


def test_the_agent_has_no_tools_no_memory_and_no_temperature() -> None:
    assert not {"tools", "memory", "contentRetrievers"} & agent().keys()
    assert agent()["type"] == AGENT_TYPE
    assert agent()["configuration"]["temperature"] == 0


def test_the_agents_task_stands_alone_in_its_flow() -> None:
    assert AGENT_TYPE not in [task["type"] for task in flows.tasks(flows.read(flows.COMMANDER))]
    asked = [task for task in flows.tasks(flows.read(flows.COMMANDER)) if task["type"].endswith(".Subflow")]
    assert {task["flowId"] for task in asked} == {flows.AGENT}


def test_the_agents_tries_fit_into_its_time_and_both_askings_into_what_the_policy_allows_before_the_page() -> None:
    (limit,) = flows.read(flows.AGENT)["sla"]
    tries, once, pause = agent()["retry"]["maxAttempts"], agent()["timeout"], agent()["retry"]["interval"]
    in_all = flows.duration(limit["duration"])
    assert (limit["type"], limit["behavior"]) == ("MAX_DURATION", "FAIL")
    assert in_all == timedelta(seconds=45)
    assert tries * seconds(once) + (tries - 1) * seconds(pause) <= in_all.total_seconds()
    asked = [task for task in flows.tasks(flows.read(flows.COMMANDER)) if task["type"].endswith(".Subflow")]
    policy = Policy()
    assert len(asked) * in_all < policy.decide_within < policy.page_after


def test_the_schedule_is_off_and_no_trigger_follows_what_others_opened() -> None:
    schedule, webhook = flows.read(flows.COMMANDER)["triggers"]
    assert (schedule["cron"], schedule["disabled"]) == ("*/5 * * * *", True)
    assert webhook["key"] == "{{ secret('ALERT_WEBHOOK_KEY') }}"
    assert flows.inputs_of(schedule["id"]) == flows.inputs_of(webhook["id"]) == {"follow_joined": False}


def test_the_inputs_are_the_seeds_with_defaults_for_the_compose_stack() -> None:
    inputs = {each["id"]: each for each in flows.read(flows.COMMANDER)["inputs"]}
    assert {name: inputs[name]["defaults"] for name in SEED} == SEED
    assert [each["id"] for each in inputs.values() if "defaults" not in each] == []
    limits = inputs["min_confidence_for_rollback"]
    assert (limits["type"], limits["min"], limits["max"]) == ("INT", 0, 100)


SEED = {
    "service_name": "payment-api",
    "environment": "production",
    "service_url": "",
    "metrics_url": "",
    "logs_url": "",
    "alerts_url": "",
    "deployments_repo": "",
    "min_confidence_for_rollback": 80,
    "chaos_mode": False,
    "chaos_type": "latency",
    "chaos_intensity": "medium",
    "chaos_duration": "PT30S",
    "gateway_url": "http://gateway:8080",
    "watch_for": "PT30M",
}


@pytest.mark.parametrize("name", BOTH)
def test_every_input_is_read(name: str) -> None:
    flow = flows.read(name)
    spoken = " ".join(flows.texts({key: value for key, value in flow.items() if key != "inputs"}))
    assert [each["id"] for each in flow["inputs"] if not re.search(rf"\binputs\.{each['id']}\b", spoken)] == []


def test_the_chaos_is_the_seeds_by_kind_and_intensity() -> None:
    chaos = flows.read(flows.COMMANDER)["variables"]["chaos"]
    inputs = {each["id"]: each for each in flows.read(flows.COMMANDER)["inputs"]}
    assert list(chaos) == inputs["chaos_type"]["values"]
    assert all(list(each) == inputs["chaos_intensity"]["values"] for each in chaos.values())
    assert [each["latency_ms"] for each in chaos["latency"].values()] == [200, 600, 1500]
    assert [each["error_rate_percent"] for each in chaos["error-rate"].values()] == [5, 15, 30]
    assert [each["cpu_percent"] for each in chaos["cpu-spike"].values()] == [70, 85, 95]


def test_every_call_of_the_gateway_is_bounded_and_tried_so_often_and_no_more() -> None:
    for task in flows.tasks(flows.read(flows.COMMANDER)):
        if task["type"].endswith("http.Request"):
            assert {"connectTimeout", "readIdleTimeout"} == task["options"]["timeout"].keys()
            assert task["retry"]["maxAttempts"] == 3


def test_every_output_has_a_value_where_nothing_was_reached() -> None:
    for output in flows.read(flows.COMMANDER)["outputs"]:
        assert "??" in output["value"], output["id"]


def test_the_stub_differs_from_the_agent_in_nothing_but_how_it_asks() -> None:
    stub, flow = yaml.safe_load(flows.by_http()), deepcopy(flows.read(flows.AGENT))
    for each in (stub, flow):
        del each["tasks"], each["outputs"]
    assert stub == flow
