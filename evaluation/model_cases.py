"""Labelled cases for a model in the analyst's chair, and what came of asking one; tests/cases/README.md."""

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Self
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from incident.analysis import Analysis, Case
from incident.anomalies import Thresholds, assess
from incident.decision import Action, Decision, InvalidDecisionError, parse_decision_json
from incident.errors import AnalystUnusableError, BudgetSpentError, ConfigurationError, TransientError
from incident.evidence import Evidence
from incident.identifiers import mint_incident_id
from incident.model import Duration, Fact, field_errors
from incident.snapshot import Snapshot
from integrations.openai.api import Reply

Hear = Callable[[Reply], None]
Ask = Callable[["LabelledCase", Hear], Awaitable[Analysis]]
"""Asks a model for a decision; every reply is told as it came."""


class Expected(Fact):
    """What a good analyst answers."""

    actions: tuple[Action, ...] = Field(min_length=1, description="any of them is right")
    rollback_to: int | None = Field(default=None, description="the one right target; null: none")
    culprit: int | None = Field(default=None, description="the deployment that is to blame; null: none of them")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        rolls_back = Action.ROLLBACK in self.actions
        if rolls_back is (self.rollback_to is None):
            raise ValueError("rollback_to: expected a deployment where rollback is right, and null where it is not")
        if rolls_back and self.culprit is None:
            raise ValueError("culprit: expected a deployment where rollback is right")
        return self


