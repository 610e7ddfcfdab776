"""How long each kind of work may take and how often it is tried again. Only Temporal retries.

A heartbeat time-out is how soon a killed worker is noticed: the guard around activities beats by itself. The policy's
`worker_lost_after` stands in its place, by `noticed_within`.
"""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy


class Options(TypedDict, total=False):
    """The part of Temporal's activity options that a kind of work fixes."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


class LocalOptions(TypedDict):
    """The same, for an activity that runs within the workflow task."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    retry_policy: RetryPolicy


def noticed_within(options: Options, worker_lost_after: timedelta) -> Options:
    """`options` under which a worker that died is noticed that soon."""
    return {**options, "heartbeat_timeout": worker_lost_after}


_SOON = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
_NOTICE_A_DEAD_WORKER = timedelta(seconds=5)

READ = Options(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(minutes=2),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=_SOON,
)
"""Looking at a service. Sources have shorter time-outs of their own; retries are for dead workers."""

THINK = Options(
    start_to_close_timeout=timedelta(seconds=60),
    schedule_to_close_timeout=timedelta(seconds=130),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10), maximum_attempts=3
    ),
)
"""Asking an analyst: longer than its client's time-out, done before `page_after`, then the rules decide."""

ACT = Options(
    start_to_close_timeout=timedelta(seconds=180),
    schedule_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=_SOON,
)
"""Changing the world. One attempt may search 90 s for what the one before it began (facts: GitHub's run list lags).

Safe to run twice by its correlation id; after the budget a person is paged.
"""

TELL = Options(
    start_to_close_timeout=timedelta(seconds=15),
    schedule_to_close_timeout=timedelta(minutes=1),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=_SOON,
)
"""A chat message: worth a minute, not worth holding up the end of an incident."""

TELL_AT_ONCE = LocalOptions(
    start_to_close_timeout=timedelta(seconds=1),
    schedule_to_close_timeout=timedelta(seconds=1),
    retry_policy=RetryPolicy(maximum_attempts=1),
)
"""The last chat message, within the workflow task: nothing waits behind it; a slow chat gets TELL after a second."""

WAKE = Options(
    start_to_close_timeout=timedelta(seconds=15),
    schedule_to_close_timeout=timedelta(minutes=1),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=_SOON,
)
"""A page: after a minute the chat is tried in its place, and then the pager again."""

KEEP = LocalOptions(
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=7),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=2),
)
"""Writing the snapshot: one idempotent statement, so it needs no round trip through the server; else KEEP_LATER."""

KEEP_LATER = Options(
    start_to_close_timeout=timedelta(seconds=10),
    schedule_to_close_timeout=timedelta(days=7),
    heartbeat_timeout=_NOTICE_A_DEAD_WORKER,
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=1)),
)
"""Writing the snapshot once the store is back: the incident has long closed."""


def watching(lasts: timedelta) -> Options:
    """Options of checks that go on for that long: no number of dead workers ends a watch."""
    return Options(
        start_to_close_timeout=lasts + timedelta(minutes=5),
        heartbeat_timeout=timedelta(seconds=15),
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
    )
