import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.decision import Action, Decision, InvalidDecisionError, parse_decision, parse_decision_json, raise_to
from incident.severity import PagerDutyPriority, Severity, priority_of
from tests.builders import decision


def answer(**changes: object) -> dict[str, object]:
    return {**decision().model_dump(mode="json"), **changes}


def errors_of(**changes: object) -> str:
    with pytest.raises(InvalidDecisionError) as by_value:
        parse_decision(answer(**changes))
    with pytest.raises(InvalidDecisionError) as by_text:
        parse_decision_json(json.dumps(answer(**changes)))
    assert [line.split(":")[0] for line in by_value.value.errors] == [
        line.split(":")[0] for line in by_text.value.errors
    ]
    return "\n".join(by_value.value.errors)


def test_a_valid_answer_is_the_decision() -> None:
    assert parse_decision(answer()) == decision()
    assert parse_decision_json(json.dumps(answer())) == decision()


def test_a_confidence_in_percent_is_refused_by_name() -> None:
    assert errors_of(confidence=92) == "confidence: Input should be less than or equal to 1 (got 92)"


@pytest.mark.parametrize("confidence", [-0.1, 1.1, True, "0.9", "92%", None])
def test_a_confidence_is_a_number_from_0_to_1(confidence: object) -> None:
    assert errors_of(confidence=confidence).startswith("confidence: ")


def test_every_wrong_field_is_named_at_once() -> None:
    lines = errors_of(severity="P9", summary="  ", action="reboot", surprise=1).splitlines()
    assert [line.split(":")[0] for line in lines] == ["severity", "summary", "action", "surprise"]


def test_a_missing_field_is_an_error_and_has_no_default() -> None:
    for name in ("severity", "confidence", "summary", "root_cause_hypothesis", "action", "pagerduty_priority"):
        partial = {key: value for key, value in answer().items() if key != name}
        with pytest.raises(InvalidDecisionError, match=f"{name}: Field required"):
            parse_decision(partial)


def test_text_around_the_json_is_refused() -> None:
    for text in ("```json\n{}\n```", f"Here it is: {json.dumps(answer())}", "", "null", "[]"):
        with pytest.raises(InvalidDecisionError):
            parse_decision_json(text)


TEXTS = {
    "lines": "two\nlines",
    "quotes": 'it says "refused"',
    "apostrophe": "it's down",
    "docstring": '"""\nimport os\n"""',
    "backslash": "a \\ b",
    "template": "{{ secret('KEY') }}",
    "shell": "${HOME} `id`",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_a_text_holds_ends_no_text(text: str) -> None:
    said = parse_decision_json(json.dumps(answer(summary=text, root_cause_hypothesis=text)))
    assert said == decision(summary=text, root_cause_hypothesis=text)


def test_a_rollback_has_a_target() -> None:
    assert "rollback_to: expected the deployment to roll back to" in errors_of(rollback_to=None)


@pytest.mark.parametrize("action", [Action.MONITOR, Action.ESCALATE])
def test_only_a_rollback_has_a_target(action: Action) -> None:
    assert f"rollback_to: expected null, since action is {action}" in errors_of(action=action)
    assert parse_decision(answer(action=action, rollback_to=None)).rollback_to is None


def test_prose_is_bounded() -> None:
    assert errors_of(summary="x" * 2001).startswith("summary: ")
    assert errors_of(evidence_ids=["x"] * 51).startswith("evidence_ids: ")
    assert parse_decision(answer(summary=f"  {'x' * 2000}  ")).summary == "x" * 2000


@settings(deadline=None)
@given(st.sampled_from(Severity), st.sampled_from(Severity), st.sampled_from(PagerDutyPriority))
def test_a_severity_below_the_numbers_is_raised_and_never_lowered(
    said: Severity, floor: Severity, priority: PagerDutyPriority
) -> None:
    before = decision(severity=said, pagerduty_priority=priority)
    raised = raise_to(before, floor)
    assert raised.severity.rank == min(said.rank, floor.rank)
    assert raised.pagerduty_priority is (priority_of(floor) if floor.rank < said.rank else priority)
    unchanged = {"severity", "pagerduty_priority"}
    assert raised.model_dump(exclude=unchanged) == before.model_dump(exclude=unchanged)


def test_a_decision_is_immutable_and_closed() -> None:
    assert Decision.model_config.get("frozen")
    assert errors_of(confidence_score=92).startswith("confidence_score: ")
