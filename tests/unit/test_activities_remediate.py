"""Remediate: find first, look again, ask the gate again, enter it, then start; or start nothing at all."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic

import pytest
from temporalio.testing import ActivityEnvironment

from activities.changes import Tidings
from activities.memory import Memory
from activities.observation import Observer
from activities.remediate import FollowInput, Remediate, Remediated, RemediateInput, UndoInput
from incident.anomalies import Assessment
from incident.cause import Climb, Suspect
from incident.changes import ToldChange
from incident.errors import IntegrationError, PermanentError, TransientError
from incident.evidence import Evidence, Health, MetricsReport, Source, SourceState
from incident.gate import Course
from incident.ledger import (
    NOTHING_DONE,
    LedgerView,
    Remediation,
    RemediationKind,
    RollbackOrder,
    RollbackRun,
    RunState,
    Stop,
)
from incident.recovery import Classification, Recovery
from incident.rulebook import RULES
from incident.severity import Severity
from incident.undo import RULES as UNDO_RULES
from tests import builders
from tests.fakes import FakeRollback, FakeService, FakeServices, InMemoryStore
from tests.histories import FakeSurroundings

LOST = TransientError("store", "cannot be written")
SWITCH = Stop(by="ada", reason="hands off", at=builders.NOW)
PULLED = "everything stopped by ada at 2026-11-24 14:00:00Z: hands off"


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


def remediate(service: FakeService, store: InMemoryStore, stopped: str = "") -> Remediate:
    services = FakeServices(service)
    around = FakeSurroundings({builders.SERVICE: None, "database": None}, (builders.SERVICE, "database"))
    return Remediate(services, Observer(services, now), Memory(store, stopped), now, Tidings(store, around))


async def rolled_back(
    service: FakeService, order: RemediateInput, store: InMemoryStore | None = None, stopped: str = ""
) -> Remediated:
    stage = remediate(service, store or InMemoryStore(), stopped)
    return await ActivityEnvironment().run(stage.rollback, order)


async def followed(service: FakeService, run: RollbackRun, store: InMemoryStore) -> RollbackRun:
    order = FollowInput(incident_id=builders.INCIDENT_ID, order=builders.order(), run=run)
    return await ActivityEnvironment().run(remediate(service, store).follow, order)


async def called_off(service: FakeService, run: RollbackRun, store: InMemoryStore) -> RollbackRun:
    order = FollowInput(incident_id=builders.INCIDENT_ID, order=builders.order(), run=run)
    return await ActivityEnvironment().run(remediate(service, store).cancel, order)


def entry(**changes: object) -> Remediation:
    """What an earlier attempt at the builders' order entered, a minute ago."""
    entered = {
        "correlation_id": builders.order().correlation_id,
        "incident_id": builders.INCIDENT_ID,
        "from_deployment": 101,
        "to_deployment": 100,
        "state": RunState.PENDING,
        "at": builders.NOW - timedelta(minutes=1),
    }
    return builders.remediation(**{**entered, **changes})


async def holding(*entries: Remediation) -> InMemoryStore:
    store = InMemoryStore()
    for each in entries:
        await store.begin(each, None)
    return store


def states(store: InMemoryStore) -> list[RunState]:
    return [each.state for each in store.remediations.values()]


def another(number: int = 0, **changes: object) -> Remediation:
    """A rollback that another incident began a minute ago, of deployments that nobody asks for here."""
    unrelated = {
        "correlation_id": f"ic-another-{number}",
        "from_deployment": 90,
        "to_deployment": 89,
        "at": builders.NOW - timedelta(minutes=1),
    }
    return builders.remediation(**{**unrelated, **changes})


# From the order to its end.


async def test_an_allowed_rollback_is_entered_started_and_its_end_entered() -> None:
    service, store = ailing(), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert done.run.state is RunState.SUCCEEDED
    assert service.releases.live == 100
    [entered] = store.remediations.values()
    assert entered == entry(state=RunState.SUCCEEDED, at=builders.NOW)


async def test_what_the_gate_found_right_before_is_returned() -> None:
    service = ailing()
    done = await rolled_back(service, task(service))
    assert [finding.rule for finding in done.findings] == ["severity", *(rule.name for rule in RULES)]
    assert all(finding.passed for finding in done.findings)


