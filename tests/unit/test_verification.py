"""The simulation of verifications: its own rules, and a quick run of what the whole one measures."""

import gzip
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from commander.__main__ import run
from commander.verification import show
from evaluation import verification
from evaluation.streams import read_streams
from evaluation.stretches import false_degraded, judge_histories
from evaluation.verification import VerificationReport, Wander, verify

FEW = 210
EVERY = timedelta(seconds=5)


@pytest.fixture(scope="module")
def report() -> VerificationReport:
    return verify(FEW)


def test_nothing_that_has_not_recovered_is_called_so(report: VerificationReport) -> None:
    assert report.worst_false_recovered == 0


def test_nothing_healthy_is_called_worse(report: VerificationReport) -> None:
    assert report.worst_false_degraded == 0


def test_where_there_is_traffic_half_are_known_to_have_recovered_in_half_of_a_fixed_wait(
    report: VerificationReport,
) -> None:
    busy = [each for each in report.cells if each.healthy and each.requests_per_second >= 50]
    times = sorted(each.seconds_to_recovered or report.fixed_wait_seconds for each in busy)
    assert times[len(times) // 2] <= report.fixed_wait_seconds / 2


def test_what_is_much_worse_than_before_is_found(report: VerificationReport) -> None:
    worse = [each for each in report.cells if each.error_ratio >= 0.05]
    assert all(each.worsened_found == 1 for each in worse)
    assert max(each.seconds_to_degraded or report.fixed_wait_seconds for each in worse) <= 120


def test_every_kind_of_service_is_verified_under_every_noise(report: VerificationReport) -> None:
    kinds = {(each.error_ratio, each.requests_per_second, each.wander) for each in report.cells}
    assert len(kinds) == len(report.cells) == len(verification.RATIOS) * len(verification.RATES) * len(Wander)
    assert (min(verification.RATIOS), max(verification.RATIOS)) == (0.002, 0.2)
    assert (min(verification.RATES), max(verification.RATES)) == (5, 500)
    assert report.verifications == sum(each.verifications for each in report.cells)


def test_the_same_seed_gives_the_same_report() -> None:
    assert verify(1, seed=3, rates=(50.0,)) == verify(1, seed=3, rates=(50.0,))
    assert verify(1, seed=4, rates=(50.0,)) != verify(1, seed=3, rates=(50.0,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"worst_false_recovered": 0.011},
        {"worst_false_degraded": 0.011},
        {"slowest_median_seconds": 301.0},
        {"slowest_median_seconds": None},
    ],
)
def test_each_bar_can_be_missed(report: VerificationReport, wrong: dict[str, float | None]) -> None:
    good = {"worst_false_recovered": 0.01, "worst_false_degraded": 0.01, "slowest_median_seconds": 300.0}
    assert report.model_copy(update=good).held
    assert not report.model_copy(update={**good, **wrong}).held


def test_a_healthy_stretch_is_never_called_worse_and_a_broken_one_is() -> None:
    rng = np.random.default_rng(1)
    calm = rng.binomial(500, 0.004, 200) / 500
    rate, latency = np.full(200, 100.0), rng.normal(150, 20, 200)
    assert false_degraded(calm, rate, latency, EVERY) == (18, 0)
    broken = np.concatenate([calm[:15], calm[15:] + 0.2])
    assert false_degraded(broken, rate, latency, EVERY)[1] > 0
    assert false_degraded(calm, rate, np.linspace(200, 20_000, 200), EVERY)[1] > 0


def test_a_stretch_without_values_is_judged_as_far_as_it_can_be() -> None:
    gaps = np.where(np.arange(60) % 3 == 0, np.nan, 0.001)
    nothing = np.full(60, np.nan)
    assert false_degraded(gaps, nothing, nothing, EVERY) == (4, 0)
    assert false_degraded(gaps[:5], nothing[:5], nothing[:5], EVERY) == (0, 0)


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    """Two streams that share one healthy history of two services: one with a success ratio, one without."""
    rows = [f"{60 * row},{99.9 - row % 3 / 10},0.15,30000,0.2" for row in range(50)]
    table = "\n".join(["time,shop:success_pct,shop:p99_s,shop:requests_5m,cart:p99_s", *rows])
    (tmp_path / "history.csv").write_text(table)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        about = {"interval_s": 60, "entry": "shop", "history": "../history.csv"}
        (tmp_path / name / "stream.json").write_text(json.dumps(about))
        (tmp_path / name / "metrics.csv.gz").write_bytes(gzip.compress(table.encode()))
    return tmp_path


def test_a_history_that_streams_share_is_judged_once(streams: Path) -> None:
    found = judge_histories(list(read_streams(streams)))
    assert (found.services, found.verifications, found.degraded, found.held) == (1, 3, 0, True)


def test_the_command_prints_one_document_and_its_exit_status_is_the_bars(
    streams: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["eval", "verification", "--verifications", "1", "--streams", str(streams), "--json"])
    printed = json.loads(capsys.readouterr().out)
    made_up = VerificationReport.model_validate(printed["made_up"])
    assert printed["recorded"]["verifications"] == 3
    assert status == (0 if made_up.held else 1)


def test_a_row_is_printed_for_each_kind_of_service(
    report: VerificationReport, capsys: pytest.CaptureFixture[str]
) -> None:
    show(report, None)
    shown = capsys.readouterr().out
    assert shown.count("independent") == len(verification.RATIOS) * len(verification.RATES)
    assert "a fixed wait takes 600 s" in shown
