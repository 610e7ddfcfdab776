"""Looking at a service: sources cannot spoil each other, and what failed says so."""

import asyncio
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.detect import Detect, LiveDeployment, LiveInput
from activities.observation import Observer
from incident.errors import PermanentError, TransientError, UnknownServiceError
from incident.evidence import DeploymentsReport, Evidence, Source, SourceState
from tests import builders
from tests.fakes import FakeService, FakeServices

LIMIT = timedelta(milliseconds=50)


def now() -> datetime:
    return builders.NOW


async def context(service: FakeService, limit: timedelta = LIMIT) -> Evidence:
    return await Observer(FakeServices(service), now).context(builders.ENVIRONMENT, builders.SERVICE, limit)


def states(seen: Evidence) -> dict[Source, SourceState]:
    return {
        Source.METRICS: seen.metrics.state,
        Source.LOGS: seen.logs.state,
        Source.ALERTS: seen.alerts.state,
        Source.DEPLOYMENTS: seen.deployments.state,
    }


@pytest.mark.parametrize("hanging", Source)
async def test_a_source_that_hangs_fails_alone(hanging: Source) -> None:
    service = FakeService(live=101)
    service.hang(hanging)
    seen = await context(service)
    assert states(seen) == {each: SourceState.FAILED if each is hanging else SourceState.OK for each in Source}
    assert seen.missing == (f"{hanging}: no answer within 0.05 s",)


@pytest.mark.parametrize("error", [TransientError("loki", "overloaded"), PermanentError("loki", "no such tenant")])
async def test_a_source_that_fails_names_its_system_and_problem(error: TransientError | PermanentError) -> None:
    service = FakeService(live=101)
    service.fail(Source.LOGS, error)
    seen = await context(service)
    assert (seen.logs.source, seen.logs.state, seen.logs.problem) == ("loki", SourceState.FAILED, error.problem)
    assert seen.missing == (f"logs: {error.problem}",)


async def test_every_source_may_fail_at_once() -> None:
    service = FakeService()
    for source in Source:
        service.fail(source, TransientError("network", "unreachable"))
    assert len((await context(service)).missing) == 4


async def test_the_sources_are_asked_at_the_same_time() -> None:
    service = FakeService()
    gates = [service.hang(source) for source in Source]
    asking = asyncio.create_task(context(service, timedelta(seconds=5)))
    async with asyncio.timeout(5):
        while sum(service.reads.values()) < 4:  # noqa: ASYNC110 - a read sets no event
            await asyncio.sleep(0)
    for gate in gates:
        gate.set()
    assert (await asking).missing == ()