async def test_the_ledger_knows_of_a_run_before_it_begins() -> None:
    service, store = ailing(), InMemoryStore()
    service.rollback.failures.append(TransientError("github", "no answer"))
    with pytest.raises(TransientError):
        await rolled_back(service, task(service), store)
    assert states(store) == [RunState.PENDING]


@pytest.mark.parametrize("state", [state for state in RunState if state.ended])
async def test_however_it_ended_is_entered(state: RunState) -> None:
    service, store = FakeService(live=101, states=(state,), clock=now), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert done.run.state is state
    assert states(store) == [state]


@pytest.mark.parametrize("state", [state for state in RunState if not state.ended])
async def test_a_run_that_goes_on_is_not_entered_as_ended(state: RunState) -> None:
    service, store = FakeService(live=101, states=(state,), clock=now), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert (await followed(service, done.run, store)).state is state
    assert states(store) == [RunState.PENDING]


async def test_the_end_that_is_seen_later_is_entered_then() -> None:
    service = FakeService(live=101, states=(RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED), clock=now)
    store = InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    run = await followed(service, done.run, store)
    assert (run.state, states(store)) == (RunState.RUNNING, [RunState.PENDING])
    run = await followed(service, run, store)
    assert (run.state, states(store)) == (RunState.SUCCEEDED, [RunState.SUCCEEDED])


async def test_a_target_that_refuses_says_so_to_the_caller() -> None:
    service = ailing()
    service.rollback.failures.append(PermanentError("github", "no such workflow"))
    with pytest.raises(PermanentError, match="github: no such workflow"):
        await rolled_back(service, task(service))


# Twice.


async def test_a_fresh_order_is_looked_for_once_and_without_patience() -> None:
    service = ailing()
    await rolled_back(service, task(service))
    assert service.rollback.sought == [None]


async def test_what_an_earlier_attempt_entered_is_looked_for_since_then() -> None:
    service = ailing()
    await rolled_back(service, task(service), await holding(entry()))
    assert service.rollback.sought == [builders.NOW - timedelta(minutes=1)]


async def test_a_run_that_exists_is_found_before_anything_else_is_looked_at() -> None:
    service, store = ailing(), InMemoryStore()
    order = task(service)
    await rolled_back(service, order, store)
    service.reads.clear()
    service.deploy(102)
    again = await rolled_back(service, order, store)
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
    assert len(service.rollback.starts) == len(service.rollback.begun) == 1
    assert service.rollback.sought == [None, builders.NOW]
    assert states(store) == [RunState.SUCCEEDED]


async def test_what_an_earlier_attempt_entered_and_never_started_is_started() -> None:
    service, store = ailing(), await holding(entry())
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert len(service.rollback.begun) == 1
    assert store.remediations == {entry().correlation_id: entry(state=RunState.SUCCEEDED, at=builders.NOW)}


async def test_a_later_attempt_looks_for_what_was_asked_for_last() -> None:
    service, store = ailing(), await holding(entry())
    service.rollback.failures.append(TransientError("github", "no answer"))
    with pytest.raises(TransientError):
        await rolled_back(service, task(service), store)
    assert (await rolled_back(service, task(service), store)).run
    assert service.rollback.sought == [builders.NOW - timedelta(minutes=1), builders.NOW]


async def test_what_the_incident_entered_itself_neither_uses_up_the_quota_nor_cools_down() -> None:
    service, store = ailing(), await holding(entry())
    strict = builders.policy(service_rollbacks_per_hour=1, fleet_rollbacks_per_hour=1, cool_down="30m")
    assert (await rolled_back(service, task(service, policy=strict), store)).run


async def test_what_another_attempt_enters_meanwhile_is_not_started_twice() -> None:
    class Overtaken(InMemoryStore):
        async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
            found = await super().view(environment, service, now)
            await super().begin(entry(), None)
            return found

    service = ailing()
    with pytest.raises(TransientError, match="another attempt"):
        await rolled_back(service, task(service), Overtaken())
    assert service.rollback.starts == []


async def test_of_two_attempts_that_found_nothing_one_alone_starts() -> None:
    class Overtaken(InMemoryStore):
        async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
            found = await super().view(environment, service, now)
            assert await self.claim(entry().correlation_id, entry().at, builders.NOW - timedelta(seconds=1))
            return found

    service, store = ailing(), Overtaken()
    await store.begin(entry(), None)
    with pytest.raises(TransientError, match="another attempt"):
        await rolled_back(service, task(service), store)
    assert service.rollback.starts == []
    assert states(store) == [RunState.PENDING]


