"""The commands. Where one cannot do its work it says why on one line, and the process exits 2."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from getpass import getuser
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text
from temporalio.client import WorkflowHandle

from commander import doctor as examination
from commander.demo import Demo, follow
from commander.scenarios import Scenario
from commander.stack import EmbeddedStack, StackPlan, StackPorts
from commander.view import Progress, comparison, incidents, plain, say, summary
from incident.decision import Decision
from incident.dossier import Trigger
from incident.errors import PermanentError, TransientError
from incident.evidence import Evidence
from incident.identifiers import parse_incident_id
from incident.ledger import Stop
from incident.policy import PolicyFile
from incident.rulebook import RULES
from incident.services import ServiceRegistry
from incident.snapshot import Outcome, Snapshot, snapshot_schema
from integrations.store import SqlStore
from integrations.temporal import connect
from worker.bootstrap import load_policies, load_registry
from worker.settings import Settings, load_settings, variables
from workflows.desk import IncidentDesk
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer, CancelRequest, IncidentRequest

app = typer.Typer(
    name="commander",
    help="An autonomous incident commander: detects, decides, rolls back once, verifies, records.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_HOME = Path(".commander")
_GOOD = frozenset({Outcome.NO_INCIDENT, Outcome.RECOVERED})
_NOT_GOOD = 1


def _incident_id(text: str) -> str:
    parse_incident_id(text)
    return text


IncidentId = Annotated[str, typer.Argument(help="The incident's id.", metavar="ID", parser=_incident_id)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Person = Annotated[str, typer.Option("--as", help="Who you are; default: the user you are logged in as.")]


class SchemaName(StrEnum):
    """The published JSON schemas."""

    SNAPSHOT = "snapshot"
    DECISION = "decision"
    POLICY = "policy"
    EVIDENCE = "evidence"


def _run(work: Coroutine[Any, Any, int]) -> None:
    raise typer.Exit(asyncio.run(work))


def _console(*, quiet: bool = False) -> Console:
    """Stdout for people; stderr, where stdout belongs to one JSON document."""
    return Console(stderr=quiet, quiet=quiet)


@app.command()
def demo(
    *,
    scenario: Annotated[Scenario, typer.Option(help="What happens to the service.")] = Scenario.BAD_DEPLOY,
    as_json: AsJson = False,
    keep: Annotated[bool, typer.Option("--keep", help="Hold the Web UI open until Ctrl-C.")] = False,
) -> None:
    """Run one incident, end to end, on an embedded Temporal server. Exit 0 if it ended as it should, else 1."""
    _run(_demo(scenario, as_json=as_json, keep=keep))


async def _demo(scenario: Scenario, *, as_json: bool, keep: bool) -> int:
    console = _console(quiet=as_json)
    snapshot, differences = await Demo(scenario, console, load_settings(), _HOME / "demo").run(keep=keep)
    if as_json:
        typer.echo(snapshot.model_dump_json(indent=2))
        for difference in differences:
            typer.echo(difference, err=True)
    return _NOT_GOOD if differences else 0


@app.command()
def up() -> None:
    """Start Temporal, the worker and the mock service here, and keep them until Ctrl-C. Data is kept in .commander/."""
    _run(_up())


async def _up() -> int:
    settings, console = load_settings(), _console()
    load_registry(settings)
    plan = StackPlan(
        directory=_HOME / "up",
        ports=StackPorts(),
        services_file=settings.services_file,
        database=_HOME / "up" / "temporal.db",
    )
    async with EmbeddedStack(plan) as stack:
        say(console, "Temporal", stack.temporal.address)
        say(console, "Temporal Web UI", stack.temporal.ui_url)
        say(console, "Mock service", f"{stack.mock_url}/ui")
        console.print("Up. `commander run payment-api` looks at the service; Ctrl-C ends it all.")
        raise PermanentError("embedded stack", await stack.first_death())


@app.command()
def run(
    service: Annotated[str, typer.Argument(help="A service of the registry.")],
    environment: Annotated[str, typer.Option(help="Where it runs.")] = "production",
    outside_analyst: Annotated[str, typer.Option(help="Who decides outside, such as kestra.")] = "",
    reason: Annotated[str, typer.Option(help="Why you ask; people will read it.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Look at a service, act as its policy allows, and follow the incident until it closes.

    Joins the incident that is open, if there is one. Exit 0 where nothing was wrong or it has recovered, else 1.
    """
    trigger = Trigger(source="cli", trigger_id=uuid4().hex, reason=reason)
    _run(_open(service, environment, outside_analyst, trigger, as_json=as_json))


