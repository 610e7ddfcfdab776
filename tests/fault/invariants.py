"""What holds of every incident, whatever was done to it on its way: I1 to I8, each a function over one record.

Each gives one line for every way in which the record breaks it; `violations` asks all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from incident.dossier import Stage
from incident.evidence import Health, Metric
from incident.gate import Course
from incident.ledger import Remediation, RunState
from incident.messages import ChatKind
from incident.policy import Policy
from incident.recovery import Classification, Look
from incident.snapshot import Outcome, Snapshot
from tests.fault.histories import Event, Happening, History
from tests.standins.github.behaviour import Journal

_VERDICTS = ("analyze.decide", "analyze.judge")
_ACTS = ("remediate.rollback", "remediate.undo")
_ROUNDS = 5
_SPARE = timedelta(minutes=10)
"""What retries and time-outs of single steps may add to the policy's own times."""


@dataclass(frozen=True)
class Record:
    """Everything that was recorded of one incident."""

    policy: Policy
    history: History
    github: Journal
    """What GitHub recorded, of this incident alone."""
    seen_at: datetime
    """When the record was made."""
    result: Snapshot | None = None
    """What the workflow gave; `None`: the incident is open."""
    stored: Snapshot | None = None
    stage: Stage = Stage.CLOSED
    """Where an open incident is."""
    opened_at: datetime | None = None
    """When an open one was opened."""
    ledger: Sequence[Remediation] = ()
    delivered: Mapping[ChatKind, int] = field(default_factory=dict)
    """How often each kind of message was really written."""
    outbound: Mapping[str, str] = field(default_factory=dict)
    """Everything that left the commander, by where it went."""
    canaries: Sequence[str] = ()
    """Secrets that it holds."""


def i1(record: Record) -> Iterator[str]:
    """At most one effective rollback of each bad revision of a service."""
    services = {run.id: run.inputs["service"] for run in record.github.runs}
    counts = Counter((services.get(each.run_id, "?"), each.from_revision) for each in record.github.effective)
    for (service, revision), count in counts.items():
        if count > 1:
            yield f"I1: {count} effective rollbacks of {service} from {revision:.12}"


def i2(record: Record) -> Iterator[str]:
    """Nothing is dispatched but what a verdict earlier in the history allows."""
    for dispatch in record.github.dispatches:
        asked = _asked(record.history, dispatch.correlation_id)
        if asked is None or dispatch.at < asked.at:
            yield f"I2: {dispatch.correlation_id} was dispatched, and nobody had asked for it"
        elif asked.name == "remediate.undo":
            if not _worse(record, asked):
                yield f"I2: {dispatch.correlation_id} undoes what had not been seen to make it worse"
        elif not _allowed(record.history, asked, int(dispatch.inputs["deployment_id"])):
            yield f"I2: {dispatch.correlation_id} was dispatched without a verdict that allows it"


def i3(record: Record) -> Iterator[str]:
    """Where a person must be asked, an approval by one who may approve comes before the dispatch."""
    for dispatch in record.github.dispatches:
        asked = _asked(record.history, dispatch.correlation_id)
        verdict = _verdict(record.history, asked) if asked and asked.name == "remediate.rollback" else None
        if asked is None or verdict is None or verdict.value["verdict"]["course"] != Course.ASK:
            continue
        answers = [
            each.value
            for each in record.history.of(Happening.ANSWERED, "answer", "answered")
            if verdict.number < each.number < asked.number
        ]
        may = {*record.policy.approvers, *record.policy.known_as}
        if not any(answer["approved"] and answer["approver"] in may for answer in answers):
            yield f"I3: {dispatch.correlation_id} was dispatched without the approval that its verdict asks for"


def i4(record: Record) -> Iterator[str]:
    """Every page is closed, each under its key, or its incident is a person's by now."""
    if record.result is None or record.result.outcome is Outcome.ESCALATED:
        return
    woken, closed = (
        {each.asked["key"]: each.number for each in record.history.of(Happening.COMPLETED, name)}
        for name in ("notify.page", "notify.resolve")
    )
    for key, number in woken.items():
        if closed.get(key, 0) <= number:
            yield f"I4: the page {key} is still open, and the incident closed as {record.result.outcome}"


def i5(record: Record) -> Iterator[str]:
    """No secret is in anything that left."""
    for number, secret in enumerate(record.canaries, start=1):
        for where, text in record.outbound.items():
            if secret in text:
                yield f"I5: secret {number} is in {where}"


