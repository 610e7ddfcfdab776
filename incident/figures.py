"""How incidents went, in figures: how many, how bad, how soon detected, acted on and recovered, and what was none.

What is not known is counted as not known; it is never zero and never left out in silence.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from math import ceil
from statistics import median

from pydantic import Field

from incident.dossier import Stage
from incident.model import Fact
from incident.recovery import Classification, Look, classify, look_at
from incident.severity import Severity
from incident.snapshot import Outcome, Snapshot

ALERTING = frozenset({"alertmanager", "grafana"})
"""The triggers that are an alert's word; people, schedules and demonstrations look without any alert."""


class Spread(Fact):
    """How long something took over many incidents."""

    known: int = Field(ge=0, description="incidents of which it is known")
    unknown: int = Field(ge=0, description="incidents of which it ought to be known and is not")
    median: timedelta | None = Field(default=None, description="null: known of none")
    p90: timedelta | None = Field(
        default=None, description="nine in ten took no longer: the nearest rank; null: known of none"
    )


class Count(Fact):
    """How many incidents of one severity ended in one way."""

    severity: Severity
    outcome: Outcome
    incidents: int = Field(ge=0)


class Figures(Fact):
    """The figures of some incidents."""

    incidents: int = Field(ge=0)
    counts: tuple[Count, ...] = Field(description="every severity with every outcome, zeros included")
    to_detect: Spread = Field(description="onset → opened")
    to_act: Spread = Field(description="opened → the remediation was asked for")
    to_recover: Spread = Field(description="opened → the first look of the good ones that it ended with")
    by_alert: int = Field(ge=0, description="opened by an alert")
    false_alarms: int = Field(ge=0, description="of these, the ones where nothing was anomalous")
    called_off: int = Field(ge=0, description="ended by a person before anything was done, rightly opened or not")

    def count(self, severity: Severity, outcome: Outcome) -> int:
        """How many incidents of that severity ended so."""
        return sum(each.incidents for each in self.counts if (each.severity, each.outcome) == (severity, outcome))


def figures(snapshots: Iterable[Snapshot]) -> Figures:
    """The figures of `snapshots`.

    Times are taken of incidents only, not of looks that found nothing (NO_INCIDENT). To act is asked of those where
    something was done, to recover of those that recovered.
    """
    every = tuple(snapshots)
    real = [each for each in every if each.outcome is not Outcome.NO_INCIDENT]
    alerted = [each for each in every if each.trigger.source in ALERTING]
    return Figures(
        incidents=len(every),
        counts=tuple(
            Count(
                severity=severity,
                outcome=outcome,
                incidents=sum((each.severity, each.outcome) == (severity, outcome) for each in every),
            )
            for severity in Severity
            for outcome in Outcome
        ),
        to_detect=_spread(real, time_to_detect),
        to_act=_spread([each for each in real if each.remediation and each.remediation.acted], time_to_act),
        to_recover=_spread([each for each in real if each.outcome is Outcome.RECOVERED], time_to_recover),
        by_alert=len(alerted),
        false_alarms=sum(each.outcome is Outcome.NO_INCIDENT for each in alerted),
        called_off=sum(each.outcome is Outcome.CANCELLED for each in every),
    )


def time_to_detect(snapshot: Snapshot) -> timedelta | None:
    """From the start of the oldest alert that fired to the opening; `None`: not known.

    Where no alert fired, or the first one did later, nothing tells when the trouble began.
    """
    firing = snapshot.evidence.alerts.firing if snapshot.evidence else ()
    onset = min((alert.started_at for alert in firing), default=None)
    return snapshot.opened_at - onset if onset and onset <= snapshot.opened_at else None


def time_to_act(snapshot: Snapshot) -> timedelta | None:
    """From the opening to when the remediation was asked for; `None`: nothing was done, or it is not known when.

    Where the target system does not say, the timeline's entry into the remediation does.
    """
    record = snapshot.remediation
    if record is None or not record.acted or record.run is None:
        return None
    entered = (entry.at for entry in snapshot.timeline if entry.stage is Stage.REMEDIATING)
    began = record.run.asked_at or next(entered, None)
    return began - snapshot.opened_at if began else None


def time_to_recover(snapshot: Snapshot) -> timedelta | None:
    """From the opening to the first of the good looks that the incident ended with; `None`: not recovered, or unknown.

    What came good and went bad again in between does not count.
    """
    recovery = snapshot.recovery
    if recovery is None or recovery.classification is not Classification.FULLY_RECOVERED:
        return None
    if recovery.good_since:
        return recovery.good_since - snapshot.opened_at
    since = None
    for look in reversed(snapshot.looks):
        if not _good(look, snapshot):
            break
        since = look.at
    return since - snapshot.opened_at if since else None


def _good(look: Look, snapshot: Snapshot) -> bool:
    """Whether this look by itself is one that counts towards recovery."""
    if snapshot.evidence is None or snapshot.assessment is None:
        return False
    alone = snapshot.policy.recovery.model_copy(update={"stable_looks": 1})
    return classify(look_at(snapshot.evidence, snapshot.assessment), [look], alone).settled


def _spread(snapshots: Sequence[Snapshot], taken: Callable[[Snapshot], timedelta | None]) -> Spread:
    known = sorted(time for each in snapshots if (time := taken(each)) is not None)
    if not known:
        return Spread(known=0, unknown=len(snapshots))
    seconds = [time.total_seconds() for time in known]
    return Spread(
        known=len(known),
        unknown=len(snapshots) - len(known),
        median=timedelta(seconds=median(seconds)),
        p90=known[ceil(len(known) * 0.9) - 1],
    )
