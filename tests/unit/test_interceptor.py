"""The guard around activities: nothing passes in or out unredacted, errors say whether another try may help."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.interceptor import ActivityGuard
from activities.notify import ResolveInput
from incident.errors import AnalystUnusableError, IntegrationError, PermanentError, TransientError, UnknownServiceError
from tests import builders

SECRET = "ghp_" + "C4n4ry" * 6
"""Looks like a GitHub token, and is none."""
Work = Callable[..., Awaitable[object]]


class Inner(ActivityInboundInterceptor):
    """The activity itself."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - Temporal's signature
        return await self._work(*input.args)


async def guarded(work: Work, *args: object, beats: list[object] | None = None, within: timedelta | None = None) -> Any:  # noqa: ANN401 - what the work gives
    """What `work` gives behind the guard, as an activity with that heartbeat time-out."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_timeout=within)
    environment.on_heartbeat = lambda *details: (beats if beats is not None else []).append(details)
    guard = ActivityGuard().intercept_activity(Inner(work))
    order = ExecuteActivityInput(fn=work, args=list(args), executor=None, headers={})
    return await environment.run(guard.execute_activity, order)


async def failure(error: Exception) -> ApplicationError:
    """What Temporal gets to know of `error`."""

    async def work() -> None:
        raise error

    with structlog.testing.capture_logs(), pytest.raises(ApplicationError) as raised:
        await guarded(work)
    return raised.value


async def test_what_an_activity_is_asked_is_redacted_before_it_sees_it() -> None:
    got: list[object] = []

    async def work(message: object, plain: object) -> None:
        got.extend((message, plain))

    line = builders.log_line(1, f"token is {SECRET}")
    await guarded(work, line, 7)
    assert got == [line.model_copy(update={"message": "token is [REDACTED:github-token]"}), 7]


async def test_what_an_activity_gives_is_redacted_before_temporal_sees_it() -> None:
    async def work() -> object:
        return builders.log_line(1, f"token is {SECRET}")

    assert (await guarded(work)).message == "token is [REDACTED:github-token]"


async def test_an_activity_that_gives_nothing_gives_nothing() -> None:
    async def work() -> None:
        return None

    assert await guarded(work) is None


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (PermanentError("github", "no such workflow"), "PermanentError"),
        (UnknownServiceError("production", "nobody", ()), "UnknownServiceError"),
        (AnalystUnusableError("openai", "refused"), "AnalystUnusableError"),
    ],
)
async def test_what_no_retry_can_mend_is_not_retried(error: IntegrationError, name: str) -> None:
    failed = await failure(error)
    assert failed.non_retryable
    assert (failed.type, failed.message, failed.next_retry_delay) == (name, str(error), None)


async def test_what_a_retry_may_mend_is_retried_when_the_system_says() -> None:
    failed = await failure(TransientError("github", "rate-limited", retry_after=timedelta(minutes=2)))
    assert not failed.non_retryable
    assert (failed.type, failed.next_retry_delay) == ("TransientError", timedelta(minutes=2))
    assert (await failure(TransientError("github", "busy"))).next_retry_delay is None


async def test_an_integration_error_of_no_kind_is_retried() -> None:
    failed = await failure(IntegrationError("github", "odd"))
    assert not failed.non_retryable
    assert failed.next_retry_delay is None


@pytest.mark.parametrize("kind", [TransientError, PermanentError])
async def test_an_errors_text_is_redacted(kind: type[IntegrationError]) -> None:
    failed = await failure(kind("github", f"refused Authorization: Bearer {SECRET}"))
    assert SECRET not in failed.message
    assert "github: refused [REDACTED:authorization]" in failed.message


@pytest.mark.parametrize("error", [TransientError("github", "cut off"), ValueError("odd")])
async def test_no_cause_is_handed_on_since_nothing_redacts_it(error: Exception) -> None:
    error.__cause__ = RuntimeError(SECRET)
    failed = await failure(error)
    assert failed.__cause__ is None
    assert failed.__suppress_context__


async def test_an_error_that_nobody_expected_is_redacted_and_retried() -> None:
    failed = await failure(ValueError(f"cannot parse {SECRET}"))
    assert failed.message == "cannot parse [REDACTED:github-token]"
    assert failed.type == "ValueError"
    assert not failed.non_retryable


async def test_a_cancellation_passes() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await guarded(work, within=timedelta(seconds=5))


async def test_heartbeats_go_out_while_an_activity_works_and_stop_with_it() -> None:
    beats: list[object] = []

    async def work() -> None:
        async with asyncio.timeout(5):
            while len(beats) < 3:  # noqa: ASYNC110 - a heartbeat sets no event
                await asyncio.sleep(0.001)

    await guarded(work, beats=beats, within=timedelta(milliseconds=30))
    count = len(beats)
    assert count >= 3
    assert not [each for each in asyncio.all_tasks() if "_beat" in repr(each)]


async def test_without_a_heartbeat_timeout_none_goes_out() -> None:
    beats: list[object] = []

    async def work() -> None:
        await asyncio.sleep(0)

    await guarded(work, beats=beats)
    assert beats == []


async def test_heartbeats_stop_after_a_failure_too() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise TransientError("github", "busy")

    with structlog.testing.capture_logs(), pytest.raises(ApplicationError):
        await guarded(work, within=timedelta(seconds=1))
    assert not [each for each in asyncio.all_tasks() if "_beat" in repr(each)]


async def test_log_lines_of_an_activity_bear_its_incident() -> None:
    seen: dict[str, object] = {}

    async def work(order: ResolveInput) -> None:
        seen.update(structlog.contextvars.get_contextvars(), key=order.key)

    await guarded(work, ResolveInput(incident_id="incident-7", key="k"))
    assert seen["incident_id"] == "incident-7"
    assert seen["activity"] == "unknown"


async def test_an_order_that_names_no_incident_binds_none() -> None:
    seen: dict[str, object] = {}

    async def work(_plain: object) -> None:
        seen.update(structlog.contextvars.get_contextvars())

    await guarded(work, 7)
    assert seen["incident_id"] == ""
