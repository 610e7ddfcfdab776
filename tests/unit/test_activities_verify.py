"""Verify: how the service is now, and what is live where that is asked."""

from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.observation import Observer
from activities.verify import Verified, Verify, VerifyInput
from incident.cause import Climb
from incident.errors import PermanentError, UnknownServiceError
from incident.evidence import Metric, Neighbour, Source
from incident.recovery import Classification, Recovery
from incident.samples import Samples
from incident.severity import Severity
from tests import builders
from tests.burns import burn_report
from tests.fakes import FakeService, FakeServices
from tests.histories import FakeSurroundings

EVERY_PAGE = {"6h": 0.02, "1h": 0.2, "30m": 0.3, "5m": 0.3}
"""What an outage leaves in the windows, long after it is over."""
WELL: dict[Metric, float | None] = {Metric.ERROR_RATE: 0.008, Metric.P99_LATENCY: 180.0}


def now() -> datetime:
    return builders.NOW


def task(**changes: object) -> VerifyInput:
    rules = builders.policy()
    return VerifyInput.model_validate(
        {
            "incident_id": builders.INCIDENT_ID,
            "environment": builders.ENVIRONMENT,
            "service": builders.SERVICE,
            "before": builders.look(seen=builders.degraded_evidence()),
            "looks": (),
            "thresholds": rules.thresholds,
            "limits": rules.recovery,
            "source_timeout": timedelta(milliseconds=50),
            **changes,
        }
    )


async def looked(service: FakeService, **changes: object) -> Verified:
    verify = Verify(Observer(FakeServices(service), now))
    return await ActivityEnvironment().run(verify.look, task(**changes))


async def test_one_look_says_how_it_is_compared_with_before() -> None:
    service = FakeService(live=100)
    found = await looked(service)
    assert len(found.looks) == 1
    assert found.recovery.classification is Classification.SIGNIFICANT_IMPROVEMENT
    assert (found.recovery.settled, found.severity, found.live) == (False, Severity.P3, None)
    assert set(service.reads) == {Source.METRICS, Source.ALERTS}


@pytest.mark.parametrize(("memory", "well"), [(80.0, False), (45.0, True)], ids=["climbs on", "given back"])
async def test_memory_that_climbs_has_not_recovered_before_it_was_given_back(memory: float, well: bool) -> None:  # noqa: FBT001 - the case
    climb = Climb(what="memory", since=builders.NOW, within=timedelta(minutes=5), pace=0.3, midway=0.5)
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics({"memory_usage": memory}))
    before = builders.look(seen=builders.degraded_evidence().with_normals((), climb))
    found = await looked(service, before=before, climb=climb, times=5)
    assert (found.recovery.classification is Classification.FULLY_RECOVERED) is well
    assert (len(found.looks), found.severity) == ((2, Severity.P3) if well else (5, Severity.P2))


async def test_the_looks_before_count() -> None:
    found = await looked(FakeService(live=100), looks=(builders.look(),))
    assert found.recovery.classification is Classification.FULLY_RECOVERED
    assert found.recovery.settled


async def test_no_more_looks_than_settle_it() -> None:
    service = FakeService(live=100)
    found = await looked(service, times=5)
    assert len(found.looks) == 2
    assert found.recovery.settled
    assert service.reads[Source.METRICS] == 2


async def test_what_has_settled_needs_no_look() -> None:
    service = FakeService(live=100)
    found = await looked(service, looks=(builders.look(), builders.look()), ask_live=True)
    assert (found.looks, found.recovery.settled, found.live) == ((), True, None)
    assert not service.reads


async def test_what_earlier_looks_have_shown_is_carried_on_without_them() -> None:
    first = await looked(FakeService(live=100))
    second = await looked(FakeService(live=100), so_far=first.recovery)
    assert second.recovery == (await looked(FakeService(live=100), looks=first.looks)).recovery
    assert second.recovery.samples
    assert (second.recovery.samples.looks, second.recovery.settled) == (2, True)


async def test_what_has_recovered_is_looked_at_until_a_page_may_be_closed() -> None:
    service = FakeService(live=100)
    recovered = Recovery(
        classification=Classification.FULLY_RECOVERED, reasons=(), settled=True, stable=False, samples=Samples()
    )
    assert len((await looked(service, so_far=recovered)).looks) == 1
    assert (await looked(service, so_far=recovered.model_copy(update={"stable": True}))).looks == ()


async def test_the_severity_is_the_newest_looks() -> None:
    found = await looked(FakeService(live=101), times=2)
    assert len(found.looks) == 2
    assert found.severity is Severity.P0


async def test_what_is_live_is_asked_once_where_it_is_asked() -> None:
    service = FakeService(live=101)
    found = await looked(service, ask_live=True, times=2)
    assert found.live == 101
    assert (service.reads[Source.DEPLOYMENTS], service.reads[Source.METRICS]) == (1, 2)
    assert service.reads[Source.LOGS] == 0


