"""`GET /incidents` and what is under it: what is known of incidents."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.documents import DOSSIER, EVIDENCE, INCIDENT, SNAPSHOT, problems, told
from gateway.listing import IncidentPage, IncidentSummary, ListQuery, list_incidents
from gateway.office import IncidentView, Office
from gateway.routing import IncidentId, for_scope
from gateway.tokens import Scope
from gateway.waiting import evidence_of, record_of, view_of
from incident.dossier import Stage
from incident.model import Fact
from incident.snapshot import Snapshot
from workflows.messages import EvidenceOffer

MAX_WAIT = 30
"""Seconds; shorter than most proxies allow an answer, which is a minute."""


class EvidenceQuery(Fact):
    """How long to wait for evidence."""

    wait: int = Field(default=0, ge=0, le=MAX_WAIT, description="seconds to wait until there is evidence")


class ViewQuery(Fact):
    """How long to wait for news."""

    wait: int = Field(default=0, ge=0, le=MAX_WAIT, description="seconds to wait until the stage changes")
    stage: Stage | None = Field(default=None, description="the stage that is known; by default the one it has")


_PAGE_URL = f"https://commander.example/ui/incidents/{INCIDENT}"
_VIEW = IncidentView(
    incident_id=INCIDENT,
    service=DOSSIER.service,
    environment=DOSSIER.environment,
    stage=Stage.DETECTING,
    outcome=None,
    classification=None,
    severity=None,
    action=None,
    opened_at=DOSSIER.opened_at,
    closed_at=None,
    summary="",
    run_url="",
    unreached="",
    proposal=None,
    workflow_url=f"http://127.0.0.1:8233/namespaces/default/workflows/{DOSSIER.workflow_id}",
    page_url=_PAGE_URL,
    dossier=DOSSIER,
)
_PAGE = IncidentPage(
    open_known=True,
    incidents=(
        IncidentSummary(
            incident_id=INCIDENT,
            service=DOSSIER.service,
            environment=DOSSIER.environment,
            severity=None,
            stage=Stage.DETECTING,
            outcome=None,
            opened_at=DOSSIER.opened_at,
            closed_at=None,
            summary="",
            page_url=_PAGE_URL,
        ),
    ),
    next=None,
)
_OFFER = EvidenceOffer(incident_id=INCIDENT, stage=Stage.ANALYZING, evidence=EVIDENCE, assessment=None)


def build_incidents(office: Office) -> APIRouter:
    """The routes that read."""
    router = for_scope(office.tokens, Scope.READ)

    @router.get("/incidents", responses=told(200, "One page", _PAGE) | problems())
    async def list_all(asked: Annotated[ListQuery, Query()]) -> IncidentPage:
        """Open and closed incidents."""
        return await list_incidents(office, asked)

    @router.get(
        "/incidents/{incident_id}",
        responses=told(200, "What is known", _VIEW) | problems(HTTPStatus.NOT_FOUND),
    )
    async def view(incident_id: IncidentId, asked: Annotated[ViewQuery, Query()]) -> IncidentView:
        """What is known of one incident: now, or as soon as its stage changes or it closes."""
        return await view_of(office, incident_id, timedelta(seconds=asked.wait), asked.stage)

    @router.get(
        "/incidents/{incident_id}/evidence",
        responses=told(200, "The evidence", _OFFER) | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def evidence(incident_id: IncidentId, asked: Annotated[EvidenceQuery, Query()]) -> EvidenceOffer:
        """What an analyst decides on; 409 while there is none."""
        return await evidence_of(office, incident_id, timedelta(seconds=asked.wait))

    @router.get(
        "/incidents/{incident_id}/snapshot",
        responses=told(200, "The record", SNAPSHOT) | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def snapshot(incident_id: IncidentId) -> Snapshot:
        """The record of a closed incident; 409 while it is open."""
        return await record_of(office, incident_id)

    return router
