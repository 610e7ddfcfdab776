"""Changes judged by time and place: which one, if any, explains the onset.

Pure rules without arrays, so that the gate may run them. Where a service's metrics are known, `incident.suspects` says
how each service stands, and the same rules judge.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from incident.cause import Change, ChangeKind, ChangeVerdict, Guilt, Suspect
from incident.model import Fact, Moment, Ratio

SUSPECTED = 0.75
"""Share of the first suspect's score from which on a service's change is a suspect too."""
SURGE = 1.5
"""Times the requests of the hour before from which on they may be the cause: few services hold twice their peak."""
LEAST = 0.1
"""Score below which a service shows nothing: two metrics that are off by less than one spread."""
_TOGETHER = timedelta(minutes=5)
"""Between two changes of one service that time cannot tell apart: what is bad mostly shows within as many minutes."""


class Standing(StrEnum):
    """What is known of the service that a change was made to, since the onset."""

    SUSPECTED = "suspected"
    """It moved, and nothing else explains why."""
    DISTURBED = "disturbed"
    """It moved, but something else explains why."""
    LOADED = "loaded"
    """It moved, and is asked so much more than before that this may be why."""
    CALM = "calm"
    """It was looked at, and did not move."""
    UNSEEN = "unseen"
    """It could not be looked at."""


class Place(Fact):
    """How one service stands, and in words what that rests on."""

    standing: Standing
    words: str
    clear: bool = True
    """Whether its own metrics clearly moved; if not, only a change at the very onset is the likelier for it."""
    suspicion: Ratio = 1.0
    """How strongly it is suspected; among several suspected services, the one whose change is judged first."""


def accuse(
    changes: Sequence[Change],
    onset: datetime | None,
    service: str,
    *,
    moved: bool | None,
    window: timedelta,
    slack: timedelta = timedelta(0),
) -> tuple[ChangeVerdict, ...]:
    """Every change judged by time and place alone, newest first; at most one is guilty.

    Guilty is the last change of the service itself before the onset, if the service measurably moved and the change
    lies within `window`.

    Args:
        changes: in any order.
        onset: when the trouble began; `None`: not known, and then nothing is guilty.
        service: the service that is in trouble.
        moved: whether its own metrics left what is usual; `None`: nobody could tell.
        window: how long before the onset a change may lie and still explain it.
        slack: by how much the onset may be estimated too early, such as the time between two readings.
    """
    own = {
        True: Place(standing=Standing.SUSPECTED, words=f"{service} itself left what is usual"),
        False: Place(standing=Standing.CALM, words=f"{service} shows nothing unusual"),
        None: Place(standing=Standing.UNSEEN, words=f"whether {service} left what is usual is not known"),
    }[moved]

    def place(of: str) -> Place:
        if of == service:
            return own
        return Place(standing=Standing.UNSEEN, words=f"made to {of}, whose metrics were not looked at")

    return judge(changes, onset, place, window, slack)


def place_among(service: str, suspects: Sequence[Suspect], moved: Sequence[str], *, seen: bool) -> Place:
    """How `service` stands among `suspects`, the most suspected first.

    Args:
        service: the one that a change was made to.
        suspects: of the whole trouble.
        moved: the metrics of the service that moved, the most telling first.
        seen: whether there are metrics of the service at all.
    """
    if not seen:
        return Place(standing=Standing.UNSEEN, words=f"there are no metrics of {service} to tell")
    shows = f": {', '.join(moved[:3])} moved" if moved else ""
    for rank, suspect in enumerate(suspects, 1):
        share = suspect.score / suspects[0].score if suspects[0].score else 0.0
        if suspect.service == service and suspect.score >= LEAST and share >= SUSPECTED:
            words = f"{service} is suspect number {rank}{shows or ', but none of its metrics clearly moved'}"
            if is_surge(suspect.asked):
                words += f"; but it is asked {suspect.asked:.1f} times as much as before"
                return Place(standing=Standing.LOADED, words=words, suspicion=share)
            return Place(standing=Standing.SUSPECTED, words=words, suspicion=share, clear=bool(moved))
    if moved and suspects:
        words = f"{suspects[0].service} explains it better than {service}{shows}"
        return Place(standing=Standing.DISTURBED, words=words)
    return Place(standing=Standing.CALM, words=f"{service} shows nothing unusual")


def is_surge(asked: float | None) -> bool:
    """Whether so many times the requests of the hour before may be the cause themselves; `None`: not known."""
    return asked is not None and asked >= SURGE


def judge(
    changes: Sequence[Change],
    onset: datetime | None,
    place: Callable[[str], Place],
    window: timedelta,
    slack: timedelta = timedelta(0),
) -> tuple[ChangeVerdict, ...]:
    """Every change judged by time and by how its service stands, newest first; at most one is guilty.

    Args:
        changes: in any order.
        onset: when the trouble began; `None`: not known, and then nothing is guilty.
        place: how a service stands, by its name.
        window: how long before the onset a change may lie and still explain it.
        slack: by how much the onset may be estimated too early.
    """
    newest_first = sorted(changes, key=lambda change: (change.at, change.id), reverse=True)
    if onset is None:
        return tuple(_verdict(each, Guilt.UNKNOWN, 0, "when the trouble began is not known") for each in newest_first)
    begun = _utc(onset)
    accused = _accused(newest_first, begun, place, window, slack)
    return tuple(_judged(each, accused, begun, place(each.service), window, slack) for each in newest_first)


def _accused(
    newest_first: Sequence[Change],
    onset: Moment,
    place: Callable[[str], Place],
    window: timedelta,
    slack: timedelta,
) -> Change | None:
    """The one that explains it best: on the most suspected service, the last before the onset."""
    possible = [
        each
        for each in newest_first
        if place(each.service).standing is Standing.SUSPECTED
        and onset - (window if place(each.service).clear else slack) <= each.at <= onset + slack
    ]
    return max(possible, key=lambda change: place(change.service).suspicion, default=None)


def _judged(
    change: Change, accused: Change | None, onset: Moment, place: Place, window: timedelta, slack: timedelta
) -> ChangeVerdict:
    when = _when(change.at, onset)
    if change.at > onset + slack:
        return _verdict(change, Guilt.INNOCENT, 0, f"{when}: too late to explain it")
    if change.at < onset - window:
        return _verdict(
            change, Guilt.INNOCENT, 0, f"{when}: {change.service} ran with it for longer than {_span(window)}"
        )
    closeness = 1 - max(onset - change.at, timedelta(0)) / window
    if change is accused:
        return _verdict(change, Guilt.GUILTY, (1 + closeness) / 2 * place.suspicion, when, place.words)
    if place.standing is Standing.SUSPECTED and accused is not None:
        alike = _are_rivals(change, accused)
        guilt, share = (Guilt.UNKNOWN, 2) if alike else (Guilt.INNOCENT, 4)
        words = f"{accused.id} explains it {'as well' if alike else 'better'}"
        return _verdict(change, guilt, closeness / share, when, words)
    if place.standing in {Standing.SUSPECTED, Standing.LOADED, Standing.UNSEEN}:
        return _verdict(change, Guilt.UNKNOWN, closeness / 2, when, place.words)
    return _verdict(change, Guilt.INNOCENT, closeness / 4, when, place.words)


def _are_rivals(change: Change, accused: Change) -> bool:
    """Whether time cannot tell the two apart; of two deployments the later one holds the earlier one as well."""
    if change.service != accused.service or change.kind is accused.kind is ChangeKind.DEPLOYMENT:
        return False
    return accused.at - change.at <= _TOGETHER


def _verdict(change: Change, guilt: Guilt, score: float, *reasons: str) -> ChangeVerdict:
    return ChangeVerdict(change=change, guilt=guilt, score=min(max(score, 0.0), 1.0), reasons=reasons)


def _when(at: datetime, onset: datetime) -> str:
    if at == onset:
        return "made as the trouble began"
    return f"made {_span(abs(onset - at))} {'before' if at < onset else 'after'} the trouble began"


def _span(span: timedelta) -> str:
    """`40 s`, `12 min`, `2.5 h`, `3.0 d`: in the largest unit of which there are at least two."""
    seconds = span.total_seconds()
    for unit, length, digits in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


_UNITS = (("d", 86_400, 1), ("h", 3_600, 1), ("min", 60, 0))
"""Name, seconds, and the digits that are worth showing."""


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
