"""The commands. Where one cannot do its work it says why on one line, and the process exits 2."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.text import Text

from commander import doctor as examination
from commander import labelling, replaying, telling
from commander.attacks.corpus import read_corpus
from commander.attacks.trial import try_all
from commander.decisions import decisions
from commander.demo import Demo
from commander.judging import judge_model
from commander.line import Asked, Listing
from commander.login import prepare
from commander.registered import services, write_starter
from commander.scenarios import Scenario
from commander.settings import UP, PersonSettings, load_person
from commander.spending import shown, spendings
from commander.stack import EmbeddedStack, StackPlan, StackPorts
from commander.terminal import AsJson, Direct, IncidentId, Person, Way
from commander.terminal import console as _console
from commander.terminal import line as _line
from commander.terminal import run as _run
from commander.tokens import grant
from commander.verification import verification
from commander.view import Progress, comparison, incidents, plain, say, standing, summary, watchers
from evaluation.observing import Observer, observe_all
from gateway.settings import Settings as GatewaySettings
from gateway.settings import load_settings as load_gateway_settings
from gateway.tokens import Scope
from incident.decision import Decision
from incident.errors import ConfigurationError, IntegrationError, PermanentError
from incident.evidence import Evidence
from incident.policy import PolicyFile
from incident.rulebook import RULES
from incident.snapshot import Outcome, Snapshot, snapshot_schema
from integrations.files import read_policies, read_registry
from integrations.store import SqlStore
from integrations.variables import variables
from worker.settings import Settings, load_settings

app = typer.Typer(
    name="commander",
    help="An autonomous incident commander: detects, decides, rolls back once, verifies, records.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_GOOD = frozenset({Outcome.NO_INCIDENT, Outcome.RECOVERED})
_NOT_GOOD = 1


class SchemaName(StrEnum):
    """The published JSON schemas."""

    SNAPSHOT = "snapshot"
    DECISION = "decision"
    POLICY = "policy"
    EVIDENCE = "evidence"


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
    snapshot, differences = await Demo(scenario, console, load_settings(), UP.with_name("demo")).run(keep=keep)
    if as_json:
        typer.echo(snapshot.model_dump_json(indent=2))
        for difference in differences:
            typer.echo(difference, err=True)
    return _NOT_GOOD if differences else 0


@app.command()
def up() -> None:
    """Start Temporal, worker, gateway and mock service here, until Ctrl-C. Data is kept in .commander/."""
    _run(_up())


async def _up() -> int:
    settings, console = load_settings(), _console()
    registry = read_registry(settings.services_file)
    policies = read_policies(settings.policy_file, registry, settings.services_file)
    login = prepare(UP, getuser())
    plan = StackPlan(
        directory=UP,
        ports=StackPorts(),
        services_file=settings.services_file,
        database=UP / "temporal.db",
        gateway=login.gateway,
    )
    async with EmbeddedStack(plan) as stack:
        say(console, "Temporal", stack.temporal.address)
        say(console, "Temporal Web UI", stack.temporal.ui_url)
        say(console, "Mock service", f"{stack.mock_url}/ui")
        say(console, "Pages", f"{stack.gateway_url}/ui/")
        say(console, "Log in with", f"the token in {login.token_file}; it is {login.name}'s")
        say(console, "For others", f"commander token NAME --file {login.tokens_file}, and start anew")
        for each in registry.service:
            if login.name not in policies.of(each.name, each.environment).approvers:
                words = f"{login.name}, of {each.name}: see approvers in {settings.policy_file}"
                say(console, "Not an approver", words)
        console.print("Up. `commander run payment-api` looks at the service; Ctrl-C ends it all.")
        raise PermanentError("embedded stack", await stack.first_death())


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Whose: as the policy's approvers have it, or a program's name.")],
    scope: Annotated[list[Scope], typer.Option(help="What it is good for; give it once for each.")] = [Scope.READ],  # noqa: B006 - typer wants a list, and nobody changes it
    file: Annotated[Path | None, typer.Option(help="The tokens file; default: GATEWAY__TOKENS_FILE.")] = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Make the tokens invalid that NAME has.")] = False,
) -> None:
    """Make a token for the gateway and print it, once: the file keeps its hash. A gateway reads it when it starts."""
    typer.echo(grant(file or load_gateway_settings().gateway.tokens_file, name, scope, replace=replace))


@app.command()
def run(
    service: Annotated[str, typer.Argument(help="A service of the registry.")],
    environment: Annotated[str, typer.Option(help="Where it runs.")] = "production",
    outside_analyst: Annotated[str, typer.Option(help="Who decides outside, such as kestra.")] = "",
    reason: Annotated[str, typer.Option(help="Why you ask; people will read it.")] = "",
    *,
    as_json: AsJson = False,
    direct: Direct = False,
) -> None:
    """Look at a service, act as its policy allows, and follow the incident until it closes.

    Joins the incident that is open, if there is one. Exit 0 where nothing was wrong or it has recovered, else 1.
    """
    asked = Asked(service=service, environment=environment, outside_analyst=outside_analyst, reason=reason)
    _run(_open(asked, _line(direct=direct), as_json=as_json))


async def _open(asked: Asked, way: Way, *, as_json: bool) -> int:
    console = _console(quiet=as_json)
    async with way as line:
        opening = await line.open(asked)
        console.print(f"{opening.incident_id} ({'opened' if opening.opened else 'joined'})", highlight=False)
        return _told(await line.follow(opening.incident_id, Progress(console)), console, as_json=as_json)


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
    *,
    direct: Direct = False,
) -> None:
    """List open incidents, and the newest closed ones."""
    _run(_incidents(limit, _line(direct=direct)))


async def _incidents(limit: int, way: Way) -> int:
    async with way as line:
        listing = await line.list(limit)
    if listing.open_unknown:
        typer.echo(f"open incidents are not known: {listing.open_unknown}", err=True)
    _console().print(incidents(listing.entries))
    return _NOT_GOOD if listing.open_unknown else 0


@app.command(name="services")
def list_services(*, direct: Direct = False) -> None:
    """List the services of the registry, with their sources and open incidents. Exit 1 where these are not known."""
    _run(_services(_line(direct=direct)))


async def _services(way: Way) -> int:
    registry = read_registry(load_settings().services_file)
    try:
        async with way as line:
            listing = await line.list(1)
    except (IntegrationError, ConfigurationError) as error:
        listing = Listing(entries=(), open_unknown=str(error))
    if listing.open_unknown:
        typer.echo(f"open incidents are not known: {listing.open_unknown}", err=True)
    _console().print(services(registry, listing))
    return _NOT_GOOD if listing.open_unknown else 0


@app.command()
def init() -> None:
    """Write a commented registry of services to SERVICES_FILE, unless something is there already."""
    path = load_settings().services_file
    write_starter(path)
    typer.echo(f"{path}: written; `commander doctor` asks every source that it names")


@app.command()
def show(incident_id: IncidentId, *, as_json: AsJson = False, direct: Direct = False) -> None:
    """Show an incident: its snapshot if it has closed, where it stands if it is open."""
    _run(_show(incident_id, _line(direct=direct), as_json=as_json))


async def _show(incident_id: str, way: Way, *, as_json: bool) -> int:
    console = _console()
    async with way as line:
        known = await line.look(incident_id)
    if as_json:
        typer.echo(known.model_dump_json(indent=2))
    elif isinstance(known, Snapshot):
        Progress(console).show_snapshot(known)
        _told(known, console, as_json=False)
    else:
        Progress(console).show_dossier(known)
        console.print(standing(known))
    return 0


@app.command(name="follow")
def follow_incident(incident_id: IncidentId, *, direct: Direct = False) -> None:
    """Follow an open incident until it closes. Exit 0 where it has recovered, else 1."""
    _run(_follow(incident_id, _line(direct=direct)))


async def _follow(incident_id: str, way: Way) -> int:
    console = _console()
    async with way as line:
        return _told(await line.follow(incident_id, Progress(console)), console, as_json=False)


@app.command()
def approve(
    incident_id: IncidentId,
    person: Person = "",
    note: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    digest: Annotated[str, typer.Option(help="Refuse if the open proposal's digest does not begin so.")] = "",
    *,
    direct: Direct = False,
) -> None:
    """Approve what is proposed."""
    _run(_answer(incident_id, _line(direct=direct, person=person), digest, note, approved=True))


@app.command()
def deny(
    incident_id: IncidentId,
    person: Person = "",
    note: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    digest: Annotated[str, typer.Option(help="Refuse if the open proposal's digest does not begin so.")] = "",
    *,
    direct: Direct = False,
) -> None:
    """Deny what is proposed."""
    _run(_answer(incident_id, _line(direct=direct, person=person), digest, note, approved=False))


async def _answer(incident_id: str, way: Way, digest: str, note: str, *, approved: bool) -> int:
    async with way as line:
        known = await line.look(incident_id)
        if isinstance(known, Snapshot):
            raise PermanentError(incident_id, f"has closed: {known.outcome}")
        proposal = known.proposal
        if proposal is None:
            raise PermanentError(incident_id, "nothing is proposed")
        if not proposal.digest.startswith(digest):
            raise PermanentError(incident_id, f"the open proposal has the digest {proposal.digest[:12]}, not {digest}")
        given = await line.answer(incident_id, proposal.digest, approved=approved, note=note)
    said = "Approved" if given.approved else "Denied"
    _console().print(Text(f"{said} by {plain(given.approver)}: {plain(proposal.question)}"))
    return 0


@app.command()
def cancel(
    incident_id: IncidentId,
    person: Person = "",
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    *,
    direct: Direct = False,
) -> None:
    """End an incident. What has been done already is still verified, reported and recorded."""
    _run(_cancel(incident_id, _line(direct=direct, person=person), reason))


async def _cancel(incident_id: str, way: Way, reason: str) -> int:
    async with way as line:
        acted = await line.cancel(incident_id, reason)
    done = "something was done already: it is verified, reported, recorded" if acted else "nothing was done"
    _console().print(f"{incident_id}: cancelled, {done}", highlight=False)
    return 0


@app.command()
def stop(
    service: Annotated[str, typer.Argument(help="A service; left out: every service.")] = "",
    environment: Annotated[str, typer.Option(help="Where it runs; left out: every environment.")] = "",
    person: Person = "",
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    *,
    direct: Direct = False,
) -> None:
    """Pull the kill switch: nothing is rolled back until `commander release`. Open incidents are told at once.

    Exit 1 where it is pulled and the open incidents could not be told: they still meet it before they act.
    """
    _run(_stop(service, environment, reason, _line(direct=direct, person=person)))


async def _stop(service: str, environment: str, reason: str, way: Way) -> int:
    console = _console()
    async with way as line:
        pulled = await line.stop(service, environment, reason)
    console.print(Text(plain(pulled.stop.words)))
    if pulled.untold:
        typer.echo(f"open incidents could not be told, but meet it before they act: {pulled.untold}", err=True)
        return _NOT_GOOD
    console.print(f"open incidents that were told: {', '.join(pulled.told) or 'none'}", highlight=False)
    return 0


@app.command()
def release(
    service: Annotated[str, typer.Argument(help="As it was stopped; left out: every service.")] = "",
    environment: Annotated[str, typer.Option(help="As it was stopped; left out: every environment.")] = "",
    *,
    direct: Direct = False,
) -> None:
    """Let the kill switch of exactly that scope go. Exit 1 where none is pulled."""
    _run(_release(service, environment, _line(direct=direct)))


async def _release(service: str, environment: str, way: Way) -> int:
    async with way as line:
        gone = await line.release(service, environment)
    _console().print("released" if gone.released else "no kill switch of that scope is pulled")
    for each in gone.left:
        _console().print(Text(f"still pulled: {plain(each.words)}"))
    return 0 if gone.released else _NOT_GOOD


Services = Annotated[list[str] | None, typer.Argument(help="Services of the registry; left out: all of them.")]
Where = Annotated[str, typer.Option("--environment", help="Where they run.")]


@app.command()
def watch(services: Services = None, environment: Where = "production", *, direct: Direct = False) -> None:
    """Have services watched: what is wrong with one, check after check, opens an incident. It lasts until `unwatch`.

    What is watched already takes over its policy as it is now.
    """
    _run(_watch(services, environment, _line(direct=direct)))


async def _watch(services: list[str] | None, environment: str, way: Way) -> int:
    async with way as line:
        for each in services or _registered(environment):
            await line.watch(each, environment)
            _console().print(f"watched: {each} ({environment})", highlight=False)
    return 0


@app.command()
def unwatch(services: Services = None, environment: Where = "production", *, direct: Direct = False) -> None:
    """End the watch of services; incidents that are open go on. Exit 1 where one was not watched."""
    _run(_unwatch(services, environment, _line(direct=direct)))


async def _unwatch(services: list[str] | None, environment: str, way: Way) -> int:
    code = 0
    async with way as line:
        for each in services or _registered(environment):
            ended = await line.unwatch(each, environment)
            _console().print(f"{'watched no longer' if ended else 'was not watched'}: {each} ({environment})")
            code = code if ended else _NOT_GOOD
    return code


def _registered(environment: str) -> Sequence[str]:
    """The services of the registry at hand that run there."""
    known = read_registry(load_settings().services_file).service
    if found := [each.name for each in known if each.environment == environment]:
        return found
    raise ConfigurationError(f"--environment: the registry has no service in {environment}")


@app.command()
def observe(
    streams: Annotated[Path, typer.Argument(help="A folder of recorded streams.", metavar="STREAMS_DIR")],
    out: Annotated[Path, typer.Option(help="Where one line of JSON is written for each incident that is opened.")],
) -> None:
    """Play recorded streams to the detector, the ranking of causes and the recovery, never ahead of a row.

    Exit 1 where a stream cannot be read: it is named and skipped.
    """
    skipped = read = opened = 0
    observations = observe_all(streams, Observer())
    with _writable(out) as lines:
        for observation in observations:
            for note in observation.notes:
                typer.echo(f"{observation.stream}: {note}", err=True)
            for prediction in observation.predictions:
                lines.write(f"{prediction.model_dump_json()}\n")
                opened += prediction.opened_at is not None
            read, skipped = read + observation.readable, skipped + (not observation.readable)
    typer.echo(f"{read} streams, {opened} incidents opened; {skipped} streams could not be read")
    raise typer.Exit(_NOT_GOOD if skipped else 0)


def _writable(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


@app.command()
def watches(*, direct: Direct = False) -> None:
    """List what is watched."""
    _run(_watches(_line(direct=direct)))


async def _watches(way: Way) -> int:
    async with way as line:
        watched = await line.watches()
    _console().print(watchers(watched) if watched else "nothing is watched")
    return 0


@app.command()
def budget(*, as_json: AsJson = False) -> None:
    """Show what of the models' budget is spent within a day, of each service and the fleet. It reads the store."""
    _run(_budget(as_json=as_json))


