"""The list of incidents: the open ones first, then the closed ones, page by page."""

import base64
import binascii

from pydantic import Field, ValidationError

from gateway.office import Office
from gateway.problems import not_valid
from incident.dossier import Stage
from incident.model import EnvironmentName, Fact, Moment, ServiceName
from incident.search import Place, Wanted
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot
from workflows.desk import OpenIncident


class ListQuery(Fact):
    """Which incidents; what is not said is open to any value."""

    service: ServiceName | None = None
    environment: EnvironmentName | None = None
    severity: Severity | None = None
    outcome: Outcome | None = Field(default=None, description="an open incident has none")
    open: bool | None = Field(default=None, description="true: only open ones; false: only closed ones")
    limit: int = Field(default=50, ge=1, le=200, description="closed ones on a page; open ones stand beside them")
    after: str = Field(default="", max_length=500, description="`next` of the page before this one; empty: the first")


class IncidentSummary(Fact):
    """One incident of a list."""

    incident_id: str = Field(description="empty: no worker has taken it up yet")
    service: str
    environment: str
    severity: Severity | None = Field(description="null: nobody has looked yet")
    stage: Stage
    outcome: Outcome | None = Field(description="null: it is open")
    opened_at: Moment
    closed_at: Moment | None = Field(description="null: it is open")
    summary: str = Field(description="empty while it is open")
    page_url: str = Field(description="empty: it has no page yet")
    unreached: str = Field(
        default="", description="why nobody could be told, once it has closed; of an open one, its view says it"
    )


class IncidentPage(Fact):
    """One page of the list, newest first; the first page begins with the open ones."""

    open_known: bool = Field(description="false: Temporal does not say which are open, and none of them is listed")
    incidents: tuple[IncidentSummary, ...]
    next: str | None = Field(description="what to give as `after` for the next page; null: this was the last")


async def list_incidents(office: Office, asked: ListQuery) -> IncidentPage:
    """The page that is asked for.

    Raises:
        Refusal: 422; `after` is none of our places.
        TransientError: the store does not answer.
    """
    after = _place(asked.after)
    closed, following = await _closed(office, asked, after)
    wants_open = asked.open is not False and asked.outcome is None and after is None
    still_open = await office.all_open() if wants_open else ()
    known = {each.incident_id for each in closed}
    shown = [
        _open_summary(office, each)
        for each in still_open or ()
        if _holds(asked, each) and each.incident_id not in known  # what is listed as open lags behind
    ]
    return IncidentPage(
        open_known=still_open is not None,
        incidents=(*shown, *(_closed_summary(office, each) for each in closed)),
        next=_cursor(following) if following else None,
    )


async def _closed(office: Office, asked: ListQuery, after: Place | None) -> tuple[tuple[Snapshot, ...], Place | None]:
    if asked.open:
        return (), None
    wanted = Wanted(
        service=asked.service,
        environment=asked.environment,
        severity=asked.severity,
        outcome=asked.outcome,
        after=after,
        limit=asked.limit,
    )
    found = await office.archive.search(wanted)
    return found.snapshots, found.next


def _holds(asked: ListQuery, each: OpenIncident) -> bool:
    said = (
        (asked.service, each.service),
        (asked.environment, each.environment),
        (asked.severity, each.severity),
    )
    return all(wanted in {None, value} for wanted, value in said)


def _open_summary(office: Office, each: OpenIncident) -> IncidentSummary:
    return IncidentSummary(
        incident_id=each.incident_id,
        service=each.service,
        environment=each.environment,
        severity=Severity(each.severity) if each.severity else None,
        stage=Stage(each.stage) if each.stage else Stage.DETECTING,
        outcome=None,
        opened_at=each.opened_at,
        closed_at=None,
        summary="",
        page_url=office.page_url(each.incident_id) if each.incident_id else "",
    )


def _closed_summary(office: Office, each: Snapshot) -> IncidentSummary:
    return IncidentSummary(
        incident_id=each.incident_id,
        service=each.service,
        environment=each.environment,
        severity=each.severity,
        stage=Stage.CLOSED,
        outcome=each.outcome,
        opened_at=each.opened_at,
        closed_at=each.closed_at,
        summary=each.summary,
        page_url=office.page_url(each.incident_id),
        unreached=each.unreached,
    )


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(place.model_dump_json().encode()).decode().rstrip("=")


def _place(cursor: str) -> Place | None:
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return Place.model_validate_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, ValidationError):
        raise not_valid(["query.after: expected `next` of the page before"]) from None
