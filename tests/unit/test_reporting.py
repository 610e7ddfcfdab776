"""Figures over what people said: precision, regret, Brier score and calibration error, and what stays unknown."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from commander.__main__ import run
from evaluation.calibration import Forecast, bins, brier_score, calibration_error
from evaluation.reporting import forecast, report
from incident.labels import Judgement, Label
from incident.ledger import RunState
from incident.snapshot import Outcome, Snapshot, close
from integrations.store import SqlStore, StoreSettings
from tests import builders

GOOD, HARMFUL, MISSED = Judgement.GOOD, Judgement.HARMFUL, Judgement.MISSED


def record(
    number: int, *, acted: bool = True, by: str = "policy", confidence: float = 0.9, **decided: object
) -> Snapshot:
    done = builders.remediation_record(authorised_by=by) if acted else None
    proposal = builders.decision(confidence=confidence, **decided)
    dossier = builders.decided_dossier(
        incident_id=f"production.payment-api.20261124T140000Z.{number:08x}",
        analysis=builders.analysis(decision=proposal),
        remediation=done,
    )
    return close(dossier, Outcome.RECOVERED, builders.NOW + timedelta(minutes=5))


def label(of: Snapshot, judgement: Judgement, by: str = "ada") -> Label:
    at = builders.NOW + timedelta(days=1)
    return Label(incident_id=of.incident_id, judgement=judgement, by=by, at=at)


def stayed(number: int, confidence: float = 0.6) -> Snapshot:
    return record(number, acted=False, confidence=confidence, action="escalate", rollback_to=None)


def test_the_brier_score_is_the_mean_square_of_what_confidence_lacks() -> None:
    assert brier_score([Forecast(1.0, right=True), Forecast(0.0, right=False)]) == 0
    assert brier_score([Forecast(0.5, right=True), Forecast(0.5, right=False)]) == 0.25
    assert brier_score([Forecast(0.8, right=True), Forecast(0.6, right=False)]) == pytest.approx((0.04 + 0.36) / 2)
    assert brier_score([]) is None


def test_calibration_is_off_by_how_far_each_bin_lies_from_its_share_weighed_by_its_size() -> None:
    sure = [Forecast(0.95, right=each) for each in (True, True, True, False)]
    doubtful = [Forecast(0.25, right=False)]
    assert calibration_error(sure + doubtful) == pytest.approx((4 * abs(0.75 - 0.95) + 1 * 0.25) / 5)
    assert calibration_error([Forecast(1.0, right=True), Forecast(0.0, right=False)]) == 0
    assert calibration_error([]) is None


@pytest.mark.parametrize(
    ("confidence", "above"), [(0.0, 0.0), (0.1, 0.0), (0.3, 0.2), (0.7, 0.6), (0.70001, 0.7), (1.0, 0.9)]
)
def test_a_bin_holds_its_upper_end_and_zero_lies_in_the_first(confidence: float, above: float) -> None:
    (found,) = bins([Forecast(confidence, right=True)])
    assert found.above == above


@pytest.mark.parametrize(
    ("of", "judgement", "right"),
    [
        pytest.param(record(1), GOOD, True, id="it acted, and was right to"),
        pytest.param(record(1), HARMFUL, False, id="it acted, and should not have"),
        pytest.param(record(1), MISSED, None, id="it acted, and missed something else"),
        pytest.param(stayed(1), GOOD, True, id="it stayed away, and was right to"),
        pytest.param(stayed(1), MISSED, False, id="it stayed away, and should have acted"),
        pytest.param(stayed(1), HARMFUL, None, id="it did nothing, and that hurt: nobody can say how"),
        pytest.param(record(1, acted=False), MISSED, True, id="the gate held back what was right"),
        pytest.param(record(1, acted=False), GOOD, False, id="the gate rightly held back what was wrong"),
        pytest.param(close(builders.dossier(), Outcome.CANCELLED, builders.NOW), GOOD, None, id="nobody decided"),
    ],
)
def test_a_decision_is_right_by_what_should_have_been_done_not_by_what_was(
    of: Snapshot,
    judgement: Judgement,
    right: bool | None,  # noqa: FBT001 - a column of the table
) -> None:
    found = forecast(of, judgement)
    assert (found.right if found else None) is right


def test_a_rollback_that_never_began_is_no_action() -> None:
    refused = builders.decided_dossier(remediation=builders.remediation_record(run=builders.run(RunState.REFUSED)))
    kept = close(refused, Outcome.ESCALATED, builders.NOW)
    assert report([kept], [label(kept, MISSED)]).rollbacks.made == 0


def test_shares_are_of_what_is_known_and_the_rest_is_counted_as_unknown() -> None:
    records = [*(record(number) for number in range(4)), record(4, by="ada"), stayed(5), stayed(6), stayed(7)]
    labels = [
        label(records[0], GOOD),
        label(records[1], HARMFUL),
        label(records[2], GOOD),
        label(records[2], HARMFUL, "bob"),
        label(records[4], GOOD),
        label(records[5], MISSED),
        label(records[6], GOOD),
        label(records[6], GOOD, "bob"),
        label(record(99), HARMFUL),
    ]
    found = report(records, labels)
    assert (found.incidents, found.labelled, found.disputed, found.unlabelled) == (8, 5, 1, 2)
    both = (found.rollbacks, found.by_itself)
    assert [(each.made, each.right, each.wrong, each.unknown) for each in both] == [(5, 2, 1, 2), (4, 1, 1, 2)]
    assert found.rollbacks.precision == pytest.approx(2 / 3)
    assert found.by_itself.precision == 0.5
    assert (found.harmful, found.missed, found.regret) == (1, 1, 400)
    assert (found.forecasts, found.undetermined) == (5, 0)
    assert found.brier_score == pytest.approx((0.01 + 0.81 + 0.01 + 0.36 + 0.16) / 5)


def test_without_labels_nothing_is_known() -> None:
    found = report([record(1), stayed(2)], [])
    assert (found.unlabelled, found.rollbacks.unknown) == (2, 1)
    unknown = (found.rollbacks.precision, found.regret, found.brier_score, found.calibration_error)
    assert unknown == (None, None, None, None)


async def _keep(url: str, records: Sequence[Snapshot]) -> None:
    store = SqlStore(StoreSettings(url=url))
    for each in records:
        await store.save(each)
    await store.close()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[Snapshot]:
    """Two closed incidents, in the store that the commands go to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORE__URL", f"sqlite:///{tmp_path / 'incidents.db'}")
    monkeypatch.setenv("TEMPORAL__ADDRESS", "127.0.0.1:9")
    records = [record(1), stayed(2)]
    asyncio.run(_keep(f"sqlite:///{tmp_path / 'incidents.db'}", records))
    return records


