import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from incident.decision import Action
from incident.dossier import Dossier
from incident.evidence import unseen
from incident.gate import judge
from incident.ledger import RemediationKind, RunState, Stop
from incident.policy import Mode
from incident.recovery import classify
from incident.severity import PagerDutyPriority, Severity
from incident.snapshot import ActionTaken, Outcome, Snapshot, action_taken, close, snapshot_schema
from incident.verifying import RecoveryLimits
from tests.builders import (
    ENVIRONMENT,
    INCIDENT_ID,
    NOW,
    SERVICE,
    analysis,
    approval,
    assessment,
    decided_dossier,
    decision,
    degraded_evidence,
    dossier,
    evidence,
    ledger,
    look,
    metrics,
    notification,
    order,
    page_sent,
    policy,
    proposal,
    remediation,
    remediation_record,
    run,
    snapshot,
)

CONTRACT = json.loads((Path(__file__).parents[1] / "contract/seed/contract.json").read_text())["flow"]
FIELDS: dict[str, str] = {**CONTRACT["snapshot_fields"], **CONTRACT["snapshot_fields_unless_P3"]}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "iso8601": (str,),
    "number": (int, float),
    "int": (int,),
    "bool": (bool,),
}
ENDED = NOW + timedelta(minutes=3)


def dumped(of: Snapshot) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(of.model_dump_json())
    return value


def recovered_dossier() -> Dossier:
    looks = [look(at=NOW + timedelta(minutes=minute)) for minute in (1, 2)]
    return decided_dossier(
        trigger={"source": "kestra", "execution_id": "exec-1", "chaos_mode": True},
        looks=looks,
        recovery=classify(look(seen=degraded_evidence()), looks, RecoveryLimits(stable_looks=2, count_requests=False)),
        remediation=remediation_record(),
        proposal=proposal(),
        approval=approval(),
        notifications=[notification(), page_sent()],
        timeline=[{"at": NOW, "stage": "detecting", "text": "opened"}],
    )


EVERY_KIND = {
    "nothing seen": dossier(),
    "unseen": dossier(evidence=unseen(SERVICE, ENVIRONMENT, NOW, "timed out")),
    "healthy": dossier(evidence=evidence(), assessment=assessment(evidence())),
    "decided": decided_dossier(),
    "recovered": recovered_dossier(),
    "undone and stopped": recovered_dossier().model_copy(
        update={
            "undo": remediation_record(order=order(kind=RemediationKind.UNDO, target=101, expected_live=100)),
            "stopped": Stop(by="ada", at=NOW),
        }
    ),
    "looked in vain": decided_dossier(looks=[look(seen=unseen(SERVICE, ENVIRONMENT, NOW, "timed out"))]),
}


@pytest.mark.parametrize(("path", "kind"), FIELDS.items())
def test_every_field_of_the_seed_is_there_under_its_name_and_type(path: str, kind: str) -> None:
    value: Any = dumped(close(recovered_dossier(), Outcome.RECOVERED, ENDED))
    for part in path.split("."):
        value = value[part]
    assert isinstance(value, TYPES[kind])
    assert kind == "bool" or not isinstance(value, bool)


def test_the_seeds_values_are_in_the_seeds_units() -> None:
    shown = dumped(close(recovered_dossier(), Outcome.RECOVERED, ENDED))
    assert shown["metrics"] == {
        "before": {
            "error_rate": 15.5,
            "p99_latency": 1200.0,
            "p95_latency": 850.0,
            "cpu_usage": 92.0,
            "memory_usage": 88.0,
            "deployment_id": 101,
            "health_status": "degraded",
        },
        "after": {
            "error_rate": 0.8,
            "p99_latency": 180.0,
            "p95_latency": 120.0,
            "cpu_usage": 45.0,
            "memory_usage": 52.0,
            "deployment_id": 100,
            "health_status": "healthy",
        },
        "improvement": {"error_rate_pct": 94.84, "latency_pct": 85.0},
    }
    assert (shown["health_status"], shown["deployment_changed"]) == ("FULLY_RECOVERED", True)
    assert shown["anomalies"]["count"] == len(shown["anomalies"]["items"]) == 7
    assert shown["anomalies"]["summary"].startswith("CRITICAL: CRITICAL_ERROR_RATE: 15.5%")
    assert shown["integrations"] == {"github": "mock-service", "pagerduty": True, "slack": True}


