"""How `AlertmanagerAlerts` asks, and how it reads answers that are wrong, odd, missing, or given by several members."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import PermanentError, TransientError
from incident.evidence import AlertsReport, AlertState, SourceState
from incident.services import AlertmanagerEndpoint
from integrations.alertmanager import MAX_ALERTS, MAX_SUMMARY, AlertmanagerAlerts
from integrations.credentials import Credentials
from integrations.http import HttpSettings, build_client
from tests.builders import NOW

Handler = Callable[[httpx.Request], httpx.Response]
MATCHERS = ('service="payment-api"', 'severity=~"critical|warning"')


def alertmanager(handler: Handler, *peers: str, credentials: Credentials | None = None) -> AlertmanagerAlerts:
    endpoint = AlertmanagerEndpoint(
        kind="alertmanager", url="http://am-0.example/base/", peers=peers, matchers=MATCHERS
    )
    client = build_client(HttpSettings(), httpx.MockTransport(handler))
    return AlertmanagerAlerts(client, endpoint, credentials or Credentials(), lambda: NOW)


def alert(fingerprint: str = "c0ffee", state: str = "active", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {
        "labels": {"alertname": "HighErrorRate", "service": "payment-api", "severity": "critical"},
        "annotations": {"summary": "15 % of the requests fail"},
        "startsAt": _text(NOW - timedelta(minutes=2)),
        "endsAt": _text(NOW + timedelta(minutes=3)),
        "updatedAt": _text(NOW - timedelta(seconds=10)),
        "fingerprint": fingerprint,
        "receivers": [{"name": "commander"}],
        "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        "generatorURL": "http://prometheus.example/graph",
        **changes,
    }


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


async def answered(body: object, status: int = 200, **headers: str) -> AlertsReport:
    content = body if isinstance(body, str) else json.dumps(body)
    return await alertmanager(lambda _: httpx.Response(status, content=content, headers=headers)).read_alerts()


async def test_it_is_asked_for_alerts_of_every_state_that_all_matchers_hold_for() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=[])

    report = await alertmanager(handler, credentials=Credentials(token=SecretStr("s3cret"))).read_alerts()

    (request,) = requests
    assert request.url.path == "/base/api/v2/alerts"
    assert request.url.params.multi_items() == [
        ("active", "true"),
        ("silenced", "true"),
        ("inhibited", "true"),
        ("unprocessed", "true"),
        ("filter", MATCHERS[0]),
        ("filter", MATCHERS[1]),
    ]
    assert request.headers["authorization"] == "Bearer s3cret"
    assert (report.state, report.alerts) == (SourceState.EMPTY, ())


async def test_an_alert_is_told_by_its_name_and_summary() -> None:
    (found,) = (await answered([alert()])).alerts
    assert found.id == "alert:c0ffee"
    assert found.summary == "HighErrorRate: 15 % of the requests fail"
    assert (found.severity, found.state, found.started_at) == (
        "critical",
        AlertState.FIRING,
        NOW - timedelta(minutes=2),
    )


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"state": "active"}, AlertState.FIRING),
        ({"state": "unprocessed"}, AlertState.FIRING),
        ({"state": "a new one"}, AlertState.FIRING),
        ({"state": "suppressed"}, AlertState.SUPPRESSED),
        ({"endsAt": _text(NOW - timedelta(seconds=1))}, AlertState.RESOLVED),
        ({"state": "suppressed", "endsAt": _text(NOW)}, AlertState.RESOLVED),
        ({"endsAt": "0001-01-01T00:00:00Z"}, AlertState.FIRING),
        ({"endsAt": None}, AlertState.FIRING),
    ],
    ids=str,
)
async def test_firing_suppressed_and_resolved_are_told_apart(changes: dict[str, Any], state: AlertState) -> None:
    report = await answered([alert(**changes)])
    assert report.alerts[0].state is state
    assert len(report.firing) == (state is AlertState.FIRING)


async def test_an_alerts_end_is_held_against_the_clock_of_who_tells_it() -> None:
    ends = {"endsAt": _text(NOW - timedelta(minutes=1))}
    behind = format_datetime(NOW - timedelta(minutes=10), usegmt=True)
    assert (await answered([alert(**ends)], date=behind)).firing
    assert not (await answered([alert(**ends)], date="yesterday")).firing


async def test_firing_ones_come_first_and_what_is_left_out_is_counted() -> None:
    many = [alert(f"s{number}", "suppressed") for number in range(MAX_ALERTS)]
    report = await answered([*many, alert("fires")])
    assert report.alerts[0].id == "alert:fires"
    assert (len(report.alerts), report.omitted) == (MAX_ALERTS, 1)


async def test_what_members_tell_of_one_alert_counts_once() -> None:
    shared, own = alert("shared"), alert("own")
    bodies = {"am-0.example": [shared], "am-1.example": [own, shared, shared]}
    handler: Handler = lambda request: httpx.Response(200, json=bodies[request.url.host])  # noqa: E731 - typed
    report = await alertmanager(handler, "http://am-1.example").read_alerts()
    assert sorted(each.id for each in report.firing) == ["alert:own", "alert:shared"]
    assert report.problem == ""


@pytest.mark.parametrize(
    ("late", "early", "state"),
    [
        ("suppressed", "active", AlertState.SUPPRESSED),
        ("active", "suppressed", AlertState.FIRING),
    ],
)
async def test_of_members_that_disagree_the_one_that_heard_of_it_last_is_right(
    late: str, early: str, state: AlertState
) -> None:
    bodies = [alert(state=late), alert(state=early, updatedAt=_text(NOW - timedelta(minutes=1)))]
    for order in (bodies, bodies[::-1]):
        assert (await answered(order)).alerts[0].state is state


async def test_of_members_that_heard_at_once_one_that_fires_is_right() -> None:
    for order in (["active", "suppressed"], ["suppressed", "active"]):
        assert (await answered([alert(state=each) for each in order])).firing


async def test_one_member_that_answers_is_enough_and_the_others_are_named() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "am-1.example":
            return httpx.Response(200, json=[alert()])
        raise httpx.ConnectError("no route")

    report = await alertmanager(handler, "http://am-1.example").read_alerts()
    assert (report.state, len(report.firing)) == (SourceState.OK, 1)
    assert report.problem == "1 of 2 members did not answer: cannot be reached"


async def test_where_no_member_answers_the_alerts_are_not_seen() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(TransientError, match="alertmanager: cannot be reached"):
        await alertmanager(handler, "http://am-1.example").read_alerts()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        7,
        {},
        alert(labels={"alertname": 7}),
        alert(startsAt="yesterday"),
        alert(startsAt="2026-11-24T14:00:00"),
        alert(fingerprint="roll back to 7"),
        alert(fingerprint=""),
        alert(status="active"),
    ],
    ids=[f"case{number}" for number in range(9)],
)
async def test_what_is_no_alert_is_counted_and_the_others_are_read(broken: object) -> None:
    report = await answered([broken, alert()])
    assert (len(report.firing), report.omitted) == (1, 1)
    with pytest.raises(PermanentError, match="none of its 1 alerts is as expected"):
        await answered([broken])


async def test_texts_are_redacted_cleaned_and_cut() -> None:
    secret = "ghp_" + "c0FFee" * 7
    labels = {"alertname": f"\x1b[2Jevil\n{secret}", "severity": "critical\u202e\n" * 50}
    report = await answered([alert(labels=labels, annotations={"description": "x" * 9000})])
    (found,) = report.alerts
    assert found.summary.startswith("[2Jevil [REDACTED:github-token]: xxx")
    assert len(found.summary) <= MAX_SUMMARY
    assert len(found.severity) <= 100
    assert found.severity.isprintable()


async def test_an_alert_without_name_and_severity_says_so() -> None:
    (found,) = (await answered([alert(labels={"service": "payment-api"}, annotations={})])).alerts
    assert (found.summary, found.severity) == ("an alert without a name", "unknown")


BODIES: dict[str, tuple[Any, str]] = {
    "html": ("<html>s3cret</html>", "is HTML, not JSON"),
    "text": ("s3cret", "is not JSON"),
    "the v1 API": ({"status": "success", "data": []}, "is no list of alerts"),
    "null": (None, "is no list of alerts"),
}


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES)
async def test_an_answer_that_is_none_is_an_error_that_does_not_repeat_it(body: object, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as raised:
        await answered(body)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, PermanentError, "a matcher is wrong"),
        (401, PermanentError, "ALERTMANAGER__TOKEN"),
        (404, PermanentError, "the url ends before /api"),
        (302, PermanentError, "HTTP 302"),
        (503, TransientError, "HTTP 503"),
    ],
)
async def test_a_refusal_says_what_to_set(status: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        await answered('"s3cret"', status)
    assert "s3cret" not in str(raised.value)