def test_what_people_say_is_what_the_report_counts(
    kept: Sequence[Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    for each, judgement in zip(kept, ("good", "missed"), strict=True):
        assert run(["label", each.incident_id, judgement, "--direct", "--as", "ada", "--note", "seen"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{kept[0].incident_id}: good, says ada"
    assert run(["report", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["labelled"], said["rollbacks"]["precision"], said["missed"], said["regret"]) == (2, 1.0, 1, 500.0)
    assert run(["label", kept[1].incident_id, "good", "--direct", "--as", "ada"]) == 0
    capsys.readouterr()
    assert run(["report"]) == 0
    out = capsys.readouterr().out
    assert "incidents           2: 2 labelled, 0 not, 0 disputed and in no figure" in out
    assert "regret              0.0 per 1,000 labelled: 0 harmful, 0 missed" in out


def test_the_report_says_unknown_where_nobody_has_said_anything(
    kept: Sequence[Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "--since", "2026-11-24"]) == 0
    out = capsys.readouterr().out
    assert f"incidents           {len(kept)}: 0 labelled, 2 not" in out
    assert "rollbacks           1: 0 right, 0 wrong, 1 unknown; precision unknown" in out
    assert "Brier score         unknown" in out
    assert run(["report", "--since", "2026-11-25"]) == 0
    assert "incidents           0: 0 labelled" in capsys.readouterr().out


def test_what_is_no_incident_is_not_labelled(kept: Sequence[Snapshot], capsys: pytest.CaptureFixture[str]) -> None:
    unknown = f"{kept[0].incident_id[:-8]}ffffffff"
    assert run(["label", unknown, "good", "--direct"]) == 2
    assert "commander: temporal: cannot be reached" in capsys.readouterr().err
