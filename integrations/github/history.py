"""What GitHub's deployments mean: which is live, since when, and which was rolled back from. Pure rules.

The record of a rollback makes its target live again; it is no deployment of its own. Beside it GitHub records one by
itself for a job with `environment:`, which says nothing and is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from incident.errors import PermanentError
from incident.evidence import Deployment
from integrations.github.records import ROLLBACK_TASK, Told, is_of, rollback_of, rollback_said
from integrations.text import clean, one_line

MAX_MESSAGE = 2000
"""Characters of a deployment's message."""
_INACTIVE = "inactive"
_AFTERMATH = timedelta(minutes=1)
"""So soon after a success GitHub calls inactive what that success ended."""
_FAILED = frozenset({"failure", "error"})


@dataclass(frozen=True)
class History:
    """The deployments, newest first, and what there is to say of them."""

    deployments: tuple[Deployment, ...] = ()
    problem: str = ""
    """Why none is live; empty: one is, or there is none at all."""

    @property
    def live(self) -> Deployment | None:
        """The live one, or `None`."""
        return next((each for each in self.deployments if each.live), None)

    @property
    def last_known_good(self) -> Deployment | None:
        """The newest that was live before the live one, succeeded and was not rolled back from; or `None`."""
        live = self.live
        if live is None or live.activated_at is None:
            return None
        proven = [
            (each.activated_at, each.deployment_id, each)
            for each in self.deployments
            if each.activated_at is not None
            and each.activated_at < live.activated_at
            and each.once_healthy is True
            and each.rolled_back_from_at is None
        ]
        return max(proven, key=lambda each: each[:2])[2] if proven else None


@dataclass(frozen=True)
class _Activation:
    order: tuple[datetime, int]
    target: int
    carrier: Told
    still: bool
    """Whether its record still says success."""


@dataclass
class _Reading:
    """What is gathered while the records are gone through."""

    ordinary: dict[int, Told] = field(default_factory=dict)
    activations: list[_Activation] = field(default_factory=list)
    left: dict[int, datetime] = field(default_factory=dict)
    """When each deployment was last rolled back from."""


def read_history(
    records: Sequence[Told], *, service: str, task: str, leave_out: frozenset[int], others: Mapping[int, Told]
) -> History:
    """The history that `records` tell.

    What was activated last is live, if the record of that activation still says success; where it does not say so any
    more, nothing is known to be live, whatever older deployments say of themselves.

    Args:
        records: GitHub's deployments of the environment, in any order.
        service: whose rollbacks count.
        task: of the deployments that count.
        leave_out: deployments that GitHub recorded for the rollback workflow's own jobs.
        others: deployments that a rollback may lead to and that are not among `records`.

    Raises:
        PermanentError: a rollback that took place cannot be read, so that what is live cannot be told.
    """
    reading = _Reading()
    jobs = [each for each in records if each.record.id in leave_out]
    for each in records:
        if each.record.task not in {task, ROLLBACK_TASK} or not is_of(each.record, service):
            continue
        if not _took_rollback(reading, each, service, jobs):
            _take_ordinary(reading, each, task, jobs)
    for activation in reading.activations:
        target = others.get(activation.target)
        if target and target.record.task == task and is_of(target.record, service):
            reading.ordinary.setdefault(activation.target, target)
    last = max(reading.activations, key=lambda each: each.order, default=None)
    live = last.target if last and last.still else None
    entries = tuple(
        _entry(each, reading, live=number == live) for number, each in sorted(reading.ordinary.items(), reverse=True)
    )
    return History(entries, "" if live in reading.ordinary else _why_none(last, entries))


def _took_rollback(reading: _Reading, each: Told, service: str, jobs: Sequence[Told]) -> bool:
    """Whether `each` is no deployment of its own but a rollback, of whichever service."""
    happened = each.successes
    try:
        rollback = rollback_of(each.record, service)
    except PermanentError:
        if happened:
            raise
        return True  # it changed nothing
    if rollback is None:
        return rollback_said(each.record) is not None  # another service's
    if happened:
        # Its first success: a later word on it must not undo what was deployed in between.
        still = each.says_success or _ended_by_a_job(each, jobs)
        reading.activations.append(_Activation(happened[0].order, rollback.deployment_id, each, still))
        at, number = happened[0].created_at, rollback.from_deployment_id
        reading.left[number] = max(reading.left.get(number, at), at)
    return True


def _ended_by_a_job(each: Told, jobs: Sequence[Told]) -> bool:
    """Whether only the end of a rollback workflow's job made it `inactive`, which has ended nothing.

    Outside production GitHub does so to all earlier deployments of the environment (`auto_inactive`, "Create a
    deployment status"). `.github/rollback/deployments.py` reads it the same way.
    """
    latest = each.latest
    if latest is None or latest.state != _INACTIVE:
        return False
    ends = (success.created_at for job in jobs for success in job.successes)
    return any(at <= latest.created_at <= at + _AFTERMATH for at in ends)


def _take_ordinary(reading: _Reading, each: Told, task: str, jobs: Sequence[Told]) -> None:
    if each.record.task != task or each in jobs:
        return
    reading.ordinary[each.record.id] = each
    if each.successes:
        order = each.successes[-1].order
        reading.activations.append(
            _Activation(order, each.record.id, each, each.says_success or _ended_by_a_job(each, jobs))
        )


def _entry(each: Told, reading: _Reading, *, live: bool) -> Deployment:
    number = each.record.id
    activated = [activation.order[0] for activation in reading.activations if activation.target == number]
    failed = any(status.state in _FAILED for status in each.statuses)
    return Deployment(
        id=f"deployment:{number}",
        deployment_id=number,
        revision=each.record.sha,
        message=clean(each.record.description or "", MAX_MESSAGE),
        live=live,
        activated_at=max(activated, default=None),
        once_healthy=True if activated else False if failed else None,
        rolled_back_from_at=reading.left.get(number),
    )


def _why_none(last: _Activation | None, entries: Sequence[Deployment]) -> str:
    if last is None or last.carrier.latest is None:
        return "none of the newest deployments ever succeeded" if entries else ""
    number = last.carrier.record.id
    if last.still:
        return f"rollback {number} led to deployment {last.target}, which GitHub does not know as one of the service's"
    said = one_line(last.carrier.latest.state, 40)
    return f"deployment {number} was activated last and now says {said}, so what is live is not known"
