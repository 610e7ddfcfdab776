"""Recorded incidents decided again: what stays, what differs, and what is said where the record lacks something."""

from datetime import timedelta

import pytest

from evaluation.redeciding import Decider, Plan, Redecided, Redeciding, summed
from evaluation.tally import Tally
from incident.budget import BudgetLimits, ModelCall
from incident.decision import Action
from incident.dossier import Dossier
from incident.errors import AnalystUnusableError, PermanentError, TransientError
from incident.evidence import unseen
from incident.gate import judge
from incident.policy import Policy, PolicyBook
from incident.rules import propose
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot, close
from tests import builders
from tests.burns import SLOW, burn_report
from tests.fakes import FakeAnalyst

AUTO = builders.policy()
ASK = builders.policy(mode="ask")
SHADOW = builders.policy(mode="shadow")
WARM = builders.degraded_evidence(metrics=builders.metrics({"error_rate": 6.0, "p99_latency": 850.0}))
"""P0 by its latency alone; P1 where that is taken out of judgement."""


def decided(**changes: object) -> Dossier:
    """An incident that the rules decided, by the policy, on the evidence and with the ledger that are given."""
    given = {"evidence": builders.degraded_evidence(), "policy": AUTO, "ledger": builders.ledger(), **changes}
    dossier = builders.dossier(**given)
    evidence, ledger = dossier.evidence, dossier.ledger or builders.ledger()
    assert evidence
    found = builders.assessment(evidence, dossier.policy.thresholds)
    proposed = propose(evidence, found, dossier.policy.deployment_explains_within)
    return builders.dossier(
        **{
            "assessment": found,
            "analysis": builders.analysis(decision=proposed),
            "verdict": judge(proposed, evidence, found, ledger, dossier.policy),
            **given,
        }
    )


def quiet() -> Dossier:
    """An incident of a healthy service, which nobody had to decide."""
    seen = builders.evidence()
    return builders.dossier(evidence=seen, assessment=builders.assessment(seen), policy=AUTO)


def record(of: Dossier | None = None) -> Snapshot:
    return close(of or decided(), Outcome.UNRESOLVED, builders.NOW + timedelta(minutes=5))


async def again(
    of: Snapshot, decider: Decider = Decider.SAME, policy: Policy | None = None, model: FakeAnalyst | None = None
) -> Redecided:
    found = await Redeciding(decider, PolicyBook(default=policy) if policy else None, model).redecide(of)
    assert found
    return found


@pytest.mark.parametrize("decider", [Decider.SAME, Decider.RECORDED, Decider.RULES])
async def test_with_nothing_new_every_incident_comes_to_the_same(decider: Decider) -> None:
    for each in (decided(), decided(policy=ASK), decided(policy=SHADOW), quiet()):
        found = await again(record(each), decider)
        assert (found.changed, found.acts_anew, found.notes) == (False, False, ())
        assert found.then == found.now


async def test_a_stricter_policy_would_stop_what_acted_and_its_reason_stands_beside() -> None:
    found = await again(record(), policy=SHADOW)
    assert (found.then.plan, found.now.plan) == (Plan.ACT, Plan.PAGE)
    assert found.then.reasons == ()
    assert found.now.reasons[0].startswith("not_shadow: the mode is shadow")
    assert not found.acts_anew


async def test_a_looser_policy_acts_anew() -> None:
    found = await again(record(decided(policy=ASK)), policy=AUTO)
    assert (found.then.plan, found.now.plan, found.now.target) == (Plan.ASK, Plan.ACT, 100)
    assert found.acts_anew


async def test_an_override_of_the_service_counts_and_not_the_default() -> None:
    book = PolicyBook(default=SHADOW, services={builders.SERVICE: AUTO})
    found = await Redeciding(Decider.SAME, book).redecide(record())
    assert found
    assert not found.changed


