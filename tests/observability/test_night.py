"""Every panel and every alert asked of the real Prometheus and the real PostgreSQL, after one night of the whole."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from incident.snapshot import Outcome
from tests import builders
from tests.observability.conftest import NEEDS_A_NIGHT
from tests.observability.files import Query, alerts, queries, selectors, variables
from tests.observability.night import Night
from tests.standins.prometheus import Prometheus

pytestmark = NEEDS_A_NIGHT

BY_PROMQL = [query for query in queries() if query.source == "prometheus"]
BY_SQL = [query for query in queries() if query.source == "incidents"]
CHOSEN = {"environment": builders.ENVIRONMENT, "service": builders.SERVICE, "task_queue": "incident-commander"}
"""What somebody who looks chooses; each must be one of the values that the variable offers."""
DID_NOT_HAPPEN = {
    'commander_messages_total{channel="chat", outcome=~"failed|refused"}': "the console takes every message",
    'gateway_requests_total{status=~"5..", route!="/readyz"}': "the gateway does what it is asked all night",
}
"""What alerts look for and no series tells of, and why that is right."""
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


def test_a_bad_deployment_alerts_opens_an_incident_and_is_rolled_back(last_night: Night) -> None:
    assert {"HighErrorRate", "HighLatency"} <= last_night.fired["bad deployment"]
    assert last_night.outcomes[-1] is Outcome.RECOVERED
    assert not last_night.fired["rolled back"] & {"HighErrorRate", "HighLatency", "ServiceUnobserved"}


def test_a_page_that_does_not_arrive_alerts_until_one_does(last_night: Night) -> None:
    assert "PagesUnsent" in last_night.fired["nobody woken"]
    assert "PagesUnsent" not in last_night.fired["somebody woken"]


def test_mishaps_of_a_worker_alert(last_night: Night) -> None:
    assert {"WorkflowTasksFail", "WorkflowFailed", "SnapshotsUnkept"} <= last_night.fired["bad deployment"]


def test_a_webhook_with_another_secret_alerts(last_night: Night) -> None:
    assert "WebhooksRefused" in last_night.fired["bad deployment"]


def test_a_temporal_that_goes_away_alerts(last_night: Night) -> None:
    assert "TemporalDown" not in last_night.fired["somebody woken"]
    assert "TemporalDown" in last_night.fired["Temporal away"]


def test_what_is_well_all_night_does_not_alert(last_night: Night) -> None:
    well = {"GatewayDown", "GatewayErrors", "WorkerUnobserved", "NoWorkerPolls", "ChatUnsent", "AlertsUndelivered"}
    assert not well & frozenset[str]().union(*last_night.fired.values())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_what_an_alert_looks_at_is_measured(alert: Mapping[str, Any], last_night: Night) -> None:
    last_night.prometheus.now(alert["expr"])
    unknown = [each for each in selectors(alert["expr"]) if not last_night.prometheus.known(each)]
    assert [each for each in unknown if each not in DID_NOT_HAPPEN] == []


def test_what_is_said_not_to_have_happened_did_not(last_night: Night) -> None:
    assert [each for each in DID_NOT_HAPPEN if last_night.prometheus.known(each)] == []


@pytest.mark.parametrize("variable", list(variables()), ids=str)
def test_a_variable_offers_what_there_is(variable: Query, last_night: Night) -> None:
    if variable.source == "prometheus":
        found = _LABEL_VALUES.fullmatch(variable.text)
        assert found
        series = last_night.prometheus.now(_promql(found["selector"]))
        offered = {each["metric"].get(found["label"]) for each in series}
    else:
        offered = {row[0] for row in _rows(last_night, variable)}
    assert CHOSEN[variable.name] in offered


@pytest.mark.parametrize("query", BY_PROMQL, ids=str)
def test_a_panel_shows_what_prometheus_measured(query: Query, last_night: Night) -> None:
    expression = _promql(query.text)
    series = last_night.prometheus.over(expression, last_night.began, time.time())
    assert any(_finite(value) for each in series for _, value in each["values"]), expression
    if query.instant:
        assert _some_number(last_night.prometheus, expression)


@pytest.mark.parametrize("query", BY_PROMQL, ids=str)
def test_where_nothing_is_measured_no_panel_says_that_all_is_well(query: Query, last_night: Night) -> None:
    before = last_night.began - timedelta(hours=1).total_seconds()
    assert last_night.prometheus.over(_promql(query.text), before, before + 10) == []


@pytest.mark.parametrize("query", BY_SQL, ids=str)
def test_a_panel_shows_what_the_store_holds(query: Query, last_night: Night) -> None:
    rows = _rows(last_night, query)
    assert rows
    assert any(value is not None for value in rows[0])


def test_a_graph_of_incidents_has_a_time_and_a_number_in_every_row(last_night: Night) -> None:
    graphs = [query for query in BY_SQL if " AS time, " in query.text and " AS value " in query.text]
    assert len(graphs) == 2
    for query in graphs:
        for moment, metric, value in _rows(last_night, query):
            assert isinstance(moment, datetime)
            assert isinstance(metric, str)
            assert float(value) >= 0


def test_the_newest_incidents_are_the_nights_and_lead_to_their_pages(last_night: Night) -> None:
    (newest,) = [query for query in BY_SQL if query.panel == "Newest incidents"]
    rows = _rows(last_night, newest)
    assert [row[4] for row in rows if row[1] == builders.ENVIRONMENT][-2:] == ["RECOVERED", "ESCALATED"]


def test_a_message_that_did_not_arrive_is_shown(last_night: Night) -> None:
    (unheard,) = [query for query in BY_SQL if query.panel == "Messages that did not arrive"]
    assert [(row[1], row[2], row[4]) for row in _rows(last_night, unheard)] == [("pager", "page", "away")]


def _promql(expression: str) -> str:
    """`expression` as Grafana would send it."""
    filled = expression.replace("$__rate_interval", "15s")
    for name, value in CHOSEN.items():
        filled = filled.replace(f"${name}", value)
    assert "$" not in filled
    return filled


def _rows(last_night: Night, query: Query) -> Sequence[Sequence[Any]]:
    """What `query` gives as Grafana would send it, with everything chosen that a variable offers."""
    begin, end = builders.NOW - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    between = rf"\1 BETWEEN '{begin.isoformat()}' AND '{end.isoformat()}'"
    filled = re.sub(r"\$__timeFilter\((\w+)\)", between, query.text)
    for name, value in CHOSEN.items():
        filled = filled.replace(f"${{{name}:sqlstring}}", f"'{value}'")
    assert "$" not in filled
    engine = create_engine(last_night.store, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.execute(text(filled.replace(":", "\\:"))).fetchall()


def _some_number(prometheus: Prometheus, expression: str) -> bool:
    return any(_finite(each["value"][1]) for each in prometheus.now(expression))


def _finite(value: str) -> bool:
    return math.isfinite(float(value))
