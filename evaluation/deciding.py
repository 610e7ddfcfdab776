"""Who decides about a made-up incident: the commander itself, and what it is compared with."""

from collections.abc import Callable, Iterator
from enum import StrEnum

from evaluation.arms import Response, Rollback
from evaluation.histories import Histories, background
from evaluation.sightings import Sighting
from incident.anomalies import Thresholds, assess, judge_metrics
from incident.evidence import Evidence, SourceState
from incident.gate import Course, Verdict, judge
from incident.ledger import LedgerView
from incident.policy import Mode, Policy
from incident.rules import propose
from incident.severity import Severity, worst

ACTS = Policy(mode=Mode.AUTO, approvers=("on-call",))
"""The policy that is judged: the default one, but that the commander may act by itself and has somebody to ask."""
SHADOW = ACTS.model_copy(update={"mode": Mode.SHADOW})


class Decider(StrEnum):
    """Who decides."""

    PRODUCTION = "production"
    """The commander's own rules, analyst and gate."""
    ALWAYS = "always_roll_back"
    """Of the services that alert, the one deployed last goes back to its predecessor; a person is paged."""
    NEVER = "never_act"
    """The commander in mode shadow: it pages as it would, and rolls nothing back."""
    SEED = "seed"
    """The seed's rule for each service that alerts: a critical reading goes back to the predecessor, and is paged."""


def respond(decider: Decider, known: Histories) -> Response:
    """What `decider` does about what is known; the same knowledge gives the same response."""
    return _DECIDERS[decider](known)


def _production(known: Histories) -> Response:
    return _as_decided(known, ACTS)


def _never(known: Histories) -> Response:
    return _as_decided(known, SHADOW)


def _as_decided(known: Histories, policy: Policy) -> Response:
    """What the commander does: a verdict for each service that alerts, in the order in which they began to."""
    acted: list[Rollback] = []
    asked: list[Rollback] = []
    paged = False
    for service in _in_order(known.sighting):
        verdict = decide(known, service, policy, fleet=len(acted))
        match verdict.course:
            case Course.ACT:
                acted.append(Rollback(service, verdict.rollback()[0]))
            case Course.ASK:
                asked.append(Rollback(service, verdict.rollback()[0]))
            case Course.PAGE:
                paged = True
            case Course.WATCH:
                pass
    return Response(rollbacks=tuple(acted), asked=tuple(asked), paged=paged, undoes=policy.undo)


def decide(known: Histories, service: int, policy: Policy, fleet: int = 0) -> Verdict:
    """The commander's verdict on one service, by the functions that production runs.

    Args:
        known: what is seen, and what its history tells.
        service: its place among the services.
        policy: what the team allows.
        fleet: rollbacks of all services within the last hour.
    """
    evidence = known.sighting.evidence(service).model_copy(update={"background": background(known, service)})
    assessment = assess(evidence, policy.thresholds)
    decision = propose(evidence, assessment, policy.deployment_explains_within)
    ledger = LedgerView(state=SourceState.OK, at=known.sighting.now, fleet_last_hour=fleet)
    return judge(decision, evidence, assessment, ledger, policy)


def _always(known: Histories) -> Response:
    sighting = known.sighting
    deployed = [(each.deployments.live, service) for service, each in _each(sighting)]
    newest = max(deployed, key=lambda pair: pair[0].activated_at if pair[0] and pair[0].activated_at else sighting.now)
    return Response(rollbacks=tuple(_back(sighting, newest[1])), paged=True)


def _seed(known: Histories) -> Response:
    sighting = known.sighting
    rollbacks: list[Rollback] = []
    paged = False
    for service, evidence in _each(sighting):
        measured = [each.tier.severity for each in judge_metrics(evidence.metrics, Thresholds()) if each.measured]
        severity = worst(*measured)
        if severity is Severity.P0:
            rollbacks += _back(sighting, service)
        paged = paged or severity in {Severity.P0, Severity.P1}
    return Response(rollbacks=tuple(rollbacks), paged=paged)


def _each(sighting: Sighting) -> Iterator[tuple[int, Evidence]]:
    return ((service, sighting.evidence(service)) for service in _in_order(sighting))


def _in_order(sighting: Sighting) -> list[int]:
    return sorted(sighting.fired, key=lambda service: (sighting.fired[service], service))


def _back(sighting: Sighting, service: int) -> list[Rollback]:
    known = [each for each in sighting.scene.case.of(service) if each.row <= sighting.scene.decided]
    return [Rollback(service, each.number) for each in known[-2:-1]]


_DECIDERS: dict[Decider, Callable[[Histories], Response]] = {
    Decider.PRODUCTION: _production,
    Decider.ALWAYS: _always,
    Decider.NEVER: _never,
    Decider.SEED: _seed,
}
