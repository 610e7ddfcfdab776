"""A Temporal history as a test reads it: what was asked, what came of it, which timers ran, what people answered."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes


class Happening(StrEnum):
    """What an event tells of."""

    SCHEDULED = "activity scheduled"
    COMPLETED = "activity completed"
    TIMER = "timer started"
    ANSWERED = "update accepted, or signal taken"
    CLOSED = "workflow completed"


@dataclass(frozen=True)
class Event:
    """One event. `value`: the input of what was asked, the result of what was completed, as JSON."""

    number: int
    at: datetime
    kind: Happening
    name: str
    """The activity's type, the timer's summary, the name of the update or signal."""
    value: Any = None
    attempt: int = 1
    """Of what was completed: which attempt that was."""
    asked: Any = None
    """Of what was completed: the input that it was asked with."""


@dataclass(frozen=True)
class History:
    """The events that a test looks at, oldest first, and every byte of all events."""

    events: Sequence[Event] = ()
    raw: bytes = b""

    def of(self, kind: Happening, *names: str) -> Sequence[Event]:
        """The events of that kind, of those names; without any, of all."""
        return [event for event in self.events if event.kind is kind and (not names or event.name in names)]

    def activities(self) -> dict[str, int]:
        """How often each type of activity was scheduled, local ones too, in the order of their first completion."""
        done = self.of(Happening.COMPLETED)
        return {name: sum(each.name == name for each in done) for name in dict.fromkeys(each.name for each in done)}

    def timers(self) -> Sequence[str]:
        """The summaries of all timers, each once."""
        return list(dict.fromkeys(event.name for event in self.of(Happening.TIMER)))


async def read(events: AsyncIterator[HistoryEvent]) -> History:
    """The history that those events are."""
    found: list[Event] = []
    scheduled: dict[int, str] = {}
    attempts: dict[int, int] = {}
    inputs: dict[int, Any] = {}
    raw = b""
    async for event in events:
        raw += event.SerializeToString()
        started = event.activity_task_started_event_attributes
        attempts[started.scheduled_event_id] = started.attempt
        told = _told(event, scheduled)
        if told:
            at = event.event_time.ToDatetime(UTC)
            order = event.activity_task_completed_event_attributes.scheduled_event_id
            inputs[event.event_id] = told[2]
            attempt = max(attempts.get(order, 1), 1)
            found.append(Event(event.event_id, at, *told, attempt=attempt, asked=inputs.get(order)))
    return History(found, raw)


def _told(  # noqa: PLR0911 - one return a kind of event
    event: HistoryEvent, scheduled: dict[int, str]
) -> tuple[Happening, str, Any] | None:
    match event.WhichOneof("attributes"):
        case "activity_task_scheduled_event_attributes":
            asked = event.activity_task_scheduled_event_attributes
            scheduled[event.event_id] = asked.activity_type.name
            return Happening.SCHEDULED, asked.activity_type.name, _first(asked.input.payloads)
        case "activity_task_completed_event_attributes":
            done = event.activity_task_completed_event_attributes
            return Happening.COMPLETED, scheduled[done.scheduled_event_id], _first(done.result.payloads)
        case "marker_recorded_event_attributes":
            return _local(event.marker_recorded_event_attributes)
        case "timer_started_event_attributes":
            return Happening.TIMER, _decoded(event.user_metadata.summary), None
        case "workflow_execution_update_accepted_event_attributes":
            given = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
            return Happening.ANSWERED, given.name, _first(given.args.payloads)
        case "workflow_execution_signaled_event_attributes":
            signal = event.workflow_execution_signaled_event_attributes
            return Happening.ANSWERED, signal.signal_name, _first(signal.input.payloads)
        case "workflow_execution_completed_event_attributes":
            result = event.workflow_execution_completed_event_attributes.result
            return Happening.CLOSED, "", _first(result.payloads)
        case _:
            return None


def _local(marker: MarkerRecordedEventAttributes) -> tuple[Happening, str, Any] | None:
    if marker.marker_name != "core_local_activity" or marker.HasField("failure"):
        return None
    name = _first(marker.details["data"].payloads)["activity_type"]
    return Happening.COMPLETED, name, _first(marker.details["result"].payloads)


def _first(payloads: Sequence[Payload]) -> Any:  # noqa: ANN401 - JSON
    return _decoded(payloads[0]) if payloads else None


def _decoded(payload: Payload) -> Any:  # noqa: ANN401 - JSON
    return json.loads(payload.data) if payload.data else None
