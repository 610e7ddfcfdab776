"""What people and analysts outside wrote loses its secrets before Temporal has it; names and digests stay."""

from typing import Any

from incident.dossier import AlertNotice, Trigger
from incident.ledger import Stop
from incident.model import Fact
from tests import builders
from workflows import messages
from workflows.messages import ApprovalAnswer, CancelRequest, IncidentRequest, OutsideDecision
from workflows.said import redacted

SECRET, MARK = "password=hunter2", "password=[REDACTED:secret]"
ADA = "ada@example.org"
NAMES = {
    "by", "approver", "service", "environment", "source", "trigger_id", "execution_id", "incident_id", "digest",
    "outside_analyst", "stage",
}  # fmt: skip
"""Fields that hold a name or an id: of people, services, requests."""
READ_ELSEWHERE: set[type[Fact]] = {AlertNotice, messages.EvidenceOffer, messages.Joined, messages.CancelReceipt}
"""Redacted when the alert manager's message was read; or said by the workflow, not to it."""


def test_a_note_and_a_reason_lose_their_secrets_and_the_person_stays() -> None:
    answer = ApprovalAnswer(digest="0" * 64, approver=ADA, approved=True, note=SECRET)
    assert redacted(answer) == answer.model_copy(update={"note": MARK})
    request = CancelRequest(by=ADA, reason=SECRET)
    assert redacted(request) == request.model_copy(update={"reason": MARK})
    stop = Stop(by=ADA, reason=SECRET, at=builders.NOW)
    assert redacted(stop) == stop.model_copy(update={"reason": MARK})


def test_a_request_loses_them_from_its_trigger_and_keeps_who_may_approve() -> None:
    request = IncidentRequest(
        service=builders.SERVICE,
        policy=builders.policy(approvers=[ADA]),
        trigger=Trigger(source="api", by=ADA, reason=f"{SECRET} \u202eevil"),
    )
    sent = redacted(request)
    assert sent.trigger == request.trigger.model_copy(update={"reason": f"{MARK} evil"})
    assert sent.policy == request.policy


def test_an_outside_decision_loses_them_at_any_depth() -> None:
    decision = {"summary": SECRET, "confidence": 0.9, "evidence_ids": ["metric:error_rate", SECRET]}
    sent = redacted(OutsideDecision(decision=decision))
    assert sent.decision == {"summary": MARK, "confidence": 0.9, "evidence_ids": ["metric:error_rate", MARK]}
    assert redacted(OutsideDecision(declined=SECRET)).declined == MARK


def test_every_text_that_is_sent_is_a_name_or_is_redacted() -> None:
    known = [each for each in vars(messages).values() if isinstance(each, type) and issubclass(each, Fact)]
    sent = {each for each in known if each.__module__ == messages.__name__} - READ_ELSEWHERE
    models: list[type[Fact]] = [*sent, Trigger, Stop]
    for model in models:
        texts = {name for name, field in model.model_fields.items() if field.annotation is str} - NAMES
        given: dict[str, Any] = dict.fromkeys(texts, SECRET)
        blank = model.model_construct(**given)
        assert all(getattr(redacted(blank), name) == MARK for name in texts), model
