"""Whatever comes: nothing is done that the policy's words do not allow, and a stricter policy never does more.

Four properties of the gate and one of the remediation behind it, 600 generated cases each, or GATE_CASES. Each
counts its cases and asserts that enough of them came to something, for a property over cases that all page proves
nothing. Most cases are a case that acts with some of its parts drawn at random; every tenth is random throughout.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from math import prod
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from activities.memory import Memory
from activities.observation import Observer
from activities.remediate import Remediate, Remediated, RemediateInput
from incident.anomalies import Anomaly, Assessment, Kind, Tier
from incident.decision import Decision
from incident.errors import IntegrationError, TransientError
from incident.evidence import Background, Deployment, DeploymentsReport, Evidence, Source, SourceState
from incident.freeze import Freeze, Weekday
from incident.gate import Course, Verdict, judge
from incident.ledger import LedgerView, Remediation, RemediationKind, RunState, Stop
from incident.policy import Mode, Policy
from incident.severity import Severity, worst
from tests import builders
from tests.builders import ENVIRONMENT, INCIDENT_ID, NOW, ONSET, SERVICE
from tests.fakes import FakeService, FakeServices, InMemoryStore

CASES = int(os.environ.get("GATE_CASES", "600"))
ENOUGH = CASES // 20
"""Five per cent: of how many cases something must have come."""
many = settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    """Everything that the gate looks at."""

    decision: Decision
    evidence: Evidence
    assessment: Assessment
    ledger: LedgerView
    policy: Policy


def judged(case: Case) -> Verdict:
    return judge(case.decision, case.evidence, case.assessment, case.ledger, case.policy)


# What the policy's words allow, written down a second time without the rules.

NOTHING_CAME_OF_IT = {"startup_failure", "never_started", "refused"}
SIGNS = {
    "errors": {"ERROR_RATE", "BURN_RATE"},
    "latency": {"P95_LATENCY", "P99_LATENCY"},
    "cpu": {"CPU"},
    "memory": {"MEMORY"},
    "health": {"HEALTH"},
    "alert": {"ALERT"},
}
MEASURED_SIGNS = {"errors", "latency", "cpu", "memory"}
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def begun(seen: Evidence) -> datetime:
    """When it began: where no history tells, when the first alert did."""
    return min([each.started_at for each in seen.alerts.alerts if each.state == "firing"] + [seen.collected_at])


def told_within(case: Case, since: datetime) -> bool:
    """Whether somebody told of a change of the service from then to when it began."""
    times = [each.at for each in case.evidence.changes if each.service == case.evidence.service]
    return any(since <= at <= begun(case.evidence) for at in times)


def outdone(case: Case, went_live: datetime) -> bool:
    """Whether what is wrong was measured, and another change came clearly between the deployment and that."""
    clearly = went_live + MINUTE * 5 + SECOND
    return told_within(case, clearly) and any(each.value is not None for each in case.assessment.anomalies)


def defensible(case: Case) -> bool:
    """Whether nothing forbids it that no person may overrule."""
    proposal, seen, rules = case.decision, case.evidence, case.policy
    history = seen.deployments.deployments
    live = [each for each in history if each.live]
    wanted = [each for each in history if each.deployment_id == proposal.rollback_to]
    if proposal.action != "rollback" or seen.deployments.state != "ok" or len(live) != 1 or not wanted:
        return False
    went_live, was_live = live[0].activated_at, wanted[0].activated_at
    if went_live is None or was_live is None:
        return False
    onset = begun(seen)
    newer = [each for each in history if each.activated_at and each.activated_at > was_live]
    undone = {past.from_deployment for past in case.ledger.remediations if past.state == "succeeded"}
    return (
        "P0" in {proposal.severity, case.assessment.severity}
        and any(fnmatchcase(f"{seen.environment}/{seen.service}", pattern) for pattern in rules.allow)
        and case.ledger.state != "failed"
        and not case.ledger.stops
        and rules.mode != "shadow"
        and went_live <= onset <= went_live + rules.deployment_explains_within
        and not outdone(case, went_live)
        and was_live < went_live
        and len(newer) <= rules.max_deployments_back
        and wanted[0].once_healthy is True
        and wanted[0].rolled_back_from_at is None
        and wanted[0].deployment_id not in undone
    )


def unattended(case: Case) -> bool:
    """Whether the policy wants no person for it."""
    rules, past = case.policy, [each for each in case.ledger.remediations if each.state not in NOTHING_CAME_OF_IT]
    ages = [(case.ledger.at - each.at, each.kind) for each in past]
    kinds = {anomaly.kind for anomaly in case.assessment.anomalies}
    signs = {sign for sign, shown_by in SIGNS.items() if shown_by & kinds}
    (went_live,) = [each.activated_at for each in case.evidence.deployments.deployments if each.live]
    return (
        rules.mode == "auto"
        and went_live is not None
        and begun(case.evidence) - went_live <= rules.acts_within
        and not told_within(case, min(went_live + SECOND, begun(case.evidence) - MINUTE * 15))
        and any(each.tier == "CRITICAL" and each.value is not None for each in case.assessment.anomalies)
        and len(signs) >= rules.min_signals
        and bool(signs & MEASURED_SIGNS)
        and case.decision.confidence >= rules.min_confidence
        and [kind for age, kind in ages if age < HOUR].count(RemediationKind.ROLLBACK)
        < rules.service_rollbacks_per_hour
        and case.ledger.fleet_last_hour < rules.fleet_rollbacks_per_hour
        and all(age >= rules.cool_down for age, _ in ages)
        and not any(frozen(window, case.ledger.at) for window in rules.freezes)
        and not made_live_by_a_rollback(case.evidence.deployments, past)
    )


def made_live_by_a_rollback(history: DeploymentsReport, past: list[Remediation]) -> bool:
    (live,) = [each for each in history.deployments if each.live]
    left = [each.rolled_back_from_at for each in history.deployments if each.rolled_back_from_at]
    assert live.activated_at
    return live.deployment_id in {each.to_deployment for each in past} or max(left, default=BEFORE) >= live.activated_at


def frozen(window: Freeze, at: datetime) -> bool:
    if window.begins and window.ends:
        return window.begins <= at < window.ends
    assert window.daily_from
    assert window.daily_until
    wall = at.astimezone(ZoneInfo(window.timezone))
    today, yesterday = WEEK[wall.weekday()] in window.days, WEEK[wall.weekday() - 1] in window.days
    begun, over = wall.time() >= window.daily_from, wall.time() >= window.daily_until
    if window.daily_from < window.daily_until:
        return today and begun and not over
    return (today and begun) or (yesterday and not over)


def permitted(case: Case) -> bool:
    return defensible(case) and unattended(case)


# Any decision, evidence, assessment, ledger and policy.

BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
USUAL = builders.deployments()
DEGRADED = builders.degraded_evidence(logs=builders.logs())
STOP = Stop(by="ada", at=NOW)
FREEZES = (
    Freeze(begins=NOW, ends=NOW + SECOND),
    Freeze(begins=NOW - HOUR, ends=NOW),
    Freeze(days=(Weekday.TUE,), daily_from=time(15), daily_until=time(16), timezone="Europe/Berlin"),
    Freeze(days=(Weekday.MON,), daily_from=time(22), daily_until=time(14, 30)),
    Freeze(days=(Weekday.MON, Weekday.WED), daily_from=time(13), daily_until=time(15)),
)
AGES = [None, *(MINUTE * age for age in (-1, 0, 1, 2, 3, 10, 11, 60, 121, 122, 123, 2000, 9999))]
LEFT = [MINUTE * age for age in (10, 10, 10, 11, 9)]
"""When the live deployment went live, or nearly."""
AGO = [timedelta(0), SECOND, MINUTE * 30 - SECOND, MINUTE * 30, HOUR - SECOND, HOUR, HOUR * 24]


def one_each(*choices: Sequence[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """One of each of the `choices`, for the price of a single draw."""

    def chosen(number: int) -> tuple[Any, ...]:
        picked = []
        for options in choices:
            number, which = divmod(number, len(options))
            picked.append(options[which])
        return tuple(picked)

    return st.integers(0, prod(map(len, choices)) - 1).map(chosen)


def deployments_of(number: int) -> st.SearchStrategy[Deployment]:
    def deployed(drawn: tuple[Any, ...]) -> Deployment:
        age, left, live, healthy = drawn
        return Deployment(
            id=f"deployment:{number}",
            deployment_id=number,
            revision=f"abc{number}",
            live=live,
            activated_at=None if age is None else NOW - age,
            once_healthy=healthy,
            rolled_back_from_at=None if left is None else NOW - left,
        )

    return one_each(AGES, [None] * 6 + AGES + LEFT, [False, False, number == 101], [True, True, False, None]).map(
        deployed
    )


histories = st.builds(
    lambda others, order, state, length: DeploymentsReport(
        source=builders.MOCK,
        state=state,
        deployments=tuple(
            sorted(
                ({each.deployment_id: each for each in (*USUAL.deployments, *others)}).values(),
                key=lambda each: order * each.deployment_id,
            )[:length]
        ),
    ),
    st.lists(st.one_of(*map(deployments_of, range(97, 103))), max_size=4),
    st.sampled_from([1, -1]),
    st.sampled_from([SourceState.OK] * 8 + [SourceState.EMPTY, SourceState.FAILED]),
    st.sampled_from([9, 9, 9, 9, 2, 0]),
)
anomalies = one_each(list(Kind), [Tier.CRITICAL, Tier.CRITICAL, Tier.WARNING, Tier.MINOR]).map(
    lambda drawn: Anomaly(
        id=f"anomaly:{drawn[0]}",
        kind=drawn[0],
        tier=drawn[1],
        label=drawn[0],
        value=None if drawn[0] in {Kind.HEALTH, Kind.ALERT, Kind.UNREADABLE} else 0.99,
    )
)
assessments = st.lists(anomalies, max_size=5).map(
    lambda found: Assessment(anomalies=tuple(found), severity=worst(*(each.tier.severity for each in found)))
)
remediations = one_each(
    range(1000),
    [RemediationKind.ROLLBACK, RemediationKind.ROLLBACK, RemediationKind.UNDO],
    [95, 95, 95, 99, 100, 101],
    [94, 94, 94, 100, 101],
    list(RunState),
    AGO,
).map(
    lambda drawn: builders.remediation(
        correlation_id=f"ic-{drawn[0]}",
        kind=drawn[1],
        from_deployment=drawn[2],
        to_deployment=drawn[3],
        state=drawn[4],
        at=NOW - drawn[5],
    )
)
OPENING = builders.assessment()
BASE = builders.policy(allow=("production/*",), cool_down="30m", freezes=(FREEZES[1], FREEZES[4]))
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "severity": st.sampled_from(Severity),
    "confidence": st.one_of(st.sampled_from([0.0, 0.5, 0.7999, 0.8, 0.95, 1.0]), st.floats(0, 1)),
    "proposes": st.sampled_from([99, 101, 98, 42, 100, "monitor", "escalate"]),
    "place": st.sampled_from([("staging", SERVICE), (ENVIRONMENT, "checkout"), ("staging", "checkout")]),
    "onset": st.lists(
        st.sampled_from([ONSET, NOW, NOW + MINUTE, NOW - MINUTE * 10, NOW - MINUTE * 11, NOW - HOUR * 3]), max_size=2
    ),
    "history": histories,
    "told": st.sampled_from(
        [(SERVICE, 2), (SERVICE, 7), (SERVICE, 9), (SERVICE, 15), (SERVICE, 16), (SERVICE, -1), ("checkout", 7)]
    ),
    "assessment": assessments,
    "past": st.lists(remediations, min_size=1, max_size=3),
    "ledger_state": st.sampled_from([SourceState.FAILED, SourceState.FAILED, SourceState.EMPTY]),
    "fleet": st.integers(0, 5),
    "stops": st.just((STOP,)),
    "mode": st.sampled_from(Mode),
    "allow": st.lists(
        st.sampled_from(
            ["*/*", "production/*", "*/payment-api", "production/payment-api", "staging/*", "production/checkout"]
        ),
        max_size=2,
    ).map(tuple),
    "min_confidence": st.one_of(st.sampled_from([0.5, 0.92, 0.93, 1.0]), st.floats(0.5, 1)),
    "deployment_explains_within": st.sampled_from([MINUTE * 7, MINUTE * 8, MINUTE * 9, HOUR * 3]),
    "acts_within": st.sampled_from([MINUTE * 7, MINUTE * 8, MINUTE * 9, HOUR * 3]),
    "min_signals": st.integers(1, 6),
    "max_deployments_back": st.integers(1, 5),
    "service_rollbacks_per_hour": st.integers(0, 4),
    "fleet_rollbacks_per_hour": st.integers(0, 6),
    "cool_down": st.sampled_from([timedelta(0), MINUTE, MINUTE * 30, HOUR, HOUR * 25]),
    "freezes": st.lists(st.sampled_from(FREEZES), max_size=2).map(tuple),
    "approvers": st.just(()),
}
LIMITS = [name for name in PARTS if name in Policy.model_fields]
wild = one_each(range(10), *[[*PARTS, *[""] * 10]] * 4).map(lambda drawn: frozenset(drawn[1:] if drawn[0] else PARTS))
"""Which parts are drawn at random."""


def known_of(told: tuple[str, int] | None) -> Background | None:
    """The background with one change, so many minutes before ONSET, that somebody told of."""
    if told is None:
        return None
    change = builders.told_change(service=told[0], at=ONSET - MINUTE * told[1]).seen_from(SERVICE)
    return Background(source="store", state=SourceState.EMPTY, changes=(change,))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = draw(wild)

    def part(name: str, usual: object) -> Any:  # noqa: ANN401 - of the field's own type
        return draw(PARTS[name]) if name in drawn else usual

    proposes = part("proposes", 100)
    action = "rollback" if isinstance(proposes, int) else proposes
    environment, service = part("place", (ENVIRONMENT, SERVICE))
    onset = part("onset", None)
    return Case(
        decision=builders.decision(
            severity=part("severity", Severity.P0),
            confidence=part("confidence", 0.92),
            action=action,
            rollback_to=proposes if action == "rollback" else None,
        ),
        evidence=DEGRADED.model_copy(
            update={
                "environment": environment,
                "service": service,
                "deployments": part("history", USUAL),
                "background": known_of(part("told", None)),
                "alerts": DEGRADED.alerts
                if onset is None
                else builders.alerts(*(builders.alert(str(each), started_at=at) for each, at in enumerate(onset))),
            }
        ),
        assessment=part("assessment", OPENING),
        ledger=LedgerView(
            state=part("ledger_state", SourceState.OK),
            at=NOW,
            remediations=tuple(part("past", ())),
            fleet_last_hour=part("fleet", 0),
            stops=part("stops", ()),
        ),
        policy=BASE.model_copy(update={name: draw(PARTS[name]) for name in LIMITS if name in drawn}),
    )


# A stricter policy.

NARROWER = {
    "*/*": ["*/*", "production/*", "*/payment-api", "staging/checkout"],
    "production/*": ["production/*", "production/payment-api", "production/checkout"],
    "*/payment-api": ["*/payment-api", "production/payment-api", "staging/payment-api"],
}
TIGHTER: dict[str, Callable[[Policy], st.SearchStrategy[Any]]] = {
    "mode": lambda rules: st.sampled_from(list(Mode)[: list(Mode).index(rules.mode) + 1]),
    "allow": lambda rules: (
        st.lists(
            st.sampled_from([each for known in rules.allow for each in NARROWER.get(known, [known])]), max_size=3
        ).map(tuple)
        if rules.allow
        else st.just(())
    ),
    "min_confidence": lambda rules: st.floats(rules.min_confidence, 1),
    "min_signals": lambda rules: st.integers(rules.min_signals, 6),
    "max_deployments_back": lambda rules: st.integers(1, rules.max_deployments_back),
    "service_rollbacks_per_hour": lambda rules: st.integers(0, rules.service_rollbacks_per_hour),
    "fleet_rollbacks_per_hour": lambda rules: st.integers(0, rules.fleet_rollbacks_per_hour),
    "cool_down": lambda rules: st.sampled_from([rules.cool_down * 2, rules.cool_down + SECOND, rules.cool_down + HOUR]),
    "freezes": lambda rules: st.sampled_from(FREEZES).map(lambda more: (*rules.freezes, more)),
    "deployment_explains_within": lambda rules: st.sampled_from(
        [rules.deployment_explains_within * share for share in (0.1, 0.9, 0.99)]
    ),
    "acts_within": lambda rules: st.sampled_from([rules.acts_within * share for share in (0.1, 0.9, 0.99)]),
    "approvers": lambda _: st.just(()),
}


tightened = st.sets(st.sampled_from(sorted(TIGHTER)), min_size=1, max_size=3)


def stricter(rules: Policy, data: st.DataObject) -> Policy:
    """`rules` with one or several of its fields tightened."""
    changes = {name: data.draw(TIGHTER[name](rules)) for name in sorted(data.draw(tightened))}
    return rules.model_copy(update=changes)


# The gate.


def test_it_acts_or_asks_exactly_where_the_policys_words_permit_it() -> None:
    courses: Counter[Course] = Counter()

    @many
    @given(cases())
    def holds(case: Case) -> None:
        verdict = judged(case)
        courses[verdict.course] += 1
        live = [each.deployment_id for each in case.evidence.deployments.deployments if each.live]
        if permitted(case):
            assert (verdict.course, verdict.severity, verdict.refusals) == (Course.ACT, Severity.P0, ())
        elif defensible(case) and case.policy.approvers:
            assert (verdict.course, verdict.severity) == (Course.ASK, Severity.P0)
        else:
            assert verdict.course in {Course.PAGE, Course.WATCH}
        if verdict.course in {Course.ACT, Course.ASK}:
            assert (verdict.target, [verdict.expected_live]) == (case.decision.rollback_to, live)
        else:
            assert (verdict.target, verdict.expected_live) == (None, None)
        assert bool(verdict.refusals) is (verdict.course is not Course.ACT)
        assert verdict.would is None or case.policy.mode is Mode.SHADOW

    holds()
    assert courses.total() >= CASES
    assert min(courses[course] for course in (Course.ACT, Course.ASK, Course.PAGE)) >= ENOUGH


def test_a_stricter_policy_never_does_more() -> None:
    outcomes: Counter[str] = Counter()

    @many
    @given(cases(), st.data())
    def holds(case: Case, data: st.DataObject) -> None:
        strict = replace(case, policy=stricter(case.policy, data))
        loose_acts, strict_acts = (judged(each).course is Course.ACT for each in (case, strict))
        outcomes["both act" if strict_acts else "only the looser acts" if loose_acts else "neither acts"] += 1
        assert loose_acts or not strict_acts

    holds()
    assert outcomes.total() >= CASES
    assert outcomes["both act"] >= ENOUGH
    assert outcomes["only the looser acts"] >= ENOUGH


words = st.text(min_size=1, max_size=30)


def test_nothing_that_is_written_changes_a_verdict() -> None:
    courses: Counter[Course] = Counter()

    @many
    @given(cases(), words, words, st.sampled_from(["P1", "P5"]))
    def holds(case: Case, one: str, other: str, priority: str) -> None:
        verdict = judged(case)
        courses[verdict.course] += 1
        said = {
            "summary": one,
            "root_cause_hypothesis": other,
            "evidence_ids": (one, "deployment:100"),
            "pagerduty_priority": priority,
        }
        history = case.evidence.deployments
        named = [each.model_copy(update={"message": one, "revision": other}) for each in history.deployments]
        seen = {
            "logs": builders.logs(builders.log_line(1, other, error_type=one)),
            "alerts": builders.alerts(
                *(each.model_copy(update={"summary": one, "severity": other}) for each in case.evidence.alerts.alerts)
            ),
            "deployments": history.model_copy(update={"deployments": tuple(named)}),
        }
        rewritten = replace(
            case,
            decision=case.decision.model_copy(update=said),
            evidence=case.evidence.model_copy(update=seen),
        )
        assert judged(rewritten) == verdict

    holds()
    assert courses.total() >= CASES
    assert courses[Course.ACT] >= ENOUGH


def test_the_same_case_gives_the_same_verdict_and_never_an_error() -> None:
    courses: Counter[Course] = Counter()

    @many
    @given(cases())
    def holds(case: Case) -> None:
        verdict = judged(case)
        courses[verdict.course] += 1
        stored = Case(
            decision=Decision.model_validate_json(case.decision.model_dump_json()),
            evidence=Evidence.model_validate_json(case.evidence.model_dump_json()),
            assessment=Assessment.model_validate_json(case.assessment.model_dump_json()),
            ledger=LedgerView.model_validate_json(case.ledger.model_dump_json()),
            policy=Policy.model_validate_json(case.policy.model_dump_json()),
        )
        assert judged(case) == judged(stored) == verdict
        assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict

    holds()
    assert courses.total() >= CASES
    assert courses[Course.ACT] >= ENOUGH


# The remediation behind it.


class Ledger(InMemoryStore):
    """A ledger in which something may happen between the gate's look and the entry."""

    def __init__(self, past: list[Remediation], meanwhile: list[Remediation | Stop], away: str) -> None:
        lost = TransientError("store", "cannot be reached")
        super().__init__({away: lost} if away else None)
        self.remediations = {each.correlation_id: each for each in past}
        self._meanwhile = meanwhile

    async def view(self, environment: str, service: str, now: datetime) -> LedgerView:
        """What is known before that."""
        found = await super().view(environment, service, now)
        for each in self._meanwhile:
            if isinstance(each, Stop):
                await self.stop(each)
            else:
                self.remediations[each.correlation_id] = each
        return found


