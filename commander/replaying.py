"""`commander redecide`: recorded incidents, decided again."""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import Annotated

import typer

from commander.models import asked_model, instructions_of, text_of
from commander.periods import Since, start_of
from commander.terminal import AsJson, run
from commander.view import plain
from evaluation.records import Unreadable, in_files, in_store
from evaluation.redeciding import Decider, Redecided, Redeciding, Replay, Stand, summed
from evaluation.tally import Tally
from incident.budget import MILLIONTHS
from incident.errors import ConfigurationError
from incident.policy import PolicyBook, parse_policy
from incident.ports import Analyst
from incident.snapshot import Snapshot
from integrations.files import read_policies, read_registry
from integrations.openai import OpenAIAnalyst
from integrations.store import SqlStore
from worker.settings import Settings, load_settings

app = typer.Typer(rich_markup_mode=None)
_AT_ONCE = 4
"""Incidents that are decided at once: a model is waited for most of the time, and limits the rate."""
_LABEL = 10
"""Characters of the column of labels."""
_NARROWEST = 30
_NOT_GOOD = 1


@dataclass(frozen=True)
class _Asked:
    """What is to be decided again, and how."""

    paths: Sequence[Path]
    since: str
    policy: Path | None
    decider: Decider
    prompt: Path | None


