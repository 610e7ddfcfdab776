"""Writes recorded streams as `commander observe` reads them."""

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from incident.series import Frame


def write_table(path: Path, frame: Frame) -> None:
    """A table of `frame`; NaN becomes an empty cell."""
    header = ["time", *(column.name for column in frame.columns)]
    rows = (
        [f"{time:.0f}", *("" if value != value else f"{value:.6g}" for value in row)]  # noqa: PLR0124 - only NaN differs from itself
        for time, row in zip(frame.times, frame.values, strict=True)
    )
    write_rows(path, [header, *rows])


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """A gzipped table of any rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="", compresslevel=1) as lines:
        csv.writer(lines).writerows(rows)


def write_stream(
    directory: Path,
    name: str,
    frame: Frame,
    history: Frame | None = None,
    *,
    changes: Sequence[Mapping[str, object]] = (),
    interval: float = 60,
) -> Path:
    """A stream below `directory`, and its folder."""
    folder = directory / name
    write_table(folder / "metrics.csv.gz", frame)
    about: dict[str, object] = {"interval_s": interval, "entry": "web", "system": "made-up", "history": ""}
    if history is not None:
        write_table(directory / "history.csv.gz", history)
        about["history"] = "../history.csv.gz"
    (folder / "stream.json").write_text(json.dumps(about))
    (folder / "changes.json").write_text(json.dumps(list(changes)))
    return folder