@pytest.mark.parametrize("lost_after", [timedelta(seconds=0.5), timedelta(seconds=5), timedelta(seconds=15)])
async def test_an_order_leaves_well_before_another_worker_takes_over(lost_after: timedelta) -> None:
    service = ailing()
    lease = 0.8 * lost_after.total_seconds()
    before = monotonic()
    await rolled_back(service, task(service, policy=builders.policy(worker_lost_after=lost_after)))
    (deadline,) = service.rollback.deadlines
    assert before + lease <= deadline <= monotonic() + lease
    assert deadline - monotonic() < lost_after.total_seconds()


# A target that does not say what runs.


async def test_a_target_that_does_not_say_what_runs_is_not_asked_to_run_anything() -> None:
    service, store = ailing(), InMemoryStore()
    service.rollback.search_failures.append(PermanentError("github", "bad credentials"))
    done = await rolled_back(service, task(service), store)
    assert done.run == builders.run(RunState.REFUSED, detail="bad credentials")
    assert (done.refused, done.void) == ((), False)
    assert service.rollback.starts == []
    assert store.remediations == {}


async def test_where_an_earlier_attempt_may_have_started_it_a_silent_target_is_an_error() -> None:
    service, store = ailing(), await holding(entry())
    service.rollback.search_failures.append(PermanentError("github", "bad credentials"))
    with pytest.raises(PermanentError, match="bad credentials"):
        await rolled_back(service, task(service), store)
    assert service.rollback.starts == []
    assert states(store) == [RunState.PENDING]


@pytest.mark.parametrize("entries", [(), (entry(),)], ids=["fresh", "entered before"])
async def test_a_target_that_cannot_be_reached_is_worth_another_try(entries: tuple[Remediation, ...]) -> None:
    service = ailing()
    service.rollback.search_failures.append(TransientError("github", "no answer"))
    with pytest.raises(TransientError, match="no answer"):
        await rolled_back(service, task(service), await holding(*entries))
    assert service.rollback.starts == []


# What has changed meanwhile.


async def test_another_live_deployment_voids_the_order() -> None:
    service = FakeService(live=101, bad=(101, 102), clock=now)
    order = task(service)
    service.deploy(102)
    store = InMemoryStore()
    done = await rolled_back(service, order, store)
    assert done == Remediated(
        refused=("deployment 102 is live now, deployment 101 was when it was decided",), void=True
    )
    assert service.rollback.starts == []
    assert store.remediations == {}


async def test_a_live_deployment_that_cannot_be_told_voids_the_order() -> None:
    service = ailing()
    order = task(service)
    service.answer(Source.DEPLOYMENTS, builders.deployments(builders.deployment(100)))
    done = await rolled_back(service, order)
    assert done.void
    assert done.refused[0].startswith("deployment unknown is live now")


async def test_a_void_order_that_an_earlier_attempt_entered_never_started() -> None:
    service, store = FakeService(live=101, bad=(101, 102), clock=now), await holding(entry())
    order = task(service)
    service.deploy(102)
    assert (await rolled_back(service, order, store)).void
    assert states(store) == [RunState.NEVER_STARTED]


async def test_a_void_order_whose_target_is_live_may_have_been_carried_out_and_stays_counted() -> None:
    service, store = ailing(), await holding(entry())
    order = task(service)
    service.deploy(100)
    assert (await rolled_back(service, order, store)).void
    assert states(store) == [RunState.PENDING]
    assert service.rollback.starts == []


async def test_a_refused_order_that_an_earlier_attempt_entered_never_started() -> None:
    service, store = ailing(), await holding(entry())
    assert (await rolled_back(service, task(service, decision=builders.decision(confidence=0.6)), store)).refused
    assert states(store) == [RunState.NEVER_STARTED]


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


async def test_what_nobody_measured_cannot_be_measured_to_be_gone() -> None:
    service = ailing()
    alerts = builders.evidence(alerts=builders.alerts(builders.alert()))
    said = Assessment(anomalies=builders.assessment(alerts).anomalies, severity=Severity.P0)
    assert said.anomalies
    service.answer(Source.METRICS, builders.metrics(deployment_id=101))
    assert (await rolled_back(service, task(service, assessment=said, approved=True))).run


