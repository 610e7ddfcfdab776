"""What every command stands on: its usual arguments, the console, and the way to the incidents."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from getpass import getuser
from typing import Annotated, Any

import typer
from rich.console import Console

from commander.direct_line import direct_line
from commander.gateway_line import gateway_line
from commander.line import Line
from commander.settings import load_person
from incident.errors import ConfigurationError
from incident.identifiers import parse_incident_id
from worker.settings import load_settings


def _incident_id(text: str) -> str:
    parse_incident_id(text)
    return text


IncidentId = Annotated[str, typer.Argument(help="The incident's id.", metavar="ID", parser=_incident_id)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Direct = Annotated[bool, typer.Option("--direct", help="Go past the gateway: over Temporal and the store.")]
Person = Annotated[str, typer.Option("--as", help="With --direct: who you are; default: as you are logged in.")]
Way = AbstractAsyncContextManager[Line]


def run(work: Coroutine[Any, Any, int]) -> None:
    """Does the work of a command and ends it with that exit status."""
    raise typer.Exit(asyncio.run(work))


def console(*, quiet: bool = False) -> Console:
    """Stdout for people; stderr, where stdout belongs to one JSON document."""
    return Console(stderr=quiet, quiet=quiet)


@asynccontextmanager
async def line(*, direct: bool, person: str = "") -> AsyncIterator[Line]:
    """The way to the incidents that was asked for."""
    if direct:
        async with direct_line(load_settings(), person or getuser()) as past:
            yield past
        return
    if person:
        raise ConfigurationError("--as: only with --direct; otherwise your token says who you are")
    async with gateway_line(load_person()) as through:
        yield through
