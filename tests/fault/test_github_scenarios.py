"""What GitHub may do to a rollback, and what must hold all the same: one effective rollback or a page, and an end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import httpx
import pytest
from temporalio.client import WorkflowUpdateFailedError

from incident.dossier import Stage
from incident.ledger import NOTHING_DONE, RunState
from incident.snapshot import Outcome, Snapshot
from tests import builders
from tests.fault.github_shift import BAD, DISPATCHES, GOOD, MARKS, NEW, Commission, GitHubShift, Moment, Repository
from tests.standins.github.behaviour import Fault, FaultKind, Journal
from tests.standins.github.behaviour import Moment as Effect
from tests.standins.github.control import Wishes as Behaviour
from tests.standins.github.history import BAD_SHA, GOOD_SHA
from tests.workflow.shift import Handle, at_stage, noted, until_true, why_paged
from workflows.incident import IncidentWorkflow
from workflows.messages import ApprovalAnswer

pytest_plugins = ["tests.fault.github_fixtures"]
pytestmark = MARKS

LIMITED = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


def dispatch_goes_wrong(kind: FaultKind, **changes: object) -> Fault:
    return Fault.model_validate({"method": "POST", "path": DISPATCHES, "kind": kind, **changes})


def accepted(journal: Journal) -> int:
    return sum(each.accepted for each in journal.dispatches)


def dispatched_at(journal: Journal) -> Sequence[datetime]:
    return [each.at for each in journal.requests if each.method == "POST" and each.path.endswith("/dispatches")]


def run_state(snapshot: Snapshot) -> RunState:
    assert snapshot.remediation
    assert snapshot.remediation.run
    return snapshot.remediation.run.state


async def test_the_usual_course_is_one_dispatch_and_no_page(shift: GitHubShift) -> None:
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1
    assert shift.pager.sent == []


# The answer to the dispatch is lost, late, or makes no sense.


@pytest.mark.parametrize("where", ["on the way", "behind the judge"])
async def test_a_reset_after_the_dispatch_was_accepted_leaves_one_effective_run(shift: GitHubShift, where: str) -> None:
    toxics = shift.repository.chain.toxics
    if where == "on the way":
        shift.occasions.at(Moment.BEFORE_START, partial(toxics.limit_data, 0))
        shift.occasions.at(Moment.STARTED, toxics.clear)
    else:
        await shift.repository.control.faults(dispatch_goes_wrong(FaultKind.RESET, when=Effect.AFTER))
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1
    assert shift.pager.sent == []


async def test_a_reset_answer_and_a_run_that_is_listed_late_are_still_one_dispatch(shift: GitHubShift) -> None:
    await shift.repository.control.behave(reply="empty", list_lag_s=2)
    await shift.repository.control.faults(dispatch_goes_wrong(FaultKind.RESET, when=Effect.AFTER))
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1


async def test_an_answer_without_details_and_a_late_run_are_one_dispatch(shift: GitHubShift) -> None:
    await shift.repository.control.behave(reply="empty", list_lag_s=1)
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1


async def test_a_run_that_took_effect_before_it_was_listed_stays_counted(commission: Commission) -> None:
    shift = await commission(run_appears_within="1s")
    await shift.repository.control.behave(reply="empty", list_lag_s=20)
    await shift.repository.control.faults(dispatch_goes_wrong(FaultKind.RESET, when=Effect.AFTER))
    snapshot = await shift.through()
    assert await shift.attempts() == 1
    (effect,) = (await shift.repository.journal()).effective
    assert snapshot.outcome is Outcome.RECOVERED
    assert noted(snapshot, f"deployment {GOOD} is live now, deployment {BAD} was when it was decided")
    entry = shift.store.remediations[effect.correlation_id]
    assert entry.state not in NOTHING_DONE


async def test_a_run_that_is_listed_beyond_all_patience_costs_a_second_dispatch_and_no_second_effect(
    commission: Commission,
) -> None:
    shift = await commission(run_appears_within="500ms")
    await shift.repository.control.behave(reply="empty", list_lag_s=3, queue_s=2.5)
    await shift.repository.control.faults(dispatch_goes_wrong(FaultKind.RESET, when=Effect.AFTER))
    snapshot = await shift.through({"remediate_within": "30s"})
    await shift.recovered(snapshot)
    journal = await shift.repository.journal()
    assert accepted(journal) == 2
    first, second = journal.runs
    assert (first.effective, second.effective) == (True, False)
    assert snapshot.remediation
    assert snapshot.remediation.run
    assert snapshot.remediation.run.run_id == first.id, "the report names the run that took effect"


@pytest.mark.parametrize("status", [500, 502])
async def test_an_error_page_is_tried_again(commission: Commission, status: int) -> None:
    shift = await commission(run_appears_within="1s")
    await shift.repository.control.faults(dispatch_goes_wrong(FaultKind.HTML, status=status))
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 2
    assert shift.pager.sent == []


async def test_an_answer_without_the_run_is_found_by_the_search(commission: Commission) -> None:
    # Without the judge, which would turn this reply into an error: GitHub's description has no such reply.
    shift = await commission(judged=False)
    await shift.repository.control.behave(reply="malformed")
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    assert await shift.attempts() == 1


# GitHub refuses.


async def test_a_rate_limit_is_kept_to_the_second(shift: GitHubShift) -> None:
    limit = dispatch_goes_wrong(
        FaultKind.STATUS, status=429, headers={"retry-after": "7"}, body={"message": "Too many requests"}
    )
    await shift.repository.control.faults(limit)
    snapshot = await shift.through()
    await shift.recovered(snapshot)
    journal = await shift.repository.journal()
    refused, _ = dispatched_at(journal)
    after = min(each.at for each in journal.requests if each.at > refused)
    assert timedelta(seconds=7) <= after - refused < timedelta(seconds=12)


async def test_a_secondary_limit_without_headers_is_kept_for_a_minute(shift: GitHubShift) -> None:
    limit = dispatch_goes_wrong(FaultKind.STATUS, status=403, body={"message": LIMITED})
    await shift.repository.control.faults(limit)
    handle = await shift.begin({"page_after": "10m"})
    retries: list[timedelta] = []

    async def _waits() -> bool:
        pending = await shift.pending(handle, "remediate.rollback")
        if pending and pending.HasField("last_failure"):
            retries[:] = [
                pending.next_attempt_schedule_time.ToDatetime() - pending.last_attempt_complete_time.ToDatetime()
            ]
        return bool(retries)

    await until_true(_waits)
    assert retries[0] >= timedelta(seconds=60)
    assert await shift.attempts() == 1
    await shift.retry_now(handle, "remediate.rollback")  # too soon: then nothing is sent

    async def _held_back() -> bool:
        pending = await shift.pending(handle, "remediate.rollback")
        return pending is not None and "so nothing was sent" in pending.last_failure.message

    await until_true(_held_back)
    assert await shift.attempts() == 1
    shift.clock.move(timedelta(seconds=61))
    await shift.retry_now(handle, "remediate.rollback")
    snapshot = await shift.end(handle)
    await shift.recovered(snapshot)
    assert await shift.attempts() == 2


@pytest.mark.parametrize(
    ("behaviour", "faults", "words"),
    [
        (Behaviour(denied=["POST dispatches"]), [], "actions=write on acme/payment-api"),
        (
            Behaviour(),
            [dispatch_goes_wrong(FaultKind.STATUS, status=404, body={"message": "Not Found"})],
            "there is no workflow rollback.yml of acme/payment-api, or the token cannot see it: it needs actions=write",
        ),
    ],
    ids=["403", "404"],
)
async def test_a_refused_dispatch_pages_at_once_and_names_what_is_missing(
    shift: GitHubShift, behaviour: Behaviour, faults: Sequence[Fault], words: str
) -> None:
    await shift.repository.control.behave(**behaviour)
    await shift.repository.control.faults(*faults)
    snapshot = await shift.through()
    assert await shift.attempts() == 1
    assert words in why_paged(shift)
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.REFUSED)
    assert (await shift.repository.journal()).effective == []


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour(denied=["GET /deployments"]), "deployments=read on acme/payment-api"),
        (Behaviour(denied=["GET /actions/"]), "actions=read on acme/payment-api"),
        (Behaviour(workflow_missing=True), "there is no workflow rollback.yml of acme/payment-api"),
    ],
    ids=["deployments", "actions", "workflow"],
)
async def test_a_repository_that_may_not_be_read_pages_at_once_and_dispatches_nothing(
    shift: GitHubShift, behaviour: Behaviour, words: str
) -> None:
    await shift.repository.control.behave(**behaviour)
    snapshot = await shift.through()
    assert await shift.attempts() == 0
    assert snapshot.outcome is Outcome.ESCALATED
    assert words in "; ".join(each.text for each in snapshot.timeline)
    assert len(shift.pager.sent) == 1


# The run does not do what it should.


@pytest.mark.parametrize(
    ("conclusion", "state"),
    [
        ("failure", RunState.FAILED),
        ("cancelled", RunState.CANCELLED),
        ("timed_out", RunState.TIMED_OUT),
        ("action_required", RunState.ACTION_REQUIRED),
        ("startup_failure", RunState.STARTUP_FAILURE),
    ],
)
async def test_a_run_that_ends_otherwise_is_told_as_it_is_and_paged(
    shift: GitHubShift, conclusion: str, state: RunState
) -> None:
    await shift.repository.control.behave(conclusion=conclusion)
    snapshot = await shift.through()
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, state)
    assert f"the rollback is {state.value.replace('_', ' ')}" in why_paged(shift)
    assert await shift.attempts() == 1
    assert await shift.repository.live() == BAD


async def test_a_run_that_took_effect_and_then_timed_out_is_told_and_its_effect_is_seen(shift: GitHubShift) -> None:
    await shift.repository.control.behave(conclusion="timed_out", effect_first=True)
    snapshot = await shift.through()
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.RECOVERED, RunState.TIMED_OUT)
    assert "the rollback is timed out" in why_paged(shift)
    assert await shift.attempts() == 1
    assert await shift.repository.live() == GOOD


async def test_a_conclusion_that_nobody_knows_is_never_success(shift: GitHubShift) -> None:
    await shift.repository.control.behave(conclusion="perplexed")
    snapshot = await shift.through({"remediate_within": "1s"})
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.UNKNOWN)
    assert "GitHub says 'perplexed'" in why_paged(shift)
    assert await shift.attempts() == 1


async def test_a_run_that_finds_no_runner_is_called_off(shift: GitHubShift) -> None:
    await shift.repository.control.behave(stuck=True)
    snapshot = await shift.through({"start_within": "1s"})
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.NEVER_STARTED)
    assert "the rollback has not begun" in why_paged(shift)
    journal = await shift.repository.journal()
    assert [each.accepted for each in journal.cancels] == [True]
    assert [(run.conclusion, run.effective) for run in journal.runs] == [("cancelled", False)]
    assert await shift.attempts() == 1


async def test_a_run_whose_place_another_one_takes_is_told_as_cancelled(shift: GitHubShift) -> None:
    await shift.repository.control.behave(run_s=4, conclusion="failure")
    await somebody_dispatches(shift.repository, "by-hand-1")
    await shift.repository.until_run(lambda run: run.status == "in_progress")
    handle = await shift.begin()
    await shift.until_run_is(handle, RunState.PENDING)
    await somebody_dispatches(shift.repository, "by-hand-2")
    snapshot = await shift.end(handle)
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.CANCELLED)
    assert "the rollback is cancelled" in why_paged(shift)
    assert await shift.attempts() == 3, "the two by hand, and one of ours"
    assert (await shift.repository.journal()).effective == []


@pytest.mark.parametrize("approved", [True, False])
async def test_a_run_may_wait_for_its_reviewers_and_ends_as_they_say(shift: GitHubShift, *, approved: bool) -> None:
    await shift.repository.control.behave(reviewers=True)
    handle = await shift.begin({"remediate_within": "3m", "start_within": "3m"})
    await shift.until_run_is(handle, RunState.WAITING)
    await shift.skip(handle, timedelta(minutes=10))
    run = await shift.repository.run()
    assert run.status == "waiting", "ten minutes are no reason to give up, nor to call it off"
    await shift.repository.control.review(run.id, approved=approved)
    await handle.signal(IncidentWorkflow.look_now)
    snapshot = await shift.end(handle)
    assert "waits for a review" in why_paged(shift)
    assert (await shift.repository.journal()).cancels == []
    if approved:
        await shift.recovered(snapshot)
    else:
        assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.FAILED)
        assert (await shift.repository.journal()).effective == []


# What the service does meanwhile.


async def test_a_rollback_that_does_not_help_is_escalated_and_not_repeated(commission: Commission) -> None:
    shift = await commission(bad=(GOOD, BAD))
    snapshot = await shift.through()
    assert (snapshot.outcome, run_state(snapshot)) == (Outcome.ESCALATED, RunState.SUCCEEDED)
    assert len(shift.pager.sent) == 1
    assert await shift.attempts() == 1
    assert await shift.repository.live() == GOOD


async def test_a_service_that_recovers_before_the_rollback_is_left_alone(shift: GitHubShift) -> None:
    async def _gets_well() -> None:
        shift.service.releases.bad = frozenset()

    shift.occasions.at(Moment.DECIDED, _gets_well)
    snapshot = await shift.through()
    assert snapshot.remediation
    assert snapshot.remediation.void
    assert noted(snapshot, "the anomalies that opened the incident are gone")
    assert await shift.attempts() == 0
    assert await shift.repository.live() == BAD
    assert snapshot.outcome is Outcome.RECOVERED


# Other hands.


async def test_a_deployment_between_decision_and_confirmation_voids_the_rollback(shift: GitHubShift) -> None:
    shift.occasions.at(Moment.DECIDED, shift.repository.deploy)
    snapshot = await shift.through()
    assert snapshot.remediation
    assert snapshot.remediation.void
    assert noted(snapshot, f"deployment {NEW} is live now, deployment {BAD} was when it was decided")
    assert noted(snapshot, "the service is well by now")
    assert await shift.attempts() == 0
    assert snapshot.outcome is Outcome.RECOVERED


async def test_a_bad_deployment_between_decision_and_confirmation_is_decided_anew(commission: Commission) -> None:
    shift = await commission(bad=(BAD, NEW))
    shift.occasions.at(Moment.DECIDED, shift.repository.deploy)
    snapshot = await shift.through()
    assert noted(snapshot, "the proposal is void; the evidence is read again")
    assert snapshot.remediation
    assert snapshot.remediation.order.expected_live == NEW
    (effect,) = (await shift.repository.journal()).effective
    assert effect.from_ == NEW
    assert await shift.attempts() == 1


async def test_a_deployment_after_the_dispatch_makes_the_run_fail_instead_of_undoing_it(shift: GitHubShift) -> None:
    await shift.repository.control.behave(queue_s=0.5)
    shift.occasions.at(Moment.STARTED, shift.repository.deploy)
    snapshot = await shift.through()
    assert run_state(snapshot) is RunState.FAILED
    assert "the rollback is failed" in why_paged(shift)
    journal = await shift.repository.journal()
    assert [run.conclusion for run in journal.runs] == ["failure"]
    assert journal.effective == []
    assert await shift.repository.live() == NEW
    assert await shift.attempts() == 1


async def test_a_deployment_while_a_person_is_asked_voids_the_question(commission: Commission) -> None:
    shift = await commission(bad=(BAD, NEW))
    handle = await shift.begin({"mode": "ask"})
    first = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert first
    await shift.repository.deploy()

    async def _anew() -> bool:
        proposal = (await handle.query(IncidentWorkflow.dossier)).proposal
        return proposal is not None and proposal.expected_live == NEW

    await until_true(_anew)
    second = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert second
    with pytest.raises(WorkflowUpdateFailedError):
        await approve(handle, first.digest)
    assert await shift.attempts() == 0
    await approve(handle, second.digest)
    snapshot = await shift.end(handle)
    assert noted(snapshot, f"somebody changed what is live: deployment {NEW}")
    (effect,) = (await shift.repository.journal()).effective
    assert effect.from_ == NEW
    assert await shift.attempts() == 1


async def test_a_good_deployment_while_a_person_is_asked_ends_the_incident(shift: GitHubShift) -> None:
    handle = await shift.begin({"mode": "ask"})
    await at_stage(handle, Stage.AWAITING_APPROVAL)
    await shift.repository.deploy()
    snapshot = await shift.end(handle)
    assert noted(snapshot, f"somebody changed what is live: deployment {NEW}")
    assert snapshot.outcome is Outcome.RECOVERED
    assert await shift.attempts() == 0
    assert shift.pager.sent == []


async def approve(handle: Handle, digest: str) -> None:
    await handle.execute_update(IncidentWorkflow.answer, ApprovalAnswer(digest=digest, approver="ada", approved=True))


async def somebody_dispatches(repository: Repository, correlation_id: str) -> None:
    """A person starts the rollback workflow by hand."""
    inputs = {
        "service": builders.SERVICE,
        "environment": builders.ENVIRONMENT,
        "deployment_id": str(GOOD),
        "target_revision": GOOD_SHA,
        "expected_deployment_id": str(BAD),
        "expected_revision": BAD_SHA,
        "incident_id": builders.INCIDENT_ID,
        "reason": "by hand",
        "confidence": "1",
        "correlation_id": correlation_id,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(
            f"{repository.chain.direct_url}/repos/acme/payment-api/actions/workflows/rollback.yml/dispatches",
            json={"ref": "main", "inputs": inputs},
            headers={"Authorization": f"Bearer {repository.chain.token}"},
        )
    assert reply.is_success
