"""`commander observe`: never ahead of a row, honest about what it cannot judge, and as good as it must be."""

import json
import subprocess
import sys
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from commander.__main__ import run
from evaluation.observing import Observation, Observer, severity_of
from evaluation.streams import Stream, read_stream
from incident.detection import Moved
from incident.series import Column, Frame
from incident.severity import Severity
from tests.recordings import write_rows, write_stream
from tests.series import COLUMNS, CPU, ERRORS, LATENCY, MEDIAN_LATENCY, START, changed, frame, healthy

RECORDED = Path(__file__).parents[1] / "incidents"
FAULT = changed(healthy(90, seed=9), 40, 50, {ERRORS: 0.4, LATENCY: 3.0})
DEPLOYMENT = {"id": "c1", "time": START + 40 * 60 - 30, "service": "web", "kind": "deployment"}
LATER = {"id": "c2", "time": START + 60 * 60, "service": "web", "kind": "deployment"}
OBSERVER = Observer()


def observed(
    tmp_path: Path, rows: Frame, history: Frame | None = None, *, observer: Observer = OBSERVER
) -> Observation:
    return observer.observe(read_stream(write_stream(tmp_path, "a", rows, history)))


def cut(stream: Stream, rows: int) -> Stream:
    values = Frame(stream.frame.times[:rows], stream.frame.columns, stream.frame.values[:rows])
    return Stream(
        stream.name,
        stream.interval_s,
        stream.entry,
        values,
        stream.history,
        stream.changes,
        stream.graph,
        stream.logs,
        stream.problems,
    )


def test_an_incident_is_told_with_its_cause_and_its_end(tmp_path: Path) -> None:
    stream = read_stream(write_stream(tmp_path, "a", FAULT, healthy(480), changes=[DEPLOYMENT, LATER]))

    (incident,) = OBSERVER.observe(stream).predictions

    assert incident.opened_at == START + 41 * 60
    assert incident.onset_estimate == START + 40 * 60
    assert incident.recovered_at == START + 51 * 60
    assert incident.services[0] == "web"
    assert incident.suspected_change == "c1"
    assert incident.severity is Severity.P0


@pytest.mark.parametrize(
    ("minutes", "level", "suspected"),
    [
        ([40, 40.5, 41], "ERROR", True),
        ([40, 40.5, 41], "WARN", False),
        ([12, 40, 40.5, 41], "ERROR", False),
        ([41.5, 42, 43], "ERROR", False),
    ],
    ids=["new", "not grave", "said before", "said later"],
)
def test_grave_log_lines_of_a_form_that_is_new_speak_against_their_service(
    tmp_path: Path, minutes: list[float], level: str, *, suspected: bool
) -> None:
    folder = write_stream(tmp_path, "a", FAULT, healthy(480))
    said = [[START + minute * 60, "cart", level, f"cannot store order {minute}"] for minute in minutes]
    first = [START + 10 * 60, "web", "INFO", "started"]
    write_rows(folder / "logs.csv.gz", [["time", "service", "level", "message"], *said, first])

    (incident,) = OBSERVER.observe(read_stream(folder)).predictions

    assert ("cart" in incident.services) == suspected


def test_a_stream_without_trouble_is_told_too(tmp_path: Path) -> None:
    (line,) = observed(tmp_path, healthy(90, seed=9), healthy(480)).predictions

    assert json.loads(line.model_dump_json())["opened_at"] is None


@pytest.mark.parametrize("history", [healthy(480), None], ids=["history", "no history"])
def test_a_stream_cut_after_any_row_says_the_same_up_to_there(tmp_path: Path, history: Frame | None) -> None:
    rows = changed(FAULT, 70, 80, {CPU: 95.0})
    stream = read_stream(write_stream(tmp_path, "a", rows, history, changes=[DEPLOYMENT, LATER]))
    whole = OBSERVER.observe(stream)

    for length in range(1, len(rows) + 1):
        now = rows.times[length - 1]
        told = [each for each in OBSERVER.observe(cut(stream, length)).predictions if each.opened_at is not None]
        known = [
            each.model_copy(update={"recovered_at": None}) if (each.recovered_at or now) > now else each
            for each in whole.predictions
            if each.opened_at is not None and each.opened_at <= now
        ]
        assert told == known


def test_without_history_the_first_rows_stand_in_and_that_is_said(tmp_path: Path) -> None:
    rows = changed(healthy(200, seed=9), 150, 160, {ERRORS: 0.4})

    seen = observed(tmp_path, rows)

    assert [each.opened_at for each in seen.predictions] == [START + 151 * 60]
    assert seen.notes == ("no history: judged against its own first 60 rows, which are not judged themselves",)


def test_a_stream_too_short_to_be_its_own_history_is_not_judged_and_that_is_said(tmp_path: Path) -> None:
    seen = observed(tmp_path, changed(healthy(8), 3, 8, {ERRORS: 0.9}))

    assert [each.opened_at for each in seen.predictions] == [None]
    assert "nothing can be judged: no metric has enough known-healthy rows" in seen.notes


