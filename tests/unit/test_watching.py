"""When checks of a watched service open an incident, and how they are taken."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.testing import ActivityEnvironment

from activities.observation import Observer
from activities.watch import Watch, Watched, WatchInput
from incident.anomalies import Thresholds
from incident.errors import TransientError
from incident.evidence import Source
from incident.watching import WatchLimits
from tests import builders
from tests.fakes import FakeService, FakeServices

BAD, GOOD = True, False
AT_ONCE = timedelta(milliseconds=1)
PATIENCE = 10


@pytest.mark.parametrize(
    ("checks", "opens"),
    [
        ((), False),
        ((BAD,), False),
        ((BAD, BAD), True),
        ((BAD, GOOD, BAD), True),
        ((BAD, GOOD, GOOD, BAD), False),
        ((BAD, BAD, GOOD), True),
        ((BAD, BAD, GOOD, GOOD), False),
    ],
)
def test_two_bad_checks_of_the_newest_three_open_an_incident(checks: tuple[bool, ...], opens: bool) -> None:  # noqa: FBT001 - a case
    assert WatchLimits().holds(checks) is opens


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5), st.integers(0, 4))
def test_only_the_newest_checks_count(checks: list[bool], bad: int, more: int) -> None:
    limits = WatchLimits(bad=bad, of=bad + more)
    assert limits.holds(checks) is limits.holds(limits.newest(checks)) is (sum(checks[-(bad + more) :]) >= bad)


def test_more_bad_checks_than_are_looked_at_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="bad: expected at most `of`"):
        WatchLimits(bad=4, of=3)


async def test_bad_checks_that_hold_end_a_stretch_with_what_was_seen() -> None:
    service = FakeService(live=101)
    watched = await stretch(service)
    assert (watched.checks, watched.taken, watched.holds) == ((BAD, BAD), 2, True)
    assert "CRITICAL" in watched.said


async def test_a_healthy_service_is_checked_until_the_time_is_over() -> None:
    watched = await stretch(FakeService(live=100), lasts=timedelta(milliseconds=50))
    assert (set(watched.checks), watched.holds, watched.said) == ({GOOD}, False, "")
    assert watched.taken >= len(watched.checks)


async def test_a_service_that_cannot_be_seen_is_not_healthy() -> None:
    service = FakeService(live=100)
    for source in Source:
        service.fail(source, TransientError("prometheus", "cannot be reached"))
    watched = await stretch(service)
    assert watched.holds
    assert watched.said


async def test_the_checks_before_count() -> None:
    watched = await stretch(FakeService(live=101), checks=(BAD, GOOD))
    assert (watched.checks, watched.taken, watched.holds) == ((BAD, GOOD, BAD), 1, True)


async def test_only_metrics_and_alerts_are_asked_for() -> None:
    service = FakeService(live=101)
    await stretch(service)
    assert set(service.reads) == {Source.METRICS, Source.ALERTS}


async def test_a_worker_that_is_to_stop_gives_the_watch_away_at_once() -> None:
    environment, service = ActivityEnvironment(), FakeService(live=100)
    watching = asyncio.create_task(
        environment.run(watch(service).stretch, order(limits=WatchLimits(every=timedelta(hours=1))))
    )
    async with asyncio.timeout(PATIENCE):
        while not service.reads[Source.ALERTS]:  # noqa: ASYNC110 - the fake has no event to wait for
            await asyncio.sleep(0)
        environment.worker_shutdown()
        assert await watching == Watched(checks=(GOOD,), taken=1, holds=False)


async def test_the_first_check_falls_where_the_pick_says() -> None:
    service = FakeService(live=101)
    late = Watch(observer(service), at_once=1, pick=lambda: 1.0)
    hourly = order(limits=WatchLimits(every=timedelta(hours=1)), lasts=timedelta(0))
    environment = ActivityEnvironment()
    watching = asyncio.create_task(environment.run(late.stretch, hourly))
    done, _ = await asyncio.wait({watching}, timeout=0.05)
    assert not done
    assert not service.reads
    environment.worker_shutdown()
    assert (await watching).taken == 0


async def test_no_more_services_are_looked_at_together_than_may_be() -> None:
    service = FakeService(live=101)
    gate = service.hang(Source.METRICS)
    one = watch(service, at_once=2)
    watching = [asyncio.create_task(ActivityEnvironment().run(one.stretch, order())) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        while service.reads[Source.ALERTS] < 2:  # noqa: ASYNC110 - the fake has no event to wait for
            await asyncio.sleep(0)
        await asyncio.wait(watching, timeout=0.05)
        assert service.reads[Source.ALERTS] == 2
        gate.set()
        assert all(each.holds for each in await asyncio.gather(*watching))


def observer(service: FakeService) -> Observer:
    return Observer(FakeServices(service), lambda: builders.NOW)


def watch(service: FakeService, at_once: int = 10) -> Watch:
    return Watch(observer(service), at_once, pick=lambda: 0.0)


def order(**changes: Any) -> WatchInput:  # noqa: ANN401 - any field
    return WatchInput.model_validate(
        {
            "environment": builders.ENVIRONMENT,
            "service": builders.SERVICE,
            "thresholds": Thresholds(),
            "source_timeout": timedelta(seconds=PATIENCE),
            "limits": WatchLimits(every=AT_ONCE),
            "lasts": timedelta(hours=1),
            **changes,
        }
    )


async def stretch(service: FakeService, **changes: Any) -> Watched:  # noqa: ANN401 - any field
    async with asyncio.timeout(PATIENCE):
        return await ActivityEnvironment().run(watch(service).stretch, order(**changes))
