import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from incident.anomalies import (
    Anomaly,
    Assessment,
    Band,
    Kind,
    Limits,
    Signal,
    Thresholds,
    Tier,
    assess,
    judge_metrics,
)
from incident.cause import Climb
from incident.evidence import Health, Metric, MetricsReport, Reading, SourceState, unseen
from incident.severity import Severity
from tests.builders import (
    DEGRADED_METRICS,
    ENVIRONMENT,
    NOW,
    SERVICE,
    alert,
    alerts,
    degraded_evidence,
    evidence,
    metrics,
)

CONTRACT = json.loads((Path(__file__).parents[1] / "contract/seed/contract.json").read_text())["flow"]
VECTORS = CONTRACT["anomaly_vectors"]
CLIMBS = f"memory has climbed since {NOW:%Y-%m-%d %H:%MZ}, give or take 5 min"
JUDGED = ("error_rate", "p99_latency", "p95_latency", "cpu_usage", "memory_usage")


def test_the_seed_gives_31_vectors() -> None:
    assert len(VECTORS) == 31


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_anomalies_and_severity_are_the_seeds(vector: dict[str, Any]) -> None:
    found = assess(evidence(metrics=metrics(vector["input"])), Thresholds())
    assert [f"{anomaly.tier}_{anomaly.kind}" for anomaly in found.anomalies] == vector["anomalies"]
    assert found.severity == vector["severity"]
    assert found.measured_severity == vector["severity"]
    assert found.healthy is (vector["severity_hint"] == "NORMAL")
    assert found.summary.startswith(vector["severity_hint"])


@pytest.mark.parametrize("metric", JUDGED)
def test_default_bounds_are_the_seeds(metric: str) -> None:
    limits: Limits = getattr(Thresholds(), metric)
    scale = 100 if metric in {"error_rate", "cpu_usage", "memory_usage"} else 1
    for tier, band in (("critical", limits.critical), ("warning", limits.warning), ("minor", limits.minor)):
        bounds = CONTRACT["anomaly_thresholds"][tier].get(metric)
        assert (band is None) == (bounds is None)
        if band and bounds:
            assert band.above * scale == pytest.approx(bounds[0])


@pytest.mark.parametrize(("hint", "severity"), CONTRACT["severity_by_hint"].items())
def test_a_tier_speaks_for_the_seeds_severity(hint: str, severity: str) -> None:
    assert hint == "NORMAL" or Tier(hint).severity == severity


def test_the_worst_tier_comes_first_and_unreadable_metrics_last() -> None:
    report = metrics({**DEGRADED_METRICS, "error_rate": 3.0, "p95_latency": None, "cpu_usage": 86.0})
    labels = [anomaly.label for anomaly in judge_metrics(report, Thresholds())]
    assert labels == [
        "CRITICAL_P99_LATENCY: 1200ms",
        "WARNING_CPU: 86.0%",
        "WARNING_MEMORY: 88.0%",
        "MINOR_ERROR_RATE: 3.0%",
        "MINOR_UNREADABLE: p95_latency",
    ]


def test_within_a_tier_the_order_is_the_seeds() -> None:
    assert [metric.value for metric, _, _ in Thresholds().judged()] == CONTRACT["anomaly_order_within"]


def test_a_measured_anomaly_cites_its_reading() -> None:
    (anomaly,) = judge_metrics(metrics({"error_rate": 15.5}), Thresholds())
    assert (anomaly.id, anomaly.metric, anomaly.value) == ("anomaly:ERROR_RATE", Metric.ERROR_RATE, 0.155)
    assert anomaly.evidence_ids == ("metric:error_rate",)
    assert anomaly.measured


@pytest.mark.parametrize("metric", JUDGED)
def test_a_metric_that_cannot_be_read_is_an_anomaly_and_never_a_zero(metric: str) -> None:
    found = assess(evidence(metrics=metrics({metric: None})), Thresholds())
    (anomaly,) = found.anomalies
    assert (anomaly.kind, anomaly.tier, anomaly.metric) == (Kind.UNREADABLE, Tier.MINOR, Metric(metric))
    assert anomaly.id == f"anomaly:UNREADABLE:{metric}"
    assert anomaly.value is None
    assert not anomaly.measured
    assert found.severity is Severity.P2
    assert found.measured_severity is Severity.P3
    assert not found.healthy