async def test_new_thresholds_are_applied_to_the_recorded_evidence() -> None:
    lenient = builders.policy(thresholds={"p99_latency": False})
    found = await again(record(decided(evidence=WARM)), policy=lenient)
    assert (found.then.severity, found.now.severity) == (Severity.P0, Severity.P1)
    assert (found.then.plan, found.now.plan) == (Plan.ACT, Plan.PAGE)


async def test_thresholds_that_open_an_incident_where_nothing_was_wrong_have_the_rules_decide_it() -> None:
    strict = builders.policy(thresholds={"error_rate": {"critical": {"above": 0.001}}}, min_signals=1)
    found = await again(record(quiet()), Decider.RECORDED, strict)
    assert (found.then.plan, found.now.plan) == (Plan.NOTHING, Plan.ACT)
    assert "nobody had decided it: the rules do" in found.notes
    assert found.acts_anew


async def test_thresholds_under_which_nothing_is_wrong_leave_nothing_to_decide() -> None:
    warm = builders.evidence(metrics=builders.metrics({"error_rate": 3.0}))
    lenient = builders.policy(thresholds={"error_rate": {"minor": {"above": 0.5}}})
    before = decided(evidence=warm, policy=builders.policy(thresholds={"error_rate": {"minor": {"above": 0.02}}}))
    found = await again(record(before), policy=lenient)
    assert (found.then.plan, found.now.plan) == (Plan.WATCH, Plan.NOTHING)


async def test_a_kept_decision_on_numbers_that_now_say_another_severity_says_so() -> None:
    lenient = builders.policy(thresholds={"p99_latency": False})
    found = await again(record(decided(evidence=WARM)), Decider.RECORDED, lenient)
    assert found.now.action is Action.ROLLBACK
    assert "its decision is kept, though the numbers now say another severity" in found.notes


async def test_left_to_itself_it_keeps_what_a_model_decided_and_asks_the_rules_again_where_they_did() -> None:
    escalate = builders.decision(action="escalate", rollback_to=None)
    by_model = record(decided(analysis=builders.analysis(decision=escalate, analyst="openai")))
    by_rules = record(decided(analysis=builders.analysis(decision=escalate)))
    assert (await again(by_model)).now.action is Action.ESCALATE
    assert (await again(by_model, Decider.RULES)).now.action is Action.ROLLBACK
    assert (await again(by_rules)).now.action is Action.ROLLBACK
    assert (await again(by_rules, Decider.RECORDED)).now.action is Action.ESCALATE


async def test_the_ledger_of_the_record_is_what_the_gate_knows_of_the_past() -> None:
    busy = builders.ledger(builders.remediation(at=builders.NOW - timedelta(minutes=20), from_deployment=99))
    found = await again(record(decided(ledger=busy)))
    assert (found.then.plan, found.now.plan, found.notes) == (Plan.ASK, Plan.ASK, ())


async def test_a_record_without_its_ledger_is_judged_with_an_empty_one_at_its_time_and_says_so() -> None:
    sale = {"name": "the sale", "begins": "2026-11-24T13:00:00Z", "ends": "2026-11-24T15:00:00Z"}
    old = record(decided(ledger=None)).model_copy(update={"schema_version": "1.2"})
    found = await again(old)
    assert found.now.plan is Plan.ACT
    assert found.notes == ("its ledger is not on record: judged as if nothing had been done before",)
    frozen = await again(old, policy=builders.policy(freezes=[sale]))
    assert frozen.now.plan is Plan.ASK


async def test_another_sensitivity_cannot_be_tried_and_the_note_says_so() -> None:
    found = await again(record(), policy=builders.policy(sensitivity={"rows_within": 3}))
    assert found.notes == ("what is normal stays as it was learned: another sensitivity cannot be tried on a record",)


async def test_another_objective_judges_the_requests_that_were_counted() -> None:
    burned = builders.healthy_evidence(metrics=builders.metrics({"error_rate": 1.6})).with_burn(burn_report(SLOW))
    strict, lenient = ({"success": each} for each in (0.999, 0.99))
    before = record(decided(evidence=burned, policy=builders.policy(objective=strict)))
    found = await again(before, policy=builders.policy(objective=lenient))
    assert (found.then.plan, found.now.plan, found.notes) == (Plan.PAGE, Plan.NOTHING, ())