def test_metrics_and_rows_that_cannot_be_judged_are_told(tmp_path: Path) -> None:
    rows, history = healthy(90, seed=9), changed(healthy(480), 5, 480, {CPU: np.nan})
    gapped = Frame(np.delete(rows.times, [30, 31, 50]), COLUMNS, np.delete(rows.values, [30, 31, 50], axis=0))

    seen = observed(tmp_path, gapped, history)

    assert seen.notes == (
        "1 of 4 metrics have too few known-healthy values to be judged",
        "2 gaps in the rows: about 3 rows are missing, which nothing is said of",
    )


def test_an_empty_stream_is_told(tmp_path: Path) -> None:
    seen = observed(tmp_path, healthy(0), healthy(480))

    assert [each.opened_at for each in seen.predictions] == [None]


def test_another_unit_is_told_and_no_incident(tmp_path: Path) -> None:
    rows = healthy(90, seed=9)
    latencies = {each: 1000 * rows.values[60:, COLUMNS.index(each)] for each in (LATENCY, MEDIAN_LATENCY)}

    seen = observed(tmp_path, changed(rows, 60, 90, latencies), healthy(480))

    assert [each.opened_at for each in seen.predictions] == [None]
    assert seen.notes == (
        f"web: latencies changed their unit at {START + 60 * 60:.0f}; taken times 0.001, not an incident",
    )


@pytest.mark.parametrize(
    ("column", "extreme", "severity"),
    [(ERRORS, 5.0, Severity.P0), (ERRORS, 1.2, Severity.P1), (CPU, 50.0, Severity.P2)],
    ids=["users, far", "users", "inside"],
)
def test_what_users_feel_is_worse_than_what_they_do_not(column: Column, extreme: float, severity: Severity) -> None:
    assert severity_of((Moved(column, 9.0, extreme),), "web") is severity


def test_a_hundred_thousand_rows_take_seconds() -> None:
    noise = np.random.default_rng(6)
    values = noise.lognormal(0, 0.1, (100_000, 3))
    columns = (LATENCY, MEDIAN_LATENCY, CPU)
    rows = frame(START + 60 * np.arange(100_000), columns, values)
    stream = Stream("a", 60, "web", rows, rows.between(START, START + 60 * 480), (), (), ())
    began = process_time()

    OBSERVER.observe(stream)

    assert process_time() - began < 20


def test_streams_that_cannot_be_read_are_named_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stream(tmp_path, "a", FAULT, healthy(480))
    (write_stream(tmp_path, "b", FAULT, healthy(480)) / "metrics.csv.gz").write_bytes(b"no table")
    (write_stream(tmp_path, "c", FAULT, healthy(480)) / "stream.json").write_text('{"entry": "web"}')
    write_stream(tmp_path, "d", healthy(90, seed=9), healthy(480))
    out = tmp_path / "predictions.jsonl"

    status = run(["observe", str(tmp_path), "--out", str(out)])

    said = capsys.readouterr()
    assert status == 1
    assert said.out == "2 streams, 1 incidents opened; 2 streams could not be read\n"
    assert "b: " in said.err
    assert "not a readable table" in said.err
    assert "interval_s: Field required" in said.err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["stream"], line["opened_at"]) for line in lines] == [("a", START + 41 * 60), ("d", None)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("missing", "--out", "predictions.jsonl"), "expected folders that each hold a stream.json"),
        ((".", "--out", "missing/predictions.jsonl"), "missing/predictions.jsonl: cannot be written"),
        ((".",), "--out"),
    ],
    ids=["no streams", "no folder", "no out"],
)
def test_what_cannot_be_observed_is_one_line_and_exit_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    write_stream(tmp_path, "a", healthy(3))
    places = [str(tmp_path / each) if each[0] != "-" else each for each in arguments]

    assert run(["observe", *places]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float | None]]:
    out = tmp_path_factory.mktemp("observed") / "predictions.jsonl"
    assert run(["observe", str(RECORDED / "streams"), "--out", str(out)]) == 0
    judged = subprocess.run(  # noqa: S603 - the judge is a script of ours
        [sys.executable, str(RECORDED / "score.py"), str(RECORDED / "labels"), str(out), "--json"],
        check=True,
        capture_output=True,
    )
    result = json.loads(judged.stdout)
    assert not result["problems"]
    return {**result["datasets"], "overall": result["overall"]}


FLOORS = [
    (group, figure, side, floor)
    for group, figures in json.loads((RECORDED / "floors.json").read_text()).items()
    for figure, (side, floor, _goal) in figures.items()
]


@pytest.mark.parametrize(("group", "figure", "side", "floor"), FLOORS)
def test_recorded_incidents_are_judged_as_well_as_they_must_be(
    scores: dict[str, dict[str, float | None]], group: str, figure: str, side: str, floor: float
) -> None:
    reached = scores[group][figure]

    assert reached is not None
    assert reached >= floor if side == ">=" else reached <= floor
