"""Whether a rollback that made things worse may be undone: a gate of its own, one function a rule."""

from collections.abc import Callable
from dataclasses import dataclass

from incident.evidence import DeploymentsReport, SourceState
from incident.ledger import LedgerView, RemediationKind, RollbackOrder, RollbackRun, RunState
from incident.policy import Mode, Policy
from incident.recovery import Classification, Recovery
from incident.rulebook import Answer, Course, Finding


@dataclass(frozen=True)
class Regret:
    """Everything that a rule of undoing may look at."""

    order: RollbackOrder
    """The rollback that may be undone."""
    run: RollbackRun
    """How it ended."""
    recovery: Recovery
    """How the service is since."""
    history: DeploymentsReport
    """The deployment history of now."""
    ledger: LedgerView
    policy: Policy


def judge_undo(regret: Regret) -> tuple[Finding, ...]:
    """What each rule finds; the rollback may be undone where every one passes. Otherwise a person is paged."""
    return tuple(
        Finding(rule=name, passed=passed, saw=saw, otherwise=Course.PAGE)
        for name, ask in RULES.items()
        for passed, saw in (ask(regret),)
    )


def _permitted(regret: Regret) -> Answer:
    policy = regret.policy
    words = "undoes" if policy.undo else "does not undo"
    return policy.undo and policy.mode is Mode.AUTO, f"the policy {words} by itself, the mode is {policy.mode}"


def _not_stopped(regret: Regret) -> Answer:
    stops = regret.ledger.stops
    return not stops, "; ".join(stop.words for stop in stops) or "no kill switch is pulled"


def _worse(regret: Regret) -> Answer:
    said = regret.recovery.classification
    return said is Classification.DEGRADED, f"{said}: {'; '.join(regret.recovery.reasons)}"


def _rolled_back(regret: Regret) -> Answer:
    first = regret.order.kind is RemediationKind.ROLLBACK
    return first and regret.run.state is RunState.SUCCEEDED, f"the {regret.order.kind} is {regret.run.state}"


def _nobody_else(regret: Regret) -> Answer:
    history, target = regret.history, regret.order.target
    if history.state is SourceState.FAILED:
        return False, f"what is live cannot be told: {history.problem}"
    live = history.live.deployment_id if history.live else None
    return live == target, f"deployment {live or 'unknown'} is live, deployment {target} was made live"


def _first(regret: Regret) -> Answer:
    if regret.ledger.state is SourceState.FAILED:
        return False, f"the ledger: {regret.ledger.problem}"
    undone = any(
        past.incident_id == regret.order.incident_id and past.kind is RemediationKind.UNDO
        for past in regret.ledger.remediations
    )
    return not undone, f"this incident has {'undone something already' if undone else 'undone nothing yet'}"


RULES: dict[str, Callable[[Regret], Answer]] = {
    "undo_permitted": _permitted,
    "not_stopped": _not_stopped,
    "rolled_back": _rolled_back,
    "worse": _worse,
    "nobody_else": _nobody_else,
    "undone_once": _first,
}
"""Why a rollback may be undone, in the order in which they speak."""
