"""The list of incidents, and one of them."""

from collections.abc import Mapping
from contextlib import suppress

from starlette.responses import Response

from gateway.office import IncidentView, Office
from gateway.pages import plots
from gateway.pages.door import Visit
from gateway.pages.filters import choices, onward, wanted
from gateway.pages.problems import PageError
from gateway.pages.rendering import Renderer
from gateway.pages.sheet import SECTIONS, Sheet
from incident.errors import TransientError
from incident.evidence import Metric
from incident.search import Found, Wanted
from workflows.desk import OpenIncident

TITLES: Mapping[str, str] = {
    "status": "Status",
    "question": "Question",
    "timeline": "Timeline",
    "measured": "What was measured",
    "comparison": "Before and since",
    "analyst": "What the analyst says",
    "gate": "What the gate found",
    "done": "What was done",
    "answers": "Answers of people",
    "messages": "Messages",
}
_PER_PAGE = 50
_FILTERS = ("service", "environment", "severity", "outcome")
_SAID = {
    "approved": "Your approval was taken.",
    "denied": "Your denial was taken.",
    "cancelled": "The incident ends, as nothing has been done yet.",
    "cancelled-late": "Something was done already: it is still verified, reported and recorded.",
}


class Incidents:
    """Shows what is open and what is past."""

    def __init__(self, office: Office, renderer: Renderer) -> None:
        self._office = office
        self._renderer = renderer

    async def all(self, visit: Visit) -> Response:
        """Open incidents, and a page of past ones. Where one of both is not known, the other is shown."""
        asked = dict(visit.request.query_params)
        which = wanted(asked, limit=_PER_PAGE)
        past: Found | None = None
        with suppress(TransientError):
            past = await self._office.archive.search(which)
        still_open = await self._office.all_open()
        return self._renderer.page(
            "incidents.html",
            session=visit.session,
            form_token=visit.form_token,
            still_open=None if still_open is None else [each for each in still_open if _fits(each, which)],
            past=past,
            further=onward(asked, past.next) if past and past.next else "",
            filters=choices(which, self._office.registry, _FILTERS),
            filtered=any(asked.get(name) for name in _FILTERS),
        )

    async def one(self, visit: Visit) -> Response:
        """One incident."""
        sheet = Sheet(await found(self._office, visit.incident_id), visit.session, self._office.clock())
        return self._renderer.page(
            "incident.html",
            session=visit.session,
            form_token=visit.form_token,
            sheet=sheet,
            fragments=self._renderer.fragments(SECTIONS, sheet=sheet),
            titles=TITLES,
            said=_SAID.get(visit.request.query_params.get("said", ""), ""),
        )

    async def snapshot(self, visit: Visit) -> Response:
        """The record, as JSON."""
        view = await found(self._office, visit.incident_id)
        if view.snapshot is None:
            raise PageError(404, "No record", "An incident has a snapshot once it has closed.")
        return Response(view.snapshot.model_dump_json(indent=2), media_type="application/json")

    async def plot(self, visit: Visit) -> Response:
        """One metric before and since, as an SVG picture."""
        named = visit.request.path_params["metric"]
        metric = next((each for each in Metric if each == named), None)
        sheet = Sheet(await found(self._office, visit.incident_id), visit.session, self._office.clock())
        if metric is None or sheet.record is None or sheet.before is None:
            raise PageError(404, "Nothing to plot", "There is no such metric, or nothing is known of it.")
        picture = plots.plot(metric, sheet.before, sheet.looks, sheet.record.policy.recovery)
        return Response(picture, media_type="image/svg+xml", headers=plots.HEADERS)


async def found(office: Office, incident_id: str) -> IncidentView:
    """What is known of that incident.

    Raises:
        PageError: nobody knows it.
        TransientError: the store, or Temporal, or a worker, does not answer.
    """
    try:
        view = await office.view(incident_id)
    except ValueError:
        view = None
    if view is None:
        raise PageError(404, "No such incident", "Neither Temporal nor the store knows it.")
    return view


def _fits(incident: OpenIncident, which: Wanted) -> bool:
    """Whether an open incident is one of those asked for; it has no outcome yet."""
    said = ((which.service, incident.service), (which.environment, incident.environment))
    return (
        all(asked in {None, known} for asked, known in said)
        and which.severity in {None, incident.severity}
        and which.outcome is None
    )