async def _budget(*, as_json: bool) -> int:
    settings = load_settings()
    registry = read_registry(settings.services_file)
    policies = read_policies(settings.policy_file, registry, settings.services_file)
    store = SqlStore(settings.store)
    try:
        told = await spendings(store, registry, policies, datetime.now(UTC))
    finally:
        await store.close()
    if as_json:
        typer.echo(told.model_dump_json(indent=2))
    else:
        _console().print(shown(told))
    return 0


app.add_typer(labelling.app)
app.add_typer(replaying.app)
app.add_typer(telling.app)
judging = typer.Typer(help="Judge the commander itself.", rich_markup_mode=None)
app.add_typer(judging, name="eval")


@judging.callback()
def evaluate() -> None:
    """Judge the commander itself, or a model in its analyst's chair."""


judging.command(name="model")(judge_model)


@judging.command()
def attacks(
    directory: Annotated[Path, typer.Argument(help="A folder of .jsonl files; tests/attacks/README.md says how.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Play hostile texts, with an analyst that obeys every one of them. Exit 1 where one gains anything."""
    _run(_attacks(directory, as_json=as_json))


async def _attacks(directory: Path, *, as_json: bool) -> int:
    corpus = read_corpus(directory)
    console = _console(quiet=as_json)
    console.print(f"{len(corpus)} attacks, each with a benign twin; some minutes", highlight=False)
    with TemporaryDirectory(prefix="commander-attacks-") as place:
        report = await try_all(corpus, Path(place))
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        for each in report.failures:
            console.print(Text(plain(f"{each.id}: {each.what}"), "red"))
        for name, value in report:
            if name != "failures":
                console.print(f"{name.replace('_', ' '):<24}{value}", highlight=False)
    return 0 if report.held else _NOT_GOOD


judging.command()(decisions)
judging.command()(verification)


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
    """Print every setting of the worker, the gateway and the command line as a Markdown table."""
    typer.echo("| variable | default | meaning |\n|---|---|---|")
    for each in variables(Settings, GatewaySettings, PersonSettings):
        typer.echo(f"| `{each.name}` | {f'`{each.default}`' if each.default else ''} | {each.meaning} |")


@app.command()
def doctor(
    service: Annotated[str, typer.Argument(help="Only this service of the registry; default: every one.")] = "",
) -> None:
    """Ask every configured system whether it would work, and say what to set if not. Exit 0 if all would, else 1."""
    _run(_doctor(service))


async def _doctor(service: str) -> int:
    findings = await examination.examine(load_settings(), service, load_person())
    _console().print(examination.table(findings))
    return 0 if all(finding.works for finding in findings) else _NOT_GOOD
