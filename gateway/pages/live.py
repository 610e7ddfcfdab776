"""An incident's page while it goes on: what has changed, as server-sent events.

Each event holds the parts of the page that the reader has not got yet, rendered and escaped here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus

from starlette.responses import Response, StreamingResponse

from gateway.office import Handle, Office
from gateway.pages.door import Door, Visit
from gateway.pages.rendering import Fragment, Renderer
from gateway.pages.sheet import SECTIONS, Sheet
from incident.errors import IntegrationError, NotOpenError
from workflows.desk import Standing

HEARTBEAT = timedelta(seconds=15)
"""Proxies close what is silent for longer, and a reader that went away is noticed by then."""
LASTS = timedelta(minutes=10)
"""Then the reader comes again, maybe to another gateway."""
_RETRY = timedelta(seconds=2)
"""Until a reader comes again, and until what does not answer is asked again."""
_MOST = 200
"""Readers at a time of one gateway: each asks Temporal four times a second."""


class Live:
    """Follows incidents for their readers.

    Args:
        office: where they are followed.
        door: says whether a login still holds.
        renderer: renders the parts.
        heartbeat: how long nothing may be sent.
        lasts: how long one reader is served at a time.
    """

    def __init__(
        self, office: Office, door: Door, renderer: Renderer, heartbeat: timedelta = HEARTBEAT, lasts: timedelta = LASTS
    ) -> None:
        self._office = office
        self._door = door
        self._renderer = renderer
        self._heartbeat = heartbeat
        self._lasts = lasts
        self._readers = 0

    async def follow(self, visit: Visit) -> Response:
        """The events; nothing, for good, where the incident is not known or has closed without a trace."""
        try:
            handle = await self._office.desk.find(visit.incident_id)
        except ValueError:
            handle = None
        if handle is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        if self._readers >= _MOST:
            return Response("too many readers", HTTPStatus.SERVICE_UNAVAILABLE)
        return StreamingResponse(
            self._counted(visit, handle), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def _counted(self, visit: Visit, handle: Handle) -> AsyncIterator[str]:
        self._readers += 1
        try:
            async for event in self._events(visit, handle):
                yield event
        finally:
            self._readers -= 1

    async def _events(self, visit: Visit, handle: Handle) -> AsyncIterator[str]:
        yield f"retry: {int(_RETRY.total_seconds() * 1000)}\n\n"
        known = _last_seen(visit)
        sent: Mapping[str, str] = {}
        until = self._office.clock() + self._lasts
        while self._office.clock() < until and self._door.session(visit.request):
            try:
                standing = await self._office.desk.until(handle, _differs(known), self._heartbeat)
                if standing.events == known and not standing.closed:
                    yield ": still here\n\n"
                    continue
                sheet = await self._sheet(visit)
            except NotOpenError:
                break
            except IntegrationError as error:
                yield _event("trouble", {"text": f"{error}; what is shown may be old"})
                known = -1
                await asyncio.sleep(_RETRY.total_seconds())
                continue
            fragments = self._renderer.fragments(SECTIONS, sheet=sheet)
            yield _event("sections", _changed(sheet, fragments, sent), standing.events)
            sent = {name: fragment.version for name, fragment in fragments.items()}
            known = standing.events
            if standing.closed:
                yield _event("end", {})
                return
        yield ": come again\n\n"

    async def _sheet(self, visit: Visit) -> Sheet:
        view = await self._office.view(visit.incident_id)
        if view is None:
            raise NotOpenError("incident", "is not known any more")
        return Sheet(view, visit.session, self._office.clock())


def _differs(known: int) -> Callable[[Standing], bool]:
    return lambda standing: standing.events != known


def _last_seen(visit: Visit) -> int:
    """How long the history was when the reader last heard of it; -1: it has not heard yet."""
    said = visit.request.headers.get("last-event-id", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= len(str(2**31)) else -1


def _changed(sheet: Sheet, fragments: Mapping[str, Fragment], sent: Mapping[str, str]) -> Mapping[str, object]:
    changed = {
        name: {"version": fragment.version, "html": fragment.html}
        for name, fragment in fragments.items()
        if sent.get(name) != fragment.version
    }
    return {"title": sheet.title, "news": sheet.news, "sections": changed}


def _event(name: str, data: Mapping[str, object], number: int | None = None) -> str:
    """One event; JSON holds no line break, so that nothing in it can end the event."""
    marked = "" if number is None else f"id: {number}\n"
    return f"{marked}event: {name}\ndata: {json.dumps(data)}\n\n"
