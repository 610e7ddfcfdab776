"""What code makes of an incident's evidence: who is suspected, and which change, if any, explains it.

The analyst is shown it, and the gate rests on it: what a model names is rolled back only if code finds it guilty too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from incident.accusation import Place, Standing, is_surge, judge, place_among
from incident.anomalies import Assessment
from incident.cause import Cause, Change, ChangeKind, ChangeVerdict, Guilt
from incident.changes import STORE
from incident.evidence import Background, Evidence, SourceState

_NEWEST = 10
"""Changes that are told of, beside the live deployment: those before them are long innocent."""
_NEWS = 3
"""Changes that were not known of before, of which people are told where none of them is guilty."""


@dataclass(frozen=True)
class Span:
    """From when to when something was done."""

    since: datetime
    until: datetime | None
    """`None`: however late."""

    def holds(self, at: datetime) -> bool:
        """Whether `at` lies in it."""
        return self.since <= at and (self.until is None or at <= self.until)


def explaining(evidence: Evidence, within: timedelta) -> Span:
    """When a change must have been made to explain what `evidence` shows.

    Args:
        evidence: what was seen.
        within: how long before the onset a change may lie and still explain it.
    """
    onset, climb = evidence.onset, evidence.climb
    first, last = (climb.since - climb.within, climb.since + climb.within) if climb else (onset, onset)
    return Span(min(first, onset) - within, max(last, onset))


def with_changes(evidence: Evidence, changes: Iterable[Change]) -> Evidence:
    """What is known once these changes are known as well; a climb may have begun with one of them."""
    known = {each.id for each in evidence.changes}
    fresh = tuple(each for each in changes if each.id not in known)
    if not fresh:
        return evidence
    background = evidence.background or Background(source=STORE, state=SourceState.EMPTY)
    background = background.model_copy(update={"changes": background.changes + fresh})
    if climb := background.climb:
        moments = [each.activated_at for each in evidence.deployments.deployments if each.activated_at]
        moments += [each.at for each in background.changes if each.service == evidence.service]
        background = background.model_copy(update={"onset": climb.beginning(moments)})
    return evidence.model_copy(update={"background": background})


def news(before: Evidence, now: Evidence, cause: Cause | None) -> tuple[str, ...]:
    """In words what `now` knows to have been changed and `before` does not: the guilty change, where it is one."""
    fresh = [each for each in now.changes if each not in before.changes]
    guilty = [each for each in fresh if cause and each == cause.guilty]
    return tuple(f"{each.id}, {each.words}, was not known of when it was decided" for each in guilty or fresh[:_NEWS])


def cause_of(evidence: Evidence, assessment: Assessment, within: timedelta) -> Cause:
    """The cause as far as `evidence` tells; the same evidence gives the same cause.

    Args:
        evidence: what was seen.
        assessment: what the numbers say of it.
        within: how long before the onset a change may lie and still explain it.
    """
    suspects = evidence.background.suspects if evidence.background else ()
    live = evidence.deployments.live
    verdicts = judge(_changes(evidence), evidence.onset, _Standings(evidence, assessment).of, within)
    told = [
        each
        for number, each in enumerate(verdicts)
        if number < _NEWEST or each.guilt is Guilt.GUILTY or (live and each.change.id == live.id)
    ]
    return Cause(onset=evidence.onset, suspects=suspects, changes=tuple(_with_climb(each, evidence) for each in told))


def _with_climb(verdict: ChangeVerdict, evidence: Evidence) -> ChangeVerdict:
    """The verdict, with what the service itself has held more and more of among its reasons."""
    climb, change = evidence.climb, verdict.change
    if climb is None or change.service != evidence.service:
        return verdict
    made = "when it went live" if change.kind is ChangeKind.DEPLOYMENT else "when it was made"
    told = climb.words
    if change.at == evidence.onset:
        told = f"{climb.what} has climbed since {change.at:%Y-%m-%d %H:%MZ}, {made}, and did not before"
    return verdict.model_copy(update={"reasons": (told, *verdict.reasons)})


def _changes(evidence: Evidence) -> tuple[Change, ...]:
    """The live deployment, those that were live before it, and what else was changed in the service and around it."""
    live = evidence.deployments.live
    if live is None or live.activated_at is None:
        return evidence.changes
    own = tuple(
        Change(id=each.id, service=evidence.service, kind=ChangeKind.DEPLOYMENT, at=each.activated_at)
        for each in evidence.deployments.deployments
        if each.activated_at and (each is live or each.activated_at < live.activated_at)
    )
    return own + evidence.changes


class _Standings:
    """How the service, and each one around it, stands since the onset."""

    def __init__(self, evidence: Evidence, assessment: Assessment) -> None:
        self._service = evidence.service
        self._suspects = evidence.background.suspects if evidence.background else ()
        self._seen = evidence.background.seen if evidence.background else ()
        self._moved = any(each.measured for each in assessment.anomalies)
        self._normal = any(evidence.metrics.value(each.metric) is not None for each in evidence.normals)

    def of(self, service: str) -> Place:
        """How `service` stands."""
        if service != self._service:
            return place_among(service, self._suspects, self._telling(service), seen=service in self._seen)
        if not self._moved:
            # Without a history only the limits are silent, and what alerts may be a thing that is not measured here.
            standing = Standing.CALM if self._normal else Standing.UNSEEN
            return Place(standing=standing, words=f"nothing that is measured of {service} is unusual")
        if any(each.service != service or is_surge(each.asked) for each in self._suspects):
            return place_among(service, self._suspects, self._telling(service) or ("it",), seen=True)
        return Place(standing=Standing.SUSPECTED, words=f"{service} itself left what is usual")

    def _telling(self, service: str) -> tuple[str, ...]:
        return next((each.moved for each in self._suspects if each.service == service), ())


def guilt_of_live(cause: Cause, evidence: Evidence) -> tuple[Guilt, str]:
    """Whether the live deployment explains the onset, and the reasons; UNKNOWN where none is known to be live."""
    live = evidence.deployments.live
    verdict = cause.verdict(live.id) if live else None
    if verdict is None:
        return Guilt.UNKNOWN, "when the live deployment went live is not known"
    other = cause.guilty
    instead = f"; {other.id} of {other.service} explains it" if other and other.id != verdict.change.id else ""
    return verdict.guilt, f"{verdict.change.id} is {verdict.guilt}: {'; '.join(verdict.reasons)}{instead}"