@dataclass(frozen=True)
class World:
    """A case that was judged, and what is found when it is about to be carried out."""

    case: Case
    """Its evidence holds the history of now."""
    before: Evidence
    """What it was judged by: maybe of another history."""
    approved: bool
    target: int
    expected_live: int
    past: list[Remediation]
    """The ledger of every service."""
    stops: list[Stop]
    meanwhile: list[Remediation | Stop]
    away: str
    """Which method of the ledger fails; empty: none."""

    @property
    def others(self) -> list[Remediation]:
        """What other incidents did to the service."""
        return [each for each in self.past if (each.service, each.incident_id != INCIDENT_ID) == (SERVICE, True)]

    def now(self) -> Case:
        """The case, with the ledger as it is when the gate looks, counted here."""
        counted = [each for each in self.past if each.incident_id != INCIDENT_ID and NOW - each.at < HOUR]
        return replace(
            self.case,
            ledger=LedgerView(
                state=SourceState.FAILED if self.away == "view" else SourceState.OK,
                at=NOW,
                remediations=tuple(self.others),
                fleet_last_hour=sum(each.state not in NOTHING_CAME_OF_IT for each in counted),
                stops=tuple(stop for stop in self.stops if stop.service in {"", SERVICE}),
            ),
        )


STOPS = [STOP, Stop(service="checkout", by="eve", at=NOW), Stop(service=SERVICE, by="eve", at=NOW)]
LATER = [
    builders.remediation(correlation_id="ic-meanwhile", service=service, at=NOW, from_deployment=90)
    for service in (SERVICE, "checkout")
]
circumstances = one_each(
    [False, True],
    [0] * 9 + [99],
    [101] * 9 + [100],
    [True, False],
    [None] * 20 + STOPS,
    [None] * 20 + STOPS,
    [None] * 10 + LATER,
    [""] * 30 + ["view", "entry", "begin", "finish"],
)
whose = one_each([SERVICE, "checkout"], [False, False, True], [False, False, True])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn = draw(cases())
    approved, target, expected_live, as_before, stop, later, entry, away = draw(circumstances)
    evidence = drawn.evidence.model_copy(update={"environment": ENVIRONMENT, "service": SERVICE})
    past = []
    for number, each in enumerate(drawn.ledger.remediations):
        service, own, same = draw(whose)
        named = {"service": service, "correlation_id": CORRELATION if own and same else f"ic-{number}"}
        past.append(each.model_copy(update=named | {"incident_id": INCIDENT_ID if own else each.incident_id}))
    return World(
        case=replace(drawn, evidence=evidence),
        before=evidence if as_before else evidence.model_copy(update={"deployments": USUAL}),
        approved=approved,
        target=target or drawn.decision.rollback_to or 100,
        expected_live=expected_live,
        past=past,
        stops=[stop] if stop else [],
        meanwhile=[each for each in (later, entry) if each],
        away=away,
    )


