"""Decisions over made-up incidents: everybody meets the same ones, and hindsight is never beaten."""

import pytest

from commander.__main__ import run
from commander.decisions import show
from evaluation.arms import PAGE, Response
from evaluation.deciding import ACTS, Decider, decisions, respond_all
from evaluation.faults import FaultClass
from evaluation.measuring import NOISES
from evaluation.regret import DecisionsReport, judge_decisions, noticed
from evaluation.sightings import Sighting, moment
from evaluation.watching import mended_before, paged_before
from incident.gate import Course

USUAL, HARSH = 1, 3


@pytest.fixture(scope="module")
def report() -> DecisionsReport:
    return judge_decisions(3, seed=5, noises=[USUAL])


def test_every_class_is_met_by_every_decider(report: DecisionsReport) -> None:
    assert [cell.fault for cell in report.cells] == list(FaultClass)
    assert {cell.noise for cell in report.cells} == {NOISES[USUAL].name}
    assert all(set(cell.deciders) == set(Decider) for cell in report.cells)


def test_hindsight_is_never_beaten(report: DecisionsReport) -> None:
    assert min(each.regret for cell in report.cells for each in cell.deciders.values()) >= 0


def test_who_never_acts_harms_nothing_and_misses_most(report: DecisionsReport) -> None:
    never = report.overall[Decider.NEVER]
    assert (never.acted, never.harmful) == (0, 0)
    assert never.missed >= max(each.missed for each in report.overall.values()) > 0


def test_where_no_deployment_is_guilty_rolling_back_costs_more_than_never_acting(report: DecisionsReport) -> None:
    innocent = [cell.deciders for cell in report.cells if cell.without_guilty == 1]
    assert len(innocent) >= 5
    assert sum(each[Decider.ALWAYS].regret for each in innocent) > sum(each[Decider.NEVER].regret for each in innocent)


def test_the_commander_regrets_less_than_who_never_acts_and_acts_less_than_who_always_does(
    report: DecisionsReport,
) -> None:
    production = report.overall[Decider.PRODUCTION]
    assert production.regret < report.overall[Decider.NEVER].regret
    assert 0 < production.acted < report.overall[Decider.ALWAYS].acted


def test_the_same_incident_is_decided_the_same_way_by_everybody() -> None:
    for kind in (FaultClass.BAD_DEPLOYMENT, FaultClass.DEPENDENCY):
        sightings = [noticed(kind, USUAL, 3, seed=2)[0] for _ in range(2)]
        assert respond_all(sightings[0]) == respond_all(sightings[1])
        costs = [each.scene.user_error_minutes(PAGE) for each in sightings]
        assert costs[0] == costs[1]


def test_a_leak_is_rolled_back_though_its_deployment_had_been_live_for_hours() -> None:
    seen, _ = noticed(FaultClass.LEAK, USUAL, 6, seed=1)
    leaking, bad = seen.scene.case.fault.leaking, seen.scene.case.guilty
    assert leaking is not None
    assert bad is not None
    assert seen.scene.decided - bad.row > 120
    *_, (_, service, verdict) = decisions(seen)
    assert (service, verdict.course) == (leaking, Course.ACT)
    assert verdict.target is not None
    assert verdict.target < bad.number


@pytest.fixture(scope="module")
def leaks() -> list[Sighting]:
    return [noticed(FaultClass.LEAK, USUAL, number, seed=1)[0] for number in range(4)]


def test_a_leak_is_paged_before_it_alerts_and_what_is_mended_by_then_leaves_nothing_to_decide(
    leaks: list[Sighting],
) -> None:
    responses = [respond_all(each) for each in leaks]
    paged = [each[Decider.PRODUCTION].paged_after for each in responses]
    assert all(minute is not None and minute < 0 for minute in paged)
    assert [each[Decider.NEVER].paged_after for each in responses] == paged
    mended = [mended_before(each.scene, minute) for each, minute in zip(leaks, paged, strict=True)]
    assert any(mended)
    for leak, response, nothing_left in zip(leaks, responses, mended, strict=True):
        production = response[Decider.PRODUCTION]
        assert not nothing_left or production == Response(paged_after=production.paged_after, undoes=True)
        assert leak.scene.user_error_minutes(production) < leak.scene.user_error_minutes(PAGE)


def test_nobody_is_paged_ahead_of_what_does_not_leak() -> None:
    seen, _ = noticed(FaultClass.BAD_DEPLOYMENT, USUAL, 0, seed=1)
    assert paged_before(seen, ACTS, lambda _, __: pytest.fail("there is nothing to decide")) is None


def test_what_is_not_known_yet_is_not_seen(leaks: list[Sighting]) -> None:
    for each in leaks:
        then = each.later(each.scene.case.fault.leaks_since - each.scene.decided)
        seen = then.evidence(each.scene.case.fault.leaking or 0)
        assert not seen.logs.templates
        assert not seen.alerts.firing
        assert all(release.activated_at <= then.now for release in seen.deployments.deployments if release.activated_at)
        assert all(moment(told.told) <= then.now for told in then.told(each.scene.case.world.inside))


def test_nothing_is_decided_anew_once_something_is_rolled_back() -> None:
    for number in range(6):
        decided = decisions(noticed(FaultClass.BAD_DEPLOYMENT, USUAL, number, seed=2)[0])
        acted = [minute for minute, _, verdict in decided if verdict.course is Course.ACT]
        assert not acted or max(minute for minute, _, _ in decided) == acted[0]


def test_under_every_noise_the_same_worlds_are_met() -> None:
    worlds = [noticed(FaultClass.LEAK, noise, 0, seed=4)[0].scene.case.world for noise in (USUAL, HARSH)]
    assert worlds[0].calls == worlds[1].calls
    assert (worlds[0].traffic == worlds[1].traffic).all()


def test_the_command_prints_one_document_and_says_by_its_exit_whether_the_bars_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run(["eval", "decisions", "--incidents", "1", "--seed", "3", "--json"])
    document = DecisionsReport.model_validate_json(capsys.readouterr().out)
    assert {(cell.fault, cell.noise) for cell in document.cells} == {
        (kind, noise.name) for kind in FaultClass for noise in NOISES
    }
    assert code == (1 if document.shortfalls else 0)


def test_a_row_is_shown_for_each_class_and_one_for_all(
    report: DecisionsReport, capsys: pytest.CaptureFixture[str]
) -> None:
    show(report)
    shown = capsys.readouterr().out
    assert all(f"{kind}  " in shown for kind in FaultClass)
    assert all(each in shown for each in report.shortfalls)
