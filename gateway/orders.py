"""What callers may ask of incidents: to open one, to decide, to approve, to cancel."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

import structlog
from fastapi import APIRouter, Body, Response
from pydantic import Field, model_validator

from gateway.access import CallerHere
from gateway.documents import APPROVAL, DIGEST, INCIDENT, problems, told
from gateway.office import Office
from gateway.problems import not_valid
from gateway.registered import Expectations, RegisteredService, contradictions, registered, tightened
from gateway.routing import IncidentId, for_scope
from gateway.tokens import Scope
from gateway.waiting import handle_of
from incident.decision import Action, Decision
from incident.dossier import Approval, Trigger
from incident.errors import UnknownServiceError
from incident.model import EnvironmentName, Fact, ServiceName
from incident.policy import Policy
from incident.services import MockEndpoint, Service
from incident.severity import PagerDutyPriority, Severity
from workflows.messages import ApprovalAnswer, CancelReceipt, CancelRequest, IncidentRequest, OutsideDecision

_log = structlog.get_logger()


class OpenRequest(Expectations):
    """Look at a service, and do what its policy allows."""

    service: ServiceName
    environment: EnvironmentName = "production"
    reason: str = Field(default="", max_length=500, description="why; people will read it")
    outside_analyst: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9_-]{0,63})?$", description="who decides outside; empty: the worker's own"
    )
    execution_id: str = Field(default="", max_length=200, description="Kestra's execution, where there is one")
    trigger_id: str = Field(
        default="", max_length=200, description="unique to the request: the same again still says that it opened it"
    )
    source: str = Field(default="api", pattern=r"^[a-z][a-z0-9-]{0,31}$", description="what asks, such as kestra")
    chaos_mode: bool = Field(default=False, strict=True, description="whether chaos was injected on purpose")


class OpenReceipt(Fact):
    """The incident that is open now."""

    incident_id: str
    opened: bool = Field(description="whether this request opened it; otherwise it joined")
    workflow_url: str
    page_url: str


class DecisionRequest(Fact):
    """An outside analyst's decision, or that it declines: exactly one of both."""

    decision: dict[str, Any] | None = Field(default=None, description="as the decision's published schema has it")
    declined: str = Field(default="", max_length=500, description="why it declines; then the worker's own analyst does")

    @model_validator(mode="after")
    def _one_of_both(self) -> "DecisionRequest":
        if (self.decision is None) is (not self.declined):
            raise ValueError("expected either decision or declined")
        return self


