"""What is known of one incident, now or as soon as there is news."""

from datetime import timedelta
from http import HTTPStatus

from gateway.office import Handle, IncidentView, Office
from gateway.problems import Refusal
from incident.dossier import Stage
from incident.errors import NotOpenError
from incident.snapshot import Snapshot
from workflows.messages import EvidenceOffer


def no_such_incident() -> Refusal:
    """404."""
    return Refusal(HTTPStatus.NOT_FOUND, "no such incident")


async def view_of(office: Office, incident_id: str, wait: timedelta, known: Stage | None) -> IncidentView:
    """What is known of that incident, once its stage is another than `known`, it has closed, or the time is over.

    Args:
        office: where it is asked for.
        incident_id: an incident id.
        wait: how long at most.
        known: the stage that the caller knows; `None`: the one that it has now.

    Raises:
        Refusal: 404.
        TransientError: the store, or Temporal, or a worker, does not answer.
    """
    handle = await office.desk.find(incident_id) if wait else None
    if handle is not None:
        await _news(office, handle, wait, known)
    view = await office.view(incident_id)
    if view is None:
        raise no_such_incident()
    return view


async def _news(office: Office, handle: Handle, wait: timedelta, known: Stage | None) -> None:
    try:
        stage = known or (await office.desk.standing(handle)).stage
        # One that calls itself closed, and runs, is still keeping its record: that is no news.
        await office.desk.until(handle, lambda standing: standing.stage not in {stage, Stage.CLOSED}, wait)
    except NotOpenError:
        return  # the server has let it go: the archive has it


async def evidence_of(office: Office, incident_id: str, wait: timedelta) -> EvidenceOffer:
    """What an analyst decides on, once there is evidence.

    Raises:
        Refusal: 404, or 409 where there is none within `wait`.
        TransientError: the store, or Temporal, or a worker, does not answer.
    """
    handle = await office.desk.find(incident_id)
    offer = await _offer(office, incident_id, handle)
    if offer.evidence is None and offer.stage is not Stage.CLOSED and wait and handle is not None:
        await _news(office, handle, wait, Stage.DETECTING)
        offer = await _offer(office, incident_id, handle)
    if offer.evidence is None:
        why = "it has closed without any" if offer.stage is Stage.CLOSED else "it is being collected"
        raise Refusal(HTTPStatus.CONFLICT, f"there is no evidence: {why}")
    return offer


async def _offer(office: Office, incident_id: str, handle: Handle | None) -> EvidenceOffer:
    if handle is not None and not (await office.desk.standing(handle)).closed:
        return await office.desk.evidence(handle)
    snapshot = await office.archive.load(incident_id)
    if snapshot is None and handle is not None:
        snapshot = await office.snapshot(handle)
    if snapshot is None:
        raise no_such_incident()
    return EvidenceOffer(
        incident_id=incident_id, stage=Stage.CLOSED, evidence=snapshot.evidence, assessment=snapshot.assessment
    )


async def record_of(office: Office, incident_id: str) -> Snapshot:
    """The record of a closed incident.

    Raises:
        Refusal: 404, or 409 while it is open.
        TransientError: the store, or Temporal, does not answer.
    """
    snapshot = await office.archive.load(incident_id)
    if snapshot is not None:
        return snapshot
    handle = await office.desk.find(incident_id)
    if handle is None:
        raise no_such_incident()
    if not (await office.desk.standing(handle)).closed:
        raise Refusal(HTTPStatus.CONFLICT, "the incident is open: there is no record of it yet")
    if (snapshot := await office.snapshot(handle)) is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "the incident was ended from outside and left no record")
    return snapshot


async def handle_of(office: Office, incident_id: str) -> Handle:
    """The run to speak to.

    Raises:
        Refusal: 404.
        NotOpenError: it has closed, and Temporal has let it go.
        TransientError: the store, or Temporal, does not answer.
    """
    handle = await office.desk.find(incident_id)
    if handle is not None:
        return handle
    if await office.archive.load(incident_id) is not None:
        raise NotOpenError("incident", "has closed")
    raise no_such_incident()
