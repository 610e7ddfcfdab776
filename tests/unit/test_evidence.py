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
    background,
    bad_deployment,
    degraded_evidence,
    deployment,
    deployments,
    evidence,
    healthy_evidence,
    log_line,
    log_template,
    logs,
    metrics,
    normal,
    told_change,
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


def test_fields_that_came_later_and_are_empty_leave_the_digest_as_it_was() -> None:
    """A person may have been asked by a worker that did not know them."""
    seen = degraded_evidence(logs=logs(log_line()), alerts=alerts(alert()))
    assert seen.digest() == "be7f0f8fb33a5c0eac3d3d37028388bb311d1d88a2e632a770a040028c796c49"
    assert "templates" not in seen.model_dump_json()


def test_templates_count_are_cited_and_survive_json() -> None:
    seen = degraded_evidence(logs=logs(log_line(nanoseconds=7), templates=(log_template(new=True),), capped=True))
    assert seen.digest() != degraded_evidence(logs=logs(log_line())).digest()
    assert type(seen).model_validate_json(seen.model_dump_json()) == seen
    assert "log:template-1" in seen.ids
    assert seen.describe("log:template-1") == (
        "new since the live deployment, 400 times: ERROR charge <*> refused: upstream timed out"
    )


def test_new_errors_are_the_templates_of_errors_that_are_new() -> None:
    told = (
        log_template(1, new=True),
        log_template(2, new=True, level="INFO"),
        log_template(3),
        log_template(4, new=False),
    )
    assert logs(templates=told).new_errors == told[:1]


def test_a_suppressed_alert_does_not_fire() -> None:
    seen = evidence(alerts=alerts(alert(state=AlertState.SUPPRESSED)))
    assert seen.alerts.firing == ()
    assert seen.onset == NOW


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


def test_a_change_can_be_cited_and_is_described_by_what_where_and_when() -> None:
    seen = evidence(background=background(changes=(told_change().seen_from(SERVICE),)))
    assert "change:pool" in seen.ids
    assert seen.describe("change:pool") == (
        "configuration change of payment-api at 2026-11-24 13:57:30Z: database pool from 20 to 10"
    )


def test_evidence_of_before_told_changes_keeps_its_digest() -> None:
    seen = degraded_evidence(background=background(normal(Metric.ERROR_RATE, 0.1)))
    assert seen.digest() == "cdf8577ae95c305a2c545851d0cfb4a3b8d4091721d776ca1933b81367d08a9a"