class ApprovalRequest(Fact):
    """A person's answer to what is proposed; the token says who answers."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="of exactly what is answered")
    approved: bool = Field(strict=True, description="true: do it; false: do not")
    note: str = Field(default="", max_length=500, description="kept in the record")


class CancelOrder(Fact):
    """Ends an incident; the token says who."""

    reason: str = Field(default="", max_length=500, description="kept in the record")


class Taken(Fact):
    """The incident has it."""

    incident_id: str


_OPEN = OpenRequest(service="payment-api", reason="customers report failed payments", trigger_id="ticket-4711")
_REGISTERED = registered(
    Service(name="payment-api", source=MockEndpoint(kind="mock", url="http://payment-api:3000")), Policy()
)
_RECEIPT = OpenReceipt(
    incident_id=INCIDENT,
    opened=True,
    workflow_url="http://127.0.0.1:8233/namespaces/default/workflows/incident-production-payment-api",
    page_url=f"https://commander.example/ui/incidents/{INCIDENT}",
)
_DECISION = Decision(
    severity=Severity.P0,
    confidence=0.92,
    summary="Payments fail since deployment 101.",
    root_cause_hypothesis="Deployment 101 halved the database pool.",
    action=Action.ROLLBACK,
    rollback_to=100,
    pagerduty_priority=PagerDutyPriority.P1,
    evidence_ids=("metric:error_rate", "deployment:101"),
)
_DECISIONS = {
    "decided": {"value": {"decision": _DECISION.model_dump(mode="json")}},
    "declined": {"value": {"declined": "the model was not available"}},
}


def build_orders(office: Office) -> APIRouter:
    """The routes that ask something of an incident."""
    router = APIRouter()
    router.include_router(_operate(office))
    router.include_router(_approve(office))
    return router


def _operate(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.OPERATE)

    @router.post(
        "/incidents",
        status_code=HTTPStatus.CREATED,
        responses=told(201, "Opened", _RECEIPT)
        | told(200, "Joined the open one", _RECEIPT.model_copy(update={"opened": False}), model=True)
        | problems(body=True),
    )
    async def open_incident(
        asked: Annotated[OpenRequest, Body(openapi_examples={"asked": {"value": _OPEN.model_dump(mode="json")}})],
        caller: CallerHere,
        response: Response,
    ) -> OpenReceipt:
        """Opens an incident of the service, or joins the one that is open."""
        joined, handle = await office.desk.open(_request(office, asked, caller.name))
        response.status_code = HTTPStatus.CREATED if joined.opened else HTTPStatus.OK
        _log.info("gateway.asked", incident_id=joined.incident_id, by=caller.name, opened=joined.opened)
        return OpenReceipt(
            incident_id=joined.incident_id,
            opened=joined.opened,
            workflow_url=office.workflow_url(handle.id),
            page_url=office.page_url(joined.incident_id),
        )

    @router.post("/services/check", responses=told(200, "It would be taken", _REGISTERED) | problems(body=True))
    async def check(
        asked: Annotated[OpenRequest, Body(openapi_examples={"asked": {"value": _OPEN.model_dump(mode="json")}})],
    ) -> RegisteredService:
        """Starts nothing: whether the same body would open an incident, and what the registry says of the service."""
        return _found(office, asked)[0]

    @router.post(
        "/incidents/{incident_id}/decision",
        status_code=HTTPStatus.ACCEPTED,
        responses=told(202, "Taken", Taken(incident_id=INCIDENT))
        | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, body=True),
    )
    async def decide(
        incident_id: IncidentId,
        asked: Annotated[DecisionRequest, Body(openapi_examples=_DECISIONS)],
        caller: CallerHere,
    ) -> Taken:
        """Hands in an outside analyst's decision; 409 where none is awaited, 422 with every field's error."""
        handle = await handle_of(office, incident_id)
        await office.desk.decide(handle, OutsideDecision(decision=asked.decision, declined=asked.declined))
        _log.info("gateway.decided", incident_id=incident_id, by=caller.name, declined=bool(asked.declined))
        return Taken(incident_id=incident_id)

    @router.post(
        "/incidents/{incident_id}/cancel",
        responses=told(200, "Cancelled", CancelReceipt(incident_id=INCIDENT, acted=False))
        | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, body=True),
    )
    async def cancel(
        incident_id: IncidentId,
        asked: Annotated[CancelOrder, Body(openapi_examples={"asked": {"value": {"reason": "a false alarm"}}})],
        caller: CallerHere,
    ) -> CancelReceipt:
        """Ends the incident, if nothing has been done yet; otherwise it is still verified, reported and recorded."""
        handle = await handle_of(office, incident_id)
        receipt = await office.desk.cancel(handle, CancelRequest(by=caller.name, reason=asked.reason))
        _log.info("gateway.cancelled", incident_id=incident_id, by=caller.name, acted=receipt.acted)
        return receipt

    return router


def _approve(office: Office) -> APIRouter:
    router = for_scope(office.tokens, Scope.APPROVE)
    example = {"digest": DIGEST, "approved": True, "note": APPROVAL.note}

    @router.post(
        "/incidents/{incident_id}/approval",
        responses=told(200, "Taken, now or before", APPROVAL)
        | problems(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, body=True),
    )
    async def approve(
        incident_id: IncidentId,
        asked: Annotated[ApprovalRequest, Body(openapi_examples={"approved": {"value": example}})],
        caller: CallerHere,
    ) -> Approval:
        """Answers what is proposed, in the name of the token's holder; 409 says why an answer is refused."""
        handle = await handle_of(office, incident_id)
        answer = ApprovalAnswer(digest=asked.digest, approver=caller.name, approved=asked.approved, note=asked.note)
        approval = await office.desk.answer(handle, answer)
        _log.info("gateway.answered", incident_id=incident_id, by=caller.name, approved=approval.approved)
        return approval

    return router


def _request(office: Office, asked: OpenRequest, by: str) -> IncidentRequest:
    _, policy = _found(office, asked)
    return IncidentRequest(
        service=asked.service,
        environment=asked.environment,
        policy=policy,
        trigger=Trigger(
            source=asked.source,
            trigger_id=asked.trigger_id or uuid4().hex,
            execution_id=asked.execution_id,
            by=by,
            reason=asked.reason,
            chaos_mode=asked.chaos_mode,
        ),
        outside_analyst=asked.outside_analyst,
    )


def _found(office: Office, asked: OpenRequest) -> tuple[RegisteredService, Policy]:
    try:
        service = office.registry.find(asked.environment, asked.service)
    except UnknownServiceError:
        raise not_valid(["body.service: expected a service that the registry has in that environment"]) from None
    policy = tightened(office.policies.of(asked.service, asked.environment), asked)
    found = registered(service, policy)
    if wrong := contradictions(asked, found):
        raise not_valid(wrong)
    return found, policy
