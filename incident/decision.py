"""What an analyst must return, whoever it is: a model, the rules, Kestra's agent, a person."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from incident.model import Fact, Ratio, field_errors
from incident.severity import PagerDutyPriority, Severity, priority_of, worst

Prose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Action(StrEnum):
    """What an analyst may propose."""

    ROLLBACK = "rollback"
    MONITOR = "monitor"
    ESCALATE = "escalate"


class Decision(Fact):
    """One structured decision: a proposal, which the gate may refuse."""

    severity: Severity
    confidence: Ratio = Field(description="0..1: how sure the analyst is of cause and action")
    summary: Prose = Field(description="what is happening, in one or two sentences")
    root_cause_hypothesis: Prose
    action: Action
    rollback_to: int | None = Field(
        default=None, description="the deployment to roll back to; required for action rollback, otherwise null"
    )
    pagerduty_priority: PagerDutyPriority
    evidence_ids: tuple[str, ...] = Field(default=(), max_length=50, description="the evidence that it rests on")

    @model_validator(mode="after")
    def _rollback_has_a_target(self) -> Self:
        if self.action is Action.ROLLBACK and self.rollback_to is None:
            raise ValueError("rollback_to: expected the deployment to roll back to, since action is rollback")
        if self.action is not Action.ROLLBACK and self.rollback_to is not None:
            raise ValueError(f"rollback_to: expected null, since action is {self.action}")
        return self


class InvalidDecisionError(ValueError):
    """A decision that does not validate; `errors` holds a line for each field."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = tuple(errors)


def parse_decision(answer: dict[str, Any]) -> Decision:
    """The decision in `answer`.

    Raises:
        InvalidDecisionError: with every field's error.
    """
    try:
        return Decision.model_validate(answer)
    except ValidationError as error:
        raise InvalidDecisionError(field_errors(error)) from error


def parse_decision_json(answer: str) -> Decision:
    """The decision in the JSON text `answer`, which must be the decision and nothing else.

    Raises:
        InvalidDecisionError: with every field's error.
    """
    try:
        return Decision.model_validate_json(answer)
    except ValidationError as error:
        raise InvalidDecisionError(field_errors(error)) from error


def raise_to(decision: Decision, floor: Severity) -> Decision:
    """`decision` with its severity raised to `floor` if it is below, and the priority that goes with that.

    A severity is never lowered: an analyst may see more than the numbers show, not less.
    """
    severity = worst(decision.severity, floor)
    if severity is decision.severity:
        return decision
    return decision.model_copy(update={"severity": severity, "pagerduty_priority": priority_of(severity)})
