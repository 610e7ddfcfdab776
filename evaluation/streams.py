"""Recorded streams: the metrics, changes, call graph and logs of a system over some hours, to be played again.

A folder per stream: `stream.json` (`interval_s`, `entry`, `system`, `history`), `metrics.csv.gz` (`time` in unix
seconds, then `service:metric`; empty: no value), `changes.json`, and where there are any `graph.csv`
(`caller,callee`) and `logs.csv.gz`. What cannot be used of them is left out and named; a folder that cannot be used at
all is an error.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from incident.cause import Change, ChangeKind
from incident.errors import ConfigurationError
from incident.model import field_errors
from incident.series import Column, Frame, Quantity

_ENDINGS: tuple[tuple[tuple[str, ...], Quantity], ...] = (
    (("success_pct", "success_ratio"), Quantity.SUCCESS),
    (("error_pct", "error_ratio", "errors"), Quantity.ERRORS),
    (("cpu_pct", "cpu_m", "cpu_ratio"), Quantity.CPU),
    (("mem_pct", "mem_mi", "memory_ratio", "memory_bytes"), Quantity.MEMORY),
    (("rps", "requests_5m", "requests"), Quantity.TRAFFIC),
    (("fs_read", "fs_write", "net_rx_bytes", "net_tx_bytes"), Quantity.IO),
    (("_s", "_ms"), Quantity.LATENCY),
)
"""By how a metric's name ends; the first that fits."""
_PIECE = 10_000
"""Rows turned into numbers at once: a stream of a million is never held as text or as Python's numbers."""
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error)
"""What a damaged table raises; zlib's where it breaks in the middle."""


