"""What every source of evidence promises, whichever service it asks."""

import asyncio
from datetime import timedelta

import pytest

from incident.anomalies import Thresholds, assess
from incident.evidence import Evidence, Health, Metric, SourceState
from incident.gate import Course, judge
from incident.ledger import LedgerView
from incident.rules import propose
from incident.severity import Severity
from tests import builders
from tests.contract.conftest import Ward
from tests.fakes import FakeService

EXPLAINS = timedelta(hours=2)


async def _evidence(ward: Ward) -> Evidence:
    service = ward.service
    return builders.evidence(
        metrics=await service.metrics.read_metrics(),
        logs=await service.logs.read_logs(),
        alerts=await service.alerts.read_alerts(),
        deployments=await service.deployments.read_deployments(),
    )


async def test_every_report_names_its_system_and_did_not_fail(ward: Ward) -> None:
    evidence = await _evidence(ward)

    assert evidence.missing == ()
    for report in (evidence.metrics, evidence.logs, evidence.alerts, evidence.deployments):
        assert report.source in {"mock-service", "github"}
        assert report.problem == ""


async def test_every_metric_has_one_reading_in_its_own_unit(ward: Ward) -> None:
    report = await ward.service.metrics.read_metrics()

    assert [reading.metric for reading in report.readings] == [each for each in Metric if each is not Metric.RESTARTS]
    assert all(reading.id == f"metric:{reading.metric}" for reading in report.readings)
    assert 0 < (report.value(Metric.ERROR_RATE) or 0) < 0.01
    assert 0.3 < (report.value(Metric.CPU_USAGE) or 0) < 0.6
    assert 150 < (report.value(Metric.P99_LATENCY) or 0) < 200
    assert (report.health, report.deployment_id) == (Health.HEALTHY, 100)


async def test_a_healthy_service_has_no_anomaly(ward: Ward) -> None:
    assert assess(await _evidence(ward), Thresholds()).healthy


async def test_a_bad_deployment_shows_in_metrics_and_alerts(ward: Ward) -> None:
    await ward.deploy_bad()
    async with asyncio.timeout(5):
        while not (await ward.service.alerts.read_alerts()).firing:
            continue

    evidence = await _evidence(ward)

    assert evidence.alerts.firing
    assert assess(evidence, Thresholds()).measured_severity is Severity.P0
    assert (evidence.metrics.health, evidence.metrics.deployment_id) == (Health.DEGRADED, 101)


async def test_nothing_is_said_to_be_empty(ward: Ward) -> None:
    report = await ward.service.alerts.read_alerts()

    assert (report.state, report.alerts) == (SourceState.EMPTY, ())


async def test_log_lines_are_oldest_first_and_can_be_cited(ward: Ward) -> None:
    report = await ward.service.logs.read_logs()

    assert report.state is SourceState.OK
    assert [line.at for line in report.lines] == sorted(line.at for line in report.lines)
    assert [line.id for line in report.lines] == [f"log:{number}" for number in range(1, len(report.lines) + 1)]
    assert all(line.level and line.message for line in report.lines)


async def test_exactly_one_deployment_is_live(ward: Ward) -> None:
    before = await ward.service.deployments.read_deployments()
    await ward.deploy_bad()
    after = await ward.service.deployments.read_deployments()

    assert before.live is not None
    assert after.live is not None
    assert (before.live.deployment_id, after.live.deployment_id) == (100, 101)
    assert all(known.id == f"deployment:{known.deployment_id}" for known in after.deployments)


async def test_the_predecessor_of_a_bad_deployment_is_a_proven_target(ward: Ward) -> None:
    await ward.deploy_bad()

    report = await ward.service.deployments.read_deployments()

    target = report.find(100)
    assert target is not None
    assert report.live is not None
    assert target.once_healthy is True
    assert report.live.once_healthy is not True or not ward.knows_health
    assert target.activated_at is not None
    assert report.live.activated_at is not None
    assert target.activated_at < report.live.activated_at


async def test_ids_are_unique_over_all_sources(ward: Ward) -> None:
    await ward.deploy_bad()

    evidence = await _evidence(ward)

    counted = (evidence.metrics.readings, evidence.logs.lines, evidence.alerts.alerts, evidence.deployments.deployments)
    assert len(evidence.ids) == sum(len(items) for items in counted)


async def test_equal_evidence_survives_json(ward: Ward) -> None:
    evidence = await _evidence(ward)

    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence


@pytest.mark.parametrize("bad", [(101,), (100, 101)])
async def test_the_fake_gives_the_gate_reason_to_act(bad: tuple[int, ...]) -> None:
    service = FakeService(live=101, bad=bad, clock=lambda: builders.NOW)
    evidence = builders.evidence(
        metrics=await service.read_metrics(),
        logs=await service.read_logs(),
        alerts=await service.read_alerts(),
        deployments=await service.read_deployments(),
    )
    assessment = assess(evidence, Thresholds())
    decision = propose(evidence, assessment, EXPLAINS)

    verdict = judge(
        decision, evidence, assessment, LedgerView(state=SourceState.EMPTY, at=builders.NOW), builders.policy()
    )

    assert (verdict.course, verdict.target, verdict.expected_live) == (Course.ACT, 100, 101)
