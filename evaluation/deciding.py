"""Who decides about a made-up incident: the commander itself, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from evaluation.arms import Response, Rollback
from evaluation.cases import Release
from evaluation.histories import background
from evaluation.measuring import SHOWN
from evaluation.sightings import Sighting
from evaluation.watching import mended_before, paged_before
from evaluation.world import ROW
from incident.anomalies import Thresholds, assess, judge_metrics
from incident.evidence import SourceState
from incident.gate import Course, Verdict, judge
from incident.ledger import LedgerView
from incident.norms import RECENT, climb_of
from incident.policy import Mode, Policy
from incident.rules import propose
from incident.severity import Severity, worst

ACTS = Policy(mode=Mode.AUTO, approvers=("on-call",), page_beside=True)
"""The policy that is judged: the default one, but that the commander may act by itself, has somebody to ask, and pages
beside what it does, as policy.toml has it."""
FOLLOWED = 10
"""Minutes in which an incident that gets worse is decided anew: 40 looks, 15 seconds apart."""
_SEED_EVERY = 5
"""Minutes between two runs of the seed's flow."""
_MEASURED = frozenset(metric for metric, _, _ in SHOWN)


class Decider(StrEnum):
    """Who decides."""

    PRODUCTION = "production"
    """The commander's own rules, analyst and gate."""
    ALONE = "production_alone"
    """The same without `page_beside`: where it acts by itself a person is paged once that has not helped."""
    ALWAYS = "always_roll_back"
    """Of the services that alert, the one deployed last goes back to its predecessor; a person is paged."""
    NEVER = "never_act"
    """The commander in mode shadow: it pages as it would, and rolls nothing back."""
    SEED = "seed"
    """The seed's rule for each service that alerts: a critical reading goes back to the predecessor, and is paged."""


REFERENCES = (Decider.ALWAYS, Decider.NEVER, Decider.SEED)
"""What the commander is compared with."""


def respond_all(sighting: Sighting) -> dict[Decider, Response]:
    """What each decider does about what is seen; the same sighting gives the same responses."""
    before = paged_before(sighting, ACTS, lambda seen, service: decide(seen, service, ACTS))
    decided = [] if mended_before(sighting.scene, before) else decisions(sighting)
    paged = next((minute for minute, _, verdict in decided if verdict.course is not Course.WATCH), None)
    return {
        Decider.PRODUCTION: _paged(before, _done(decided, ACTS)),
        Decider.ALONE: _paged(before, _done(decided, ACTS.model_copy(update={"page_beside": False}))),
        Decider.ALWAYS: _always(sighting),
        Decider.NEVER: _paged(before, Response(paged_after=paged)),
        Decider.SEED: _seed(sighting),
    }


def decisions(seen: Sighting) -> list[tuple[int, int, Verdict]]:
    """The minute and the service of each verdict, until something is rolled back or a person is asked.

    A service is decided about when it alerts, and again when a reading becomes critical.
    """
    decided: list[tuple[int, int, Verdict]] = []
    settled: dict[int, Severity] = {}
    for minute in range(FOLLOWED + 1):
        sighting = seen.later(minute)
        open_now = [each for each in _in_order(sighting) if _is_open(sighting, each, settled.get(each))]
        if not open_now:
            continue
        for service in open_now:
            acted = sum(verdict.course is Course.ACT for _, _, verdict in decided)
            verdict = decide(sighting, service, ACTS, fleet=acted)
            decided.append((minute, service, verdict))
            settled[service] = verdict.severity
        if any(verdict.course in {Course.ACT, Course.ASK} for _, _, verdict in decided):
            break
    return decided


def _could_be_blamed(sighting: Sighting, service: int) -> bool:
    """Whether its live deployment is recent enough to explain any onset that can be seen."""
    age = sighting.scene.decided + sighting.minute - sighting.live(service).row
    return age * ROW <= ACTS.deployment_explains_within.total_seconds() + RECENT