@app.command()
def redecide(  # noqa: PLR0913 - one argument an option
    snapshots: Annotated[
        list[Path] | None, typer.Argument(help="Records (`commander show ID --json`), or folders of them.")
    ] = None,
    since: Since = "",
    policy: Annotated[Path | None, typer.Option(help="The policy to try; default: each incident's own.")] = None,
    analyst: Annotated[
        Decider,
        typer.Option(
            help="Who decides. same: the rules where they did, and what others decided is kept; recorded: every "
            "decision is kept; kept ones are judged again."
        ),
    ] = Decider.SAME,
    prompt: Annotated[Path | None, typer.Option(help="Instructions for the model in place of ours.")] = None,
    *,
    fail_on_new_action: Annotated[
        bool, typer.Option("--fail-on-new-action", help="Exit 1 where it would do by itself what it did not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decide recorded incidents again, by today's gate, and print what would have changed. Nothing is done.

    Without files, the store's incidents since then. Exit 1 where a record cannot be read, which is named and skipped.
    """
    asked = _Asked(snapshots or (), since, policy, _decider(analyst, prompt), prompt)
    run(_redecide(asked, fail_on_new_action=fail_on_new_action, as_json=as_json))


def _decider(analyst: Decider, prompt: Path | None) -> Decider:
    if prompt is None or analyst is Decider.MODEL:
        return analyst
    if analyst is Decider.SAME:
        return Decider.MODEL
    raise ConfigurationError(f"--prompt: only with --analyst model, since {analyst} reads none")


async def _redecide(asked: _Asked, *, fail_on_new_action: bool, as_json: bool) -> int:
    settings, tally = load_settings(), Tally()
    policies = _policies(asked.policy, settings) if asked.policy else None
    async with _model(asked, settings, tally) as model, _records(asked, settings) as records:
        replay = await _replay(Redeciding(asked.decider, policies, model), asked.decider, records)
    if as_json:
        typer.echo(replay.model_dump_json(indent=2))
    else:
        _show(replay)
        if model:
            spent = tally.spent
            typer.echo(f"the model: {spent.calls} calls, {spent.tokens} tokens, {spent.cost / MILLIONTHS:.4f} in money")
    failed = bool(replay.unreadable) or (fail_on_new_action and replay.new_actions)
    return _NOT_GOOD if failed else 0


async def _replay(redeciding: Redeciding, decider: Decider, records: AsyncIterator[Snapshot | Unreadable]) -> Replay:
    known: set[str] = set()
    done: list[Redecided | None] = []
    unreadable: list[str] = []
    waiting: list[Snapshot] = []

    async def _decide() -> None:
        done.extend(await asyncio.gather(*map(redeciding.redecide, waiting)))
        waiting.clear()

    async for record in records:
        if isinstance(record, Unreadable):
            unreadable.append(f"{record.name}: {record.problem}")
        elif record.incident_id not in known:
            known.add(record.incident_id)
            waiting.append(record)
            if len(waiting) == _AT_ONCE:
                await _decide()
    await _decide()
    return summed(decider, [each for each in done if each], done.count(None), unreadable)


@asynccontextmanager
async def _records(asked: _Asked, settings: Settings) -> AsyncIterator[AsyncIterator[Snapshot | Unreadable]]:
    """The records that are asked for."""
    if bool(asked.paths) is bool(asked.since):
        raise ConfigurationError("expected either records of incidents or --since, for those of the store")
    if asked.paths:
        yield in_files(asked.paths)
        return
    store = SqlStore(settings.store)
    try:
        yield in_store(store, start_of(asked.since))
    finally:
        await store.close()


@asynccontextmanager
async def _model(asked: _Asked, settings: Settings, tally: Tally) -> AsyncIterator[Analyst | None]:
    """The model that decides; `None`: none does."""
    if asked.decider is not Decider.MODEL:
        yield None
        return
    instructions = instructions_of(asked.prompt)
    async with asked_model(settings) as client:
        yield OpenAIAnalyst(client, settings.openai, tally, instructions)


def _policies(path: Path, settings: Settings) -> PolicyBook:
    text = text_of(path)
    if settings.services_file.exists():
        return read_policies(path, read_registry(settings.services_file), settings.services_file)
    return parse_policy(text, str(path), _overridden(text))


def _overridden(text: str) -> Iterable[str]:
    """The services that the policy names: without a registry at hand nobody can say that one is misspelt."""
    try:
        services = tomllib.loads(text).get("services", {})
    except tomllib.TOMLDecodeError:
        return ()  # whoever parses the policy says so
    return services if isinstance(services, dict) else ()


def _show(replay: Replay) -> None:
    for each in replay.changes:
        typer.echo(plain(_beside(each)))
    for name in replay.unreadable:
        typer.echo(plain(f"skipped: {name}"), err=True)
    typer.echo(replay.words)
    counts = {
        **replay.moves,
        **{f"severity alone: {move}": count for move, count in replay.severities.items()},
        "another deployment on the same course": replay.elsewhere,
        **replay.notes,
        "without evidence, not decided again": replay.unseen,
        "unreadable, skipped": len(replay.unreadable),
    }
    for what, count in counts.items():
        if count:
            typer.echo(plain(f"{count:>6}  {what}"))


def _beside(each: Redecided) -> str:
    """Then and now, in two columns as wide as the terminal allows."""
    width = max((get_terminal_size().columns - _LABEL - 2) // 2, _NARROWEST)
    lines = [each.incident_id, _row("", ["then"], ["now"], width)]
    for label, words in (("verdict", _verdict), ("decision", _decision), ("because", _reasons)):
        lines.append(_row(label, _wrapped(words(each.then), width), _wrapped(words(each.now), width), width))
    lines += [_row("note", [], _wrapped(note, width), width) for note in each.notes]
    return "\n".join((*lines, ""))


def _row(label: str, then: Sequence[str], now: Sequence[str], width: int) -> str:
    rows = zip_longest([label], then, now, fillvalue="")
    return "\n".join(f"{name:<{_LABEL}}{was:<{width}}  {is_now}".rstrip() for name, was, is_now in rows)


def _wrapped(text: str, width: int) -> Sequence[str]:
    return [each for line in text.splitlines() for each in wrap(line, width, break_on_hyphens=False)]


def _verdict(stand: Stand) -> str:
    target = f" → deployment {stand.target}" if stand.target is not None else ""
    return f"{stand.severity} {stand.plan}{target}"


def _decision(stand: Stand) -> str:
    if stand.action is None or stand.confidence is None:
        return "nobody's"
    return f"{stand.analyst}: {stand.action}, confidence {stand.confidence:.2f}"


def _reasons(stand: Stand) -> str:
    return "\n".join(stand.reasons) or ("every rule passed" if stand.action else "")
