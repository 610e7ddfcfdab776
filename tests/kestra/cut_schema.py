"""`python -m tests.kestra.cut_schema SCHEMA > tests/kestra/flow_schema.json`: what our flows need of a server's schema.

SCHEMA is what a Kestra server with plugin-ai says of its flows (draft-07): 1.3.31 it was.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kestra import flows

_FLOW = "io.kestra.core.models.flows.Flow"
_KEPT = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const", "properties", "required", "items", "pattern"}
    | {"additionalProperties", "minLength", "maxLength", "minItems", "minimum", "maximum", "format", "$deprecated"}
)
"""Keywords that say what is valid. `$deprecated` is Kestra's own."""


def cut(schema: dict[str, Any]) -> dict[str, Any]:
    """The part of `schema` that holds a flow of the task, trigger and provider types that ours have."""
    types = {each for name in (flows.COMMANDER, flows.AGENT) for each in _types(flows.read(name))}
    definitions: dict[str, Any] = schema["definitions"]
    ours = {name for name in definitions if ".plugin." not in name or name in types or _is_part(name, types)}
    kept: dict[str, Any] = {}
    wanted = [_FLOW]
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = _closed(name, _cut(definitions[name], ours))
            wanted += _references(kept[name])
    return {
        "$schema": schema["$schema"],
        "$comment": "Of a Kestra 1.3.31 server with plugin-ai, cut to what our flows use by cut_schema.py.",
        "$ref": schema["$ref"],
        "definitions": dict(sorted(kept.items())),
    }


def _closed(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """`definition`, refusing properties that it does not know, unless another one goes on from it (those end in -1)."""
    if "properties" not in definition or name.endswith("-1"):
        return definition
    return {"additionalProperties": False} | definition


def _is_part(name: str, types: set[str]) -> bool:
    """Whether that definition is of a part of one of these types, such as how often a loop looks."""
    return name.startswith("io.kestra.plugin.ai.domain.ChatConfiguration") or name.partition("-")[0] in types


def _types(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str) and value["type"].startswith("io.kestra."):
            yield value["type"]
        for inner in value.values():
            yield from _types(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _types(inner)


def _cut(value: Any, ours: set[str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_cut(each, ours) for each in value if not _is_foreign(each, ours)]
    if not isinstance(value, dict):
        return value
    cut = {}
    for key, inner in value.items():
        if key == "properties":
            cut[key] = {name: _cut(each, ours) for name, each in inner.items() if not _is_foreign(each, ours)}
        elif key in _KEPT:
            cut[key] = _cut(inner, ours)
    return cut


def _is_foreign(value: object, ours: set[str]) -> bool:
    """Whether `value` is nothing but a reference to what our flows do not use."""
    return bool(found := list(_references(value, deep=False))) and not ours.intersection(found)


def _references(value: object, *, deep: bool = True) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference.removeprefix("#/definitions/")
        inners = value.values() if deep else value.get("allOf", ())
    else:
        inners = value if isinstance(value, list) and deep else ()
    for inner in inners:
        yield from _references(inner, deep=deep)


if __name__ == "__main__":
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    part = cut(whole)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in part.pop("definitions").items())
    sys.stdout.write(f'{json.dumps(part).removesuffix("}")}, "definitions": {{\n{lines}\n}}}}\n')
