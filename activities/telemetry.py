"""What activities count, in the metrics that the worker serves at `WORKER__METRICS_BIND`."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from temporalio import activity

from incident.dossier import Channel
from incident.errors import PermanentError
from incident.messages import ChatKind

MESSAGES = "commander_messages_total"
"""Attempts to tell people something, by `channel`, `kind` and `outcome`; rules and dashboards know the name."""


class Sending(StrEnum):
    """What became of one attempt to send a message."""

    SENT = "sent"
    FAILED = "failed"
    """It is not known to have arrived, and is tried again."""
    REFUSED = "refused"
    """The other system does not take it, however often it is tried."""


@contextmanager
def counted(channel: Channel, kind: ChatKind) -> Iterator[None]:
    """Counts what becomes of the attempt that the block makes; its error passes on as it is."""
    try:
        yield
    except PermanentError:
        _count(channel, kind, Sending.REFUSED)
        raise
    except BaseException:  # whatever ended it, a cancellation included: it is not known to have arrived
        _count(channel, kind, Sending.FAILED)
        raise
    _count(channel, kind, Sending.SENT)


def _count(channel: Channel, kind: ChatKind, outcome: Sending) -> None:
    if activity.in_activity():  # outside of one there is no worker whose metrics these could be
        counter = activity.metric_meter().create_counter(MESSAGES, "Attempts to tell people something.")
        counter.add(1, {"channel": channel, "kind": kind, "outcome": outcome})
