"""How an incident ended that asked a person, and what of it is not as it must be."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from incident.dossier import Approval
from incident.snapshot import Snapshot
from tests.fault.gateway_world import GatewayWorld, Question
from tests.fault.invariants import Record, violations
from tests.standins.slack import Message


@dataclass(frozen=True)
class Settled:
    """How an incident ended that asked, as each of its witnesses tells it."""

    question: Question
    record: Record
    snapshot: Snapshot
    applied: int
    """Rollbacks that the patient made for the commander; people activate deployments too."""
    message: Message
    """The question as it stands in Slack now."""
    posted_twice: Sequence[str]
    """Keys of messages that stand in Slack more than once."""
    at: datetime

    def __str__(self) -> str:
        answers = ", ".join(
            f"{'approved' if each.approved else 'denied'} by {each.approver.rpartition('/')[2]}"
            for each in self.snapshot.approvals
        )
        rollbacks = f"{self.applied} rollback{'s' if self.applied != 1 else ''}"
        return f"{answers or 'no answer taken'}; {rollbacks}; {self.snapshot.outcome}"


async def settled(world: GatewayWorld, question: Question) -> Settled:
    """How it ended, once it has."""
    record = await world.record(question.incident)
    assert record.result
    messages, activations = world.slack.messages(), await world.activations(question.incident)
    keys = [each.key for each in messages if each.key]
    return Settled(
        question=question,
        record=record,
        snapshot=record.result,
        applied=sum(each["applied"] for each in activations if each["correlation_id"]),
        message=next(each for each in messages if each.ts == question.message.ts),
        posted_twice=sorted({key for key in keys if keys.count(key) > 1}),
        at=datetime.now(UTC),
    )


def wrongs(end: Settled, *by: str, approved: bool = True, anew: Question | None = None) -> Sequence[str]:
    """What did not end as it must where those people gave that answer, in that order; empty: everything did.

    Args:
        end: how it ended.
        by: who answered; nobody: no answer was taken.
        approved: what.
        anew: what was asked once the first answer had proved void, and was answered alike; left out, nothing was.
    """
    snapshot, remediation = end.snapshot, end.snapshot.remediation
    rolled_back = bool(by) and approved
    asked = [each.proposal.digest for each in (end.question, anew) if each]
    words = f"{'approved' if approved else 'denied'} by {' and '.join(by)}" if by else "not answered"
    last = snapshot.approvals[-1] if snapshot.approvals else None
    seen = {
        "answers": (
            [_answer(each) for each in snapshot.approvals],
            [(each, approved, digest) for digest in asked for each in by],
        ),
        "the one that decided": (snapshot.approval, last),
        "answered after it was asked": (_in_time(end), True),
        "rollbacks": (end.applied, int(rolled_back)),
        "authorised by": (remediation and remediation.authorised_by, " and ".join(by) if rolled_back else None),
        "buttons left": (sorted(end.message.buttons), []),
        "what the question says now": (words in end.message.shown, True),
        "posted twice": (end.posted_twice, []),
    }
    differing = [f"{what}: {was}, expected {wanted}" for what, (was, wanted) in seen.items() if was != wanted]
    return [*differing, *violations(end.record)]


def _answer(approval: Approval) -> tuple[str, bool, str]:
    return approval.approver, approval.approved, approval.digest


def _in_time(end: Settled) -> bool:
    asked = end.question.proposal.proposed_at
    return all(asked <= each.at <= end.at for each in end.snapshot.approvals)