def test_only_the_score_is_in_percent() -> None:
    shown = dumped(snapshot())
    assert (shown["confidence"], shown["confidence_score"]) == (0.92, 92)
    assert shown["analysis"]["decision"]["confidence"] == 0.92
    assert shown["remediation"]["order"]["confidence"] == 0.92
    assert shown["policy"]["min_confidence"] == 0.8
    assert shown["evidence"]["metrics"]["readings"][0]["value"] == 0.155


def test_the_record_tells_who_when_and_where() -> None:
    shown = close(recovered_dossier(), Outcome.RECOVERED, ENDED)
    assert (shown.incident_id, shown.workflow_id) == (INCIDENT_ID, "incident-production-payment-api")
    assert (shown.opened_at, shown.timestamp, shown.closed_at) == (NOW, NOW, ENDED)
    assert (shown.execution_id, shown.chaos_mode) == ("exec-1", True)
    assert (shown.severity, shown.pagerduty_priority) == (Severity.P0, PagerDutyPriority.P1)
    assert (shown.summary, shown.root_cause) == (decision().summary, decision().root_cause_hypothesis)
    assert shown.deployment_source == "mock-service"
    assert snapshot().execution_id == INCIDENT_ID


@pytest.mark.parametrize("known", EVERY_KIND.values(), ids=EVERY_KIND)
@pytest.mark.parametrize("outcome", Outcome)
def test_every_snapshot_holds_to_the_published_schema(known: Dossier, outcome: Outcome) -> None:
    schema = snapshot_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(dumped(close(known, outcome, ENDED)))


def test_the_schema_is_closed_and_names_its_dialect_and_version() -> None:
    schema = snapshot_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert schema["properties"]["schema_version"]["enum"] == ["1.0", "1.1", "1.2", "1.3"]
    assert schema["properties"]["schema_version"]["default"] == snapshot().schema_version == "1.3"
    validator = Draft202012Validator(schema)
    shown = dumped(snapshot())
    assert not validator.is_valid({**shown, "surprise": 1})
    assert not validator.is_valid({**shown, "confidence": 92})
    assert not validator.is_valid({key: value for key, value in shown.items() if key != "incident_id"})


@pytest.mark.parametrize("known", EVERY_KIND.values(), ids=EVERY_KIND)
def test_a_snapshot_survives_json(known: Dossier) -> None:
    saved = close(known, Outcome.UNRESOLVED, ENDED)
    assert Snapshot.model_validate_json(saved.model_dump_json()) == saved


SINCE_1_1 = {
    "": {"undo", "stopped"},
    "policy": {
        "mode",
        "allow",
        "min_signals",
        "max_deployments_back",
        "service_rollbacks_per_hour",
        "fleet_rollbacks_per_hour",
        "cool_down",
        "freezes",
        "undo",
        "worse_looks",
        "start_within",
        "review_within",
        "recheck_every",
        "worker_lost_after",
    },
    "verdict": {"would"},
    "remediation": {"findings"},
    "remediation.order": {"kind", "target_revision", "expected_revision"},
    "remediation.run": {"run_id", "attempt", "asked_at"},
}


def as_1_0(shown: dict[str, Any]) -> dict[str, Any]:
    """A snapshot as it was stored before schema 1.1."""
    for path, names in SINCE_1_1.items():
        part: Any = shown
        for name in path.split(".") if path else ():
            part = part[name] if part else part
        for name in names if part else ():
            del part[name]
    return {**shown, "schema_version": "1.0"}


@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if kind != "undone and stopped"])
def test_a_stored_snapshot_of_schema_1_0_still_loads(kind: str) -> None:
    saved = close(EVERY_KIND[kind], Outcome.UNRESOLVED, ENDED)
    stored = as_1_0(dumped(saved))
    loaded = Snapshot.model_validate_json(json.dumps(stored))
    assert loaded.schema_version == "1.0"
    assert loaded == saved.model_copy(update={"schema_version": "1.0", "policy": loaded.policy})
    assert loaded.policy == saved.policy.model_copy(update={"mode": Mode.ASK})
    assert as_1_0(dumped(loaded)) == stored