async def _open(service: str, environment: str, outside_analyst: str, trigger: Trigger, *, as_json: bool) -> int:
    settings, console = load_settings(), _console(quiet=as_json)
    registry = load_registry(settings)
    registry.find(environment, service)
    request = IncidentRequest(
        service=service,
        environment=environment,
        policy=load_policies(settings, registry).of(service),
        trigger=trigger,
        outside_analyst=outside_analyst,
    )
    desk = await _desk(settings)
    joined, handle = await desk.open(request)
    console.print(f"{joined.incident_id} ({'opened' if joined.opened else 'joined'})", highlight=False)
    return _told(await follow(desk, handle, Progress(console)), console, as_json=as_json)


def _told(snapshot: Snapshot, console: Console, *, as_json: bool) -> int:
    if as_json:
        typer.echo(snapshot.model_dump_json(indent=2))
    else:
        console.print(comparison(snapshot))
        console.print(summary(snapshot))
    return 0 if snapshot.outcome in _GOOD else _NOT_GOOD


@app.command(name="incidents")
def list_incidents(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Closed incidents shown at most.")] = 20,
) -> None:
    """List open incidents, and the newest closed ones."""
    _run(_incidents(limit))


async def _incidents(limit: int) -> int:
    settings, console = load_settings(), _console()
    async with _store(settings) as store:
        closed = await store.newest(limit)
    try:
        still_open = await (await _desk(settings)).all_open()
    except TransientError as error:
        typer.echo(f"open incidents are not known: {error}", err=True)
        console.print(incidents((), closed))
        return _NOT_GOOD
    console.print(incidents(still_open, closed))
    return 0


@app.command()
def show(incident_id: IncidentId, *, as_json: AsJson = False) -> None:
    """Show an incident: its snapshot if it has closed, where it stands if it is open."""
    _run(_show(incident_id, as_json=as_json))


async def _show(incident_id: str, *, as_json: bool) -> int:
    settings, console = load_settings(), _console()
    async with _store(settings) as store:
        stored = await store.load(incident_id)
    if stored is not None:
        if not as_json:
            Progress(console).show(stored.timeline, stored.notifications)
        _told(stored, console, as_json=as_json)
        return 0
    desk = await _desk(settings)
    dossier = await desk.dossier(await _found(desk, incident_id))
    if as_json:
        typer.echo(dossier.model_dump_json(indent=2))
    else:
        Progress(console).show_dossier(dossier)
    return 0


@app.command(name="follow")
def follow_incident(incident_id: IncidentId) -> None:
    """Follow an open incident until it closes. Exit 0 where it has recovered, else 1."""
    _run(_follow(incident_id))


async def _follow(incident_id: str) -> int:
    settings, console = load_settings(), _console()
    async with _store(settings) as store:
        stored = await store.load(incident_id)
    if stored is not None:
        Progress(console).show(stored.timeline, stored.notifications)
        return _told(stored, console, as_json=False)
    desk = await _desk(settings)
    handle = await _found(desk, incident_id)
    return _told(await follow(desk, handle, Progress(console)), console, as_json=False)


@app.command()
def approve(
    incident_id: IncidentId,
    person: Person = "",
    note: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    digest: Annotated[str, typer.Option(help="Refuse if the open proposal's digest does not begin so.")] = "",
) -> None:
    """Approve what is proposed."""
    _run(_answer(incident_id, person, note, digest, approved=True))


@app.command()
def deny(
    incident_id: IncidentId,
    person: Person = "",
    note: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    digest: Annotated[str, typer.Option(help="Refuse if the open proposal's digest does not begin so.")] = "",
) -> None:
    """Deny what is proposed."""
    _run(_answer(incident_id, person, note, digest, approved=False))


async def _answer(incident_id: str, person: str, note: str, digest: str, *, approved: bool) -> int:
    desk = await _desk(load_settings())
    handle = await _found(desk, incident_id)
    proposal = (await desk.dossier(handle)).proposal
    if proposal is None:
        raise PermanentError(incident_id, "nothing is proposed")
    if not proposal.digest.startswith(digest):
        raise PermanentError(incident_id, f"the open proposal has the digest {proposal.digest[:12]}, not {digest}")
    answer = ApprovalAnswer(digest=proposal.digest, approver=person or getuser(), approved=approved, note=note)
    await desk.answer(handle, answer)
    _console().print(Text(f"{'Approved' if approved else 'Denied'}: {plain(proposal.question)}"))
    return 0


@app.command()
def cancel(
    incident_id: IncidentId,
    person: Person = "",
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
) -> None:
    """End an incident. What has been done already is still verified, reported and recorded."""
    _run(_cancel(incident_id, CancelRequest(by=person or getuser(), reason=reason)))