def test_a_metric_that_is_missing_counts_as_unreadable() -> None:
    report = metrics()
    rest = tuple(each for each in report.readings if each.metric is not Metric.ERROR_RATE)
    (anomaly,) = judge_metrics(metrics(readings=rest), Thresholds())
    assert (anomaly.kind, anomaly.metric) == (Kind.UNREADABLE, Metric.ERROR_RATE)


def test_a_service_that_cannot_be_measured_at_all_is_one_warning() -> None:
    found = assess(evidence(metrics=metrics(dict.fromkeys(JUDGED))), Thresholds())
    assert [anomaly.label for anomaly in found.anomalies] == ["WARNING_UNREADABLE: no metric has a value"]
    assert found.severity is Severity.P1


def _bounded(metric: Metric, value: float) -> MetricsReport:
    """A healthy report in which of that metric only a lower bound is known."""
    bound = Reading(id=f"metric:{metric}", metric=metric, value=value, at_least=True)
    return metrics(readings=tuple(bound if each.metric is metric else each for each in metrics().readings))


@pytest.mark.parametrize(
    ("metric", "bound", "label"),
    [
        (Metric.P99_LATENCY, 2000, "CRITICAL_P99_LATENCY: at least 2000ms"),
        (Metric.P99_LATENCY, 500, "MINOR_P99_LATENCY: at least 500ms"),
        (Metric.P99_LATENCY, 200, "MINOR_UNREADABLE: p99_latency"),
        (Metric.P95_LATENCY, 100, "MINOR_UNREADABLE: p95_latency"),
        (Metric.P95_LATENCY, 300, "MINOR_P95_LATENCY: at least 300ms"),
    ],
)
def test_a_lower_bound_is_bad_where_it_lies_and_never_passes_for_good(metric: Metric, bound: float, label: str) -> None:
    assert [each.label for each in judge_metrics(_bounded(metric, bound), Thresholds())] == [label]


def test_a_lower_bound_above_every_band_is_judged_as_a_value_there_is() -> None:
    assert judge_metrics(_bounded(Metric.P95_LATENCY, 401), Thresholds()) == ()


def test_a_failed_metric_source_says_why() -> None:
    found = assess(unseen(SERVICE, ENVIRONMENT, NOW, "timed out"), Thresholds())
    assert found.summary == "WARNING: WARNING_UNREADABLE: timed out"
    assert found.anomalies[0].id == "anomaly:UNREADABLE"


def test_a_failed_metric_source_that_was_partly_read_is_judged_by_what_it_read() -> None:
    report = metrics({"error_rate": 15.5, "cpu_usage": None}, state=SourceState.FAILED, problem="cut off")
    assert [anomaly.kind for anomaly in judge_metrics(report, Thresholds())] == [Kind.ERROR_RATE, Kind.UNREADABLE]


@pytest.mark.parametrize(
    ("health", "kinds"), [(Health.DEGRADED, [Kind.HEALTH]), (Health.HEALTHY, []), (Health.UNKNOWN, [])]
)
def test_a_degraded_health_is_a_minor_anomaly(health: Health, kinds: list[Kind]) -> None:
    found = assess(evidence(metrics=metrics(health=health)), Thresholds())
    assert [anomaly.kind for anomaly in found.anomalies] == kinds
    assert found.severity is (Severity.P2 if kinds else Severity.P3)


def test_each_firing_alert_is_a_minor_anomaly_however_loud_it_calls_itself() -> None:
    seen = evidence(alerts=alerts(alert("one"), alert("two"), alert("three", state="resolved")))
    found = assess(seen, Thresholds())
    assert [(each.id, each.tier, each.evidence_ids) for each in found.anomalies] == [
        ("anomaly:alert:one", Tier.MINOR, ("alert:one",)),
        ("anomaly:alert:two", Tier.MINOR, ("alert:two",)),
    ]
    assert found.anomalies[0].label == "MINOR_ALERT: One"
    assert found.measured_severity is Severity.P3