async def test_a_history_that_names_no_single_live_deployment_leaves_it_open() -> None:
    service = FakeService(live=100)
    service.answer(Source.DEPLOYMENTS, builders.deployments(builders.deployment(100)))
    assert (await looked(service, ask_live=True)).live is None


async def test_a_history_that_fails_or_hangs_spoils_no_look() -> None:
    failing, hanging = FakeService(live=100), FakeService(live=100)
    failing.fail(Source.DEPLOYMENTS, PermanentError("github", "bad credentials"))
    hanging.hang(Source.DEPLOYMENTS)
    for service in (failing, hanging):
        found = await looked(service, ask_live=True)
        assert found.live is None
        assert found.recovery.classification is Classification.SIGNIFICANT_IMPROVEMENT


async def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(UnknownServiceError):
        await looked(FakeService(), environment="staging")


@pytest.mark.parametrize(("known", "recovers"), [(True, True), (False, False)], ids=["by history", "by the limits"])
async def test_what_a_service_always_has_does_not_keep_it_from_recovering(known: bool, recovers: bool) -> None:  # noqa: FBT001 - the case
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics({"p99_latency": 640.0}))
    normals = (builders.normal(Metric.P99_LATENCY, 640.0, high=800.0),) if known else ()
    found = await looked(service, times=2, normals=normals)
    assert (found.recovery.classification is Classification.FULLY_RECOVERED) is recovers


@pytest.mark.parametrize(
    ("errors", "recovers"), [(0.5, True), (0.7, False)], ids=["spends slowly", "spends as fast as six hours allow"]
)
async def test_a_burn_is_over_once_the_errors_of_now_spend_slowly_whatever_hours_have_counted(
    errors: float,
    recovers: bool,  # noqa: FBT001 - the case
) -> None:
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics({"error_rate": errors}))
    found = await looked(service, times=2, burn=burn_report(EVERY_PAGE))
    assert (found.recovery.classification is Classification.FULLY_RECOVERED) is recovers


async def test_the_burn_of_a_ticket_keeps_nothing_from_recovering() -> None:
    found = await looked(FakeService(live=100), times=2, burn=burn_report({"3d": 0.008, "6h": 0.008}))
    assert found.recovery.classification is Classification.FULLY_RECOVERED
    assert found.severity is Severity.P3


@pytest.mark.parametrize("alone", [False, True], ids=["beside others", "alone"])
async def test_errors_that_a_service_always_has_keep_only_an_incident_open_that_their_burn_opened(alone: bool) -> None:  # noqa: FBT001 - the case
    burn = burn_report(EVERY_PAGE)
    usual = builders.normal(Metric.ERROR_RATE, 0.007, high=0.009)
    before = builders.healthy_evidence() if alone else builders.degraded_evidence()
    look = builders.look(seen=before.with_burn(burn))
    found = await looked(FakeService(live=100), times=2, burn=burn, normals=(usual,), before=look)
    assert (found.recovery.classification is Classification.FULLY_RECOVERED) is not alone
    assert found.severity is (Severity.P1 if alone else Severity.P3)


async def beside(database: FakeService, **changes: object) -> Verified:
    """Verified with a database next door, and one service further on that nobody asks."""
    services = FakeServices(FakeService(live=100))
    services.add(database, builders.ENVIRONMENT, "database")
    far = FakeSurroundings(
        dict.fromkeys((builders.SERVICE, "database", "disk")),
        (builders.SERVICE, "database"),
        ("database", "disk"),
    )
    verify = Verify(Observer(services, now, far))
    before = builders.degraded_evidence(around=(Neighbour(service="database", values=WELL),))
    task_ = task(before=builders.look(seen=before), times=2, **changes)
    return await ActivityEnvironment().run(verify.look, task_)


async def test_a_service_next_door_that_is_as_it_was_is_no_matter() -> None:
    found = await beside(FakeService(live=100))
    assert [each.service for each in found.looks[0].around] == ["database"]
    assert found.recovery.classification is Classification.FULLY_RECOVERED


async def test_a_fault_that_moved_next_door_is_no_recovery() -> None:
    found = await beside(FakeService(live=101))
    assert found.recovery.classification is not Classification.FULLY_RECOVERED
    assert any("next door: database" in reason for reason in found.recovery.reasons)


async def test_a_service_next_door_that_cannot_be_read_says_nothing() -> None:
    database = FakeService(live=100)
    database.fail(Source.METRICS, PermanentError("prometheus", "no such series"))
    found = await beside(database)
    assert found.looks[0].around == (Neighbour(service="database", values={}),)
    assert found.recovery.classification is Classification.FULLY_RECOVERED
