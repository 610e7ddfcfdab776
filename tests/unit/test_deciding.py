"""Decisions over made-up incidents: everybody meets the same ones, and hindsight is never beaten."""

import json

import pytest

from commander.__main__ import run
from evaluation.arms import PAGE
from evaluation.deciding import Decider, respond_all
from evaluation.faults import FaultClass
from evaluation.regret import DecisionsReport, judge_decisions, noticed

INCIDENTS = 4


@pytest.fixture(scope="module")
def report() -> DecisionsReport:
    return judge_decisions(INCIDENTS, seed=5)


def test_every_class_meets_every_noise(report: DecisionsReport) -> None:
    assert len({(cell.fault, cell.noise) for cell in report.cells}) == len(report.cells) == len(FaultClass) * 4
    assert all(set(cell.deciders) == set(Decider) for cell in report.cells)


def test_hindsight_is_never_beaten(report: DecisionsReport) -> None:
    assert min(each.regret for cell in report.cells for each in cell.deciders.values()) >= 0


def test_who_never_acts_harms_nothing_and_misses_most(report: DecisionsReport) -> None:
    never = report.overall[Decider.NEVER]
    assert (never.acted, never.harmful) == (0, 0)
    assert never.missed >= max(each.missed for each in report.overall.values())


def test_who_always_rolls_back_harms_most_where_no_deployment_is_guilty(report: DecisionsReport) -> None:
    innocent = [cell for cell in report.cells if cell.without_guilty == 1]
    always = sum(cell.deciders[Decider.ALWAYS].harmful for cell in innocent)
    assert always > sum(cell.deciders[Decider.PRODUCTION].harmful for cell in innocent)


def test_the_commander_regrets_less_than_who_never_acts(report: DecisionsReport) -> None:
    assert report.overall[Decider.PRODUCTION].regret < report.overall[Decider.NEVER].regret


def test_the_same_incident_is_decided_the_same_way() -> None:
    for kind in (FaultClass.BAD_DEPLOYMENT, FaultClass.DEPENDENCY):
        sightings = [noticed(kind, 1, 3, seed=2)[0] for _ in range(2)]
        assert respond_all(sightings[0]) == respond_all(sightings[1])
        costs = [each.scene.user_error_minutes(PAGE) for each in sightings]
        assert costs[0] == costs[1]


def test_the_command_prints_one_document_and_says_by_its_exit_whether_the_bars_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run(["eval", "decisions", "--incidents", "1", "--seed", "3", "--json"])
    document = DecisionsReport.model_validate_json(capsys.readouterr().out)
    assert document.incidents == 1
    assert code == (1 if document.shortfalls else 0)
    assert json.loads(document.model_dump_json())["cells"]


def test_the_command_shows_a_row_for_each_class_and_noise(capsys: pytest.CaptureFixture[str]) -> None:
    run(["eval", "decisions", "--incidents", "1", "--seed", "3"])
    shown = capsys.readouterr().out
    assert all(shown.count(kind) >= 4 for kind in FaultClass)