async def _cancel(incident_id: str, request: CancelRequest) -> int:
    desk = await _desk(load_settings())
    receipt = await desk.cancel(await _found(desk, incident_id), request)
    done = "something was done already: it is verified, reported, recorded" if receipt.acted else "nothing was done"
    _console().print(f"{receipt.incident_id}: cancelled, {done}", highlight=False)
    return 0


@app.command()
def stop(
    service: Annotated[str, typer.Argument(help="A service; left out: every service.")] = "",
    environment: Annotated[str, typer.Option(help="Where it runs; left out: every environment.")] = "",
    person: Person = "",
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
) -> None:
    """Pull the kill switch: nothing is rolled back until `commander release`. Open incidents are told at once.

    Exit 1 where it is pulled and the open incidents could not be told: they still meet it before they act.
    """
    at = datetime.now(UTC)
    _run(_stop(Stop(environment=environment, service=service, by=person or getuser(), reason=reason, at=at)))


async def _stop(pulled: Stop) -> int:
    settings, console = load_settings(), _console()
    if pulled.service or pulled.environment:
        _known(pulled, load_registry(settings))
    async with _store(settings) as store:
        await store.stop(pulled)
    console.print(Text(plain(pulled.words)))
    try:
        told = await (await _desk(settings)).stop(pulled)
    except TransientError as error:
        typer.echo(f"open incidents could not be told, but meet it before they act: {error}", err=True)
        return _NOT_GOOD
    console.print(f"open incidents that were told: {', '.join(told) or 'none'}", highlight=False)
    return 0


def _known(pulled: Stop, registry: ServiceRegistry) -> None:
    """A misspelt service or environment would stop nothing, so it is refused."""
    if not any(pulled.covers(each.environment, each.name) for each in registry.service):
        known = ", ".join(sorted(f"{each.name} ({each.environment})" for each in registry.service))
        raise PermanentError(
            " ".join(part for part in (pulled.service, pulled.environment) if part),
            f"the registry has no such service there; known: {known}",
        )


@app.command()
def release(
    service: Annotated[str, typer.Argument(help="As it was stopped; left out: every service.")] = "",
    environment: Annotated[str, typer.Option(help="As it was stopped; left out: every environment.")] = "",
) -> None:
    """Let the kill switch of exactly that scope go. Exit 1 where none is pulled."""
    _run(_release(environment, service))


async def _release(environment: str, service: str) -> int:
    async with _store(load_settings()) as store:
        released, left = await store.release(environment, service), await store.stops()
    _console().print("released" if released else "no kill switch of that scope is pulled")
    for each in left:
        _console().print(Text(f"still pulled: {plain(each.words)}"))
    return 0 if released else _NOT_GOOD


@app.command()
def rules() -> None:
    """Print the gate's rules as a Markdown table."""
    typer.echo("| rule | what must hold | otherwise |\n|---|---|---|")
    for rule in RULES:
        typer.echo(f"| `{rule.name}` | {rule.holds} | {rule.otherwise} |")


@app.command()
def schema(name: Annotated[SchemaName, typer.Argument(help="Which one.")]) -> None:
    """Print a published JSON schema."""
    schemas = {
        SchemaName.SNAPSHOT: snapshot_schema,
        SchemaName.DECISION: Decision.model_json_schema,
        SchemaName.POLICY: PolicyFile.model_json_schema,
        SchemaName.EVIDENCE: Evidence.model_json_schema,
    }
    typer.echo(json.dumps(schemas[name](), indent=2))


@app.command()
def settings() -> None:
    """Print every setting of the worker and the command line as a Markdown table."""
    typer.echo("| variable | default | meaning |\n|---|---|---|")
    for each in variables():
        typer.echo(f"| `{each.name}` | {f'`{each.default}`' if each.default else ''} | {each.meaning} |")


@app.command()
def doctor(
    service: Annotated[str, typer.Argument(help="Only this service of the registry; default: every one.")] = "",
) -> None:
    """Ask every configured system whether it would work, and say what to set if not. Exit 0 if all would, else 1."""
    _run(_doctor(service))


async def _doctor(service: str) -> int:
    settings, console = load_settings(), _console()
    findings = await examination.examine(settings, service)
    console.print(examination.table(findings))
    return 0 if all(finding.works for finding in findings) else _NOT_GOOD


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[SqlStore]:
    store = SqlStore(settings.store)
    try:
        yield store
    finally:
        await store.close()


async def _desk(settings: Settings) -> IncidentDesk:
    return IncidentDesk(await connect(settings.temporal))


async def _found(desk: IncidentDesk, incident_id: str) -> WorkflowHandle[IncidentWorkflow, Snapshot]:
    handle = await desk.find(incident_id)
    if handle is None:
        raise PermanentError(incident_id, "neither Temporal nor the store knows it")
    return handle
