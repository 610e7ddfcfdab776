from datetime import timedelta

import pytest

from incident.evidence import AlertState, Metric, Reading, SourceState, unseen
from tests.builders import (
    ENVIRONMENT,
    NOW,
    ONSET,
    SERVICE,
    alert,
    alerts,
    bad_deployment,
    degraded_evidence,
    deployment,
    deployments,
    evidence,
    healthy_evidence,
    logs,
    metrics,
)


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        (Metric.ERROR_RATE, 0.155, "15.5%"),
        (Metric.CPU_USAGE, 0.0, "0.0%"),
        (Metric.P99_LATENCY, 1200.4, "1200ms"),
        (Metric.REQUESTS_PER_SECOND, 98, "98.0/s"),
        (Metric.ACTIVE_CONNECTIONS, 40.0, "40"),
        (Metric.ERROR_RATE, None, "unknown"),
    ],
)
def test_a_value_is_shown_in_the_unit_people_read(metric: Metric, value: float | None, words: str) -> None:
    assert metric.show(value) == words


def test_a_missing_or_unreadable_reading_is_none_and_not_zero() -> None:
    report = metrics({"error_rate": None})
    assert report.value(Metric.ERROR_RATE) is None
    assert metrics(readings=()).value(Metric.P99_LATENCY) is None
    assert metrics({"error_rate": 0.0}).value(Metric.ERROR_RATE) == 0


def test_the_live_deployment_is_known_only_where_exactly_one_is_live() -> None:
    assert deployments().live == bad_deployment()
    assert deployments(deployment(100), deployment(99)).live is None
    assert deployments(deployment(100, live=True), bad_deployment()).live is None


def test_a_deployment_is_found_by_its_number_alone() -> None:
    history = deployments()
    assert history.find(100) == deployment(100)
    assert history.find(7) is None
    assert history.find(None) is None


def test_missing_names_the_failed_sources_and_not_the_empty_ones() -> None:
    seen = evidence(
        metrics=metrics(state=SourceState.FAILED, problem="timed out"),
        logs=logs(state=SourceState.EMPTY),
        deployments=deployments(state=SourceState.FAILED, problem="HTTP 500"),
    )
    assert seen.missing == ("metrics: timed out", "deployments: HTTP 500")
    assert evidence().missing == ()


def test_every_item_can_be_cited() -> None:
    ids = degraded_evidence().ids
    assert {"metric:error_rate", "log:1", "log:2", "alert:high-error-rate", "deployment:99", "deployment:101"} <= ids
    assert len(ids) == 8 + 2 + 2 + 3


def test_the_onset_is_the_oldest_firing_alert() -> None:
    resolved = alert("old", started_at=NOW - timedelta(days=3), state=AlertState.RESOLVED)
    seen = evidence(alerts=alerts(alert("late", started_at=NOW - timedelta(seconds=5)), alert(), resolved))
    assert seen.onset == ONSET
    assert [each.id for each in seen.alerts.firing] == ["alert:late", "alert:high-error-rate"]


def test_without_a_firing_alert_the_onset_is_the_look_itself() -> None:
    assert evidence().onset == NOW
    assert evidence(alerts=alerts(alert(started_at=NOW + timedelta(hours=1)))).onset == NOW


def test_the_digest_stands_for_exactly_this_evidence() -> None:
    assert degraded_evidence().digest() == degraded_evidence().digest()
    assert len(degraded_evidence().digest()) == 64
    others = {
        degraded_evidence().digest(),
        healthy_evidence().digest(),
        degraded_evidence(at=NOW + timedelta(seconds=1)).digest(),
        degraded_evidence(logs=logs()).digest(),
        degraded_evidence(deployments=deployments(bad_deployment(revision="other"))).digest(),
    }
    assert len(others) == 5


def test_a_look_that_could_not_be_taken_has_every_source_failed() -> None:
    seen = unseen(SERVICE, ENVIRONMENT, NOW, "no answer")
    assert seen.missing == ("metrics: no answer", "logs: no answer", "alerts: no answer", "deployments: no answer")
    assert seen.ids == frozenset()
    assert seen.metrics.value(Metric.ERROR_RATE) is None


def test_a_reading_is_told_as_a_bound_only_where_it_is_one() -> None:
    value = Reading(id="metric:p99_latency", metric=Metric.P99_LATENCY, value=2000)
    bound = value.model_copy(update={"at_least": True})

    assert (value.shown, bound.shown) == ("2000ms", "at least 2000ms")
    assert "at_least" not in value.model_dump_json()  # as evidence of older builds has it, whose digest is approved
    assert [Reading.model_validate_json(each.model_dump_json()) for each in (value, bound)] == [value, bound]
