import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from incident.decision import Decision
from integrations.openai.instructions import INSTRUCTIONS
from integrations.openai.schema import MAX_CHOICE_LENGTH, MAX_CHOICES, decision_schema
from tests import builders

ALLOWED = {"type", "enum", "anyOf", "items", "description", "properties", "required", "additionalProperties"}


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for child in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        yield from nodes(child)
    if "items" in schema:
        yield from nodes(schema["items"])


def schema(
    candidates: tuple[int, ...] = (100, 99), ids: tuple[str, ...] = ("log:1", "metric:error_rate")
) -> dict[str, Any]:
    return decision_schema(candidates, ids)


def check(decision: dict[str, Any], against: dict[str, Any]) -> None:
    Draft202012Validator(against).validate(decision)


def answer(**changes: object) -> dict[str, Any]:
    valid: dict[str, Any] = builders.decision(evidence_ids=("log:1",)).model_dump(mode="json")
    return {**valid, **changes}


@pytest.mark.parametrize(("candidates", "ids"), [((100, 99), ("log:1",)), ((), ()), ((1,), ()), ((), ("log:1",))])
def test_the_schema_stays_within_the_strict_subset(candidates: tuple[int, ...], ids: tuple[str, ...]) -> None:
    built = schema(candidates, ids)
    Draft202012Validator.check_schema(built)
    assert built["type"] == "object"
    for node in nodes(built):
        assert node.keys() <= ALLOWED
        assert "enum" not in node or node["enum"]
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


def test_every_field_of_a_decision_is_in_the_schema_and_in_the_instructions() -> None:
    assert list(schema()["properties"]) == list(Decision.model_fields)
    for field in Decision.model_fields:
        assert f"\n- {field}: " in INSTRUCTIONS


def test_a_valid_decision_fits_its_schema() -> None:
    check(answer(), schema())
    check(answer(action="monitor", rollback_to=None, evidence_ids=[]), schema())


@pytest.mark.parametrize(
    "changes",
    [
        {"severity": "SEV1"},
        {"rollback_to": 77},
        {"rollback_to": "100"},
        {"evidence_ids": ["log:404"]},
        {"action": "restart"},
        {"note": "more"},
    ],
    ids=str,
)
def test_what_the_case_does_not_offer_does_not_fit(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        check(answer(**changes), schema())


def test_without_a_candidate_only_null_fits() -> None:
    built = schema(candidates=())
    check(answer(rollback_to=None), built)
    with pytest.raises(ValidationError):
        check(answer(rollback_to=100), built)


def test_the_largest_schema_stays_within_the_limits_of_the_api() -> None:
    ids = tuple(f"log:{number}".ljust(MAX_CHOICE_LENGTH, "x") for number in range(9999))
    built = schema(tuple(range(9999)), ids)
    enums = [node["enum"] for node in nodes(built) if "enum" in node]
    assert max(len(each) for each in enums) == MAX_CHOICES <= 250
    assert sum(len(each) for each in enums) <= 1000
    assert (
        sum(len(str(value)) for each in enums for value in each)
        + len(json.dumps(Decision.model_fields.keys().__len__()))
        <= 120_000
    )


def test_the_schema_depends_on_nothing_but_its_choices() -> None:
    assert json.dumps(schema()) == json.dumps(schema())
    assert schema(ids=("log:2",)) != schema()
    assert json.dumps(schema()).index("severity") < json.dumps(schema()).index("log:1")