# What was told of meanwhile.

POOL = "change:pool, configuration change of payment-api at 2026-11-24 13:57:30Z: database pool from 20 to 10"


async def telling(*changes: ToldChange, errors: Mapping[str, Exception] | None = None) -> InMemoryStore:
    store = InMemoryStore()
    for each in changes:
        await store.tell(each)
    store.errors.update(errors or {})
    return store


@pytest.mark.parametrize("approved", [False, True])
async def test_a_change_that_was_told_of_meanwhile_and_explains_it_voids_the_order(approved: bool) -> None:  # noqa: FBT001 - the case
    service, store = ailing(), await telling(builders.told_change())
    done = await rolled_back(service, task(service, approved=approved), store)
    assert done.void
    assert done.refused[0] == f"{POOL}, was not known of when it was decided"
    assert done.refused[1].startswith("live_guilty: ")
    assert "live_guilty" in {finding.rule for finding in done.findings if not finding.passed}
    assert service.rollback.starts == []
    assert store.remediations == {}


async def test_a_change_beside_which_the_gate_would_have_asked_voids_what_nobody_was_asked_about() -> None:
    beside = builders.told_change(at=builders.NOW - timedelta(minutes=6))
    for approved in (False, True):
        service = ailing()
        done = await rolled_back(service, task(service, approved=approved), await telling(beside))
        assert (done.void, bool(done.run)) == (not approved, approved)


async def test_an_order_that_was_entered_before_and_is_explained_by_now_never_started() -> None:
    service, store = ailing(), await telling(builders.told_change())
    await store.begin(entry(), None)
    assert (await rolled_back(service, task(service), store)).void
    assert states(store) == [RunState.NEVER_STARTED]


@pytest.mark.parametrize(
    "change",
    [
        builders.told_change(at=builders.ONSET + timedelta(seconds=1)),
        builders.told_change(at=builders.NOW - timedelta(minutes=30)),
        builders.told_change(service="database"),
        builders.told_change(service="checkout"),
        builders.told_change(environment="staging"),
    ],
    ids=["after the onset", "before the deployment", "next door, unseen", "elsewhere", "in another environment"],
)
async def test_a_change_that_does_not_explain_it_holds_no_rollback_up(change: ToldChange) -> None:
    service = ailing()
    assert (await rolled_back(service, task(service), await telling(change))).run
    assert len(service.rollback.begun) == 1


async def test_a_change_next_door_that_was_told_of_meanwhile_voids_the_order_where_that_service_is_suspected() -> None:
    service = ailing()
    live = service.releases.history()
    suspects = [
        Suspect(service="database", score=9, moved=("error_ratio",)),
        Suspect(service=builders.SERVICE, score=8),
    ]
    known = builders.background(suspects=suspects, onset=builders.ONSET, seen=("database",))
    seen = builders.degraded_evidence(deployments=builders.deployments(*live), background=known)
    order = task(service, evidence=seen, assessment=builders.assessment(seen))
    done = await rolled_back(service, order, await telling(builders.told_change(service="database")))
    assert done.void
    assert done.refused[0].startswith("database/change:pool, configuration change of database at ")
    assert service.rollback.starts == []


async def test_a_change_with_which_a_climb_began_voids_the_order_however_long_ago_that_was() -> None:
    service, since = ailing(), builders.NOW - timedelta(hours=9)
    climb = Climb(what="memory", since=since, within=timedelta(minutes=6))
    live = builders.bad_deployment(activated_at=since - timedelta(minutes=4))
    history = builders.deployments(live, builders.deployment(100))
    known = builders.background(onset=live.activated_at, climb=climb, changes=())
    seen = builders.degraded_evidence(deployments=history, background=known)
    service.answer(Source.DEPLOYMENTS, history)
    order = task(service, evidence=seen, assessment=builders.assessment(seen))
    done = await rolled_back(service, order, await telling(builders.told_change(at=since)))
    assert done.void
    assert done.refused[0].startswith("change:pool, configuration change of payment-api at 2026-11-24 05:00:00Z")
    assert service.rollback.starts == []


async def test_what_the_gate_refuses_anyway_is_not_void_for_a_change_that_was_told_of_meanwhile() -> None:
    service = ailing()
    order = task(service, policy=builders.policy(mode="shadow"), approved=True)
    done = await rolled_back(service, order, await telling(builders.told_change()))
    assert done.refused
    assert not done.void


