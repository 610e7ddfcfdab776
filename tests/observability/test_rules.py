"""The rules by Prometheus's own tools, and what every alert owes to whoever it wakes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.alerts import MAX_ALERTS
from gateway.settings import GatewaySettings
from incident.anomalies import Band, Thresholds
from tests.observability.conftest import NEEDS_PROMETHEUS
from tests.observability.files import OBSERVABILITY, RULE_TESTS, RULES, alerts, document, selectors
from tests.standins.prometheus import checked

ALERTS = {each["alert"]: each for each in alerts()}
ALERTMANAGER = OBSERVABILITY / "alertmanager" / "alertmanager.yml"


@NEEDS_PROMETHEUS
def test_prometheus_takes_its_configuration_and_the_rules_that_it_names() -> None:
    said = checked("promtool", "check", "config", OBSERVABILITY / "prometheus" / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in said


@NEEDS_PROMETHEUS
@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_every_alert_fires_when_it_should_and_not_otherwise(file: Path) -> None:
    assert "SUCCESS" in checked("promtool", "test", "rules", file)


def test_of_every_alert_it_is_tested_when_it_fires_and_when_not() -> None:
    cases = [
        case
        for file in RULE_TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert: Mapping[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"observability/runbook.md#{alert['alert'].lower()}"


def test_the_runbook_has_a_chapter_for_every_alert_and_no_other() -> None:
    lines = (OBSERVABILITY / "runbook.md").read_text().splitlines()
    assert sorted(line.removeprefix("### ") for line in lines if line.startswith("### ")) == sorted(ALERTS)


def test_names_of_alerts_are_not_used_twice() -> None:
    assert len(ALERTS) == len(alerts())


def test_alerts_about_a_service_go_to_the_gateway_and_those_about_the_commander_do_not() -> None:
    settings = GatewaySettings()
    (route,) = document("alertmanager/alertmanager.yml")["route"]["routes"]
    assert route["matchers"] == [f'{settings.service_label}=~".+"']
    assert route["group_by"] == [settings.service_label, settings.environment_label]
    about = {name: set(alert["labels"]) & {"component", settings.service_label} for name, alert in ALERTS.items()}
    commander = {rule["alert"] for rule in _rules("commander")}
    assert {name for name, labels in about.items() if labels == {"component"}} == commander
    assert {name for name, labels in about.items() if "component" not in labels} == set(ALERTS) - commander


@NEEDS_PROMETHEUS
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"service": "payment-api", "environment": "production"}, "commander"),
        ({"service": "payment-api"}, "commander"),
        ({"component": "worker"}, "people"),
    ],
)
def test_alertmanager_sends_each_where_it_belongs(labels: Mapping[str, str], receiver: str) -> None:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    assert "SUCCESS" in checked("amtool", "check-config", ALERTMANAGER)
    said = checked("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *pairs)
    assert said.splitlines()[0] == receiver


def test_alertmanager_sends_no_more_than_the_gateway_reads_and_says_when_it_is_over() -> None:
    receivers = {each["name"]: each for each in document("alertmanager/alertmanager.yml")["receivers"]}
    (webhook,) = receivers["commander"]["webhook_configs"]
    assert webhook["max_alerts"] <= MAX_ALERTS
    assert webhook["send_resolved"] is True
    assert webhook["url"].endswith("/webhooks/alertmanager")
    assert set(webhook["http_config"]["authorization"]) == {"type", "credentials_file"}


@pytest.mark.parametrize(
    ("alert", "limit"),
    [
        ("HighErrorRate", Thresholds().error_rate.warning),
        ("HighCpu", Thresholds().cpu_usage.warning),
        ("HighMemory", Thresholds().memory_usage.warning),
    ],
)
def test_a_cause_alerts_from_where_the_policy_warns(alert: str, limit: Band | None) -> None:
    assert limit
    assert ALERTS[alert]["expr"].endswith(f"> {limit.above:g}")


def test_latency_alerts_from_where_the_policy_warns() -> None:
    warning = Thresholds().p99_latency.warning
    assert warning
    assert ALERTS["HighLatency"]["expr"].endswith(f"> {warning.above / 1000:g}")


def test_a_service_that_is_scraped_has_the_labels_by_which_its_alerts_find_it() -> None:
    settings = GatewaySettings()
    jobs = {job["job_name"]: job for job in document("prometheus/prometheus.yml")["scrape_configs"]}
    (target,) = jobs["payment-api"]["static_configs"]
    assert set(target["labels"]) == {settings.service_label, settings.environment_label}
    unobserved = ALERTS["ServiceUnobserved"]["labels"]
    assert target["labels"] == {name: unobserved[name] for name in target["labels"]}


def test_what_an_expression_reads_is_found_in_it() -> None:
    found = selectors(
        'sum by (a, b) (rate(x_total{c="d"}[5m])) > 2 or absent(up == 1) unless service:y:rate offset 13m'
    )
    assert found == {'x_total{c="d"}', "up", "service:y:rate"}


def _rules(file: str) -> list[Mapping[str, Any]]:
    groups = document(f"prometheus/rules/{file}.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]
