"""`commander label` and `commander report`: what people say of incidents, and what that says of the commander."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from commander.periods import Since, start_of
from commander.terminal import AsJson, Direct, IncidentId, Person, Way, console, line, run
from commander.view import plain
from evaluation.records import Unreadable, in_store
from evaluation.reporting import Precision, Report
from evaluation.reporting import report as reported
from incident.labels import Judgement
from incident.snapshot import Snapshot
from integrations.store import SqlStore
from worker.settings import load_settings

app = typer.Typer(rich_markup_mode=None)
_NOT_GOOD = 1


@app.command()
def label(
    incident_id: IncidentId,
    judgement: Annotated[
        Judgement,
        typer.Argument(
            help="good: what was done, or left undone, was right; harmful: what was done was wrong; missed: a rollback "
            "would have been right and was not made."
        ),
    ],
    note: Annotated[str, typer.Option(help="Kept beside it.")] = "",
    person: Person = "",
    *,
    direct: Direct = False,
) -> None:
    """Say afterwards whether a closed incident was handled well. What you said of it before is replaced."""
    run(_label(incident_id, line(direct=direct, person=person), judgement, note))


async def _label(incident_id: str, way: Way, judgement: Judgement, note: str) -> int:
    async with way as through:
        kept = await through.label(incident_id, judgement, note)
    console().print(Text(plain(f"{kept.incident_id}: {kept.judgement}, says {kept.by}")))
    return 0


@app.command()
def report(since: Since = "", *, as_json: AsJson = False) -> None:
    """Print how good actions and confidence were, as far as people have said so: over the store's closed incidents.

    Exit 1 where a record cannot be read, which is named and in no figure.
    """
    run(_report(start_of(since) if since else None, as_json=as_json))


async def _report(since: datetime | None, *, as_json: bool) -> int:
    store = SqlStore(load_settings().store)
    try:
        records: list[Snapshot] = []
        unreadable: list[str] = []
        async for each in in_store(store, since):
            if isinstance(each, Unreadable):
                unreadable.append(f"{each.name}: {each.problem}")
            else:
                records.append(each)
        found = reported(records, await store.labels(since), unreadable)
    finally:
        await store.close()
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        typer.echo("\n".join(plain(each) for each in _lines(found)))
    return _NOT_GOOD if unreadable else 0


def _lines(found: Report) -> Iterator[str]:
    agreed = f"{found.labelled} labelled, {found.unlabelled} not, {found.disputed} disputed and in no figure"
    yield f"incidents           {found.incidents}: {agreed}"
    yield f"rollbacks           {_words(found.rollbacks)}"
    yield f"  by itself         {_words(found.by_itself)}"
    regret = f"{_shown(found.regret, 1)} per 1,000 labelled: {found.harmful} harmful, {found.missed} missed"
    yield f"regret              {regret}"
    yield f"Brier score         {_shown(found.brier_score)}  (0 is best; always 0.5 gives 0.25)"
    basis = f"over {found.forecasts} decisions, {found.undetermined} labels do not tell"
    yield f"calibration error   {_shown(found.calibration_error)}  (expected, ten bins; {basis})"
    for each in found.bins:
        shares = f"{each.right:.2f} right of {each.forecasts}, {each.confidence:.2f} stated"
        yield f"  {each.above:.1f} to {each.up_to:.1f}        {shares}"
    for name in found.unreadable:
        yield f"skipped             {name}"


def _words(found: Precision) -> str:
    known = f"{found.right} right, {found.wrong} wrong, {found.unknown} unknown"
    return f"{found.made}: {known}; precision {_shown(found.precision)}"


def _shown(value: float | None, digits: int = 3) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"