async def test_a_change_that_was_known_when_it_was_decided_voids_nothing() -> None:
    service, change = ailing(), builders.told_change()
    seen = builders.degraded_evidence(
        deployments=builders.deployments(*service.releases.history()),
        background=builders.background(changes=(change.seen_from(builders.SERVICE),)),
    )
    done = await rolled_back(service, task(service, evidence=seen), await telling(change))
    assert done.refused
    assert not done.void


@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("error", [LOST, PermanentError("store", "cannot be written")], ids=["transient", "permanent"])
async def test_where_nobody_can_say_what_was_told_of_nothing_begins_and_that_is_said(
    error: IntegrationError,
    approved: bool,  # noqa: FBT001 - the case
) -> None:
    service, store = ailing(), await telling(errors={"told": error})
    done = await rolled_back(service, task(service, approved=approved), store)
    assert done.refused == ("told changes are not known: store: cannot be written",)
    assert (done.run, done.void) == (None, False)
    assert all(finding.passed for finding in done.findings)
    assert service.rollback.starts == []
    assert store.remediations == {}


async def test_a_run_that_exists_is_found_whatever_was_told_of_since() -> None:
    service, store = ailing(), InMemoryStore()
    await rolled_back(service, task(service), store)
    await store.tell(builders.told_change())
    store.errors["told"] = LOST
    assert (await rolled_back(service, task(service), store)).run


# The gate, once more.


async def test_the_gate_is_asked_again_and_refuses_what_the_ledger_now_knows() -> None:
    service, store = ailing(), await holding(builders.remediation(from_deployment=100))
    done = await rolled_back(service, task(service), store)
    assert done.run is None
    assert not done.void
    assert any(reason.startswith("target_not_rolled_back: ") for reason in done.refused)
    assert {finding.rule for finding in done.findings if not finding.passed} == {"target_not_rolled_back"}
    assert service.rollback.starts == []


async def test_the_gate_judges_by_the_history_of_now() -> None:
    service = ailing()
    order = task(service)
    known = [each.model_copy(update={"once_healthy": False}) for each in service.releases.history()]
    service.answer(Source.DEPLOYMENTS, builders.deployments(*known))
    done = await rolled_back(service, order)
    assert any(reason.startswith("target_once_healthy: ") for reason in done.refused)


async def test_the_gate_judges_by_the_freezes_of_now() -> None:
    service = ailing()
    window = {"begins": builders.NOW, "ends": builders.NOW + timedelta(hours=1)}
    frozen = builders.policy(freezes=[window])
    done = await rolled_back(service, task(service, policy=frozen))
    assert [reason.split(": ")[0] for reason in done.refused] == ["not_frozen"]
    assert service.rollback.starts == []


async def test_what_the_policy_asks_about_needs_an_approval_here_too() -> None:
    unsure = builders.decision(confidence=0.6)
    service = ailing()
    refused = await rolled_back(service, task(service, decision=unsure))
    assert refused.refused == ("confidence: confidence 0.60, the policy wants 0.80",)
    assert (await rolled_back(service, task(service, decision=unsure, approved=True))).run


async def test_the_mode_ask_needs_an_approval_here_too() -> None:
    service = ailing()
    asking = builders.policy(mode="ask")
    refused = await rolled_back(service, task(service, policy=asking))
    assert refused.refused == ("auto: the mode is ask",)
    assert service.rollback.starts == []
    assert (await rolled_back(service, task(service, policy=asking, approved=True))).run


@pytest.mark.parametrize(
    "changes", [{"mode": "shadow"}, {"allow": ("staging/*",)}, {"max_deployments_back": 1}], ids=str
)
async def test_no_approval_overrules_what_is_paged(changes: dict[str, object]) -> None:
    service = ailing()
    goal = {"order": builders.order(target=99), "decision": builders.decision(rollback_to=99)}
    done = await rolled_back(service, task(service, policy=builders.policy(**changes), approved=True, **goal))
    assert done.refused
    assert {finding.otherwise for finding in done.findings if not finding.passed} == {Course.PAGE}
    assert service.rollback.starts == []


