"""The ready-made queries, evaluated by Prometheus itself (promtool) over series whose figures are known."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from incident.evidence import Metric
from incident.prometheus import PrometheusEndpoint
from integrations.prometheus.queries import Figure, counting, plan
from tests.standins.prometheus import checked, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

_JOB = 'we"ird\\job'
_OURS = 'job="we\\"ird\\\\job"'
_STEPS = 60
_EVERY = 10
"""Seconds between two samples."""
_FINE = 1_000_000
"""Of what values are compared by: promtool wants them equal to the last bit."""
_NAMES = {
    "classic": ("http_requests_total", "http_request_duration_seconds", "code"),
    "otel": (
        "http_server_request_duration_seconds_count",
        "http_server_request_duration_seconds",
        "http_response_status_code",
    ),
}

Series = dict[str, str]


def _figures(**fields: object) -> Mapping[Metric, Figure]:
    endpoint = PrometheusEndpoint.model_validate(
        {"kind": "prometheus", "url": "http://prometheus", "selector": {"job": _JOB}, **fields}
    )
    return {figure.metric: figure for figure in plan(endpoint).figures}


def _counter(each_second: float) -> str:
    return f"0+{each_second * _EVERY:g}x{_STEPS}"


def _requests(kind: str, rates: Mapping[str, float], labels: str = _OURS) -> Series:
    """Counters by status, each with its requests a second."""
    requests, _, status = _NAMES[kind]
    return {f'{requests}{{{labels},{status}="{code}"}}': _counter(rate) for code, rate in rates.items()}


def _durations(kind: str, buckets: Mapping[str, float], labels: str = _OURS) -> Series:
    _, duration, _ = _NAMES[kind]
    return {f'{duration}_bucket{{{labels},le="{le}"}}': _counter(rate) for le, rate in buckets.items()}


def _prove(directory: Path, series: Series, expected: Mapping[str, float | Mapping[str, float] | None]) -> None:
    """Each query gives that one value, without labels, or those values by their labels, or nothing."""
    document = {
        "evaluation_interval": f"{_EVERY}s",
        "tests": [
            {
                "interval": f"{_EVERY}s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f"round(({query}) * {_FINE:d})",
                        "eval_time": f"{_STEPS * _EVERY}s",
                        "exp_samples": [
                            {"labels": labels, "value": round(each * _FINE)} for labels, each in _by_labels(value)
                        ],
                    }
                    for query, value in expected.items()
                ],
            }
        ],
    }
    file = directory / "queries.yml"
    file.write_text(yaml.safe_dump(document))
    checked("promtool", "test", "rules", file)


def _by_labels(value: float | Mapping[str, float] | None) -> Iterable[tuple[str, float]]:
    if isinstance(value, Mapping):
        return value.items()
    return () if value is None else (("{}", value),)


def _by(figures: Mapping[Metric, Figure], expected: Mapping[Metric, float | None]) -> Mapping[str, float | None]:
    return {figures[metric].query: value for metric, value in expected.items()}


@pytest.mark.parametrize("kind", list(_NAMES))
def test_a_set_measures_one_service_and_mixes_no_other_in(tmp_path: Path, kind: str) -> None:
    buckets = {"0.1": 8, "0.2": 9, "0.5": 9.8, "+Inf": 10}
    series = {
        **_requests(kind, {"200": 9, "404": 0.5, "503": 0.5}),
        **_requests(kind, {"500": 1000}, 'job="another"'),
        **_durations(kind, buckets),
        **_durations(kind, {"0.5": 0, "+Inf": 1000}, 'job="another"'),
    }
    figures = _figures(set=kind)
    expected = {
        Metric.ERROR_RATE: 0.05,
        Metric.REQUESTS_PER_SECOND: 10,
        Metric.P50_LATENCY: 0.0625,
        Metric.P95_LATENCY: 0.3875,
        Metric.P99_LATENCY: 0.5,
    }

    newest = {figures[Metric.ERROR_RATE].newest: _STEPS * _EVERY}
    _prove(tmp_path, series, {**_by(figures, expected), **newest})


@pytest.mark.parametrize("kind", list(_NAMES))
@pytest.mark.parametrize(
    ("rates", "errors"),
    [({"200": 5.0}, 0.0), ({"500": 5.0}, 1.0), ({"200": 0.0, "500": 0.0}, None), ({}, None), ({"": 5.0}, None)],
    ids=["no-failure", "all-fail", "no-requests", "no-series", "no-status"],
)
def test_no_failure_is_zero_and_no_requests_are_not(
    tmp_path: Path, kind: str, rates: Mapping[str, float], errors: float | None
) -> None:
    figures = _figures(set=kind)

    _prove(tmp_path, _requests(kind, rates), _by(figures, {Metric.ERROR_RATE: errors}))


def test_failures_are_counted_by_the_label_that_the_registry_names(tmp_path: Path) -> None:
    figures = _figures(set="classic", status_label="status_code")
    series = {f'http_requests_total{{{_OURS},status_code="{code}"}}': _counter(1) for code in ("200", "500")}

    _prove(tmp_path, series, _by(figures, {Metric.ERROR_RATE: 0.5}))


@pytest.mark.parametrize(
    ("kind", "cpu", "memory"),
    [
        ("classic", "process_cpu_seconds_total", "process_resident_memory_bytes"),
        ("otel", "process_cpu_time_seconds_total", "process_memory_usage_bytes"),
    ],
)
def test_processes_are_measured_against_what_each_may_use(tmp_path: Path, kind: str, cpu: str, memory: str) -> None:
    figures = _figures(set=kind, process={"cpu_cores": 2, "memory_bytes": 1000})
    series = {
        f'{cpu}{{{_OURS},instance="a"}}': _counter(1),
        f'{cpu}{{{_OURS},instance="b"}}': _counter(0.5),
        f'{memory}{{{_OURS},instance="a"}}': f"400x{_STEPS}",
        f'{memory}{{{_OURS},instance="b"}}': f"200x{_STEPS}",
    }

    _prove(tmp_path, series, _by(figures, {Metric.CPU_USAGE: 0.375, Metric.MEMORY_USAGE: 0.3}))


def test_containers_are_measured_against_their_limits_and_one_without_counts_in_neither(tmp_path: Path) -> None:
    figures = _figures(set="otel", containers={"namespace": "shop", "pod": "checkout-.*"})

    def labels(pod: str, container: str) -> str:
        return f'namespace="shop",pod="{pod}",container="{container}"'

    series: Series = {}
    for pod, container, used in (("checkout-1", "app", 0.5), ("checkout-2", "app", 1.5), ("basket-1", "app", 9)):
        series[f'container_cpu_usage_seconds_total{{{labels(pod, container)},cpu="total"}}'] = _counter(used)
        series[f'container_memory_working_set_bytes{{{labels(pod, container)},id="x"}}'] = f"{used * 100:g}x{_STEPS}"
        for resource, limit in (("cpu", 2), ("memory", 400)):
            name = (
                f'kube_pod_container_resource_limits{{{labels(pod, container)},resource="{resource}",instance="ksm"}}'
            )
            series[name] = f"{limit}x{_STEPS}"
    series[f"container_cpu_usage_seconds_total{{{labels('checkout-1', 'sidecar')}}}"] = _counter(7)
    series[f"container_memory_working_set_bytes{{{labels('checkout-1', '')}}}"] = f"9999x{_STEPS}"

    _prove(tmp_path, series, _by(figures, {Metric.CPU_USAGE: 0.5, Metric.MEMORY_USAGE: 0.25}))


def test_restarts_are_those_of_the_window_and_of_the_service_alone(tmp_path: Path) -> None:
    of_processes = _figures(set="classic", process={"cpu_cores": 2, "memory_bytes": 1000})
    of_containers = _figures(set="otel", containers={"namespace": "shop", "pod": "checkout-.*"})
    early, late = _STEPS - 45, _STEPS - 10
    series = {
        f'process_start_time_seconds{{{_OURS},instance="a"}}': f"100x{early} 200x{late - early} 300x{_STEPS - late}",
        f'process_start_time_seconds{{{_OURS},instance="b"}}': f"100x{_STEPS}",
        'process_start_time_seconds{job="another"}': f"100x{late} 200x{_STEPS - late}",
        'kube_pod_container_status_restarts_total{namespace="shop",pod="checkout-1"}': f"3x{late} 4x{_STEPS - late}",
        'kube_pod_container_status_restarts_total{namespace="shop",pod="basket-1"}': f"3x{late} 9x{_STEPS - late}",
    }

    expected = {of_processes[Metric.RESTARTS].query: 1.0, of_containers[Metric.RESTARTS].query: 1.0}
    _prove(tmp_path, series, expected)


@pytest.mark.parametrize("kind", list(_NAMES))
def test_one_query_counts_the_requests_of_every_window_and_of_no_other_service(tmp_path: Path, kind: str) -> None:
    series = {
        **_requests(kind, {"200": 9, "404": 0.5, "503": 0.5}),
        **_requests(kind, {"": 1000}),
        **_requests(kind, {"500": 1000}, 'job="another"'),
    }
    expected = {
        "newest": _STEPS * _EVERY,
        "requests 60s": 600,
        "failed 60s": 30,
        "begun 60s": 4,
        "requests 300s": 3000,
        "failed 300s": 150,
        "begun 300s": 4,
    }

    _prove_counts(tmp_path, kind, series, expected, 60, 300)


def test_what_never_failed_and_what_was_not_there_when_a_window_began_have_no_number(tmp_path: Path) -> None:
    expected = {"newest": _STEPS * _EVERY, "requests 3600s": _EVERY * _STEPS}
    _prove_counts(tmp_path, "classic", _requests("classic", {"200": 1}), expected, 3600)


def test_of_a_service_that_is_not_there_nothing_is_counted(tmp_path: Path) -> None:
    _prove_counts(tmp_path, "classic", {}, {}, 60)


def _prove_counts(directory: Path, kind: str, series: Series, expected: Mapping[str, float], *seconds: int) -> None:
    endpoint = PrometheusEndpoint.model_validate(
        {"kind": "prometheus", "url": "http://prometheus", "selector": {"job": _JOB}, "set": kind}
    )
    query = counting(endpoint, [timedelta(seconds=each) for each in seconds])
    _prove(directory, series, {query: {f'{{counted="{name}"}}': value for name, value in expected.items()}})


def test_whatever_a_label_value_holds_it_stays_one_value(tmp_path: Path) -> None:
    hostile: Sequence[str] = ('"} or vector(1) #', "\\", '\\"', "a{b}", "$selector", "é😀")
    for value in hostile:
        endpoint = PrometheusEndpoint.model_validate(
            {"kind": "prometheus", "url": "http://prometheus", "selector": {"job": value}, "set": "classic"}
        )
        _prove(tmp_path, _requests("classic", {"200": 1}), {figure.query: None for figure in plan(endpoint).figures})
