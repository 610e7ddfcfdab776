"""Recorded streams are read as far as they can be read, and what is left out is said."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from evaluation.streams import quantity_of, read_frame, read_stream, read_streams
from incident.cause import ChangeKind
from incident.errors import ConfigurationError
from incident.series import Quantity
from tests.recordings import write_rows, write_stream
from tests.series import COLUMNS, LATENCY, changed, healthy

HEADER = ["time", "web:p99_s", "web:error_ratio"]


def table(tmp_path: Path, *rows: list[object]) -> Path:
    path = tmp_path / "metrics.csv.gz"
    write_rows(path, [HEADER, *rows])
    return path


def test_a_stream_is_read_with_its_history(tmp_path: Path) -> None:
    change = {"id": "c1", "time": 1_700_000_060, "service": "web", "kind": "deployment", "description": "build 7"}
    folder = write_stream(tmp_path, "a", changed(healthy(20), 3, 5, {LATENCY: np.nan}), healthy(40), changes=[change])

    stream = read_stream(folder)

    assert (stream.name, stream.interval_s, stream.entry, stream.problems) == ("a", 60, "web", ())
    assert (len(stream.frame), len(stream.history)) == (20, 40)
    assert stream.frame.columns == stream.history.columns == COLUMNS
    assert np.flatnonzero(np.isnan(stream.frame.values[:, COLUMNS.index(LATENCY)])).tolist() == [3, 4]
    assert [(each.id, each.kind) for each in stream.changes] == [("c1", ChangeKind.DEPLOYMENT)]


def test_rows_twice_backwards_or_without_a_time_are_put_right_and_told(tmp_path: Path) -> None:
    path = table(tmp_path, [120, 2, 0], [60, 1, 0], [60, 9, 9], ["never", 3, 0], ["nan", 3, 0], [180, 4, 0])

    frame, problems = read_frame(path)

    assert frame.times.tolist() == [60, 120, 180]
    assert frame.values[:, 0].tolist() == [1, 2, 4]
    assert problems == (
        "metrics.csv.gz: 2 rows without a time are left out",
        "metrics.csv.gz: times go backwards; the rows are put in order",
        "metrics.csv.gz: 1 rows of a time that another has are left out",
    )


def test_what_is_no_number_has_no_value(tmp_path: Path) -> None:
    frame, _ = read_frame(table(tmp_path, [60, "", "inf"], [120, "much", 1e-3], [180], [240, 1, 2, 3]))

    assert np.isnan(frame.values).tolist() == [[True, True], [True, False], [True, True], [False, False]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"time,web:p99_s\n" + b"60,1\n" * 5000)[:-20], "not a readable table"),
        (b"not gzip at all", "not a readable table"),
        (gzip.compress(b"time,web:p99_s\n60,1\n")[:12] + b"\xff" * 30, "not a readable table"),
        (gzip.compress(b"time,a:b\n60,\xff\xfe\n"), "not a readable table"),
        (gzip.compress(b""), "expected `time` as the first column"),
        (gzip.compress(b"clock,web:p99_s\n60,1\n"), "expected `time` as the first column"),
        (gzip.compress(b"time,web:p99_s,web:p99_s\n60,1,2\n"), "expected each column once"),
    ],
    ids=["cut", "text", "broken", "bytes", "empty", "no time", "column twice"],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "metrics.csv.gz"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"metrics.csv.gz: {said}"):
        read_frame(path)


def test_a_table_of_a_header_only_has_no_rows(tmp_path: Path) -> None:
    frame, problems = read_frame(table(tmp_path))

    assert (len(frame), len(frame.columns), problems) == (0, 2, ())


def test_changes_that_are_none_are_left_out_one_by_one(tmp_path: Path) -> None:
    good = {"id": "c1", "time": 1_700_000_060, "service": "web", "kind": "deployment"}
    bad: list[dict[str, object]] = [{"id": "c2"}, {**good, "time": 1e300}, {**good, "id": ""}]
    folder = write_stream(tmp_path, "a", healthy(5), changes=[*bad, good])

    stream = read_stream(folder)

    assert [each.id for each in stream.changes] == ["c1"]
    assert stream.problems == ("changes.json: 3 entries are no changes and left out",)


@pytest.mark.parametrize("content", ["{", '{"id": "c1"}', "[" * 100_000])
def test_a_file_of_changes_that_is_no_list_is_left_out_and_told(tmp_path: Path, content: str) -> None:
    folder = write_stream(tmp_path, "a", healthy(5))
    (folder / "changes.json").write_text(content)

    stream = read_stream(folder)

    assert not stream.changes
    assert stream.problems == ("changes.json: left out, not a list of changes: ValidationError",)


def test_damaged_logs_are_read_up_to_the_damage(tmp_path: Path) -> None:
    folder = write_stream(tmp_path, "a", healthy(5))
    (folder / "graph.csv").write_text("caller,callee\nweb,cart\n,cart\n")
    write_rows(folder / "logs.csv.gz", [["time", "service", "level", "message"], [60, "web", "error", "no"], ["x"]])
    whole = (folder / "logs.csv.gz").read_bytes()

    read = read_stream(folder)
    (folder / "logs.csv.gz").write_bytes(whole[:20])
    damaged = read_stream(folder)

    assert read.graph == (("web", "cart"),)
    assert [line.message for line in read.logs] == ["no"]
    assert damaged.logs == ()
    assert damaged.problems == ("logs.csv.gz: cannot be read after 0 rows: EOFError",)


def test_a_folder_without_streams_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected folders that each hold a stream\.json"):
        list(read_streams(tmp_path))


def test_a_history_that_is_missing_makes_a_stream_unusable(tmp_path: Path) -> None:
    folder = write_stream(tmp_path, "a", healthy(5), healthy(5))
    (tmp_path / "history.csv.gz").unlink()

    with pytest.raises(ConfigurationError, match=r"history\.csv\.gz: not a readable table"):
        read_stream(folder)


@pytest.mark.parametrize(
    ("metric", "quantity"),
    [
        ("success_pct", Quantity.SUCCESS),
        ("error_ratio", Quantity.ERRORS),
        ("node_cpu_pct", Quantity.CPU),
        ("mem_mi", Quantity.MEMORY),
        ("requests_5m", Quantity.TRAFFIC),
        ("net_rx_bytes", Quantity.IO),
        ("server_p99_s", Quantity.LATENCY),
        ("p95_ms", Quantity.LATENCY),
        ("weather", Quantity.OTHER),
    ],
)
def test_a_metric_counts_what_its_name_ends_in(metric: str, quantity: Quantity) -> None:
    assert quantity_of(metric) is quantity