def i6(record: Record) -> Iterator[str]:
    """What is stored is what the workflow gave, and what its history ends with."""
    if record.result is None:
        return
    if record.stored != record.result:
        yield f"I6: {'another snapshot' if record.stored else 'nothing'} is stored than the workflow gave"
    ends = record.history.of(Happening.CLOSED)
    if len(ends) != 1 or Snapshot.model_validate(ends[0].value) != record.result:
        yield "I6: the history does not end with the snapshot that the workflow gave"


def i7(record: Record) -> Iterator[str]:
    """An incident ends within its deadline, or waits for a person who has been woken."""
    if record.result:
        took, within = record.result.closed_at - record.result.opened_at, deadline(record.policy, record.result)
        if took > within:
            yield f"I7: it took {took}, its deadline was {within}"
        return
    opened = record.opened_at or record.seen_at
    if record.seen_at - opened <= deadline(record.policy, None):
        return
    woken, closed = (record.history.of(Happening.COMPLETED, name) for name in ("notify.page", "notify.resolve"))
    waits = record.stage in {Stage.AWAITING_APPROVAL, Stage.REMEDIATING}
    if not waits or not woken or closed:
        yield f"I7: open since {opened}, {record.stage}, and {'nobody waits' if woken else 'nobody was woken'}"


def i8(record: Record) -> Iterator[str]:
    """A page is closed only after as many good looks in a row as the policy wants."""
    wanted = record.policy.recovery.stable_looks
    for closing in record.history.of(Happening.COMPLETED, "notify.resolve"):
        asked = [
            each for each in record.history.of(Happening.SCHEDULED, "notify.resolve") if each.number < closing.number
        ]
        until = asked[-1].number if asked else closing.number
        looks = [
            Look.model_validate(look)
            for each in record.history.of(Happening.COMPLETED, "verify.look")
            if each.number < until
            for look in each.value["looks"]
        ]
        good = 0
        while good < len(looks) and _good(looks[-1 - good], record.policy):
            good += 1
        if good < wanted:
            yield f"I8: the page was closed after {good} good looks, the policy wants {wanted}"


def violations(record: Record) -> tuple[str, ...]:
    """Every way in which the record breaks an invariant; empty: all hold."""
    return tuple(line for invariant in (i1, i2, i3, i4, i5, i6, i7, i8) for line in invariant(record))


def deadline(policy: Policy, result: Snapshot | None) -> timedelta:
    """How long an incident may take under `policy` at the most."""
    deciding = policy.decide_within + (policy.approve_within if result is None or result.proposal else timedelta(0))
    looking = policy.settle + policy.max_looks * (policy.look_every + policy.source_timeout)
    deciding += policy.keep_calling_for if result is not None and result.unreached else timedelta(0)
    return _ROUNDS * deciding + 2 * (policy.start_within + policy.remediate_within + looking) + _SPARE


def _asked(history: History, correlation_id: str | None) -> Event | None:
    """Who asked for the order of that correlation id."""
    asked = history.of(Happening.SCHEDULED, *_ACTS)
    return next((each for each in asked if each.value["order"]["correlation_id"] == correlation_id), None)


def _verdict(history: History, asked: Event) -> Event | None:
    """The verdict that an order rests on: the newest before it."""
    earlier = [each for each in history.of(Happening.COMPLETED, *_VERDICTS) if each.number < asked.number]
    if not earlier:
        return None
    newest = earlier[-1]
    value: Any = newest.value if newest.name == "analyze.decide" else {"verdict": newest.value}
    return Event(newest.number, newest.at, newest.kind, newest.name, value)


def _allowed(history: History, asked: Event, target: int) -> bool:
    verdict = _verdict(history, asked)
    said = verdict.value["verdict"] if verdict else {}
    return said.get("course") in {Course.ACT, Course.ASK} and said.get("target") == target


def _worse(record: Record, asked: Event) -> bool:
    """Whether a rollback had succeeded, and the service was worse after it, when its undoing was asked for."""
    looks = [each for each in record.history.of(Happening.COMPLETED, "verify.look") if each.number < asked.number]
    latest = looks[-record.policy.worse_looks :]
    degraded = all(each.value["recovery"]["classification"] == Classification.DEGRADED for each in latest)
    succeeded = asked.value["run"]["state"] == RunState.SUCCEEDED
    return record.policy.undo and succeeded and bool(latest) and degraded


def _good(look: Look, policy: Policy) -> bool:
    errors, latency = look.values.get(Metric.ERROR_RATE), look.values.get(Metric.P99_LATENCY)
    if errors is None or latency is None:
        return False
    low = errors < policy.recovery.error_rate_below and latency < policy.recovery.p99_below
    return low and look.health is Health.HEALTHY and look.firing_alerts == 0 and not look.anomalies
