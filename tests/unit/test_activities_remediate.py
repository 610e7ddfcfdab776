"""The head of the remediation: find first, look again, ask the gate again, then start, whatever the ledger does."""

from datetime import datetime

import pytest
from temporalio.testing import ActivityEnvironment

from activities.observation import Observer
from activities.remediate import FollowInput, Remediate, Remediated, RemediateInput
from incident.errors import PermanentError, TransientError
from incident.evidence import Evidence, Health, MetricsReport, Source, SourceState
from incident.ledger import RollbackRun, RunState
from tests import builders
from tests.fakes import FakeRollback, FakeService, FakeServices, InMemoryStore

LOST = TransientError("store", "cannot be written")


def now() -> datetime:
    return builders.NOW


def ailing() -> FakeService:
    """Deployment 101 is bad, and live for five minutes by the builders' clock."""
    return FakeService(live=101, clock=now)


def task(service: FakeService, **changes: object) -> RemediateInput:
    """The order to go back to 100, judged by what the builders' degraded service shows."""
    seen: Evidence = builders.degraded_evidence(deployments=builders.deployments(*service.releases.history()))
    return RemediateInput.model_validate(
        {
            "incident_id": builders.INCIDENT_ID,
            "order": builders.order(),
            "decision": builders.decision(),
            "evidence": seen,
            "assessment": builders.assessment(seen),
            "policy": builders.policy(),
            "approved": False,
            **changes,
        }
    )


async def rolled_back(service: FakeService, order: RemediateInput, store: InMemoryStore | None = None) -> Remediated:
    services = FakeServices(service)
    remediate = Remediate(services, Observer(services, now), store or InMemoryStore(), now)
    return await ActivityEnvironment().run(remediate.rollback, order)


async def followed(service: FakeService, run: RollbackRun, store: InMemoryStore) -> RollbackRun:
    services = FakeServices(service)
    remediate = Remediate(services, Observer(services, now), store, now)
    order = FollowInput(incident_id=builders.INCIDENT_ID, order=builders.order(), run=run)
    return await ActivityEnvironment().run(remediate.follow, order)


async def test_an_allowed_rollback_is_entered_started_and_its_end_entered() -> None:
    service, store = ailing(), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert done.run.state is RunState.SUCCEEDED
    assert service.releases.live == 100
    [entry] = store.remediations.values()
    assert (entry.from_deployment, entry.to_deployment, entry.state, entry.at) == (
        101,
        100,
        RunState.SUCCEEDED,
        builders.NOW,
    )


async def test_the_ledger_knows_of_a_run_before_it_begins() -> None:
    service, store = ailing(), InMemoryStore()
    service.rollback.failures.append(TransientError("github", "no answer"))
    with pytest.raises(TransientError):
        await rolled_back(service, task(service), store)
    assert [entry.state for entry in store.remediations.values()] == [RunState.PENDING]


async def test_a_run_that_exists_is_found_before_anything_else_is_looked_at() -> None:
    service = ailing()
    order = task(service)
    await rolled_back(service, order)
    service.reads.clear()
    service.deploy(102)
    again = await rolled_back(service, order)
    assert again.run
    assert again.run.state is RunState.SUCCEEDED
    assert len(service.rollback.starts) == 1
    assert not service.reads


async def test_a_run_whose_reply_was_lost_is_found_and_its_end_entered_by_the_next_attempt() -> None:
    service, store = ailing(), InMemoryStore()
    service.rollback = FakeRollback(service.releases, lost_replies=[TransientError("github", "cut off")])
    order = task(service)
    with pytest.raises(TransientError):
        await rolled_back(service, order, store)
    assert (await rolled_back(service, order, store)).run
    assert len(service.rollback.begun) == 1
    assert [entry.state for entry in store.remediations.values()] == [RunState.SUCCEEDED]


async def test_another_live_deployment_voids_the_order() -> None:
    service = FakeService(live=101, bad=(101, 102), clock=now)
    order = task(service)
    service.deploy(102)
    done = await rolled_back(service, order)
    assert done == Remediated(
        refused=("deployment 102 is live now, deployment 101 was when it was decided",), void=True
    )
    assert service.rollback.starts == []


async def test_a_live_deployment_that_cannot_be_told_voids_the_order() -> None:
    service = ailing()
    order = task(service)
    service.answer(Source.DEPLOYMENTS, builders.deployments(builders.deployment(100)))
    done = await rolled_back(service, order)
    assert done.void
    assert done.refused[0].startswith("deployment unknown is live now")