async def test_an_objective_cannot_be_tried_where_no_requests_were_counted_and_the_note_says_so() -> None:
    found = await again(record(), policy=builders.policy(objective={"success": 0.999}))
    assert found.notes == ("its requests were not counted: an objective cannot be tried on it",)


async def test_without_evidence_there_is_nothing_to_decide() -> None:
    assert await Redeciding(Decider.RULES).redecide(record(builders.dossier())) is None


async def test_an_incident_that_nobody_could_look_at_is_decided_all_the_same() -> None:
    blind = unseen(builders.SERVICE, builders.ENVIRONMENT, builders.NOW, "timed out")
    undecided = builders.dossier(evidence=blind, assessment=builders.assessment(blind))
    found = await again(record(undecided))
    assert (found.then.plan, found.now.plan) == (Plan.UNDECIDED, Plan.PAGE)


async def test_a_model_decides_and_where_it_cannot_the_rules_do_as_in_production() -> None:
    escalate = builders.decision(action="escalate", rollback_to=None)
    asked = await again(record(), Decider.MODEL, model=FakeAnalyst(escalate))
    assert (asked.now.analyst, asked.now.action, asked.notes) == ("fake", Action.ESCALATE, ())
    for error in (TransientError("openai", "is overloaded"), AnalystUnusableError("openai", "refused to answer")):
        instead = await again(record(), Decider.MODEL, model=FakeAnalyst(error))
        assert (instead.now.analyst, instead.notes) == ("rules", (f"the rules decide: {error}",))


async def test_a_server_that_refuses_to_be_asked_ends_the_replay() -> None:
    with pytest.raises(PermanentError, match="key"):
        await again(record(), Decider.MODEL, model=FakeAnalyst(PermanentError("openai", "refused the key (401)")))


async def test_the_sum_counts_every_change_once() -> None:
    ask, act = record(decided(policy=ASK)), record()
    done = [
        await again(ask, policy=AUTO),
        await again(act, policy=SHADOW),
        await again(act),
        await again(record(decided(evidence=WARM)), policy=builders.policy(thresholds={"p99_latency": False})),
    ]
    elsewhere = builders.decision(rollback_to=99)
    done.append(await again(act, Decider.MODEL, model=FakeAnalyst(elsewhere)))
    worse = [each.model_copy(update={"severity": Severity.P1}) for each in (done[1].now,)]
    done.append(done[1].model_copy(update={"then": worse[0]}))
    replay = summed(Decider.SAME, done, unseen=2, unreadable=["a.json: cut off"])
    assert replay.words == "would now roll back 1, would stop 2, same 1"
    assert replay.moves == {"act → page": 2, "ask → act": 1}
    assert replay.severities == {"P1 → P0": 1}
    assert (replay.decided, replay.elsewhere, replay.new_actions, replay.unseen) == (6, 1, 2, 2)
    assert [each.incident_id for each in replay.changes] == [act.incident_id] * 5


def _call(number: int, cost: int = 1, **changes: object) -> ModelCall:
    fields = {"service": "payment-api", "environment": "production", "at": builders.NOW, "tokens": 10, "cost": cost}
    return ModelCall.model_validate({"call_id": f"{number}", "incident_id": f"{number}", **fields, **changes})


async def test_a_run_of_trials_is_held_to_what_the_fleet_may_take_in_a_day() -> None:
    tally, limits = Tally(), BudgetLimits(calls_per_fleet_and_day=2)
    assert await tally.reserve(_call(1), limits) == ()
    assert await tally.reserve(_call(2), limits) == ()
    assert await tally.reserve(_call(3), limits) == ("the fleet has made 2 of 2 model calls within a day",)
    await tally.settle("1", 400, 7)
    assert (tally.spent.calls, tally.spent.tokens, tally.spent.cost) == (2, 410, 8)
