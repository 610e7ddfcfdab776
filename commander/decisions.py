"""`commander eval decisions`: the commander's decisions over made-up incidents, against what others would do."""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.deciding import Decider
from evaluation.regret import DecisionsReport, Figures, judge_decisions

_NOT_GOOD = 1
_WIDTH = 132
"""Columns that the table takes; a narrower window folds them."""


def decisions(
    *,
    incidents: Annotated[int, typer.Option(min=1, help="Incidents of each class under each noise.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same incidents.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
) -> None:
    """Decide made-up incidents: regret, harmful and missed actions by class and noise. Exit 1 where a bar is missed."""
    report = judge_decisions(incidents, seed, jobs)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        show(report)
    raise typer.Exit(_NOT_GOOD if report.shortfalls else 0)


def show(report: DecisionsReport) -> None:
    """Prints a row for each class and noise, one for all, and what is not reached."""
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    table = Table(box=box.SIMPLE_HEAVY, title="Mean regret in user-error-minutes", title_justify="left")
    for column in ("class", "noise", *(each.replace("_", " ") for each in Decider), "acted", "harmful", "missed"):
        table.add_column(column, justify="left" if column in {"class", "noise"} else "right", no_wrap=column == "class")
    for cell in report.cells:
        table.add_row(cell.fault, cell.noise, *_row(cell.deciders))
    table.add_section()
    table.add_row("all", "all", *_row(report.overall))
    console.print(table)
    console.print(
        f"{report.incidents} incidents in each row, seed {report.seed}; {report.without_guilty:.0%} of the mix have no "
        "guilty deployment. acted, harmful and missed are the commander's, in 1,000 incidents."
    )
    for each in report.shortfalls:
        console.print(f"not reached: {each}", style="red")


def _row(deciders: dict[Decider, Figures]) -> tuple[str, ...]:
    own = deciders[Decider.PRODUCTION]
    regrets = (f"{deciders[each].regret:.0f}" for each in Decider)
    return (*regrets, f"{own.acted:.0f}", f"{own.harmful:.1f}", f"{own.missed:.0f}")