def _climbs(sighting: Sighting, service: int) -> bool:
    """Whether it leaks: that is told since long ago, and pages what would else be watched."""
    return climb_of(sighting.scene.case.world.services[service], sighting.frame_of({service})) is not None


def _is_open(sighting: Sighting, service: int, decided: Severity | None) -> bool:
    return decided is None or (decided is not Severity.P0 and _is_critical(sighting, service))


def _is_critical(sighting: Sighting, service: int) -> bool:
    limits = ((metric, limit.critical) for metric, _, limit in ACTS.thresholds.judged() if metric in _MEASURED)
    return any(band is not None and band.holds(sighting.reading(service, metric)) for metric, band in limits)


def _paged(before: int | None, response: Response) -> Response:
    """`response`, where somebody was paged in the minute `before`; `None`: nobody was."""
    return response if before is None else replace(response, paged_after=before)


def _done(decided: Sequence[tuple[int, int, Verdict]], policy: Policy) -> Response:
    paging = {Course.PAGE, Course.ACT} if policy.page_beside else {Course.PAGE}
    return Response(
        rollbacks=tuple(
            Rollback(service, verdict.rollback()[0], minute)
            for minute, service, verdict in decided
            if verdict.course is Course.ACT
        ),
        asked=tuple(
            Rollback(service, verdict.rollback()[0], minute)
            for minute, service, verdict in decided
            if verdict.course is Course.ASK
        ),
        paged_after=next((minute for minute, _, verdict in decided if verdict.course in paging), None),
        undoes=policy.undo,
    )


def decide(sighting: Sighting, service: int, policy: Policy, fleet: int = 0) -> Verdict:
    """The commander's verdict on one service, by the functions that production runs.

    The histories are read only where they can make a difference: where a reading is critical, or nothing is P0, and
    where the live deployment is recent enough to be blamed, or it is not rolled back.

    Args:
        sighting: what is seen.
        service: its place among the services.
        policy: what the team allows.
        fleet: rollbacks of all services within the last hour.
    """
    evidence = sighting.evidence(service)
    critical = _is_critical(sighting, service)
    if (critical and _could_be_blamed(sighting, service)) or _climbs(sighting, service):
        evidence = evidence.model_copy(update={"background": background(sighting, service, policy)})
    assessment = assess(evidence, policy.thresholds)
    decision = propose(evidence, assessment, policy.deployment_explains_within)
    ledger = LedgerView(state=SourceState.OK, at=sighting.now, fleet_last_hour=fleet)
    return judge(decision, evidence, assessment, ledger, policy)


def _always(sighting: Sighting) -> Response:
    newest = max(sighting.fired, key=lambda service: _known(sighting, service)[-1].row)
    return Response(rollbacks=_back(sighting, newest), paged_after=0)


def _seed(sighting: Sighting) -> Response:
    """Each service is judged every five minutes, and rolled back once."""
    rollbacks: dict[int, Rollback] = {}
    paged = None
    for minute in range(0, FOLLOWED + 1, _SEED_EVERY):
        then = sighting.later(minute)
        for service in _in_order(then):
            anomalies = judge_metrics(then.metrics(service), Thresholds())
            severity = worst(*(each.tier.severity for each in anomalies if each.measured))
            if severity is Severity.P0 and service not in rollbacks:
                rollbacks |= {each.service: replace(each, after=minute) for each in _back(then, service)}
            if paged is None and severity in {Severity.P0, Severity.P1}:
                paged = minute
    return Response(rollbacks=tuple(rollbacks.values()), paged_after=paged)


def _in_order(sighting: Sighting) -> list[int]:
    return sorted(sighting.fired, key=lambda service: (sighting.fired[service], service))


def _known(sighting: Sighting, service: int) -> list[Release]:
    return [each for each in sighting.scene.case.of(service) if each.row <= sighting.scene.decided]


def _back(sighting: Sighting, service: int) -> tuple[Rollback, ...]:
    return tuple(Rollback(service, each.number) for each in _known(sighting, service)[-2:-1])
