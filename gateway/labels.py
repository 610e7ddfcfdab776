"""`/incidents/{incident_id}/label`: what people say afterwards of an incident."""

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Body
from pydantic import Field

from gateway.access import CallerHere
from gateway.documents import AT, INCIDENT, problems, told
from gateway.office import Office
from gateway.routing import IncidentId, for_scope
from gateway.tokens import Scope
from gateway.waiting import record_of
from incident.labels import Judgement, Label
from incident.model import Fact

_log = structlog.get_logger()


class LabelOrder(Fact):
    """A verdict on a closed incident; the token says whose."""

    judgement: Judgement = Field(
        description="good: what was done, or left undone, was right; harmful: what was done was wrong; missed: a "
        "rollback would have been right and was not made"
    )
    note: str = Field(default="", max_length=500, description="why; people will read it")


_LABEL = Label(incident_id=INCIDENT, judgement=Judgement.GOOD, by="ada", note="101 was the cause", at=AT)


def build_labels(office: Office) -> APIRouter:
    """The route that takes verdicts."""
    router = for_scope(office.tokens, Scope.OPERATE)
    example = {"judgement": _LABEL.judgement, "note": _LABEL.note}

    @router.post(
        "/incidents/{incident_id}/label",
        responses=told(200, "Kept", _LABEL) | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, body=True),
    )
    async def label(
        incident_id: IncidentId,
        asked: Annotated[LabelOrder, Body(openapi_examples={"asked": {"value": example}})],
        caller: CallerHere,
    ) -> Label:
        """Keeps what the token's holder says of a closed incident, in place of what they said before; 409 if open."""
        await record_of(office, incident_id)
        kept = Label(
            incident_id=incident_id,
            judgement=asked.judgement,
            by=caller.name,
            note=asked.note,
            at=office.clock(),
        ).redacted()
        await office.labels.label(kept)
        _log.info("gateway.labelled", incident_id=incident_id, by=caller.name, judgement=asked.judgement)
        return kept

    return router
