"""The JSON schema of a decision in the strict subset of OpenAI's structured outputs, closed to what this case offers.

The subset: every object closed, every property required, no keyword but those in `_KEYWORDS`, no `$ref`. Servers may
ignore any part of it, so a reply is validated again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from incident.decision import Decision

MAX_CHOICES = 250
"""Values of one enum. OpenAI allows 1,000 in a schema; over 250 in one enum, its texts may have 15,000 characters."""
MAX_CHOICE_LENGTH = 120
"""Characters of one choice: all choices stay under the 120,000 that OpenAI allows for a schema's names and enums."""

_KEYWORDS = frozenset({"type", "enum", "anyOf", "items", "description"})
"""Besides an object's own. Lengths and ranges are left out: not every model takes them, and `Decision` holds them."""


def decision_schema(candidates: Sequence[int], evidence_ids: Sequence[str]) -> dict[str, Any]:
    """The schema of a decision that rolls back to one of `candidates` or to none, and cites of `evidence_ids`.

    Where there is nothing to cite the ids stay open, since an enum may not be empty.
    """
    raw = Decision.model_json_schema()
    schema = _strict(raw, raw.get("$defs", {}))
    properties = schema["properties"]
    properties["rollback_to"] = {
        "anyOf": [
            *([{"type": "integer", "enum": list(candidates)[:MAX_CHOICES]}] if candidates else []),
            {"type": "null"},
        ],
        "description": properties["rollback_to"]["description"],
    }
    if evidence_ids:
        properties["evidence_ids"]["items"]["enum"] = list(evidence_ids)[:MAX_CHOICES]
    return schema


def _strict(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        target = definitions[str(reference).removeprefix("#/$defs/")]
        return _strict({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    strict = {key: value for key, value in schema.items() if key in _KEYWORDS}
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(each, definitions) for each in strict["anyOf"]]
    if "items" in strict:
        strict["items"] = _strict(strict["items"], definitions)
    if "properties" in schema:
        properties = {name: _strict(each, definitions) for name, each in schema["properties"].items()}
        strict |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    return strict