CORRELATION = builders.order().correlation_id


async def carried_out(world: World) -> FakeService:
    """The service after one attempt."""
    service = FakeService(live=world.expected_live, clock=lambda: NOW)
    service.answer(Source.METRICS, DEGRADED.metrics)
    service.answer(Source.DEPLOYMENTS, world.case.evidence.deployments)
    store = Ledger(world.past, world.meanwhile, world.away)
    for stop in world.stops:
        await store.stop(stop)
    services = FakeServices(service)
    remediate = Remediate(services, Observer(services, lambda: NOW), Memory(store), lambda: NOW)
    task = RemediateInput(
        incident_id=INCIDENT_ID,
        order=builders.order(target=world.target, expected_live=world.expected_live),
        decision=world.case.decision,
        evidence=world.before,
        assessment=world.case.assessment,
        policy=world.case.policy,
        approved=world.approved,
    )
    try:
        done = await remediate.rollback(task)
    except IntegrationError:
        done = Remediated()
    assert (done.run is not None) == bool(service.rollback.starts)
    return service


def used_up(world: World) -> bool:
    """Whether the hour's quota was used up by the time it was entered; the own incident's former orders count here."""
    entered = [*world.past, *(each for each in world.meanwhile if isinstance(each, Remediation))]
    if any(each.correlation_id == CORRELATION for each in entered):
        return False
    hour = [each for each in entered if NOW - each.at < HOUR and each.state not in NOTHING_CAME_OF_IT]
    mine = [each for each in hour if (each.service, each.kind) == (SERVICE, "rollback")]
    rules = world.case.policy
    return len(mine) >= rules.service_rollbacks_per_hour or len(hour) >= rules.fleet_rollbacks_per_hour


def test_nothing_is_started_that_the_policys_words_do_not_permit() -> None:
    outcomes: Counter[str] = Counter()

    def holds_in(runner: asyncio.Runner) -> Callable[[], None]:
        @many
        @given(worlds())
        def holds(world: World) -> None:
            started = runner.run(carried_out(world)).rollback.starts
            case = world.now()
            by = "started, approved" if world.approved else "started, by itself"
            outcomes[by if started else "not started"] += 1
            if not started:
                return
            (order,) = started
            live = [each.deployment_id for each in case.evidence.deployments.deployments if each.live]
            assert (order.target, [order.expected_live]) == (case.decision.rollback_to, live)
            assert defensible(case)
            assert unattended(case) or (world.approved and case.policy.approvers)
            assert world.approved or not used_up(world)
            assert not [each for each in world.meanwhile if isinstance(each, Stop) and each.service in {"", SERVICE}]
            assert world.away in {"", "finish"}

        return holds

    with asyncio.Runner() as runner, capture_logs():
        holds_in(runner)()
    assert outcomes.total() >= CASES
    assert min(outcomes["started, approved"], outcomes["started, by itself"]) >= ENOUGH
