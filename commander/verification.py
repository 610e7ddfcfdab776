"""`commander eval verification`: how often the test of recovery is wrong, how often right, and how soon."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.streams import read_streams
from evaluation.stretches import StretchReport, judge_histories
from evaluation.verification import Cell, VerificationReport, verify
from incident.model import Fact

_NOT_GOOD = 1
_WIDTH = 120
"""Columns that the table takes; a narrower window folds them."""


class _Report(Fact):
    """Both reports, as one document."""

    made_up: VerificationReport
    recorded: StretchReport | None


def verification(
    *,
    verifications: Annotated[int, typer.Option(min=1, help="How many, spread over every kind of service.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same services.")] = 8,
    streams: Annotated[
        Path | None, typer.Option(help="Recorded streams, whose healthy histories are judged too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
) -> None:
    """Verify made-up services: false and true recoveries, and how soon. Exit 1 where a bar is missed."""
    recorded = judge_histories(list(read_streams(streams))) if streams else None
    made_up = verify(verifications, seed)
    if as_json:
        typer.echo(_Report(made_up=made_up, recorded=recorded).model_dump_json(indent=2))
    else:
        show(made_up, recorded)
    raise typer.Exit(0 if _held(made_up, recorded) else _NOT_GOOD)


def _held(made_up: VerificationReport, recorded: StretchReport | None) -> bool:
    return made_up.held and (recorded is None or recorded.held)


def show(made_up: VerificationReport, recorded: StretchReport | None) -> None:
    """Prints a row for each kind of service, and what the bars are held against."""
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    table = Table(box=box.SIMPLE_HEAVY)
    for column in (
        "errors",
        "requests/s",
        "noise",
        "verified",
        "recovered",
        "after",
        "degraded",
        "of the worse",
        "after",
    ):
        table.add_column(column, justify="left" if column == "noise" else "right")
    for cell in made_up.cells:
        table.add_row(*_row(cell))
    console.print(table)
    console.print(
        f"{made_up.verifications} verifications, seed {made_up.seed}; wrongly recovered at most "
        f"{made_up.worst_false_recovered:.2%}, wrongly degraded at most {made_up.worst_false_degraded:.2%} of a cell; "
        f"half are known to have recovered within {_seconds(made_up.slowest_median_seconds)} where there is traffic, "
        f"a fixed wait takes {_seconds(made_up.fixed_wait_seconds)}"
    )
    if recorded:
        console.print(
            f"recorded healthy stretches: {recorded.services} services, {recorded.verifications} verifications, "
            f"{recorded.degraded} wrongly degraded"
        )
    if not _held(made_up, recorded):
        console.print("wrong too often, or too slow", style="red")


def _row(cell: Cell) -> tuple[str, ...]:
    found = "" if cell.worsened_found is None else f"{cell.worsened_found:.0%}"
    return (
        f"{cell.error_ratio:.1%}",
        f"{cell.requests_per_second:.0f}",
        cell.wander,
        str(cell.verifications),
        f"{cell.recovered:.1%}",
        _seconds(cell.seconds_to_recovered),
        f"{cell.degraded:.1%}",
        found,
        _seconds(cell.seconds_to_degraded),
    )


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"
