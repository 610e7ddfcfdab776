"""A burn that pages is an anomaly with its evidence and opens an incident; a ticket's and an unknown one do not."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.burning import BurnQuestion, ErrorBudgets
from activities.detect import Detect, DetectInput, Detection
from activities.observation import Observer
from activities.watch import Watch, Watched, WatchInput
from incident.anomalies import Assessment, Kind, Signal, Thresholds, Tier, assess
from incident.burn_rate import BEYOND, PAGED_BY, Objective
from incident.cause import Guilt
from incident.causes import cause_of, guilt_of_live
from incident.decision import Action
from incident.errors import PermanentError, TransientError, UnknownServiceError
from incident.evidence import Evidence, Source, SourceState
from incident.policy import Policy
from incident.rules import propose
from incident.severity import Severity
from incident.watching import WatchLimits
from tests import builders
from tests.burns import OBJECTIVE, SLOW, FakeCounters, burn_report, counted
from tests.fakes import FakeService, FakeServices

LIMIT = timedelta(seconds=5)
ASKED = BurnQuestion(builders.ENVIRONMENT, builders.SERVICE, LIMIT, OBJECTIVE)
TICKET = {"3d": 0.0015, "6h": 0.0015}


def seen(errors: float | None, shares: Mapping[str, float]) -> Evidence:
    """A service that is well but for these errors, in percent, and what was counted."""
    return builders.healthy_evidence(metrics=builders.metrics({"error_rate": errors})).with_burn(burn_report(shares))


def assessed(errors: float | None, shares: Mapping[str, float]) -> Assessment:
    return assess(seen(errors, shares), Thresholds())


@pytest.mark.parametrize(
    ("shares", "id_"), [(SLOW, "burn:1h"), ({"6h": 0.01, "30m": 0.01}, "burn:6h")], ids=["an hour", "six hours"]
)
def test_a_burn_that_pages_is_a_warning_that_cites_its_window(shares: Mapping[str, float], id_: str) -> None:
    found = assessed(1.6, shares)
    (burn,) = found.anomalies
    assert (burn.kind, burn.tier, burn.evidence_ids) == (Kind.BURN_RATE, Tier.WARNING, (id_,))
    assert found.severity is Severity.P1


def test_its_label_says_how_fast_over_what_and_of_which_objective() -> None:
    (burn,) = assessed(1.6, SLOW).anomalies
    assert (
        burn.label
        == "WARNING_BURN_RATE: 14.5x over 1h and 14.5x over 5m (a page from 14.4x on), of an objective of 99.9%"
    )


def test_a_ticket_is_of_the_lowest_tier() -> None:
    found = assessed(0.8, TICKET)
    assert [(each.kind, each.tier) for each in found.anomalies] == [(Kind.BURN_RATE, Tier.MINOR)]


def test_a_burn_whose_errors_are_over_is_no_anomaly_and_stays_among_the_evidence() -> None:
    over = seen(0.2, SLOW)
    assert assess(over, Thresholds()).healthy
    assert "burn:1h" in over.ids
    assert over.describe("burn:1h") == "14.5x over 1h and 14.5x over 5m (a page from 14.4x on)"


def test_errors_that_cannot_be_read_end_no_burn() -> None:
    assert Kind.BURN_RATE in {each.kind for each in assessed(None, SLOW).anomalies}


def test_a_burn_and_an_error_rate_are_one_sign_of_trouble() -> None:
    assert assessed(15.0, {"1h": 0.15, "5m": 0.15}).signals == (Signal.ERRORS,)


def test_a_burn_alone_never_has_something_done_without_a_person() -> None:
    bad = seen(1.6, SLOW)
    found = assess(bad, Thresholds())
    assert found.measured_severity is Severity.P3
    decision = propose(bad, found, Policy().deployment_explains_within)
    assert (decision.severity, decision.action) == (Severity.P1, Action.ESCALATE)
    assert "burn:1h" in decision.evidence_ids


def test_a_burn_finds_no_deployment_guilty_since_it_does_not_say_when_it_began() -> None:
    deployed = seen(1.6, SLOW).model_copy(update={"deployments": builders.degraded_evidence().deployments})
    cause = cause_of(deployed, assess(deployed, Thresholds()), Policy().deployment_explains_within)
    assert guilt_of_live(cause, deployed)[0] is not Guilt.GUILTY


def test_evidence_of_a_service_without_an_objective_keeps_its_digest() -> None:
    assert "burn" not in builders.healthy_evidence().model_dump()
    assert "objective" not in Policy().model_dump()
    assert builders.healthy_evidence().promised(OBJECTIVE) == builders.healthy_evidence()


def test_another_objective_judges_what_was_counted() -> None:
    lenient = seen(1.6, SLOW).promised(Objective(success=0.99))
    assert assess(lenient, Thresholds()).healthy
    assert assess(lenient.promised(None), Thresholds()).healthy


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = builders.NOW

    def __call__(self) -> datetime:
        return self.now


async def test_a_look_asks_two_questions_and_a_watcher_one_within_two_minutes() -> None:
    counters, clock = FakeCounters({builders.SERVICE: counted(SLOW)}), Clock()
    budgets = ErrorBudgets(counters, clock)
    assert [each.id for each in (await budgets.report(ASKED)).burns] == ["burn:1h", "burn:6h", "burn:3d"]
    assert sorted(counters.asked) == [PAGED_BY, BEYOND]
    counters.asked.clear()
    for _ in range(5):
        assert [each.id for each in (await budgets.lately(ASKED)).burns] == ["burn:1h", "burn:6h"]
        clock.now += timedelta(seconds=30)
    assert counters.asked == [PAGED_BY]
    clock.now += timedelta(seconds=1)
    await budgets.lately(ASKED)
    assert counters.asked == [PAGED_BY, PAGED_BY]


async def test_what_cannot_be_counted_is_asked_for_no_more_often() -> None:
    counters, clock = FakeCounters({builders.SERVICE: TransientError("prometheus", "answered HTTP 503")}), Clock()
    budgets = ErrorBudgets(counters, clock)
    for _ in range(3):
        report = await budgets.lately(ASKED)
        assert (report.state, report.problem, report.burns) == (SourceState.FAILED, "answered HTTP 503", ())
    assert len(counters.asked) == 1


async def test_what_counts_no_requests_is_empty_and_says_what_would() -> None:
    report = await ErrorBudgets(FakeCounters({builders.SERVICE: None}), Clock()).report(ASKED)
    assert report.state is SourceState.EMPTY
    assert report.problem == "what measures it counts no requests: metrics of kind prometheus with a `set` do"


async def test_a_service_that_the_registry_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownServiceError):
        await ErrorBudgets(FakeCounters({}), Clock()).report(ASKED)


async def test_three_days_that_cannot_be_read_spoil_no_page() -> None:
    counters = FakeCounters({builders.SERVICE: counted(SLOW)}, PermanentError("prometheus", "too many samples"))
    report = await ErrorBudgets(counters, Clock()).report(ASKED)
    assert (report.state, report.problem) == (SourceState.OK, "too many samples")
    assert [each.id for each in report.burning(None)] == ["burn:1h"]


async def test_a_burn_that_cannot_be_told_makes_a_decision_no_less_sure() -> None:
    failing = FakeCounters({builders.SERVICE: PermanentError("prometheus", "refused")})
    found = await detected(failing)
    assert found.evidence.burn
    assert found.evidence.burn.problem == "refused"
    assert found.evidence.missing == ()
    assert found.assessment.healthy


async def detected(counters: FakeCounters, objective: Objective | None = OBJECTIVE, errors: float = 0.8) -> Detection:
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics({"error_rate": errors}))
    observer = Observer(FakeServices(service), lambda: builders.NOW)
    order = DetectInput(
        incident_id=builders.INCIDENT_ID,
        environment=builders.ENVIRONMENT,
        service=builders.SERVICE,
        thresholds=Thresholds(),
        source_timeout=LIMIT,
        objective=objective,
    )
    detect = Detect(observer, budgets=ErrorBudgets(counters, Clock()))
    return await ActivityEnvironment().run(detect.collect, order)


async def test_an_incident_has_its_burn_among_the_evidence_and_in_its_severity() -> None:
    found = await detected(FakeCounters({builders.SERVICE: counted(SLOW)}), errors=1.6)
    assert {"burn:1h", "burn:6h", "burn:3d"} <= found.evidence.ids
    assert found.assessment.severity is Severity.P1


async def test_without_an_objective_nobody_counts() -> None:
    counters = FakeCounters({builders.SERVICE: counted(SLOW)})
    found = await detected(counters, objective=None, errors=1.6)
    assert (found.evidence.burn, counters.asked, found.assessment.healthy) == (None, [], True)


async def watched(shares: Mapping[str, float], errors: float) -> Watched:
    """Two checks of a service that is well but for these errors, in percent, and what was counted."""
    service = FakeService(live=100)
    service.answer(Source.METRICS, builders.metrics({"error_rate": errors}))
    budgets = ErrorBudgets(FakeCounters({builders.SERVICE: counted(shares)}), Clock())
    watch = Watch(Observer(FakeServices(service), lambda: builders.NOW), 1, lambda: 0.0, budgets=budgets)
    order = WatchInput(
        environment=builders.ENVIRONMENT,
        service=builders.SERVICE,
        thresholds=Thresholds(),
        source_timeout=LIMIT,
        limits=WatchLimits(every=timedelta(milliseconds=1)),
        lasts=timedelta(milliseconds=20),
        objective=OBJECTIVE,
    )
    return await ActivityEnvironment().run(watch.stretch, order)


@pytest.mark.parametrize(
    ("shares", "errors", "opens"),
    [(SLOW, 1.5, True), (SLOW, 0.2, False), (TICKET, 0.15, False), ({}, 1.5, False)],
    ids=["slow burn", "over already", "ticket", "not lasting"],
)
async def test_only_a_burn_that_pages_and_goes_on_opens_an_incident(
    shares: Mapping[str, float],
    errors: float,
    opens: bool,  # noqa: FBT001 - a case
) -> None:
    found = await watched(shares, errors)
    assert found.holds is opens
    assert ("WARNING_BURN_RATE" in found.said) is opens
