"""Boundaries: the moments of an incident at which something may die, and the names by which a fuse knows them.

Of an activity: before it has done anything, after it has done everything, and once its completion is recorded. Of a
call: before it leaves, once the server has done it and nothing of the answer is read, and once the answer is read and
nobody has been given it. Of a timer: while it runs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Moment(StrEnum):
    """Where on an activity, a call or a timer."""

    BEFORE = "before"
    AFTER = "after"
    COMPLETED = "completed"
    ACCEPTED = "accepted"
    ANSWERED = "answered"
    DURING = "during"


OF_AN_ACTIVITY = (Moment.BEFORE, Moment.AFTER, Moment.COMPLETED)
OF_A_CALL = (Moment.BEFORE, Moment.ACCEPTED, Moment.ANSWERED)


@dataclass(frozen=True, order=True)
class Boundary:
    """One moment: of an activity by its type, of a call by its template, of a timer by its summary."""

    moment: Moment
    what: str
    nth: int = 1
    """Which one of several activities of that type in one incident."""

    @property
    def point(self) -> str:
        """Its name, such as `after verify.look #3`; `parsed` reads it."""
        return f"{self.moment} {self.what}" + (f" #{self.nth}" if self.nth > 1 else "")


def parsed(point: str) -> Boundary:
    """The boundary of that name."""
    moment, _, what = point.partition(" ")
    numbered = re.fullmatch(r"(.+) #([0-9]+)", what)
    return Boundary(Moment(moment), numbered[1], int(numbered[2])) if numbered else Boundary(Moment(moment), what)


def before(what: str, nth: int = 1) -> str:
    """The point at which an activity has done nothing yet, or a call has not left."""
    return Boundary(Moment.BEFORE, what, nth).point


def after(activity: str, nth: int = 1) -> str:
    """The point at which `activity` has done everything and has not reported it."""
    return Boundary(Moment.AFTER, activity, nth).point


def accepted(call: str) -> str:
    """The point at which the server has done what `call` asks for, and nothing of its answer is read."""
    return Boundary(Moment.ACCEPTED, call).point


def answered(call: str) -> str:
    """The point at which the whole answer to `call` is read, and nobody has been given it."""
    return Boundary(Moment.ANSWERED, call).point


def template(method: str, path: str, query: Iterable[str]) -> str:
    """A call without what differs from one incident to the next: method, path, names of what is asked in the query."""
    names = "&".join(sorted(query))
    return f"{method} {_VARIES.sub('{}', _REPOSITORY.sub('/repos/{}', path))}" + (f"?{names}" if names else "")


_REPOSITORY = re.compile(r"^/repos/[^/]+/[^/]+(?=/)")
_VARIES = re.compile(r"(?<=/)(?:[0-9]+|[0-9a-f]{40}\.\.\.[0-9a-f]{40})(?=/|\Z)")


def enumerated(activities: Mapping[str, int], calls: Iterable[str], timers: Iterable[str]) -> tuple[Boundary, ...]:
    """Every boundary of a recorded incident, in the order given.

    Args:
        activities: how often one of each type was scheduled; of those that repeat, the first and the last count.
        calls: their templates.
        timers: their summaries.
    """
    return tuple(
        dict.fromkeys(
            (
                *(
                    Boundary(moment, activity, nth)
                    for activity, count in activities.items()
                    for nth in dict.fromkeys((1, count))
                    for moment in OF_AN_ACTIVITY
                ),
                *(Boundary(moment, call) for call in calls for moment in OF_A_CALL),
                *(Boundary(Moment.DURING, timer) for timer in timers),
            )
        )
    )


ACTIVATE = "POST /deployment/{}/activate"
DISPATCH = "POST /repos/{}/actions/workflows/rollback.yml/dispatches"
"""The calls that change what is live: of the mock service, and of GitHub."""