async def test_a_deployment_history_that_cannot_be_read_is_worth_another_try_and_starts_nothing() -> None:
    service = ailing()
    service.fail(Source.DEPLOYMENTS, PermanentError("github", "bad credentials"))
    with pytest.raises(TransientError, match="github: what is live could not be confirmed: bad credentials"):
        await rolled_back(service, task(service))
    assert service.rollback.starts == []


async def test_anomalies_that_are_gone_void_the_order() -> None:
    service = ailing()
    service.answer(Source.METRICS, builders.metrics(deployment_id=101))
    done = await rolled_back(service, task(service))
    assert done == Remediated(refused=("the anomalies that opened the incident are gone",), void=True)


@pytest.mark.parametrize(
    "metrics",
    [
        builders.metrics({"cpu_usage": 71.0}, deployment_id=101),
        builders.metrics({"error_rate": None}, deployment_id=101),
        builders.metrics(state=SourceState.FAILED, problem="no answer", readings=(), health=Health.UNKNOWN),
    ],
    ids=["one anomaly is left", "one cannot be read", "none can be read"],
)
async def test_anomalies_that_are_not_known_to_be_gone_void_nothing(metrics: MetricsReport) -> None:
    service = ailing()
    service.answer(Source.METRICS, metrics)
    assert (await rolled_back(service, task(service))).run
    assert len(service.rollback.begun) == 1


async def test_the_gate_is_asked_again_and_refuses_what_the_ledger_now_knows() -> None:
    service, store = ailing(), InMemoryStore()
    await store.begin(builders.remediation(from_deployment=100))
    done = await rolled_back(service, task(service), store)
    assert done.run is None
    assert not done.void
    assert any(reason.startswith("target_not_rolled_back: ") for reason in done.refused)
    assert service.rollback.starts == []


async def test_the_gate_judges_by_the_history_of_now() -> None:
    service = ailing()
    order = task(service)
    known = [each.model_copy(update={"once_healthy": False}) for each in service.releases.history()]
    service.answer(Source.DEPLOYMENTS, builders.deployments(*known))
    done = await rolled_back(service, order)
    assert any(reason.startswith("target_once_healthy: ") for reason in done.refused)


async def test_what_the_policy_asks_about_needs_an_approval_here_too() -> None:
    unsure = builders.decision(confidence=0.6)
    service = ailing()
    refused = await rolled_back(service, task(service, decision=unsure))
    assert refused.refused == ("confidence: confidence 0.60, the policy wants 0.80",)
    assert (await rolled_back(service, task(service, decision=unsure, approved=True))).run


async def test_an_order_for_another_target_than_the_gate_allows_is_refused() -> None:
    service = ailing()
    done = await rolled_back(service, task(service, order=builders.order(target=99)))
    assert done.refused == ("the gate does not allow this target",)
    assert service.rollback.starts == []


async def test_a_ledger_that_is_away_holds_up_no_rollback() -> None:
    service = ailing()
    store = InMemoryStore({"begin": LOST, "finish": LOST, "of_service": LOST})
    assert (await rolled_back(service, task(service), store)).run
    assert service.releases.live == 100


async def test_a_ledger_that_cannot_enter_the_end_holds_up_nothing() -> None:
    service, store = ailing(), InMemoryStore({"finish": LOST})
    assert (await rolled_back(service, task(service), store)).run
    assert [entry.state for entry in store.remediations.values()] == [RunState.PENDING]


async def test_a_ledger_that_was_away_at_the_start_gets_the_whole_entry_at_the_end() -> None:
    service, store = FakeService(live=101, states=(RunState.RUNNING, RunState.SUCCEEDED), clock=now), InMemoryStore()
    store.errors["begin"] = LOST
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert done.run.state is RunState.RUNNING
    assert store.remediations == {}
    store.errors.clear()
    run = await followed(service, done.run, store)
    assert run.state is RunState.SUCCEEDED
    assert [(entry.to_deployment, entry.state) for entry in store.remediations.values()] == [(100, RunState.SUCCEEDED)]


async def test_a_run_that_goes_on_is_not_entered_as_ended() -> None:
    service, store = FakeService(live=101, states=(RunState.PENDING, RunState.RUNNING), clock=now), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert (await followed(service, done.run, store)).state is RunState.RUNNING
    assert [entry.state for entry in store.remediations.values()] == [RunState.PENDING]


async def test_a_target_that_refuses_says_so_to_the_caller() -> None:
    service = ailing()
    service.rollback.failures.append(PermanentError("github", "no such workflow"))
    with pytest.raises(PermanentError, match="github: no such workflow"):
        await rolled_back(service, task(service))
