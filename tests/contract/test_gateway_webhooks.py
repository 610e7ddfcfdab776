"""What other systems tell: once Temporal has it they hear 2xx, and otherwise 5xx, so that nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.access import github_signature
from incident.dossier import AlertNotice
from incident.errors import TransientError
from incident.services import parse_registry
from tests.contract.gateway_desk import KEYS, FakeDesk, Gate, away, settings
from workflows.messages import IncidentRequest

pytest_plugins = ["tests.contract.gateway_fixtures"]
PATIENCE = timedelta(seconds=10)
SOURCES = ("alertmanager", "grafana")


@pytest.fixture
async def sender(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with gate.client(None) as client:
        yield client


def _alert(name: str = "HighErrorRate", status: str | None = "firing", **labels: str) -> dict[str, Any]:
    told = {"labels": {"alertname": name, "service": "payment-api", **labels}, "annotations": {"summary": "x"}}
    return told if status is None else {"status": status, **told}


async def _send(
    sender: httpx.AsyncClient, *alerts: object, source: str = "alertmanager", **more: object
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEYS[f'{source}_secret']}"}
    body = {"version": "4", "groupKey": "{}", "status": "firing", "alerts": list(alerts), **more}
    return await sender.post(f"/webhooks/{source}", json=body, headers=headers)


async def _github(sender: httpx.AsyncClient, event: str, body: object, **headers: str) -> httpx.Response:
    raw = json.dumps(body).encode()
    signed = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": github_signature(raw, KEYS["github_secret"]),
        **headers,
    }
    return await sender.post("/webhooks/github", content=raw, headers=signed)


@pytest.mark.parametrize("source", SOURCES)
async def test_what_fires_opens_or_tells_the_incident_of_its_service(
    source: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    alerts = (_alert(), _alert("HighLatency"), _alert(), _alert("DiskFull", "resolved"))
    answer = await _send(sender, *alerts, source=source, truncatedAlerts=7)
    assert answer.json() == {"accepted": ["production/payment-api"], "unknown": []}
    ((request, notice),) = desk.alerts
    assert (request.service, request.environment, request.policy) == (
        "payment-api",
        "production",
        gate.policies.default,
    )
    assert (request.trigger.source, request.trigger.reason, request.trigger.by) == (
        source,
        "HighErrorRate, HighLatency",
        "",
    )
    assert (notice.source, notice.firing, notice.resolved) == (source, ("HighErrorRate", "HighLatency"), ("DiskFull",))
    assert notice.left_out == 7
    assert (gate.webhooks(source, "accepted"), gate.signals("alerted")) == (1, 1)


async def test_what_no_longer_fires_opens_nothing(sender: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await _send(sender, _alert(status="resolved"))
    assert answer.status_code == 200
    assert [(environment, service) for environment, service, _ in desk.heard] == [("production", "payment-api")]
    assert desk.heard[0][2].resolved == ("HighErrorRate",)
    assert not desk.alerts


async def test_one_message_about_several_services_tells_each_of_them(sender: httpx.AsyncClient, desk: FakeDesk) -> None:
    alerts = (_alert(), _alert(service="checkout"), _alert(environment="staging"))
    answer = await _send(sender, *alerts)
    assert answer.json()["accepted"] == ["production/payment-api", "production/checkout", "staging/payment-api"]
    assert {(each.environment, each.service) for each, _ in desk.alerts} == {
        ("production", "payment-api"),
        ("production", "checkout"),
        ("staging", "payment-api"),
    }


async def test_services_that_nobody_knows_are_named_and_counted_and_start_nothing(
    sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    nameless = {"status": "firing", "labels": {"alertname": "Lost"}}
    answer = await _send(sender, _alert(service="n\x1bobody"), nameless, _alert())
    assert answer.json() == {"accepted": ["production/payment-api"], "unknown": ["production/nobody", "production/"]}
    assert len(desk.alerts) == 1
    assert gate.webhooks("alertmanager", "unknown") == 1


@pytest.mark.parametrize(
    "alerts", [[], [_alert(service="nobody")], [_alert(environment="staging", service="checkout")]]
)
async def test_a_message_that_names_no_known_service_is_422_for_trying_again_changes_nothing(
    alerts: list[object], sender: httpx.AsyncClient, desk: FakeDesk
) -> None:
    assert (await _send(sender, *alerts)).status_code == 422
    assert not desk.touched


async def test_a_payload_of_the_teams_own_is_read_as_far_as_it_goes(sender: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await _send(sender, _alert(status=None), {**_alert("Own"), "extra": {"deep": [1]}}, status="resolved")
    assert answer.status_code == 200
    ((_, notice),) = desk.alerts
    assert (notice.firing, notice.resolved) == (("Own",), ("HighErrorRate",))


UNUSABLE: dict[str, dict[str, Any]] = {
    "no alerts": {"version": "4"},
    "alerts that are none": {"alerts": "HighErrorRate"},
    "an alert that is none": {"alerts": [7]},
    "501 alerts": {"alerts": [_alert()] * 501},
    "65 labels": {"alerts": [_alert(**{f"label_{number}": "x" for number in range(63)})]},
    "a label that is too long": {"alerts": [_alert(note="x" * 4097)]},
    "a label that is no text": {"alerts": [{"status": "firing", "labels": {"service": 7}}]},
    "another status": {"alerts": [_alert(status="suppressed")]},
    "a negative count": {"alerts": [_alert()], "truncatedAlerts": -1},
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_message_that_cannot_be_used_is_422_and_starts_nothing(
    body: dict[str, Any], sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    headers = {"Authorization": f"Bearer {KEYS['alertmanager_secret']}"}
    assert (await sender.post("/webhooks/alertmanager", json=body, headers=headers)).status_code == 422
    assert gate.refused("field") == 1
    assert not desk.touched


async def test_what_alerts_are_called_is_cut_and_cleaned_before_it_is_kept(
    sender: httpx.AsyncClient, desk: FakeDesk
) -> None:
    secret = "ghp_" + "c0FFee" * 7
    await _send(sender, _alert("\x1b[2J\u202eevil\n" + "x" * 500), _alert(secret), _alert(""))
    ((request, notice),) = desk.alerts
    assert notice.firing[0].startswith("[2Jevil xxx")
    assert all(len(name) <= 100 and name.isprintable() for name in notice.firing)
    assert notice.firing[2] == "an alert without a name"
    assert secret not in request.model_dump_json() + notice.model_dump_json()
    assert len(request.trigger.reason) <= 300


async def test_a_reason_names_the_first_five_alerts(sender: httpx.AsyncClient, desk: FakeDesk) -> None:
    await _send(sender, *(_alert(f"Alert{number}" + "x" * 80) for number in range(9)))
    reason = desk.alerts[0][0].trigger.reason
    assert reason.endswith(" and 4 more")
    assert len(reason) <= 300


async def test_the_labels_that_name_a_service_are_the_teams_to_choose() -> None:
    desk = FakeDesk()
    gate = Gate(desk, settings=settings(service_label="app", environment_label="stage", default_environment="staging"))
    async with gate.client(None) as sender:
        await _send(sender, {"status": "firing", "labels": {"app": "payment-api"}})
        await _send(sender, {"status": "firing", "labels": {"app": "checkout", "stage": "production"}})
    assert [(each.environment, each.service) for each, _ in desk.alerts] == [
        ("staging", "payment-api"),
        ("production", "checkout"),
    ]


async def test_temporal_is_asked_of_at_most_eight_services_at_once_and_all_are_told(desk: FakeDesk) -> None:
    registry = "".join(
        f'[[service]]\nname = "api-{number}"\nsource = {{ kind = "mock", url = "http://127.0.0.1:9" }}\n'
        for number in range(20)
    )
    gate = Gate(desk, registry=parse_registry(registry, "services.toml"))
    desk.holding = asyncio.Event()
    async with gate.client(None) as sender:
        sent = asyncio.create_task(_send(sender, *(_alert(service=f"api-{number}") for number in range(20))))
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while desk.under_way < 8:  # noqa: ASYNC110 - the desk has no event for it
                await asyncio.sleep(0)
        desk.holding.set()
        assert len((await sent).json()["accepted"]) == 20
    assert desk.most_at_once == 8
    assert len(desk.alerts) == 20


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("status", ["firing", "resolved"])
async def test_while_temporal_is_away_the_sender_hears_503_and_when_to_try_again(
    source: str, status: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    desk.away = away()
    answer = await _send(sender, _alert(status=status), source=source)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "10.1.2.3" not in answer.text
    assert (gate.webhooks(source, "away"), gate.webhooks(source, "accepted")) == (1, 0)
    desk.away = None
    assert (await _send(sender, _alert(status=status), source=source)).status_code == 200


async def test_a_message_of_which_one_service_was_not_told_is_503_as_a_whole() -> None:
    class HalfAway(FakeDesk):
        async def alert(self, request: IncidentRequest, notice: AlertNotice) -> bool:
            if request.service == "checkout":
                raise TransientError("temporal", "is busy", timedelta(seconds=42))
            return await super().alert(request, notice)

    desk = HalfAway()
    gate = Gate(desk)
    async with gate.client(None) as sender:
        answer = await _send(sender, _alert(), _alert(service="checkout"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "42")
    assert len(desk.alerts) == 1


@pytest.mark.parametrize("source", SOURCES)
async def test_an_alert_that_opens_an_incident_wakes_the_services_watcher_too(
    source: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    assert (await _send(sender, _alert(), source=source)).status_code == 200
    assert gate.lookout.woken == [("production", "payment-api")]
    desk.add()
    assert (await _send(sender, _alert(), source=source)).status_code == 200
    assert (len(desk.alerts), len(gate.lookout.woken)) == (2, 1)


async def test_an_alert_is_taken_where_its_watcher_cannot_be_woken(
    sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    gate.lookout.away = away()
    assert (await _send(sender, _alert())).status_code == 200
    assert len(desk.alerts) == 1


@pytest.mark.parametrize("event", ["deployment_status", "workflow_run"])
async def test_an_event_of_a_repository_lets_its_services_look_whatever_its_case(
    event: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    desk.add()
    answer = await _github(sender, event, {"repository": {"full_name": "acme/payment-API"}, "more": {}})
    assert (answer.status_code, answer.json()) == (
        200,
        {"result": "accepted", "told": ["production/payment-api"]},
    )
    assert desk.looked == [("production", "payment-api")]
    assert (gate.webhooks("github", "accepted"), gate.signals("look_now")) == (1, 1)


async def test_a_ping_is_answered_and_any_other_event_is_left_alone(
    sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    ours, other = {"repository": {"full_name": "Acme/Payment-API"}}, {"repository": {"full_name": "acme/other"}}
    assert (await _github(sender, "ping", {"zen": "Keep it logically awesome."})).status_code == 200
    for event, body in (("push", ours), ("workflow_run", other), ("workflow_run", {}), ("", ours)):
        answer = await _github(sender, event, body)
        assert (answer.status_code, answer.json()["result"]) == (202, "ignored")
    assert gate.webhooks("github", "ignored") == 4
    assert not desk.touched


async def test_github_hears_503_while_temporal_is_away(sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk) -> None:
    desk.away = away()
    answer = await _github(sender, "workflow_run", {"repository": {"full_name": "Acme/Payment-API"}})
    assert answer.status_code == 503
    assert gate.webhooks("github", "away") == 1


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        github_signature(b"{}", KEYS["github_secret"]),
        github_signature(b'{"repository": {"full_name": "Acme/Payment-API"}}', "another secret"),
        "sha1=" + "0" * 40,
    ],
)
async def test_what_github_did_not_sign_is_401_and_starts_nothing(
    signature: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    body = {"repository": {"full_name": "Acme/Payment-API"}}
    answer = await _github(sender, "workflow_run", body, **{"X-Hub-Signature-256": signature})
    assert (answer.status_code, answer.json()["detail"]) == (401, "not authorised")
    assert gate.refused("signature") == 1
    assert not desk.touched


@pytest.mark.parametrize("source", SOURCES)
async def test_one_senders_secret_opens_no_other_door(
    source: str, sender: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    for name, key in (*KEYS.items(), ("a caller's", gate.people.ada)):
        if name != f"{source}_secret":
            headers = {"Authorization": f"Bearer {key}"}
            answer = await sender.post(f"/webhooks/{source}", json={"alerts": [_alert()]}, headers=headers)
            assert answer.status_code == 401
    assert gate.refused("token") == 3
    assert not desk.touched
