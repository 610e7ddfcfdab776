"""An incident that gets worse while it is watched is decided anew, as long as nothing has been done."""

import pytest

from incident.evidence import MetricsReport, Source
from incident.gate import Course
from incident.severity import Severity
from incident.snapshot import ActionTaken, Outcome
from tests import builders
from tests.fakes import FakeService
from tests.workflow.conftest import Staff
from tests.workflow.shift import P1, P2, ended, noted, sick, well

pytestmark = pytest.mark.asyncio(loop_scope="session")


def failing() -> MetricsReport:
    return builders.metrics(builders.DEGRADED_METRICS, deployment_id=101)


@pytest.mark.parametrize(("at_first", "opened_as"), [(P1, Severity.P1), (P2, Severity.P2)])
async def test_a_bad_deployment_that_is_seen_early_is_still_rolled_back_once_it_is_a_p0(
    staff: Staff, at_first: dict[str, float], opened_as: Severity
) -> None:
    service = FakeService(live=101)
    service.answer(Source.METRICS, sick(at_first), failing(), failing(), failing(), well())
    service.answer(Source.ALERTS, builders.alerts())
    shift = await staff(service=service)
    snapshot = await ended(await shift.open())
    assert noted(snapshot, f"{opened_as}: ")
    assert (snapshot.severity, snapshot.outcome) == (Severity.P0, Outcome.RECOVERED)
    assert snapshot.action_taken is ActionTaken.ROLLBACK
    assert len(service.rollback.starts) == 1
    assert snapshot.metrics.before is not None
    assert snapshot.metrics.before.error_rate == 15.5
    assert bool(shift.pager.sent) is (opened_as is Severity.P1)


async def test_a_look_that_nothing_confirms_changes_no_decision(staff: Staff) -> None:
    service = FakeService(live=101)
    service.answer(Source.METRICS, sick(P2), failing(), sick(P2), well())
    service.answer(Source.ALERTS, builders.alerts())
    shift = await staff(service=service)
    snapshot = await ended(await shift.open())
    assert (snapshot.severity, snapshot.outcome) == (Severity.P2, Outcome.RECOVERED)
    assert snapshot.verdict is not None
    assert snapshot.verdict.course is Course.WATCH
    assert shift.pager.sent == []
    assert service.rollback.starts == []


async def test_what_gets_worse_after_a_rollback_is_paged_and_not_rolled_back_again(staff: Staff) -> None:
    service = FakeService(live=101, bad=(100, 101))
    shift = await staff(service=service)
    snapshot = await ended(await shift.open())
    assert len(service.rollback.starts) == 1
    assert snapshot.outcome is Outcome.ESCALATED