def test_a_stored_snapshot_of_schema_1_0_holds_to_the_published_schema() -> None:
    loaded = Snapshot.model_validate_json(json.dumps(as_1_0(dumped(snapshot()))))
    Draft202012Validator(snapshot_schema()).validate(dumped(loaded))


def test_the_record_keeps_what_the_verdict_knew_of_the_past_and_one_of_schema_1_2_does_without() -> None:
    known = ledger(remediation())
    kept = close(decided_dossier(ledger=known), Outcome.UNRESOLVED, ENDED)
    assert Snapshot.model_validate_json(kept.model_dump_json()).ledger == known
    stored = {key: value for key, value in dumped(kept).items() if key != "ledger"} | {"schema_version": "1.2"}
    assert Snapshot.model_validate_json(json.dumps(stored)).ledger is None


@pytest.mark.parametrize("version", ["0.9", "1.4", "2.0", 1.1])
def test_a_snapshot_of_another_schema_is_refused(version: object) -> None:
    with pytest.raises(ValidationError, match="schema_version"):
        Snapshot.model_validate_json(json.dumps({**dumped(snapshot()), "schema_version": version}))


# What was done, not what was recommended.


@pytest.mark.parametrize(
    ("changes", "outcome", "done"),
    [
        pytest.param({"remediation": remediation_record()}, Outcome.RECOVERED, ActionTaken.ROLLBACK, id="worked"),
        pytest.param(
            {"remediation": remediation_record(), "notifications": [page_sent()]},
            Outcome.ESCALATED,
            ActionTaken.ROLLBACK,
            id="worked, and a person was paged",
        ),
        pytest.param(
            {"remediation": remediation_record(run=None, refused=("live_known: changed",))},
            Outcome.UNRESOLVED,
            ActionTaken.MONITOR,
            id="refused",
        ),
        pytest.param({"notifications": [page_sent()]}, Outcome.ESCALATED, ActionTaken.ESCALATE, id="paged"),
        pytest.param(
            {"remediation": remediation_record(run=run(RunState.FAILED)), "notifications": [page_sent()]},
            Outcome.ESCALATED,
            ActionTaken.ESCALATE,
            id="failed, then paged",
        ),
        pytest.param(
            {"notifications": [page_sent(delivered=False)]},
            Outcome.UNRESOLVED,
            ActionTaken.MONITOR,
            id="a page that did not arrive",
        ),
        pytest.param(
            {"remediation": remediation_record(), "undo": remediation_record(), "notifications": [page_sent()]},
            Outcome.ESCALATED,
            ActionTaken.ROLLBACK_UNDONE,
            id="undone",
        ),
        pytest.param(
            {"remediation": remediation_record(), "undo": remediation_record(run=run(RunState.FAILED))},
            Outcome.ESCALATED,
            ActionTaken.ROLLBACK,
            id="the undoing failed",
        ),
        pytest.param(
            {"remediation": remediation_record(), "undo": remediation_record(run=None, refused=("worse: STABLE",))},
            Outcome.UNRESOLVED,
            ActionTaken.ROLLBACK,
            id="the undoing was refused",
        ),
        pytest.param({}, Outcome.CANCELLED, ActionTaken.NONE, id="cancelled"),
        pytest.param({}, Outcome.NO_INCIDENT, ActionTaken.NONE, id="no incident"),
        pytest.param({}, Outcome.UNRESOLVED, ActionTaken.MONITOR, id="only watched"),
    ],
)
def test_the_action_taken_is_what_was_done_and_not_what_was_recommended(
    changes: dict[str, object], outcome: Outcome, done: ActionTaken
) -> None:
    known = decided_dossier(**changes)
    assert known.analysis
    assert known.analysis.decision.action is Action.ROLLBACK
    assert close(known, outcome, ENDED).action_taken is done


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.SUCCEEDED])
def test_a_run_that_did_not_succeed_is_no_rollback(state: RunState) -> None:
    known = decided_dossier(remediation=remediation_record(run=run(state)))
    assert action_taken(known, Outcome.UNRESOLVED) is ActionTaken.MONITOR
    assert action_taken(known, Outcome.CANCELLED) is ActionTaken.NONE


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.SUCCEEDED])
def test_an_undoing_that_did_not_succeed_undid_nothing(state: RunState) -> None:
    known = decided_dossier(remediation=remediation_record(), undo=remediation_record(run=run(state)))
    assert action_taken(known, Outcome.ESCALATED) is ActionTaken.ROLLBACK


