"""`commander change` and `commander changes`: what was changed in a service, where nobody can read it."""

from typing import Annotated
from uuid import uuid4

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from commander.periods import start_of
from commander.terminal import Direct, Person, Way, console, line, run
from commander.view import plain
from incident.changes import Telling, ToldKind

app = typer.Typer(rich_markup_mode=None)
Service = Annotated[str, typer.Argument(help="A service of the registry.")]
Where = Annotated[str, typer.Option("--environment", help="Where it runs.")]


@app.command()
def change(  # noqa: PLR0913, PLR0917 - one argument an option
    service: Service,
    description: Annotated[str, typer.Argument(help="What was changed; people will read it.")] = "",
    kind: Annotated[ToldKind, typer.Option(help="What was changed.")] = ToldKind.CONFIGURATION,
    at: Annotated[
        str, typer.Option(help="When it was made: 10m ago, or 2026-11-01T08:00Z; left out: now.", metavar="TIME")
    ] = "",
    change_id: Annotated[
        str, typer.Option("--id", help="Yours: told again it is the same change; left out: one of its own.")
    ] = "",
    environment: Where = "production",
    person: Person = "",
    *,
    direct: Direct = False,
) -> None:
    """Tell of a change to a service that is no deployment: an incident that begins after it may be its fault."""
    telling = Telling(
        id=change_id or uuid4().hex,
        service=service,
        environment=environment,
        kind=kind,
        at=start_of(at.removesuffix(" ago"), option="--at") if at else None,
        description=description,
    )
    run(_change(telling, line(direct=direct, person=person)))


async def _change(telling: Telling, way: Way) -> int:
    async with way as through:
        kept = await through.tell(telling)
    console().print(Text(plain(f"{kept.id}: {kept.seen_from(kept.service).words}, says {kept.by}")))
    return 0


@app.command()
def changes(service: Service, environment: Where = "production", *, direct: Direct = False) -> None:
    """List the newest 50 changes that were told of, newest first. Those of more than 40 days ago are forgotten."""
    run(_changes(service, environment, line(direct=direct)))


async def _changes(service: str, environment: str, way: Way) -> int:
    async with way as through:
        known = await through.told(service, environment)
    if not known:
        console().print("nobody told of a change")
        return 0
    table = Table(box=box.SIMPLE_HEAVY)
    for column in ("made at", "change", "kind", "by", "what was changed"):
        table.add_column(column, overflow="fold")
    for each in known:
        made = f"{each.at:%Y-%m-%d %H:%M:%SZ}"
        table.add_row(made, *(Text(plain(text)) for text in (each.id, each.kind, each.by, each.description)))
    console().print(table)
    return 0
