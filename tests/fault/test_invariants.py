"""The invariants can fail: each has a record that breaks it, and no other one speaks then."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from incident.dossier import Stage
from incident.gate import Course
from incident.ledger import RunState
from incident.recovery import Classification
from incident.snapshot import Outcome
from incident.verifying import RecoveryLimits
from tests import builders
from tests.fault import invariants
from tests.fault.histories import Event, Happening, History
from tests.fault.invariants import Record, deadline, violations
from tests.standins.github.behaviour import DispatchEntry, EffectEntry, Journal, RunEntry

ORDER = builders.order()
POLICY = builders.policy(approvers=("ada",), recovery=RecoveryLimits(stable_looks=3))
SNAPSHOT = builders.snapshot(builders.decided_dossier(policy=POLICY))
VERDICT = {"course": Course.ACT, "target": ORDER.target}
GOOD = builders.look().model_dump(mode="json")
BAD = {**GOOD, "firing_alerts": 1}
Steps = list[tuple[Happening, str, Any]]


def at(seconds: float) -> datetime:
    return builders.NOW + timedelta(seconds=seconds)


def looked(*looks: Mapping[str, Any], said: Classification = Classification.FULLY_RECOVERED) -> Any:  # noqa: ANN401 - JSON
    return {"looks": looks, "recovery": {"classification": said}}


def history(steps: Steps) -> History:
    """The steps as events; what a completed one was asked is what was last scheduled under its name."""
    asked: dict[str, Any] = {}
    events: list[Event] = []
    for number, (kind, name, value) in enumerate(steps, start=1):
        if kind is Happening.SCHEDULED:
            asked[name] = value
        events.append(Event(number, at(number), kind, name, value, asked=asked.get(name)))
    return History(events)


def journal(*dispatched: tuple[str, float], effective: int = 1) -> Journal:
    """Dispatches by correlation id and time; the first runs take effect."""
    inputs = {"service": ORDER.service, "deployment_id": str(ORDER.target)}
    return Journal(
        dispatches=[
            DispatchEntry(at=at(when), correlation_id=key, inputs=inputs, accepted=True, run_id=9001 + number)
            for number, (key, when) in enumerate(dispatched)
        ],
        runs=[
            RunEntry(
                id=9001 + number,
                attempt=1,
                correlation_id=key,
                inputs=inputs,
                status="completed",
                conclusion="success",
                effective=number < effective,
                created_at=at(when),
                completed_at=at(when + 1),
            )
            for number, (key, when) in enumerate(dispatched)
        ],
        effective=[
            EffectEntry.model_validate(
                {
                    "correlation_id": key,
                    "from": ORDER.expected_live,
                    "to": ORDER.target,
                    "from_revision": "b" * 40,
                    "to_revision": "a" * 40,
                    "run_id": 9001 + number,
                    "at": at(when + 1),
                }
            )
            for number, (key, when) in enumerate(dispatched[:effective])
        ],
        requests=[],
        cancels=[],
        deployments=[],
    )


def story(
    *,
    verdict: Mapping[str, Any] | None = None,
    answers: Steps | None = None,
    page: bool = True,
    looks: Any = None,  # noqa: ANN401 - JSON
) -> Steps:
    """An incident as it should be: judged, perhaps asked, rolled back, looked at, its page closed."""
    woken: Steps = [
        (Happening.SCHEDULED, "notify.page", {"key": "ic/1"}),
        (Happening.COMPLETED, "notify.page", None),
    ]
    closed: Steps = [
        (Happening.SCHEDULED, "notify.resolve", {"key": "ic/1"}),
        (Happening.COMPLETED, "notify.resolve", None),
    ]
    return [
        (Happening.COMPLETED, "analyze.decide", {"verdict": verdict or VERDICT}),
        *(answers or []),
        (Happening.SCHEDULED, "remediate.rollback", {"order": ORDER.model_dump(mode="json")}),
        *(woken if page else []),
        (Happening.COMPLETED, "verify.look", looks or looked(GOOD, GOOD, GOOD)),
        *(closed if page else []),
        (Happening.CLOSED, "", SNAPSHOT.model_dump(mode="json")),
    ]


RECORD = Record(
    policy=POLICY,
    history=history(story()),
    github=journal((ORDER.correlation_id, 4)),
    seen_at=at(60),
    result=SNAPSHOT,
    stored=SNAPSHOT,
    outbound={"the logs": "nothing to see"},
    canaries=("ghp_canary",),
)
ASKED = {**VERDICT, "course": Course.ASK}
YES: Steps = [(Happening.ANSWERED, "answer", {"approved": True, "approver": "ada"})]
NO: Steps = [(Happening.ANSWERED, "answer", {"approved": False, "approver": "ada"})]
STRANGER: Steps = [(Happening.ANSWERED, "answer", {"approved": True, "approver": "mallory"})]
PRESSED: Steps = [(Happening.ANSWERED, "answered", {"approved": True, "approver": "slack:T1/U1"})]
ESCALATION: Steps = [
    (Happening.SCHEDULED, "notify.page", {"key": "ic/1/escalation-1"}),
    (Happening.COMPLETED, "notify.page", None),
]
UNDO = builders.order(correlation_id="ic-undo", target=101, expected_live=100)
LONG = deadline(POLICY, None) + timedelta(seconds=1)
OPEN = replace(RECORD, result=None, stored=None, opened_at=at(0), seen_at=at(0) + LONG, stage=Stage.AWAITING_APPROVAL)
WAITING = history(story()[:-3])
"""Somebody was woken, and nothing was closed."""
OTHER = SNAPSHOT.model_copy(update={"outcome": Outcome.UNRESOLVED})


def undoing(said: Classification) -> Record:
    """A rollback after which the service was as `said`, and which was undone."""
    asked = {"order": UNDO.model_dump(mode="json"), "run": {"state": RunState.SUCCEEDED}}
    steps = story(looks=looked(GOOD, GOOD, GOOD, said=said), page=False)
    steps.insert(-1, (Happening.SCHEDULED, "remediate.undo", asked))
    return replace(RECORD, history=history(steps), github=journal((ORDER.correlation_id, 3), (UNDO.correlation_id, 5)))


BREAKS: dict[str, tuple[Callable[..., Any], Record]] = {
    "two effective rollbacks": (
        invariants.i1,
        replace(RECORD, github=journal((ORDER.correlation_id, 4), (ORDER.correlation_id, 5), effective=2)),
    ),
    "no verdict": (invariants.i2, replace(RECORD, history=history(story()[1:]))),
    "a verdict that pages": (
        invariants.i2,
        replace(RECORD, history=history(story(verdict={"course": Course.PAGE, "target": None}))),
    ),
    "a verdict for another target": (
        invariants.i2,
        replace(RECORD, history=history(story(verdict={**VERDICT, "target": 99}))),
    ),
    "nobody asked": (invariants.i2, replace(RECORD, github=journal(("ic-stranger", 4)))),
    "dispatched before it was asked": (invariants.i2, replace(RECORD, github=journal((ORDER.correlation_id, 1)))),
    "undone without having become worse": (invariants.i2, undoing(Classification.IMPROVING)),
    "no approval": (invariants.i3, replace(RECORD, history=history(story(verdict=ASKED)))),
    "denied": (invariants.i3, replace(RECORD, history=history(story(verdict=ASKED, answers=NO)))),
    "approved by a stranger": (invariants.i3, replace(RECORD, history=history(story(verdict=ASKED, answers=STRANGER)))),
    "an open page": (
        invariants.i4,
        replace(RECORD, history=history([each for each in story() if each[1] != "notify.resolve"])),
    ),
    "an open escalation": (
        invariants.i4,
        replace(RECORD, history=history([*story()[:2], *ESCALATION, *story()[2:]])),
    ),
    "a secret": (invariants.i5, replace(RECORD, outbound={"the logs": "Bearer ghp_canary"})),
    "nothing stored": (invariants.i6, replace(RECORD, stored=None)),
    "another snapshot stored": (invariants.i6, replace(RECORD, stored=OTHER)),
    "another snapshot in the history": (invariants.i6, replace(RECORD, result=OTHER, stored=OTHER)),
    "open for ever": (invariants.i7, replace(OPEN, history=history(story(page=False)[:-1]))),
    "open for ever, in a stage that waits for nobody": (
        invariants.i7,
        replace(OPEN, stage=Stage.VERIFYING, history=WAITING),
    ),
    "closed too early": (invariants.i8, replace(RECORD, history=history(story(looks=looked(GOOD, GOOD))))),
    "closed while an alert fires": (
        invariants.i8,
        replace(RECORD, history=history(story(looks=looked(GOOD, GOOD, GOOD, BAD)))),
    ),
    "closed after a good look too few in a row": (
        invariants.i8,
        replace(RECORD, history=history(story(looks=looked(GOOD, BAD, GOOD, GOOD)))),
    ),
}
HOLDS: dict[str, Record] = {
    "as it should be": RECORD,
    "without a page": replace(RECORD, history=history(story(page=False))),
    "approved": replace(RECORD, history=history(story(verdict=ASKED, answers=YES))),
    "approved by a press": replace(
        RECORD,
        policy=POLICY.model_copy(update={"known_as": {"slack:T1/U1": "ada"}}),
        history=history(story(verdict=ASKED, answers=PRESSED)),
    ),
    "undone since it was worse": undoing(Classification.DEGRADED),
    "open, and a person has been woken": replace(OPEN, history=WAITING),
    "open, not for long": replace(OPEN, seen_at=at(60), history=history(story(page=False)[:-1])),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_invariant_is_named(kind: str) -> None:
    invariant, record = BREAKS[kind]
    name = invariant.__name__.upper()
    found = violations(record)
    assert found
    assert {line.partition(":")[0] for line in found} == {name}
    assert tuple(invariant(record)) == found


@pytest.mark.parametrize("kind", HOLDS)
def test_what_is_as_it_should_be_breaks_none(kind: str) -> None:
    assert violations(HOLDS[kind]) == ()


def test_an_escalated_incident_may_leave_its_page_open() -> None:
    escalated = SNAPSHOT.model_copy(update={"outcome": Outcome.ESCALATED})
    steps = [each for each in story() if each[1] != "notify.resolve"][:-1]
    closing = (Happening.CLOSED, "", escalated.model_dump(mode="json"))
    assert violations(replace(RECORD, result=escalated, stored=escalated, history=history([*steps, closing]))) == ()


def test_an_incident_that_takes_longer_than_its_deadline_breaks_the_seventh() -> None:
    late = SNAPSHOT.model_copy(update={"closed_at": SNAPSHOT.opened_at + deadline(POLICY, SNAPSHOT) * 1.01})
    steps = [*story()[:-1], (Happening.CLOSED, "", late.model_dump(mode="json"))]
    found = violations(replace(RECORD, result=late, stored=late, history=history(steps)))
    assert [line[:2] for line in found] == ["I7"]