def test_the_record_holds_the_undoing_and_the_kill_switch() -> None:
    stop = Stop(by="ada", reason="hands off", at=NOW)
    undo = remediation_record(order=order(kind=RemediationKind.UNDO))
    shown = close(decided_dossier(remediation=remediation_record(), undo=undo, stopped=stop), Outcome.ESCALATED, ENDED)
    assert (shown.undo, shown.stopped, shown.action_taken) == (undo, stop, ActionTaken.ROLLBACK_UNDONE)


# Unknown stays unknown.


def test_an_unknown_number_is_null_and_never_zero() -> None:
    before = degraded_evidence(metrics=metrics({"error_rate": None, "cpu_usage": None}, deployment_id=None))
    known = decided_dossier(evidence=before, assessment=assessment(before), looks=[look({"p99_latency": None})])
    shown = close(known, Outcome.UNRESOLVED, ENDED)
    assert shown.metrics.before
    assert shown.metrics.after
    assert shown.metrics.improvement
    assert (shown.metrics.before.error_rate, shown.metrics.before.cpu_usage) == (None, None)
    assert shown.metrics.before.deployment_id is None
    assert shown.metrics.after.p99_latency is None
    assert (shown.metrics.improvement.error_rate_pct, shown.metrics.improvement.latency_pct) == (None, None)
    assert shown.deployment_changed is None


def test_a_measured_zero_stays_a_zero() -> None:
    shown = close(decided_dossier(looks=[look({"error_rate": 0.0})]), Outcome.RECOVERED, ENDED)
    assert shown.metrics.after
    assert shown.metrics.after.error_rate == 0.0


def test_an_incident_that_nobody_looked_at_claims_nothing() -> None:
    shown = close(dossier(), Outcome.CANCELLED, ENDED)
    assert (shown.confidence, shown.confidence_score, shown.deployment_changed) == (None, None, None)
    assert (shown.metrics.before, shown.metrics.after, shown.metrics.improvement) == (None, None, None)
    assert (shown.summary, shown.root_cause, shown.deployment_source) == ("", "", "")
    assert (shown.health_status, shown.severity) == ("not_checked", Severity.P3)
    assert (shown.anomalies.count, shown.anomalies.summary) == (0, "nobody has looked")
    assert shown.integrations.model_dump() == {"github": "", "pagerduty": False, "slack": False}


def test_an_incident_that_nobody_decided_is_summed_up_by_its_numbers() -> None:
    known = decided_dossier(analysis=None, verdict=None)
    shown = close(known, Outcome.UNRESOLVED, ENDED)
    assert shown.summary == assessment().summary
    assert shown.severity is Severity.P0


def test_the_severity_is_the_verdicts_and_the_priority_goes_with_it() -> None:
    low = decision(severity="P3", pagerduty_priority="P4")
    raised = judge(low, degraded_evidence(), assessment(), ledger(), policy())
    shown = close(decided_dossier(analysis=analysis(decision=low), verdict=raised), Outcome.UNRESOLVED, ENDED)
    assert (shown.severity, shown.pagerduty_priority) == (Severity.P0, PagerDutyPriority.P1)


def test_whether_the_deployment_changed_is_seen_and_not_supposed() -> None:
    unlooked = decided_dossier()
    assert close(unlooked, Outcome.UNRESOLVED, ENDED).deployment_changed is False
    acted = decided_dossier(remediation=remediation_record())
    assert close(acted, Outcome.UNRESOLVED, ENDED).deployment_changed is None
    nothing = decided_dossier(remediation=remediation_record(run=run(RunState.REFUSED)))
    assert close(nothing, Outcome.UNRESOLVED, ENDED).deployment_changed is False
    same = decided_dossier(remediation=remediation_record(), looks=[look(seen=degraded_evidence())])
    assert close(same, Outcome.UNRESOLVED, ENDED).deployment_changed is False


def test_only_a_message_that_arrived_counts_as_told() -> None:
    shown = close(decided_dossier(notifications=[notification(delivered=False)]), Outcome.UNRESOLVED, ENDED)
    assert (shown.integrations.slack, shown.integrations.pagerduty) == (False, False)
