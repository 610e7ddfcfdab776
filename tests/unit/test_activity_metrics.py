"""Whether people were told is counted: each attempt once, by channel, kind and what became of it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import ActivityEnvironment

from activities.notify import Notify, ResolveInput
from activities.telemetry import MESSAGES
from incident.errors import PermanentError, TransientError
from incident.messages import Change, ChatKind, ChatMessage, Page
from incident.severity import Severity
from tests import builders
from tests.fakes import FakeChat, FakePager

AWAY = TransientError("pagerduty", "does not answer")
REFUSES = PermanentError("pagerduty", "refuses the event")
CHAT = ChatMessage(kind=ChatKind.ALERT, incident_id=builders.INCIDENT_ID, title="P0", fields=())
PAGE = Page(
    key="k",
    incident_id=builders.INCIDENT_ID,
    severity=Severity.P0,
    priority="P1",
    summary="P0",
    service=builders.SERVICE,
    environment=builders.ENVIRONMENT,
    details=(),
)
CHANGE = Change(
    incident_id=builders.INCIDENT_ID,
    summary="rolled back",
    service=builders.SERVICE,
    environment=builders.ENVIRONMENT,
    at=builders.NOW,
)
RESOLVE = ResolveInput(incident_id=builders.INCIDENT_ID, key="k")

Call = Callable[[Notify], tuple[Callable[..., Any], Any]]
TELLING: Mapping[tuple[str, str], Call] = {
    ("chat", "alert"): lambda notify: (notify.chat, CHAT),
    ("pager", "page"): lambda notify: (notify.page, PAGE),
    ("pager", "resolve"): lambda notify: (notify.resolve, RESOLVE),
    ("pager", "change"): lambda notify: (notify.change, CHANGE),
}
EVERY_WAY = pytest.mark.parametrize(("channel", "kind"), list(TELLING))


class Meter:
    """What was counted, by the SDK's own meter."""

    def __init__(self, buffer: MetricBuffer, runtime: Runtime) -> None:
        self._buffer = buffer
        self.environment = ActivityEnvironment()
        self.environment.metric_meter = runtime.metric_meter

    def counted(self) -> list[tuple[str, int | float, Mapping[str, Any]]]:
        """Name, number and our labels of each count since the last look; the SDK adds its own."""
        ours = ("channel", "kind", "outcome")
        updates = self._buffer.retrieve_updates()
        return [(each.metric.name, each.value, {label: each.attributes[label] for label in ours}) for each in updates]


@pytest.fixture(scope="module")
def shared() -> tuple[MetricBuffer, Runtime]:
    """One for the module: every runtime has threads of its own."""
    buffer = MetricBuffer(10_000)
    return buffer, Runtime(telemetry=TelemetryConfig(metrics=buffer))


@pytest.fixture
def meter(shared: tuple[MetricBuffer, Runtime]) -> Iterator[Meter]:
    meter = Meter(*shared)
    meter.counted()
    yield meter
    assert meter.counted() == []


def once(channel: str, kind: str, outcome: str) -> list[tuple[str, int, Mapping[str, str]]]:
    return [(MESSAGES, 1, {"channel": channel, "kind": kind, "outcome": outcome})]


@EVERY_WAY
async def test_what_was_taken_counts_as_sent(meter: Meter, channel: str, kind: str) -> None:
    tell, what = TELLING[channel, kind](Notify(FakeChat(), FakePager()))
    await meter.environment.run(tell, what)
    assert meter.counted() == once(channel, kind, "sent")


@EVERY_WAY
async def test_what_may_be_tried_again_counts_as_failed(meter: Meter, channel: str, kind: str) -> None:
    tell, what = TELLING[channel, kind](Notify(FakeChat(error=AWAY), FakePager(error=AWAY)))
    with pytest.raises(TransientError):
        await meter.environment.run(tell, what)
    assert meter.counted() == once(channel, kind, "failed")


@EVERY_WAY
async def test_what_is_refused_counts_as_refused(meter: Meter, channel: str, kind: str) -> None:
    tell, what = TELLING[channel, kind](Notify(FakeChat(error=REFUSES), FakePager(error=REFUSES)))
    with pytest.raises(PermanentError):
        await meter.environment.run(tell, what)
    assert meter.counted() == once(channel, kind, "refused")


@pytest.mark.parametrize("error", [ValueError("a bug"), asyncio.CancelledError()])
async def test_what_broke_or_was_called_off_did_not_arrive(meter: Meter, error: BaseException) -> None:
    with pytest.raises(type(error)):
        await meter.environment.run(Notify(FakeChat(), _Breaking(error)).page, PAGE)
    assert meter.counted() == once("pager", "page", "failed")


async def test_each_attempt_counts(meter: Meter) -> None:
    notify = Notify(FakeChat(), FakePager(AWAY))
    with pytest.raises(TransientError):
        await meter.environment.run(notify.page, PAGE)
    await meter.environment.run(notify.page, PAGE)
    assert meter.counted() == once("pager", "page", "failed") + once("pager", "page", "sent")


async def test_a_message_says_of_which_kind_it_is(meter: Meter) -> None:
    notify = Notify(FakeChat(), FakePager())
    await meter.environment.run(notify.chat, CHAT.model_copy(update={"kind": ChatKind.QUESTION}))
    assert meter.counted() == once("chat", "question", "sent")


async def test_outside_of_a_worker_nothing_is_counted(meter: Meter) -> None:
    pager = FakePager()
    await Notify(FakeChat(), pager).page(PAGE)
    assert pager.sent == [PAGE]
    assert meter.counted() == []


class _Breaking(FakePager):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    async def page(self, page: Page) -> None:
        del page
        raise self._error
