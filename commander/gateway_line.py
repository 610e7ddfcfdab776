"""The line through the gateway, in the name of whose token it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic
from uuid import uuid4

from commander.line import Asked, Entry, LetGo, Listing, Opening, Pulled, Watcher
from commander.settings import PersonSettings
from incident.changes import Telling, ToldChange
from incident.dossier import Approval, Dossier, Stage
from incident.errors import PermanentError, TransientError
from incident.labels import Judgement, Label
from incident.snapshot import Snapshot
from incident.watching import WatchedService
from integrations.egress import Egress, build_guarded_client
from integrations.gateway import GatewayClient, Listed, UnreachableError, View, patient

_NEWS = timedelta(seconds=2)
"""How long one question waits for another stage: within a stage, what is new is seen as late as that."""
_GONE_AFTER = timedelta(seconds=60)
"""So long a gateway that answered before may be away: it restarts, or another takes over."""
_PAUSE = timedelta(seconds=1)


@asynccontextmanager
async def gateway_line(settings: PersonSettings) -> AsyncIterator["GatewayLine"]:
    """The line that the settings name.

    Raises:
        ConfigurationError: they name no token, or cannot be used.
    """
    bearer = settings.commander.bearer()
    only = Egress({"COMMANDER__URL": [settings.commander.url]})
    async with build_guarded_client(patient(settings.http), only) as http:
        yield GatewayLine(GatewayClient(http, settings.commander.url, bearer))


class GatewayLine:
    """Implements `Line`.

    Args:
        gateway: speaks in somebody's name.
        gone_after: how long it may not answer before whoever follows is told so.
        pause: between two tries.
    """

    def __init__(self, gateway: GatewayClient, gone_after: timedelta = _GONE_AFTER, pause: timedelta = _PAUSE) -> None:
        self._gateway = gateway
        self._gone_after, self._pause = gone_after, pause

    async def open(self, asked: Asked) -> Opening:
        """The incident of that service: a new one, or the one that is open."""
        opened = await self._gateway.open(
            asked.service,
            asked.environment,
            reason=asked.reason,
            outside_analyst=asked.outside_analyst,
            trigger_id=uuid4().hex,
        )
        return Opening(incident_id=opened.incident_id, opened=opened.opened)

    async def list(self, limit: int) -> Listing:
        """The open incidents, and at most `limit` closed ones, newest first."""
        page = await self._gateway.incidents(limit)
        unknown = "" if page.open_known else "the gateway cannot ask Temporal"
        listed = list(page.incidents)
        while page.next and (wanted := limit - sum(each.outcome is not None for each in listed)) > 0:
            page = await self._gateway.incidents(wanted, page.next)
            listed += page.incidents
        return Listing(entries=tuple(map(_entry, listed)), open_unknown=unknown)

    async def look(self, incident_id: str) -> Dossier | Snapshot:
        """All that is known of that incident: its record once it has closed."""
        return _known(await self._gateway.view(incident_id))

    async def follow(self, incident_id: str, watcher: Watcher) -> Snapshot:
        """Shows what happens until the incident closes; its record."""
        stage: Stage | None = None
        answered: float | None = None
        outage = ""
        while True:
            try:
                view = await self._gateway.view(incident_id, _NEWS if stage else timedelta(0), stage)
            except TransientError as error:
                # The incident goes on, and the next look tells.
                if isinstance(error, UnreachableError) and self._gone(answered):
                    raise
                if error.problem != outage:
                    watcher.note(error.problem)
                outage = error.problem
                await asyncio.sleep((error.retry_after or self._pause).total_seconds())
                continue
            answered, outage, stage = monotonic(), "", view.stage
            if view.snapshot is not None:
                watcher.show_snapshot(view.snapshot)
                return view.snapshot
            watcher.show_dossier(_open(view))

    def _gone(self, answered: float | None) -> bool:
        return answered is None or monotonic() - answered > self._gone_after.total_seconds()

    async def answer(self, incident_id: str, digest: str, *, approved: bool, note: str) -> Approval:
        """Approves or denies the proposal of that digest."""
        return await self._gateway.answer(incident_id, digest, approved=approved, note=note)

    async def cancel(self, incident_id: str, reason: str) -> bool:
        """Ends the incident; whether something was done already, which is then still verified and recorded."""
        return (await self._gateway.cancel(incident_id, reason)).acted

    async def label(self, incident_id: str, judgement: Judgement, note: str) -> Label:
        """Keeps that verdict on a closed incident, in place of what the same person said of it before."""
        return await self._gateway.label(incident_id, judgement, note)

    async def tell(self, telling: Telling) -> ToldChange:
        """Tells of a change to a service; what is kept of it."""
        return await self._gateway.tell(telling)

    async def told(self, service: str, environment: str) -> tuple[ToldChange, ...]:
        """The newest changes that somebody told of, newest first."""
        return await self._gateway.changes(service, environment)

    async def stop(self, service: str, environment: str, reason: str) -> Pulled:
        """Pulls the kill switch of that scope; empty: every service, every environment."""
        stopped = await self._gateway.stop(service, environment, reason)
        if stopped.told is None:
            return Pulled(stop=stopped.stop, untold="the gateway cannot ask Temporal")
        return Pulled(stop=stopped.stop, told=stopped.told)

    async def release(self, service: str, environment: str) -> LetGo:
        """Lets the kill switch of exactly that scope go."""
        released = await self._gateway.release(service, environment)
        try:
            left = await self._gateway.stops()
        except PermanentError:
            left = ()  # the token may let go, and may not read
        return LetGo(released=released, left=left)

    async def watch(self, service: str, environment: str) -> None:
        """Has that service watched under its policy as it is now."""
        await self._gateway.watch(service, environment)

    async def unwatch(self, service: str, environment: str) -> bool:
        """Ends the watch of that service; whether there was one. An incident that it opened goes on."""
        return await self._gateway.unwatch(service, environment)

    async def watches(self) -> tuple[WatchedService, ...]:
        """Every service that is watched."""
        return await self._gateway.watches()


def _entry(each: Listed) -> Entry:
    return Entry(
        incident_id=each.incident_id,
        severity=each.severity or "",
        stands=each.outcome or each.stage,
        lasted=each.closed_at - each.opened_at if each.closed_at else None,
        unreached=each.unreached,
    )


def _known(view: View) -> Dossier | Snapshot:
    if view.snapshot is not None:
        return view.snapshot
    if view.dossier is None:
        raise PermanentError("gateway", f"says nothing of {view.incident_id}")
    return view.dossier


def _open(view: View) -> Dossier:
    """The dossier of an incident that will have a record once it closes."""
    if view.stage is Stage.CLOSED or view.dossier is None:
        raise PermanentError(view.incident_id, "was ended from outside and left no record")
    return view.dossier
