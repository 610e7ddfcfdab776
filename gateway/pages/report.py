"""The page of figures."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from starlette.responses import Response

from gateway.office import Office
from gateway.pages.door import Visit
from gateway.pages.filters import Choice, choices, wanted
from gateway.pages.problems import PageError
from gateway.pages.rendering import Renderer
from incident.figures import figures
from incident.search import MAX_FOUND
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot

_PERIODS = ("7", "30", "90", "365")
_DEFAULT = "90"
_MOST = 2 * MAX_FOUND
"""Incidents that are counted: each one's whole record is read, in about a millisecond."""


class Report:
    """Counts past incidents, over again whenever it is asked.

    Args:
        office: whose archive is read.
        renderer: renders the page.
        at_once: how many records are read at once.
        most: how many are counted.
    """

    def __init__(self, office: Office, renderer: Renderer, at_once: int = MAX_FOUND, most: int = _MOST) -> None:
        self._office = office
        self._renderer = renderer
        self._at_once = at_once
        self._most = most

    async def show(self, visit: Visit) -> Response:
        """The figures of a service, an environment, or all."""
        asked = dict(visit.request.query_params)
        days = asked.get("days") or _DEFAULT
        if days not in _PERIODS:
            raise PageError(422, "No such choice", f"Expected one of {', '.join(_PERIODS)} days.")
        snapshots, capped = await self._past(asked, timedelta(days=int(days)))
        found = await asyncio.to_thread(figures, snapshots)  # others are not kept waiting meanwhile
        which = wanted(asked)
        filters = choices(which, self._office.registry, ("service", "environment"))
        return self._renderer.page(
            "figures.html",
            session=visit.session,
            form_token=visit.form_token,
            found=found,
            spreads=(
                ("detect", found.to_detect),
                ("act", found.to_act),
                ("recover", found.to_recover),
            ),
            severities=tuple(Severity),
            outcomes=tuple(Outcome),
            days=days,
            capped=capped,
            filters=(*filters, Choice("days", "Days", _PERIODS, days, any=False)),
        )

    async def _past(self, asked: Mapping[str, str], period: timedelta) -> tuple[list[Snapshot], bool]:
        """The newest incidents of that time, and whether there are more than are counted."""
        since = self._office.clock() - period
        which = wanted(
            {name: asked.get(name, "") for name in ("service", "environment")}, since=since, limit=self._at_once
        )
        snapshots: list[Snapshot] = []
        while True:
            page = await self._office.archive.search(which)
            snapshots += page.snapshots
            if page.next is None:
                return snapshots, False
            which = which.model_copy(update={"after": page.next})
            if len(snapshots) >= self._most:
                one_more = await self._office.archive.search(which.model_copy(update={"limit": 1}))
                return snapshots, bool(one_more.snapshots)
