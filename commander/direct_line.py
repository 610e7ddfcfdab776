"""The line past the gateway, over Temporal and the store: for whoever can reach those, when the gateway is dead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

from temporalio.client import WorkflowFailureError, WorkflowHandle

from commander.line import Asked, Entry, LetGo, Listing, Opening, Pulled, Watcher
from incident.changes import KEPT, Telling, ToldChange
from incident.dossier import Approval, Dossier, Trigger
from incident.errors import PermanentError, TransientError
from incident.labels import Judgement, Label
from incident.ledger import Stop
from incident.policy import PolicyBook
from incident.ports import ChangeBook
from incident.redaction import redact
from incident.services import ServiceRegistry
from incident.snapshot import Snapshot
from incident.watching import WatchedService
from integrations.files import read_policies, read_redaction, read_registry
from integrations.redaction import redacting
from integrations.store import SqlStore
from integrations.temporal import connect
from worker.settings import Settings
from workflows.desk import IncidentDesk, OpenIncident
from workflows.incident import IncidentWorkflow
from workflows.lookout import Lookout
from workflows.messages import ApprovalAnswer, CancelRequest, IncidentRequest, WatchRequest

_LOOK = 0.25
"""Seconds between two looks at the incident: how live what is shown is."""


Handle = WorkflowHandle[IncidentWorkflow, Snapshot]


class Archive(ChangeBook, Protocol):
    """Where records, labels, told changes and kill switches are kept."""

    async def load(self, incident_id: str) -> Snapshot | None:
        """The record of that incident, or `None`."""
        ...

    async def newest(self, limit: int) -> tuple[Snapshot, ...]:
        """The newest records, newest first, at most `limit`."""
        ...

    async def label(self, label: Label) -> None:
        """Keeps `label`; one of the same person on the same incident replaces it."""
        ...

    async def stop(self, stop: Stop) -> None:
        """Pulls a kill switch; the same scope again replaces it."""
        ...

    async def release(self, environment: str, service: str) -> bool:
        """Lets the kill switch of exactly that scope go; whether there was one."""
        ...

    async def stops(self) -> tuple[Stop, ...]:
        """Every kill switch that is pulled, oldest first."""
        ...


@asynccontextmanager
async def direct_line(settings: Settings, person: str) -> AsyncIterator["DirectLine"]:
    """The line over what the settings name, in the name of `person`; nobody checks that it is theirs."""
    store = SqlStore(settings.store)

    async def desk() -> IncidentDesk:
        return IncidentDesk(await connect(settings.temporal))

    async def lookout() -> Lookout:
        return Lookout(await connect(settings.temporal))

    try:
        with redacting(settings.redaction, read_redaction(settings.policy_file)):
            yield DirectLine(settings, person, store, desk, lookout)
    finally:
        await store.close()


class DirectLine:
    """Implements `Line`.

    Args:
        settings: where the registry and the policy are.
        person: who is at the terminal.
        archive: the records.
        desk: gives the desk; asked only where it is needed, since it may be away.
        lookout: gives the lookout, likewise.
    """

    def __init__(
        self,
        settings: Settings,
        person: str,
        archive: Archive,
        desk: Callable[[], Awaitable[IncidentDesk]],
        lookout: Callable[[], Awaitable[Lookout]],
    ) -> None:
        self._settings, self._person = settings, person
        self._archive, self._desk, self._lookout = archive, desk, lookout

    async def open(self, asked: Asked) -> Opening:
        """The incident of that service: a new one, or the one that is open."""
        registry = read_registry(self._settings.services_file)
        registry.find(asked.environment, asked.service)
        request = IncidentRequest(
            service=asked.service,
            environment=asked.environment,
            policy=self._policies(registry).of(asked.service, asked.environment),
            trigger=Trigger(source="cli", trigger_id=uuid4().hex, by=self._person, reason=asked.reason),
            outside_analyst=asked.outside_analyst,
        )
        joined, _ = await (await self._desk()).open(request)
        return Opening(incident_id=joined.incident_id, opened=joined.opened)

    async def list(self, limit: int) -> Listing:
        """The open incidents, and at most `limit` closed ones, newest first."""
        closed = tuple(map(_closed, await self._archive.newest(limit)))
        try:
            still_open = await (await self._desk()).all_open()
        except TransientError as error:
            return Listing(entries=closed, open_unknown=str(error))
        return Listing(entries=(*map(_open, still_open), *closed))

    async def look(self, incident_id: str) -> Dossier | Snapshot:
        """All that is known of that incident: its record once it has closed."""
        known = await self._known(incident_id)
        if isinstance(known, Snapshot):
            return known
        desk, handle = known
        return await desk.dossier(handle)

    async def follow(self, incident_id: str, watcher: Watcher) -> Snapshot:
        """Shows what happens until the incident closes; its record."""
        known = await self._known(incident_id)
        if isinstance(known, Snapshot):
            watcher.show_snapshot(known)
            return known
        return await follow(*known, watcher)

    async def answer(self, incident_id: str, digest: str, *, approved: bool, note: str) -> Approval:
        """Approves or denies the proposal of that digest."""
        answer = ApprovalAnswer(digest=digest, approver=self._person, approved=approved, note=note)
        desk = await self._desk()
        return await desk.answer(await _found(desk, incident_id), answer)

    async def cancel(self, incident_id: str, reason: str) -> bool:
        """Ends the incident; whether something was done already, which is then still verified and recorded."""
        request = CancelRequest(by=self._person, reason=reason)
        desk = await self._desk()
        return (await desk.cancel(await _found(desk, incident_id), request)).acted

    async def label(self, incident_id: str, judgement: Judgement, note: str) -> Label:
        """Keeps that verdict on a closed incident, in place of what the same person said of it before."""
        said = Label(
            incident_id=incident_id, judgement=judgement, by=self._person, note=note, at=datetime.now(UTC)
        ).redacted()
        if not isinstance(await self._known(incident_id), Snapshot):
            raise PermanentError(incident_id, "is open: there is no record of it yet")
        await self._archive.label(said)
        return said

    async def tell(self, telling: Telling) -> ToldChange:
        """Tells of a change to a service; what is kept of it."""
        read_registry(self._settings.services_file).find(telling.environment, telling.service)
        now = datetime.now(UTC)
        if wrong := telling.untimely(now):
            raise PermanentError("at", wrong)
        said = telling.by(self._person, now)
        kept = await self._archive.tell(said)
        if other := telling.contradiction(said, kept):
            raise PermanentError("store", other)
        return kept

    async def told(self, service: str, environment: str) -> tuple[ToldChange, ...]:
        """The newest changes that somebody told of, newest first."""
        read_registry(self._settings.services_file).find(environment, service)
        return await self._archive.told(environment, (service,), datetime.now(UTC) - KEPT)

    async def stop(self, service: str, environment: str, reason: str) -> Pulled:
        """Pulls the kill switch of that scope; empty: every service, every environment."""
        pulled = Stop(
            environment=environment, service=service, by=self._person, reason=redact(reason), at=datetime.now(UTC)
        )
        if service or environment:
            _check(pulled, read_registry(self._settings.services_file))
        await self._archive.stop(pulled)
        try:
            return Pulled(stop=pulled, told=await (await self._desk()).stop(pulled))
        except TransientError as error:
            return Pulled(stop=pulled, untold=str(error))

    async def release(self, service: str, environment: str) -> LetGo:
        """Lets the kill switch of exactly that scope go."""
        released = await self._archive.release(environment, service)
        return LetGo(released=released, left=await self._archive.stops())

    async def watch(self, service: str, environment: str) -> None:
        """Has that service watched under its policy as it is now."""
        registry = read_registry(self._settings.services_file)
        registry.find(environment, service)
        policy = self._policies(registry).of(service, environment)
        await (await self._lookout()).watch(WatchRequest(service=service, environment=environment, policy=policy))

    async def unwatch(self, service: str, environment: str) -> bool:
        """Ends the watch of that service; whether there was one. An incident that it opened goes on."""
        return await (await self._lookout()).stop(environment, service)

    async def watches(self) -> tuple[WatchedService, ...]:
        """Every service that is watched."""
        return await (await self._lookout()).watched()

    def _policies(self, registry: ServiceRegistry) -> PolicyBook:
        return read_policies(self._settings.policy_file, registry, self._settings.services_file)

    async def _known(self, incident_id: str) -> Snapshot | tuple[IncidentDesk, Handle]:
        """The record of an incident that has closed, or whom to ask of it."""
        missed: TransientError | None = None
        try:
            if (stored := await self._archive.load(incident_id)) is not None:
                return stored
        except TransientError as error:
            missed = error  # an open incident has no record yet: the desk knows it
        desk = await self._desk()
        handle = await desk.find(incident_id)
        if handle is None:
            raise missed or PermanentError(incident_id, "neither Temporal nor the store knows it")
        return desk, handle


async def follow(desk: IncidentDesk, handle: WorkflowHandle[IncidentWorkflow, Snapshot], watcher: Watcher) -> Snapshot:
    """Shows what happens until the incident closes; its record.

    Raises:
        PermanentError: it was ended from outside and left none.
    """
    async with _result(handle) as closing:
        while not closing.done():
            try:
                watcher.show_dossier(await desk.dossier(handle))
            except TransientError:
                # A worker that restarts cannot be asked; the incident goes on and the next look tells.
                if closing.done():
                    break
            await asyncio.wait({closing}, timeout=_LOOK)
        try:
            snapshot = await closing
        except WorkflowFailureError as error:
            raise PermanentError("incident", "was ended from outside and left no record") from error
    watcher.show_snapshot(snapshot)
    return snapshot


@asynccontextmanager
async def _result(handle: Handle) -> AsyncIterator[asyncio.Task[Snapshot]]:
    task = asyncio.create_task(handle.result())
    try:
        yield task
    finally:
        task.cancel()


async def _found(desk: IncidentDesk, incident_id: str) -> Handle:
    handle = await desk.find(incident_id)
    if handle is None:
        raise PermanentError(incident_id, "neither Temporal nor the store knows it")
    return handle


def _check(pulled: Stop, registry: ServiceRegistry) -> None:
    """A misspelt service or environment would stop nothing, so it is refused."""
    if not any(pulled.covers(each.environment, each.name) for each in registry.service):
        known = ", ".join(sorted(f"{each.name} ({each.environment})" for each in registry.service))
        raise PermanentError(
            " ".join(part for part in (pulled.service, pulled.environment) if part),
            f"the registry has no such service there; known: {known}",
        )


def _open(each: OpenIncident) -> Entry:
    return Entry(incident_id=each.incident_id, severity=each.severity, stands=each.stage, lasted=None)


def _closed(record: Snapshot) -> Entry:
    return Entry(
        incident_id=record.incident_id,
        severity=record.severity,
        stands=record.outcome,
        lasted=record.closed_at - record.opened_at,
        unreached=record.unreached,
    )
