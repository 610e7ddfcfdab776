"""Labelled cases for a model: what they must hold, and how what it answered is counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from commander.__main__ import run
from evaluation.model_cases import (
    Asked,
    Expected,
    Hear,
    LabelledCase,
    ModelReport,
    Standing,
    examine,
    read_cases,
    told,
)
from incident.analysis import Analysis, Tokens
from incident.decision import Action
from incident.errors import AnalystUnusableError, BudgetSpentError, ConfigurationError, PermanentError, TransientError
from incident.rules import propose
from integrations.openai.api import Reply
from tests import builders

CASES = Path(__file__).parents[1] / "cases"
RECORDED = CASES / "recorded" / "by-hand.json"
NOBODY = Asked(endpoint="recorded", model="by hand", recorded=True, calls=0, tokens=None, cost=None)
GUILTY = Expected(actions=(Action.ROLLBACK,), rollback_to=100, culprit=101)
NO_CULPRIT = Expected(actions=(Action.ESCALATE,))


def case(name: str = "bad", expected: Expected = GUILTY) -> LabelledCase:
    return LabelledCase(id=name, story="a story", evidence=builders.degraded_evidence(), expected=expected)


def said(**changes: object) -> Analysis:
    repairs = changes.pop("repairs", 0)
    return builders.analysis(decision=builders.decision(**changes), repairs=repairs)


class Model:
    """Answers each case as it is told to; a decision is heard as the reply that it came from."""

    def __init__(self, answers: Mapping[str, Analysis | Exception]) -> None:
        self.answers = answers

    async def __call__(self, asked: LabelledCase, hear: Hear) -> Analysis:
        answer = self.answers[asked.id]
        if isinstance(answer, Exception):
            hear(Reply("I would rather not.", "standin", None))
            raise answer
        hear(Reply(answer.decision.model_dump_json(), "standin", Tokens(input=1, output=1)))
        return answer


async def judged(answers: Mapping[str, Analysis | Exception], *cases: LabelledCase) -> ModelReport:
    ticks = iter(range(100))
    return told(await examine(cases, Model(answers), lambda: float(next(ticks))), NOBODY)


async def test_each_figure_counts_the_cases_that_it_is_about() -> None:
    stay = {"action": "escalate", "rollback_to": None}
    report = await judged(
        {
            "right": said(),
            "wrong-target": said(rollback_to=99, repairs=1),
            "spared": said(**stay),
            "blamed": said(evidence_ids=("log:1", "log:404")),
        },
        case("right"),
        case("wrong-target"),
        case("spared", NO_CULPRIT),
        case("blamed", NO_CULPRIT),
    )
    shares = (report.valid_at_once, report.valid, report.right_action, report.right_target, report.no_culprit)
    assert [(each.right, each.of) for each in shares] == [(3, 4), (4, 4), (3, 4), (1, 2), (1, 2)]
    assert (report.citations_exist.right, report.citations_exist.of) == (7, 8)
    assert (report.median_seconds, report.p95_seconds, report.unanswered) == (1.0, 1.0, 0)


async def test_an_answer_of_which_no_decision_can_be_made_is_wrong_everywhere() -> None:
    unusable = AnalystUnusableError("openai", "refused")
    report = await judged({"a": unusable, "b": unusable}, case("a"), case("b", NO_CULPRIT))
    shares = (report.valid, report.right_action, report.right_target, report.no_culprit)
    assert [(each.right, each.of) for each in shares] == [(0, 2), (0, 2), (0, 1), (0, 1)]
    assert [each.standing for each in report.answers] == [Standing.INVALID] * 2


async def test_what_nobody_answered_is_in_no_figure() -> None:
    report = await judged(
        {"a": TransientError("openai", "is overloaded"), "b": BudgetSpentError("spent"), "c": said()},
        *map(case, "abc"),
    )
    assert (report.cases, report.unanswered) == (3, 2)
    assert (report.valid.right, report.valid.of, report.right_target.of) == (1, 1, 1)
    nothing = await judged({"a": TransientError("openai", "is overloaded")}, case("a"))
    assert (nothing.valid.words, nothing.median_seconds) == ("0 of 0 (unknown)", None)


async def test_a_server_that_refuses_to_be_asked_ends_it() -> None:
    with pytest.raises(PermanentError, match="key"):
        await judged({"a": PermanentError("openai", "refused the key (401)")}, case("a"))


@pytest.mark.parametrize(
    "expected",
    [
        {"actions": []},
        {"actions": ["rollback"], "culprit": 101},
        {"actions": ["rollback"], "rollback_to": 100},
        {"actions": ["escalate"], "rollback_to": 100},
        {"actions": ["reboot"]},
    ],
)
def test_what_is_expected_fits_together(expected: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Expected.model_validate(expected)


def test_a_case_is_evidence_or_a_record_that_holds_some() -> None:
    record = builders.snapshot()
    by_record = LabelledCase(id="a", story="s", snapshot=record, expected=GUILTY)
    assert by_record.case.evidence == record.evidence
    with pytest.raises(ValidationError, match="either evidence"):
        LabelledCase(id="a", story="s", snapshot=record, evidence=record.evidence, expected=GUILTY)
    with pytest.raises(ValidationError, match="either evidence"):
        LabelledCase(id="a", story="s", snapshot=builders.snapshot(builders.dossier()), expected=GUILTY)


def test_a_folder_of_cases_names_every_field_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected \.json files with a labelled case in each"):
        read_cases(tmp_path)
    whole = case().model_dump_json()
    (tmp_path / "a.json").write_text(whole)
    (tmp_path / "b.json").write_text(whole)
    (tmp_path / "c.json").write_text(whole.replace('"rollback"', '"reboot"'))
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(ConfigurationError) as caught:
        read_cases(tmp_path)
    files = dict.fromkeys(line.partition(": ")[0] for line in caught.value.lines)
    assert list(files) == ["b.json", "c.json", "d.json"]


def test_our_cases_are_enough_and_their_labels_are_within_what_the_evidence_offers() -> None:
    cases = read_cases(CASES)
    assert len(cases) >= 12
    assert sum(each.expected.culprit is None for each in cases) >= len(cases) / 3
    for each in cases:
        assert each.expected.rollback_to is None or each.expected.rollback_to in each.case.candidates
        assert each.story not in each.case.model_dump_json()


def test_the_rules_alone_judge_all_of_our_cases_but_the_innocent_deployment() -> None:
    wrong = {
        each.id
        for each in read_cases(CASES)
        if propose(each.seen, each.case.assessment, each.explains_within).action not in each.expected.actions
    }
    assert wrong == {"innocent-deployment"}


def test_recorded_replies_are_counted_and_never_presented_as_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "model", "--cases", str(CASES), "--recorded", str(RECORDED)]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["endpoint"], report["model"], report["recorded"]) == ("recorded", "written by hand", True)
    shares = {name: (each["right"], each["of"]) for name, each in report.items() if isinstance(each, dict)}
    assert shares == {
        "valid_at_once": (12, 15),
        "valid": (14, 15),
        "right_action": (13, 15),
        "right_target": (4, 4),
        "citations_exist": (47, 48),
        "no_culprit": (8, 10),
    }
    assert (report["calls"], report["tokens"], report["cost"]) == (19, 19 * 3200, 0)
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "at recorded  (replies out of a file: a rehearsal, and no result)" in out.splitlines()[0]
    assert "invalid            leak: openai: no valid decision after 2 repairs" in out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "recorded.json: cannot be read (FileNotFoundError)"),
        ("{", "recorded.json: Invalid JSON"),
        ('{"model": "x", "replies": {"load": ["{}"]}}', "none to bad-deployment, blind"),
    ],
)
def test_a_recording_that_lacks_replies_is_refused(
    content: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recorded.json"
    if content is not None:
        file.write_text(content)
    assert run(["eval", "model", "--cases", str(CASES), "--recorded", str(file)]) == 2
    assert problem in capsys.readouterr().err


def test_without_a_key_it_says_which_setting_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI__API_KEY", "OPENAI__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert run(["eval", "model", "--cases", str(CASES)]) == 2
    assert "OPENAI__API_KEY: expected a key, since OpenAI is asked" in capsys.readouterr().err