async def test_an_order_for_another_target_than_the_gate_allows_is_refused() -> None:
    service = ailing()
    done = await rolled_back(service, task(service, order=builders.order(target=99)))
    assert done.refused == ("the gate does not allow this target",)
    assert service.rollback.starts == []


# The quota and the kill switch, where it is entered.


class Busy(InMemoryStore):
    """A ledger in which something happens between the gate's look and the entry."""

    def __init__(self, *entries: Remediation, stop: Stop | None = None) -> None:
        super().__init__()
        self._entries = entries
        self._stop = stop

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What is known before that."""
        found = await super().view(environment, service, now)
        for each in self._entries:
            await super().begin(each, None)
        if self._stop:
            await super().stop(self._stop)
        return found


@pytest.mark.parametrize("approved", [False, True])
async def test_a_kill_switch_pulled_after_the_gate_looked_is_honoured(approved: bool) -> None:  # noqa: FBT001 - the case
    service, store = ailing(), Busy(stop=SWITCH)
    done = await rolled_back(service, task(service, approved=approved), store)
    assert done.refused == (PULLED,)
    assert (done.run, done.void) == (None, False)
    assert service.rollback.starts == []
    assert store.remediations == {}
    assert [finding.rule for finding in done.findings if not finding.passed] == []


async def test_a_kill_switch_pulled_before_a_later_attempt_begins_leaves_it_never_started() -> None:
    service, store = ailing(), Busy(entry(), stop=SWITCH)
    await store.begin(entry(), None)
    assert (await rolled_back(service, task(service), store)).refused == (PULLED,)
    assert service.rollback.starts == []
    assert states(store) == [RunState.NEVER_STARTED]


async def test_a_quota_used_up_after_the_gate_looked_is_honoured() -> None:
    service, store = ailing(), Busy(another())
    done = await rolled_back(service, task(service), store)
    assert done.refused == ("1 rollback of payment-api in production within the last hour, the policy allows 1",)
    assert (done.run, done.void) == (None, False)
    assert service.rollback.starts == []
    assert list(store.remediations) == ["ic-another-0"]


async def test_a_fleets_quota_used_up_after_the_gate_looked_is_honoured() -> None:
    service, store = ailing(), Busy(*(another(number, service="checkout") for number in range(3)))
    done = await rolled_back(service, task(service), store)
    assert done.refused == ("3 rollbacks of all services within the last hour, the policy allows 3",)
    assert service.rollback.starts == []


async def test_what_a_person_allowed_is_held_to_no_quota() -> None:
    service, store = ailing(), Busy(*(another(number) for number in range(3)))
    assert (await rolled_back(service, task(service, approved=True), store)).run
    assert service.releases.live == 100


@pytest.mark.parametrize("approved", [False, True])
async def test_a_pulled_kill_switch_refuses_at_the_gate(approved: bool) -> None:  # noqa: FBT001 - the case
    service, store = ailing(), InMemoryStore()
    await store.stop(SWITCH)
    done = await rolled_back(service, task(service, approved=approved), store)
    assert done.refused == (f"not_stopped: {PULLED}",)
    assert service.rollback.starts == []


async def test_a_stopped_worker_does_nothing() -> None:
    service, store = ailing(), InMemoryStore()
    done = await rolled_back(service, task(service, approved=True), store, stopped="WORKER__STOPPED")
    assert done.refused == ("not_stopped: everything stopped by WORKER__STOPPED at 2026-11-24 14:00:00Z",)
    assert service.rollback.starts == []
    assert store.remediations == {}


# A ledger that is away.


@pytest.mark.parametrize("method", ["entry", "begin"])
@pytest.mark.parametrize("error", [LOST, PermanentError("store", "cannot be written")])
async def test_what_cannot_be_entered_does_not_begin(method: str, error: IntegrationError) -> None:
    service = ailing()
    with pytest.raises(type(error), match="cannot be written"):
        await rolled_back(service, task(service, approved=True), InMemoryStore({method: error}))
    assert service.rollback.starts == []


@pytest.mark.parametrize("approved", [False, True])
async def test_what_cannot_be_counted_does_not_begin(approved: bool) -> None:  # noqa: FBT001 - the case
    service = ailing()
    done = await rolled_back(service, task(service, approved=approved), InMemoryStore({"view": LOST}))
    assert done.refused == ("ledger_known: the ledger: cannot be written",)
    assert service.rollback.starts == []


async def test_a_ledger_that_cannot_enter_the_end_holds_up_nothing() -> None:
    service, store = ailing(), InMemoryStore({"finish": LOST})
    assert (await rolled_back(service, task(service), store)).run
    assert states(store) == [RunState.PENDING]


async def test_an_end_that_could_not_be_entered_is_entered_by_the_next_look() -> None:
    service, store = ailing(), InMemoryStore({"finish": LOST})
    done = await rolled_back(service, task(service), store)
    assert done.run
    store.errors.clear()
    await followed(service, done.run, store)
    assert states(store) == [RunState.SUCCEEDED]


# Calling off.


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.WAITING])
async def test_a_run_that_has_not_begun_is_called_off_and_entered_so(state: RunState) -> None:
    service, store = FakeService(live=101, states=(state,), clock=now), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    run = await called_off(service, done.run, store)
    assert run.state is RunState.CANCELLED
    assert states(store) == [RunState.CANCELLED]
    assert service.releases.live == 101


async def test_a_run_that_has_begun_goes_on() -> None:
    service, store = FakeService(live=101, states=(RunState.RUNNING,), clock=now), InMemoryStore()
    done = await rolled_back(service, task(service), store)
    assert done.run
    assert (await called_off(service, done.run, store)).state is RunState.RUNNING
    assert states(store) == [RunState.PENDING]


async def test_a_run_that_ended_before_it_could_be_called_off_is_entered_as_it_ended() -> None:
    service, store = ailing(), InMemoryStore({"finish": LOST})
    done = await rolled_back(service, task(service), store)
    assert done.run
    store.errors.clear()
    assert (await called_off(service, done.run, store)).state is RunState.SUCCEEDED
    assert states(store) == [RunState.SUCCEEDED]


# Undoing.

WORSE = Recovery(classification=Classification.DEGRADED, reasons=("error_rate 15.5% → 40.0%",), settled=False)


def undoing() -> RollbackOrder:
    return builders.order(correlation_id="ic-undo", kind=RemediationKind.UNDO, target=101, expected_live=100)


def regret(**changes: object) -> UndoInput:
    return UndoInput.model_validate(
        {
            "incident_id": builders.INCIDENT_ID,
            "order": undoing(),
            "undone": builders.order(),
            "run": builders.run(),
            "recovery": WORSE,
            "policy": builders.policy(),
            **changes,
        }
    )


def worsened() -> FakeService:
    """Deployment 101 was rolled back to 100, which is worse."""
    service = FakeService(live=101, bad=(100, 101), clock=now)
    service.deploy(100)
    return service


def first(**changes: object) -> Remediation:
    """The rollback that is undone, as the ledger holds it."""
    return entry(**{"state": RunState.SUCCEEDED, **changes})


def began(**changes: object) -> Remediation:
    """What an earlier attempt at the undoing entered."""
    undo = {"correlation_id": "ic-undo", "kind": RemediationKind.UNDO, "from_deployment": 100, "to_deployment": 101}
    return entry(**{**undo, **changes})


async def undone(
    service: FakeService, order: UndoInput, store: InMemoryStore | None = None, stopped: str = ""
) -> Remediated:
    stage = remediate(service, store or InMemoryStore(), stopped)
    return await ActivityEnvironment().run(stage.undo, order)


async def test_an_undoing_restores_what_was_live_and_is_entered() -> None:
    service, store = worsened(), await holding(first())
    done = await undone(service, regret(), store)
    assert done.run
    assert done.run.state is RunState.SUCCEEDED
    assert service.releases.live == 101
    assert store.remediations["ic-undo"] == began(state=RunState.SUCCEEDED, at=builders.NOW)
    assert [finding.rule for finding in done.findings] == list(UNDO_RULES)
    assert all(finding.passed for finding in done.findings)


async def test_an_undoing_asks_for_the_history_alone() -> None:
    service = worsened()
    await undone(service, regret(), await holding(first()))
    assert set(service.reads) == {Source.DEPLOYMENTS}


async def test_an_undoing_is_held_up_by_no_quota_and_no_cool_down() -> None:
    service, store = worsened(), await holding(first(), *(another(number) for number in range(9)))
    strict = builders.policy(service_rollbacks_per_hour=0, fleet_rollbacks_per_hour=0, cool_down="24h")
    assert (await undone(service, regret(policy=strict), store)).run


async def test_an_undoing_that_an_earlier_attempt_started_is_found() -> None:
    service, store = worsened(), await holding(first())
    service.rollback = FakeRollback(service.releases, lost_replies=[TransientError("github", "cut off")])
    with pytest.raises(TransientError):
        await undone(service, regret(), store)
    again = await undone(service, regret(), store)
    assert again.run
    assert len(service.rollback.starts) == 1
    assert service.rollback.sought == [None, builders.NOW]
    assert store.remediations["ic-undo"].state is RunState.SUCCEEDED


async def test_an_undoing_that_an_earlier_attempt_entered_is_not_held_up_by_it() -> None:
    service, store = worsened(), await holding(first(), began())
    done = await undone(service, regret(), store)
    assert done.run
    assert service.rollback.sought == [builders.NOW - timedelta(minutes=1)]
    assert len(service.rollback.begun) == 1


async def test_an_incident_undoes_once() -> None:
    service, store = worsened(), await holding(first(), began(correlation_id="ic-undo-before"))
    done = await undone(service, regret(), store)
    assert done.refused == ("undone_once: this incident has undone something already",)
    assert service.rollback.starts == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"policy": builders.policy(mode="ask")}, "undo_permitted"),
        ({"policy": builders.policy(undo=False)}, "undo_permitted"),
        ({"run": builders.run(RunState.FAILED)}, "rolled_back"),
        ({"undone": undoing().model_copy(update={"target": 100})}, "rolled_back"),
        ({"recovery": WORSE.model_copy(update={"classification": Classification.STABLE})}, "worse"),
        ({"undone": builders.order(target=99)}, "nobody_else"),
    ],
)
async def test_what_stands_against_an_undoing_refuses_it_with_its_findings(
    changes: dict[str, object], rule: str
) -> None:
    service, store = worsened(), await holding(first())
    done = await undone(service, regret(**changes), store)
    assert [reason.split(": ")[0] for reason in done.refused] == [rule]
    assert [finding.rule for finding in done.findings if not finding.passed] == [rule]
    assert (done.run, service.rollback.starts) == (None, [])
    assert "ic-undo" not in store.remediations


async def test_an_undoing_that_is_refused_after_it_was_entered_never_started() -> None:
    service, store = worsened(), await holding(first(), began())
    await undone(service, regret(policy=builders.policy(undo=False)), store)
    assert store.remediations["ic-undo"].state is RunState.NEVER_STARTED


async def test_what_somebody_else_made_live_is_not_undone() -> None:
    service, store = worsened(), await holding(first())
    service.deploy(102)
    done = await undone(service, regret(), store)
    assert done.refused == ("nobody_else: deployment 102 is live, deployment 100 was made live",)
    assert service.rollback.starts == []


async def test_a_kill_switch_forbids_to_undo_whenever_it_is_pulled() -> None:
    for store in (await holding(first()), Busy(stop=SWITCH)):
        service = worsened()
        if not isinstance(store, Busy):
            await store.stop(SWITCH)
        done = await undone(service, regret(), store)
        assert done.refused[0].endswith(PULLED)
        assert service.rollback.starts == []


async def test_a_stopped_worker_undoes_nothing() -> None:
    service = worsened()
    done = await undone(service, regret(), stopped="WORKER__STOPPED")
    assert done.refused[0].startswith("not_stopped: everything stopped by WORKER__STOPPED")
    assert service.rollback.starts == []


async def test_without_a_ledger_nothing_is_undone() -> None:
    service = worsened()
    for method in ("entry", "view", "begin"):
        with pytest.raises(TransientError):
            await undone(service, regret(), InMemoryStore({method: LOST}))
    assert service.rollback.starts == []


async def test_nothing_is_undone_before_what_is_live_is_confirmed() -> None:
    service = worsened()
    service.fail(Source.DEPLOYMENTS, TransientError("github", "no answer"))
    with pytest.raises(TransientError, match="what is live could not be confirmed: no answer"):
        await undone(service, regret())
    assert service.rollback.starts == []


async def test_a_target_that_does_not_say_what_runs_undoes_nothing() -> None:
    service = worsened()
    service.rollback.search_failures.append(PermanentError("github", "bad credentials"))
    done = await undone(service, regret())
    assert done.run
    assert done.run.state in NOTHING_DONE
    assert service.rollback.starts == []