class StreamFile(BaseModel):
    """`stream.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    interval_s: float = Field(gt=0, allow_inf_nan=False)
    entry: str = Field(min_length=1)
    system: str = ""
    history: str = ""


class _ChangeFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    time: float = Field(allow_inf_nan=False)
    service: str
    kind: str = ""
    description: str = ""


_LIST = TypeAdapter(list[object])
_KINDS = {kind.value: kind for kind in ChangeKind}


@dataclass(frozen=True)
class LoggedLine:
    """One recorded log line."""

    at: float
    """Unix seconds."""
    service: str
    level: str
    message: str


@dataclass(frozen=True)
class Stream:
    """One recorded stream."""

    name: str
    interval_s: float
    entry: str
    """The service that users meet."""
    frame: Frame
    history: Frame
    """Known-healthy samples, from another time; may be empty."""
    changes: tuple[Change, ...]
    """Oldest first; each is known only once its time has come."""
    graph: tuple[tuple[str, str], ...]
    """(caller, callee)."""
    logs: tuple[LoggedLine, ...]
    problems: tuple[str, ...] = field(default=())
    """What could not be used, and was left out."""


def quantity_of(metric: str) -> Quantity:
    """What a metric of that name counts."""
    return next((quantity for ends, quantity in _ENDINGS if metric.endswith(ends)), Quantity.OTHER)


def read_streams(directory: Path) -> Iterator[Stream]:
    """Every stream below `directory`, by name.

    Raises:
        ConfigurationError: there is none, or one cannot be used at all.
    """
    for folder in stream_folders(directory):
        yield read_stream(folder)


def stream_folders(directory: Path) -> tuple[Path, ...]:
    """The folder of each stream below `directory`, by name.

    Raises:
        ConfigurationError: there is none.
    """
    folders = sorted(path.parent for path in directory.glob("*/stream.json"))
    if not folders:
        raise ConfigurationError(f"{directory}: expected folders that each hold a stream.json")
    return tuple(folders)


def read_stream(folder: Path) -> Stream:
    """The stream in `folder`.

    Raises:
        ConfigurationError: naming the file and what was expected.
    """
    about = _about(folder / "stream.json")
    frame, problems = read_frame(folder / "metrics.csv.gz")
    history = Frame(np.empty(0), frame.columns, np.empty((0, len(frame.columns))))
    if about.history:
        path = (folder / about.history).resolve()
        known, more = _history(path, path.stat().st_mtime_ns if path.exists() else 0)
        history, problems = known.only(frame.columns), (*problems, *more)
    changes, of_changes = _changes(folder / "changes.json")
    graph, of_graph = _graph(folder / "graph.csv")
    logs, of_logs = _logs(folder / "logs.csv.gz")
    return Stream(
        name=folder.name,
        interval_s=about.interval_s,
        entry=about.entry,
        frame=frame,
        history=history,
        changes=changes,
        graph=graph,
        logs=logs,
        problems=(*problems, *of_changes, *of_graph, *of_logs),
    )


@lru_cache(maxsize=4)
def _history(path: Path, _written: int) -> tuple[Frame, tuple[str, ...]]:
    """Histories are long, and streams share them."""
    return read_frame(path)


def read_frame(path: Path) -> tuple[Frame, tuple[str, ...]]:
    """The samples of a table, and what could not be used of it.

    Rows are put in the order of their times; of two rows of one time the first one counts.

    Raises:
        ConfigurationError: the file cannot be read, or its first column is not `time`.
    """
    try:
        with _opened(path) as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            if not header or header[0] != "time":
                raise ConfigurationError(f"{path}: expected `time` as the first column")
            pieces = [np.empty((0, len(header)))]
            while piece := [_numbers(row, len(header)) for row in islice(rows, _PIECE)]:
                pieces.append(np.array(piece, dtype=np.float64))
    except _UNREADABLE as error:
        raise ConfigurationError(f"{path}: not a readable table: {error}") from error
    columns = tuple(_column(name) for name in header[1:])
    if len(set(columns)) < len(columns):
        raise ConfigurationError(f"{path}: expected each column once")
    return _ordered(np.concatenate(pieces), columns, str(path.name))


def _ordered(table: np.ndarray, columns: tuple[Column, ...], where: str) -> tuple[Frame, tuple[str, ...]]:
    problems = []
    timed = table[np.isfinite(table[:, 0])]
    if len(timed) < len(table):
        problems.append(f"{where}: {len(table) - len(timed)} rows without a time are left out")
    if (np.diff(timed[:, 0]) < 0).any():
        problems.append(f"{where}: times go backwards; the rows are put in order")
    times, first = np.unique(timed[:, 0], return_index=True)
    if len(times) < len(timed):
        problems.append(f"{where}: {len(timed) - len(times)} rows of a time that another has are left out")
    return Frame(times, columns, timed[first, 1:]), tuple(problems)


def _numbers(row: Sequence[str], width: int) -> list[float]:
    numbers = [_number(cell) for cell in row[:width]]
    return numbers + [math.nan] * (width - len(numbers))


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _column(name: str) -> Column:
    service, _, metric = name.rpartition(":")
    return Column(service=service, metric=metric, quantity=quantity_of(metric))


def _about(path: Path) -> StreamFile:
    try:
        return StreamFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(*field_errors(error, str(path))) from error


def _changes(path: Path) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    if not path.exists():
        return (), ()
    try:
        told = _LIST.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return (), (f"{path.name}: left out, not a list of changes: {type(error).__name__}",)
    found = [change for each in told if (change := _change(each)) is not None]
    left_out = len(told) - len(found)
    problems = (f"{path.name}: {left_out} entries are no changes and left out",) if left_out else ()
    return tuple(sorted(found, key=lambda change: change.at)), problems


def _change(told: object) -> Change | None:
    try:
        known = _ChangeFile.model_validate(told)
        at = datetime.fromtimestamp(known.time, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    kind = _KINDS.get(known.kind, ChangeKind.OTHER)
    return Change(id=known.id, service=known.service, kind=kind, at=at, description=known.description)


def _graph(path: Path) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    rows, problems = _named_rows(path)
    calls = ((row.get("caller") or "", row.get("callee") or "") for row in rows)
    return tuple((caller, callee) for caller, callee in calls if caller and callee), problems


def _logs(path: Path) -> tuple[tuple[LoggedLine, ...], tuple[str, ...]]:
    rows, problems = _named_rows(path)
    lines = (
        LoggedLine(
            _number(row.get("time") or ""), row.get("service") or "", row.get("level") or "", row["message"] or ""
        )
        for row in rows
        if "message" in row
    )
    return tuple(line for line in lines if math.isfinite(line.at)), problems


def _named_rows(path: Path) -> tuple[list[dict[str, str | None]], tuple[str, ...]]:
    """The rows of a table that a stream may lack, as far as they can be read."""
    rows: list[dict[str, str | None]] = []
    if not path.exists():
        return rows, ()
    try:
        with _opened(path) as lines:
            rows.extend(csv.DictReader(lines))
    except _UNREADABLE as error:
        return rows, (f"{path.name}: cannot be read after {len(rows)} rows: {type(error).__name__}",)
    return rows, ()


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")
