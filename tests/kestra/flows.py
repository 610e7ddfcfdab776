"""The flows as they are in the repository, and `ask-agent` as an engine without plugin-ai can run it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue, TypeAdapter

FOLDER = Path(__file__).parents[2] / "kestra" / "flows"
COMMANDER, AGENT = "incident-commander", "ask-agent"
NAMESPACE = "sre"
_ANSWER = "fromJson(fromJson(outputs.decide.body).choices[0].message.content)"


def source(name: str) -> str:
    """The text of that flow."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def read(name: str) -> dict[str, Any]:
    """That flow."""
    flow: dict[str, Any] = yaml.safe_load(source(name))
    return flow


def tasks(flow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every task of a flow, those inside of others and those after the execution too."""
    for key in ("tasks", "then", "else", "errors", "finally", "afterExecution"):
        for task in flow.get(key, ()):
            yield task
            yield from tasks(task)


def texts(value: object) -> Iterator[str]:
    """Every text in a flow."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


def duration(text: str) -> timedelta:
    """An ISO 8601 duration."""
    return TypeAdapter(timedelta).validate_python(text)


def by_http(within: str | None = None) -> str:
    """`ask-agent` with core http in the place of the agent: the same inputs, words, times and outputs, on a real wire.

    Args:
        within: how long it may take in all; by default as long as the flow says.
    """
    flow = read(AGENT)
    (agent,) = flow["tasks"]
    provider, configuration = agent["provider"], agent["configuration"]
    form = configuration["responseFormat"]
    words = {"system": agent["systemMessage"], "user": agent["prompt"], "schema": form["jsonSchema"]}
    body = (
        "{{ {'model': inputs.model, 'temperature': 0, 'messages': ["
        "{'role': 'system', 'content': outputs.words['values'].system}, "
        "{'role': 'user', 'content': outputs.words['values'].user}], "
        "'response_format': {'type': 'json_schema', 'json_schema': "
        "{'name': 'decision', 'strict': true, 'schema': outputs.words['values'].schema}}} | toJson }}"
    )
    flow["tasks"] = [
        {"id": "words", "type": "io.kestra.plugin.core.output.OutputValues", "values": words},
        {
            "id": agent["id"],
            "type": "io.kestra.plugin.core.http.Request",
            "uri": f"{provider['baseUrl']}/chat/completions",
            "method": "POST",
            "headers": {"Authorization": f"Bearer {provider['apiKey']}"},
            "body": body,
            "timeout": agent["timeout"],
            "retry": agent["retry"],
            "options": {"timeout": {"readIdleTimeout": agent["timeout"]}},
        },
    ]
    (output,) = flow["outputs"]
    output["value"] = output["value"].replace("outputs.decide.jsonOutput", _ANSWER)
    if within:
        flow["sla"][0]["duration"] = within
    return str(yaml.safe_dump(flow, sort_keys=False, allow_unicode=True))


def inputs_of(trigger: str) -> dict[str, JsonValue]:
    """What that trigger of `incident-commander` gives its executions."""
    return next(dict(each["inputs"]) for each in read(COMMANDER)["triggers"] if each["id"] == trigger)