class LabelledCase(Fact):
    """One case, and what is right in it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")
    story: str = Field(min_length=1, max_length=1000, description="what is really going on; the model is not told")
    evidence: Evidence | None = None
    snapshot: Snapshot | None = Field(default=None, description="a record, in place of evidence")
    thresholds: Thresholds = Thresholds()
    explains_within: Duration = timedelta(hours=2)
    expected: Expected

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        held = self.snapshot.evidence if self.snapshot else None
        if (self.evidence is None) is (held is None):
            raise ValueError("expected either evidence, or a snapshot that holds some")
        return self

    @property
    def seen(self) -> Evidence:
        """What there is to go by."""
        found = self.evidence or (self.snapshot.evidence if self.snapshot else None)
        if found is None:  # pragma: no cover - the validator sees to it
            raise ValueError("there is no evidence")
        return found

    @property
    def case(self) -> Case:
        """What the analyst is given: the assessment is made anew."""
        seen, at = self.seen, self.seen.collected_at
        entropy = UUID(bytes=hashlib.sha256(self.id.encode()).digest()[:16])
        return Case(
            incident_id=mint_incident_id(seen.environment, seen.service, at, entropy),
            evidence=seen,
            assessment=assess(seen, self.thresholds),
            explains_within=self.explains_within,
        )


def read_cases(directory: Path) -> tuple[LabelledCase, ...]:
    """The cases of every .json file of `directory`, by name; not of the folders in it.

    Raises:
        ConfigurationError: a line for each field that cannot be used, with its file; or there is no case.
    """
    cases: dict[str, LabelledCase] = {}
    problems: list[str] = []
    for file in sorted(directory.glob("*.json")):
        try:
            case = LabelledCase.model_validate_json(file.read_bytes())
        except ValidationError as error:
            problems += field_errors(error, file.name)
            continue
        if case.id in cases:
            problems.append(f"{file.name}: id: expected one that no other case has, got {case.id}")
        cases[case.id] = case
    if not cases and not problems:
        problems.append(f"{directory}: expected .json files with a labelled case in each")
    if problems:
        raise ConfigurationError(*problems)
    return tuple(cases.values())


class Standing(StrEnum):
    """What came of asking."""

    VALID = "valid"
    INVALID = "invalid"
    """The model answered, and no decision could be made of it."""
    UNANSWERED = "unanswered"
    """Nobody answered, or the budget was spent: it says nothing of the model."""


class Answer(Fact):
    """What came of one case."""

    case_id: str
    standing: Standing
    problem: str = Field(default="", description="why there is no decision")
    decision: Decision | None = None
    at_once: bool = Field(default=False, description="whether the first reply was a valid decision")
    cited: int = Field(default=0, description="citations of all replies that could be read")
    existing: int = Field(default=0, description="of them, those of items that the evidence has")
    seconds: float = Field(description="how long it took, repairs included")
    right_action: bool = False
    right_target: bool | None = Field(default=None, description="null: no rollback is right in it")
    spared: bool | None = Field(default=None, description="whether no rollback was proposed; null: one is to blame")


async def examine(
    cases: Iterable[LabelledCase], ask: Ask, clock: Callable[[], float] = time.perf_counter
) -> tuple[Answer, ...]:
    """What came of asking for each of `cases`, one after another, so that none waits for another's answer.

    Raises:
        PermanentError: the server refuses to be asked at all.
    """
    return tuple([await _examined(case, ask, clock) for case in cases])


async def _examined(case: LabelledCase, ask: Ask, clock: Callable[[], float]) -> Answer:
    replies: list[str] = []
    began = clock()
    analysis, problem, standing = None, "", Standing.VALID
    try:
        analysis = await ask(case, lambda reply: replies.append(reply.text))
    except AnalystUnusableError as error:
        problem, standing = str(error), Standing.INVALID
    except (BudgetSpentError, TransientError) as error:
        problem, standing = str(error), Standing.UNANSWERED
    took = clock() - began
    cited = [each for reply in replies if (read := _read(reply)) for each in read.evidence_ids]
    expected, decision = case.expected, analysis.decision if analysis else None
    return Answer(
        case_id=case.id,
        standing=standing,
        problem=problem,
        decision=decision,
        at_once=analysis is not None and analysis.repairs == 0,
        cited=len(cited),
        existing=sum(each in case.seen.ids for each in cited),
        seconds=took,
        right_action=decision is not None and decision.action in expected.actions,
        right_target=None
        if expected.rollback_to is None
        else decision is not None and decision.rollback_to == expected.rollback_to,
        spared=None if expected.culprit is not None else decision is not None and decision.rollback_to is None,
    )


def _read(reply: str) -> Decision | None:
    try:
        return parse_decision_json(reply)
    except InvalidDecisionError:
        return None


class Share(Fact):
    """How many of a number."""

    right: int
    of: int

    @property
    def words(self) -> str:
        """Both, and the share; unknown where there is nothing to share."""
        return f"{self.right} of {self.of}" + (f" ({self.right / self.of:.0%})" if self.of else " (unknown)")


class ModelReport(Fact):
    """How a model did. A model that was recorded says nothing of any model as it is now."""

    endpoint: str = Field(description="who was asked, or `recorded`")
    model: str = Field(description="as it was asked for")
    recorded: bool = Field(description="whether the replies come from a file: then this is no result")
    cases: int
    unanswered: int = Field(description="in no share: nobody answered, or the budget was spent")
    valid_at_once: Share = Field(description="the first reply was a decision in the schema, with a possible target")
    valid: Share = Field(description="the same, after at most two repairs")
    right_action: Share
    right_target: Share = Field(description="of the cases in which a rollback is right")
    citations_exist: Share = Field(description="of all citations of all replies")
    no_culprit: Share = Field(description="of the cases without a guilty deployment, those without a rollback")
    calls: int
    tokens: int | None = Field(description="in and out together; null: the server does not count them all")
    cost: float | None = Field(description="in the currency of the prices; null: not known")
    median_seconds: float | None = Field(description="of a decision, repairs included; null: none was made")
    p95_seconds: float | None
    answers: tuple[Answer, ...]


class Asked(Fact):
    """Who was asked, and what it took."""

    endpoint: str
    model: str
    recorded: bool
    calls: int
    tokens: int | None
    cost: float | None


def told(answers: Sequence[Answer], asked: Asked) -> ModelReport:
    """The report over `answers`; one that is invalid counts as wrong."""
    given = [each for each in answers if each.standing is not Standing.UNANSWERED]
    seconds = sorted(each.seconds for each in given)
    return ModelReport(
        endpoint=asked.endpoint,
        model=asked.model,
        recorded=asked.recorded,
        cases=len(answers),
        unanswered=len(answers) - len(given),
        valid_at_once=_share(each.at_once for each in given),
        valid=_share(each.standing is Standing.VALID for each in given),
        right_action=_share(each.right_action for each in given),
        right_target=_share(each.right_target for each in given if each.right_target is not None),
        citations_exist=Share(right=sum(each.existing for each in given), of=sum(each.cited for each in given)),
        no_culprit=_share(each.spared for each in given if each.spared is not None),
        calls=asked.calls,
        tokens=asked.tokens,
        cost=asked.cost,
        median_seconds=_nearest(seconds, 0.5),
        p95_seconds=_nearest(seconds, 0.95),
        answers=tuple(answers),
    )


def _share(each_right: Iterable[bool]) -> Share:
    known = list(each_right)
    return Share(right=sum(known), of=len(known))


def _nearest(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile."""
    return ordered[max(ceil(share * len(ordered)) - 1, 0)] if ordered else None
