"""A person answers the open question, or ends the incident: first exactly what, then the deed."""

from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from gateway.office import Handle, Office
from gateway.pages.door import Visit, need
from gateway.pages.incidents import found
from gateway.pages.problems import PageError
from gateway.pages.rendering import Renderer, path
from gateway.pages.sheet import Sheet
from gateway.tokens import Scope
from incident.dossier import Proposal
from incident.evidence import Deployment
from workflows.messages import ApprovalAnswer, CancelRequest

_ANSWERS = {"approve": True, "deny": False}


class Answers:
    """Takes answers to what is asked on an incident's page."""

    def __init__(self, office: Office, renderer: Renderer) -> None:
        self._office = office
        self._renderer = renderer

    async def ask(self, visit: Visit) -> Response:
        """Says exactly what would be approved or denied."""
        need(visit.session, Scope.APPROVE)
        asked = visit.request.query_params
        approving = _answer(asked.get("answer", ""))
        sheet = await self._sheet(visit)
        proposal = _open_proposal(sheet, asked.get("digest", ""))
        verdict = sheet.record.verdict if sheet.record else None
        return self._renderer.page(
            "answer.html",
            session=visit.session,
            form_token=visit.form_token,
            sheet=sheet,
            proposal=proposal,
            approving=approving,
            live=_described(sheet, proposal.expected_live),
            target=_described(sheet, proposal.target),
            refusals=verdict.refusals if verdict else (),
        )

    async def give(self, visit: Visit) -> Response:
        """Hands in the answer; what it is bound to is the digest that the person was shown."""
        approved = _answer(visit.form.get("answer", ""))
        try:
            answer = ApprovalAnswer(
                digest=visit.form.get("digest", ""),
                approver=visit.session.caller.name,
                approved=approved,
                note=_text(visit.form.get("note", "")),
            )
        except ValidationError as error:
            raise PageError(422, "Not taken", "A note holds at most 500 characters.") from error
        await self._office.desk.answer(await self._handle(visit.incident_id), answer)
        return _back(visit, "approved" if approved else "denied")

    async def ask_cancel(self, visit: Visit) -> Response:
        """Says what ending the incident means."""
        need(visit.session, Scope.OPERATE)
        sheet = await self._sheet(visit)
        if not sheet.is_open:
            raise PageError(409, "Too late", "The incident has closed.")
        return self._renderer.page("cancel.html", session=visit.session, form_token=visit.form_token, sheet=sheet)

    async def cancel(self, visit: Visit) -> Response:
        """Ends the incident, if nothing has been done yet."""
        try:
            request = CancelRequest(by=visit.session.caller.name, reason=_text(visit.form.get("reason", "")))
        except ValidationError as error:
            raise PageError(422, "Not taken", "A reason holds at most 500 characters.") from error
        receipt = await self._office.desk.cancel(await self._handle(visit.incident_id), request)
        return _back(visit, "cancelled-late" if receipt.acted else "cancelled")

    async def _sheet(self, visit: Visit) -> Sheet:
        return Sheet(await found(self._office, visit.incident_id), visit.session, self._office.clock())

    async def _handle(self, incident_id: str) -> Handle:
        try:
            handle = await self._office.desk.find(incident_id)
        except ValueError:
            handle = None
        if handle is None:
            raise PageError(404, "No such incident", "Temporal does not know it.")
        return handle


def _answer(word: str) -> bool:
    if word not in _ANSWERS:
        raise PageError(422, "No such answer", "Expected approve or deny.")
    return _ANSWERS[word]


def _open_proposal(sheet: Sheet, digest: str) -> Proposal:
    """What is proposed now, if it is what the person saw."""
    proposal = sheet.view.proposal
    if proposal is None:
        raise PageError(409, "Nothing is asked", "The question has been answered, or is not asked any more.")
    if digest != proposal.digest:
        raise PageError(409, "It has changed", "Something else is proposed by now. Look at the incident again.")
    return proposal


def _described(sheet: Sheet, number: int) -> str:
    """Deployment `number`, as the evidence knows it."""
    known: Deployment | None = sheet.evidence.deployments.find(number) if sheet.evidence else None
    return f"deployment {number}" + (f" ({known.revision}): {known.message}" if known else ", not in the history")


def _text(typed: str) -> str:
    """What a person typed; a browser sends its line breaks as two characters, and counts them as one."""
    return typed.replace("\r\n", "\n").strip()


def _back(visit: Visit, said: str) -> Response:
    return RedirectResponse(f"/ui/incidents/{path(visit.incident_id)}?said={said}", 303)