@pytest.mark.parametrize(
    ("memory", "pace", "foresee", "label"),
    [
        (0.69, 0.3, 60, f"MINOR_MEMORY: 69.0% ({CLIMBS}, and will be critical in 42 min)"),
        (0.69, 0.2, 60, ""),
        (0.69, 0.3, 30, ""),
        (0.69, 0.3, 0, ""),
        (0.69, None, 60, ""),
        (0.49, 3.0, 60, ""),
        (0.86, 0.3, 60, "WARNING_MEMORY: 86.0%"),
    ],
    ids=["soon", "later", "not wanted so early", "never wanted", "unknown pace", "given back", "seen already"],
)
def test_memory_that_climbs_and_will_soon_be_critical_is_an_anomaly(
    memory: float, pace: float | None, foresee: int, label: str
) -> None:
    climb = Climb(what="memory", since=NOW, within=timedelta(minutes=5), pace=pace, midway=0.5)
    seen = evidence(metrics=metrics({"memory_usage": 100 * memory})).with_normals((), climb)
    thresholds = Thresholds(foresee=timedelta(minutes=foresee))
    assert [each.label for each in assess(seen, thresholds).anomalies] == ([label] if label else [])


def test_other_things_that_climb_are_never_critical() -> None:
    climb = Climb(what="connections", since=NOW, within=timedelta(minutes=5), pace=0.3, midway=0.0)
    seen = evidence(metrics=metrics({"memory_usage": 69.0})).with_normals((), climb)
    assert assess(seen, Thresholds()).healthy


def test_the_summary_shows_the_worst_tier_and_counts_all() -> None:
    found = assess(degraded_evidence(), Thresholds())
    assert found.summary == (
        "CRITICAL: CRITICAL_ERROR_RATE: 15.5%, CRITICAL_P99_LATENCY: 1200ms, CRITICAL_CPU: 92.0% (7 anomalies in all)"
    )
    assert assess(evidence(), Thresholds()).summary == "NORMAL"
    assert assess(evidence(metrics=metrics({"cpu_usage": 71.0})), Thresholds()).summary == "MINOR: MINOR_CPU: 71.0%"


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        (Kind.ERROR_RATE, Signal.ERRORS),
        (Kind.P99_LATENCY, Signal.LATENCY),
        (Kind.P95_LATENCY, Signal.LATENCY),
        (Kind.CPU, Signal.CPU),
        (Kind.MEMORY, Signal.MEMORY),
        (Kind.HEALTH, Signal.HEALTH),
        (Kind.ALERT, Signal.ALERT),
        (Kind.UNREADABLE, None),
    ],
)
def test_a_kind_of_anomaly_is_a_sign_of_one_thing(kind: Kind, signal: Signal | None) -> None:
    assert kind.signal is signal


def test_the_signals_of_an_assessment_are_told_once_and_measured_ones_first() -> None:
    found = assess(degraded_evidence(), Thresholds())
    assert found.signals == (
        Signal.ERRORS,
        Signal.LATENCY,
        Signal.CPU,
        Signal.MEMORY,
        Signal.HEALTH,
        Signal.ALERT,
    )
    kinds = (Kind.ALERT, Kind.P95_LATENCY, Kind.ALERT, Kind.P99_LATENCY, Kind.UNREADABLE)
    anomalies = tuple(Anomaly(id=f"anomaly:{kind}", kind=kind, tier=Tier.MINOR, label=kind) for kind in kinds)
    assert Assessment(anomalies=anomalies, severity=Severity.P2).signals == (Signal.LATENCY, Signal.ALERT)
    assert assess(evidence(), Thresholds()).signals == ()


def test_a_metric_without_bands_is_not_judged() -> None:
    unjudged = Thresholds(error_rate=Limits())
    assert judge_metrics(metrics({"error_rate": 99.0}), unjudged) == ()
    assert judge_metrics(metrics({"error_rate": None}), unjudged) == ()


def test_a_band_excludes_its_lower_and_includes_its_upper_bound() -> None:
    band = Band(above=200, up_to=400)
    assert [band.holds(value) for value in (200, 200.01, 400, 400.01)] == [False, True, True, False]
    assert Band(above=800).holds(1e9)


@pytest.mark.parametrize(
    "bands", [{"critical": 1, "warning": 2}, {"warning": 1, "minor": 2}, {"critical": 1, "minor": 2}]
)
def test_a_worse_band_starts_higher(bands: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"expected critical\.above >= warning\.above >= minor\.above"):
        Limits.model_validate({tier: {"above": above} for tier, above in bands.items()})