async def test_what_is_no_integration_error_is_not_taken_for_a_missing_source() -> None:
    service = FakeService()
    service.fail(Source.METRICS, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await context(service)


async def test_evidence_bears_the_time_of_the_clock_and_the_name_that_was_asked_for() -> None:
    seen = await context(FakeService())
    assert (seen.collected_at, seen.environment, seen.service) == (
        builders.NOW,
        builders.ENVIRONMENT,
        builders.SERVICE,
    )


async def test_a_pulse_asks_for_metrics_and_alerts_only() -> None:
    service = FakeService(live=101)
    service.hang(Source.ALERTS)
    observer = Observer(FakeServices(service), now)
    seen = await observer.pulse(builders.ENVIRONMENT, builders.SERVICE, LIMIT)
    assert set(service.reads) == {Source.METRICS, Source.ALERTS}
    assert states(seen) == {
        Source.METRICS: SourceState.OK,
        Source.ALERTS: SourceState.FAILED,
        Source.LOGS: SourceState.EMPTY,
        Source.DEPLOYMENTS: SourceState.EMPTY,
    }
    assert seen.missing == ("alerts: no answer within 0.05 s",)


async def test_a_pulse_asks_for_the_deployments_where_they_are_wanted() -> None:
    service = FakeService(live=101)
    observer = Observer(FakeServices(service), now)
    seen = await observer.pulse(builders.ENVIRONMENT, builders.SERVICE, LIMIT, deployments=True)
    assert set(service.reads) == {Source.METRICS, Source.ALERTS, Source.DEPLOYMENTS}
    assert seen.deployments.live


async def test_a_confirmation_asks_for_metrics_and_deployments_only() -> None:
    service = FakeService(live=101)
    seen = await Observer(FakeServices(service), now).confirmation(builders.ENVIRONMENT, builders.SERVICE, LIMIT)
    assert set(service.reads) == {Source.METRICS, Source.DEPLOYMENTS}
    assert seen.missing == ()


async def test_log_templates_are_told_apart_by_the_live_deployment() -> None:
    service = FakeService(live=101)
    live = service.releases.history()[-1].activated_at
    assert live is not None
    times = {"old": live - timedelta(minutes=1), "new": live + timedelta(minutes=1)}
    templates = tuple(builders.log_template(text=text, first_at=at) for text, at in times.items())
    service.answer(Source.LOGS, builders.logs(templates=templates * 20))
    seen = await context(service)
    assert [(each.text, each.new) for each in seen.logs.templates] == [("new", True)] * 20 + [("old", False)] * 10
    assert seen.logs.more_templates == 10


async def test_without_a_live_deployment_it_is_not_known_which_templates_are_new() -> None:
    service = FakeService(live=101)
    service.fail(Source.DEPLOYMENTS, TransientError("github", "away"))
    service.answer(Source.LOGS, builders.logs(templates=(builders.log_template(),)))
    assert (await context(service)).logs.templates[0].new is None


# What is live.


async def releases(service: FakeService) -> DeploymentsReport:
    return await Observer(FakeServices(service), now).releases(builders.ENVIRONMENT, builders.SERVICE, LIMIT)


async def live(service: FakeService, name: str = builders.SERVICE) -> LiveDeployment:
    order = LiveInput(
        incident_id=builders.INCIDENT_ID, environment=builders.ENVIRONMENT, service=name, source_timeout=LIMIT
    )
    return await ActivityEnvironment().run(Detect(Observer(FakeServices(service), now)).live, order)


async def test_the_releases_are_the_history_alone() -> None:
    service = FakeService(live=101)
    assert (await releases(service)).deployments == service.releases.history()
    assert set(service.reads) == {Source.DEPLOYMENTS}


async def test_releases_that_fail_or_hang_say_so() -> None:
    failing, hanging = FakeService(), FakeService()
    failing.fail(Source.DEPLOYMENTS, PermanentError("github", "bad credentials"))
    hanging.hang(Source.DEPLOYMENTS)
    for service, problem in ((failing, "bad credentials"), (hanging, "no answer within 0.05 s")):
        report = await releases(service)
        assert (report.state, report.problem) == (SourceState.FAILED, problem)


async def test_the_live_deployment_is_told_by_the_history() -> None:
    service = FakeService(live=101)
    assert await live(service) == LiveDeployment(deployment_id=101)
    service.deploy(102)
    assert await live(service) == LiveDeployment(deployment_id=102)


async def test_a_live_deployment_that_cannot_be_told_says_why() -> None:
    failing, unclear = FakeService(), FakeService()
    failing.fail(Source.DEPLOYMENTS, TransientError("github", "no answer"))
    unclear.answer(Source.DEPLOYMENTS, builders.deployments(builders.deployment(100)))
    assert await live(failing) == LiveDeployment(problem="no answer")
    assert await live(unclear) == LiveDeployment(problem="the history names no single live deployment")


async def test_an_unknown_service_has_no_live_deployment() -> None:
    with pytest.raises(UnknownServiceError):
        await live(FakeService(), "nobody")


async def test_an_unknown_service_is_refused() -> None:
    observer = Observer(FakeServices(FakeService()), now)
    with pytest.raises(UnknownServiceError):
        await observer.context("staging", builders.SERVICE, LIMIT)
    with pytest.raises(UnknownServiceError):
        await observer.pulse(builders.ENVIRONMENT, "nobody", LIMIT)
    with pytest.raises(UnknownServiceError):
        await observer.releases(builders.ENVIRONMENT, "nobody", LIMIT)
