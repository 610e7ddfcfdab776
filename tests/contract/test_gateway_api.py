"""The API as its callers meet it, on a desk without Temporal."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from incident.dossier import Stage
from incident.ledger import Stop
from incident.snapshot import Outcome, Snapshot, close
from tests import builders
from tests.contract.gateway_desk import FakeDesk, Gate, away

pytest_plugins = ["tests.contract.gateway_fixtures"]
UNKNOWN = "production.payment-api.20200101T000000Z.00000000"
DIGEST = builders.proposal().digest
PATIENCE = timedelta(seconds=10)


async def _closed(gate: Gate, number: int, **changes: object) -> Snapshot:
    opened_at = builders.NOW + timedelta(hours=number)
    dossier = builders.dossier(
        incident_id=f"production.payment-api.20261124T{number:02}0000Z.0000000{number}", opened_at=opened_at
    )
    snapshot = close(dossier, Outcome.NO_INCIDENT, opened_at + timedelta(minutes=1)).model_copy(update=changes)
    await gate.store.save(snapshot)
    return snapshot


def _ids(page: httpx.Response) -> list[str]:
    return [each["incident_id"] for each in page.json()["incidents"]]


async def test_opening_gives_201_and_joining_200_with_the_same_id(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    asked = {"service": "payment-api", "reason": "they call us", "source": "kestra", "execution_id": "e-1"}
    opened, joined = await api.post("/incidents", json=asked), await api.post("/incidents", json=asked)
    assert (opened.status_code, joined.status_code) == (201, 200)
    assert (opened.json()["opened"], joined.json()["opened"]) == (True, False)
    assert opened.json()["incident_id"] == joined.json()["incident_id"]
    assert opened.json()["page_url"] == f"https://commander.example/ui/incidents/{opened.json()['incident_id']}"
    assert opened.json()["workflow_url"].endswith("/namespaces/default/workflows/incident-production-payment-api")
    trigger = desk.opened[0].trigger
    assert (trigger.by, trigger.source, trigger.reason, trigger.execution_id) == (
        "ada",
        "kestra",
        "they call us",
        "e-1",
    )
    assert desk.opened[0].policy.approvers == ("ada",)
    assert trigger.trigger_id != desk.opened[1].trigger.trigger_id


async def test_the_same_trigger_again_still_says_that_it_opened_it(api: httpx.AsyncClient) -> None:
    asked = {"service": "payment-api", "trigger_id": "ticket-4711"}
    answers = [await api.post("/incidents", json=asked) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("asked", [{"service": "nobody"}, {"service": "checkout", "environment": "staging"}])
async def test_a_service_that_the_registry_does_not_have_is_never_opened(
    asked: dict[str, str], api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    answer = await api.post("/incidents", json=asked)
    assert answer.status_code == 422
    assert answer.json()["errors"][0].startswith("body.service: ")
    assert "nobody" not in answer.text
    assert not desk.touched


async def test_the_list_begins_with_the_open_ones_and_goes_on_page_by_page(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    closed = [(await _closed(gate, number)).incident_id for number in range(5)]
    still_open = desk.add().incident_id
    first = await api.get("/incidents", params={"limit": 2})
    assert _ids(first) == [still_open, closed[4], closed[3]]
    assert first.json()["open_known"]
    second = await api.get("/incidents", params={"limit": 2, "after": first.json()["next"]})
    third = await api.get("/incidents", params={"limit": 2, "after": second.json()["next"]})
    assert (_ids(second), _ids(third)) == ([closed[2], closed[1]], [closed[0]])
    assert third.json()["next"] is None


async def test_an_incident_that_is_listed_as_open_and_kept_as_closed_stands_once(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    snapshot = await _closed(gate, 1)
    desk.add(incident_id=snapshot.incident_id)
    (only,) = (await api.get("/incidents")).json()["incidents"]
    assert (only["stage"], only["outcome"]) == ("closed", "NO_INCIDENT")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"open", "staging", "quiet", "urgent"}),
        ({"open": "true"}, {"open", "staging"}),
        ({"open": "false"}, {"quiet", "urgent"}),
        ({"severity": "P0"}, {"open", "urgent"}),
        ({"outcome": "ESCALATED"}, {"urgent"}),
        ({"environment": "staging"}, {"staging"}),
        ({"service": "checkout"}, set()),
    ],
)
async def test_every_filter_holds_for_open_and_closed_ones(
    query: dict[str, str], found: set[str], api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    decided = builders.decided_dossier()
    ids = {
        desk.add(verdict=decided.verdict).incident_id: "open",
        desk.add(environment="staging").incident_id: "staging",
        (await _closed(gate, 1)).incident_id: "quiet",
        (await _closed(gate, 2, severity="P0", outcome=Outcome.ESCALATED)).incident_id: "urgent",
    }
    assert {ids[each] for each in _ids(await api.get("/incidents", params=query))} == found


async def test_closed_incidents_are_shown_while_nobody_knows_which_are_open(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    snapshot = await _closed(gate, 1)
    desk.away = away()
    page = await api.get("/incidents")
    assert page.status_code == 200
    assert page.json()["open_known"] is False
    assert _ids(page) == [snapshot.incident_id]


@pytest.mark.parametrize("after", ["nonsense", "e30", "%%%", "eyJvcGVuZWRfYXQiOjF9", "é"])
async def test_a_place_that_is_none_of_ours_is_refused(after: str, api: httpx.AsyncClient) -> None:
    answer = await api.get("/incidents", params={"after": after})
    assert answer.status_code == 422
    assert answer.json()["errors"] == ["query.after: expected `next` of the page before"]


async def test_an_open_incident_is_seen_with_its_dossier_and_its_proposal_only_while_it_is_asked(
    api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    dossier = builders.decided_dossier(stage=Stage.AWAITING_APPROVAL, proposal=builders.proposal())
    desk.dossiers[dossier.incident_id] = dossier
    view = (await api.get(f"/incidents/{dossier.incident_id}")).json()
    assert (view["stage"], view["severity"], view["outcome"], view["action"]) == ("awaiting-approval", "P0", None, None)
    assert view["proposal"]["digest"] == DIGEST
    assert view["dossier"]["incident_id"] == dossier.incident_id
    assert view["snapshot"] is None
    assert f"/workflows/{dossier.workflow_id}/run-of-" in view["workflow_url"]
    await desk.move(
        dossier.incident_id,
        stage=Stage.REMEDIATING,
        remediation=builders.remediation_record(run=builders.run(url="https://ci.example/runs/7")),
    )
    view = (await api.get(f"/incidents/{dossier.incident_id}")).json()
    assert (view["proposal"], view["action"]) == (None, "rollback")
    assert view["run_url"] == "https://ci.example/runs/7"


async def test_a_closed_incident_is_seen_with_its_record_even_before_the_archive_has_it(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    kept, fresh = await _closed(gate, 1), desk.add()
    await desk.end(fresh.incident_id)
    for incident_id in (kept.incident_id, fresh.incident_id):
        view = (await api.get(f"/incidents/{incident_id}")).json()
        assert view["stage"] == "closed"
        assert view["snapshot"]["incident_id"] == incident_id
        assert view["dossier"] is None
        record = await api.get(f"/incidents/{incident_id}/snapshot")
        assert Snapshot.model_validate(record.json()).incident_id == incident_id


async def test_a_run_that_was_ended_from_outside_is_closed_without_a_record(
    api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    dossier = desk.add(stage=Stage.VERIFYING)
    await desk.end(dossier.incident_id, record=False)
    view = (await api.get(f"/incidents/{dossier.incident_id}")).json()
    assert (view["stage"], view["outcome"], view["snapshot"]) == ("closed", None, None)
    assert (await api.get(f"/incidents/{dossier.incident_id}/snapshot")).status_code == 404
    assert (await api.get(f"/incidents/{dossier.incident_id}/evidence")).status_code == 404


async def test_an_open_incident_is_seen_while_the_store_is_away(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    dossier = desk.add()
    gate.store.errors["load"] = away()
    assert (await api.get(f"/incidents/{dossier.incident_id}")).status_code == 200
    assert (await api.get(f"/incidents/{UNKNOWN}")).status_code == 503


@pytest.mark.parametrize("what", ["", "/evidence", "/snapshot"])
async def test_an_incident_that_nobody_knows_is_404_and_what_is_no_id_422(what: str, api: httpx.AsyncClient) -> None:
    assert (await api.get(f"/incidents/{UNKNOWN}{what}")).status_code == 404
    assert (await api.get(f"/incidents/Nonsense{what}")).status_code == 422


async def test_there_is_no_record_of_an_open_incident(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    assert (await api.get(f"/incidents/{desk.add().incident_id}/snapshot")).status_code == 409


async def _waits(desk: FakeDesk) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not desk.waiting:  # noqa: ASYNC110 - the desk has no event for it
            await asyncio.sleep(0)


async def _later(api: httpx.AsyncClient, desk: FakeDesk, path: str) -> "asyncio.Task[httpx.Response]":
    asked = asyncio.create_task(api.get(path))
    await _waits(desk)
    return asked


async def test_a_long_poll_answers_as_soon_as_the_stage_is_another(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    asked = await _later(api, desk, f"/incidents/{incident_id}?wait=30")
    await desk.move(incident_id, stage=Stage.ANALYZING)
    assert (await asked).json()["stage"] == "analyzing"
    known = await api.get(f"/incidents/{incident_id}?wait=30&stage=detecting")
    assert known.json()["stage"] == "analyzing"


async def test_a_long_poll_answers_as_soon_as_the_incident_closes(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    asked = await _later(api, desk, f"/incidents/{incident_id}?wait=30")
    await desk.end(incident_id)
    assert (await asked).json()["outcome"] == "CANCELLED"


async def test_an_incident_whose_record_is_still_being_kept_is_not_closed_yet(
    api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    incident_id = desk.add(stage=Stage.CLOSED).incident_id
    assert (await api.get(f"/incidents/{incident_id}")).json()["stage"] == "reporting"
    asked = await _later(api, desk, f"/incidents/{incident_id}?wait=30&stage=reporting")
    await desk.end(incident_id)
    assert (await asked).json()["outcome"] == "CANCELLED"


async def test_a_long_poll_without_news_says_what_is(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    assert (await api.get(f"/incidents/{incident_id}?wait=1")).json()["stage"] == "detecting"


@pytest.mark.parametrize("wait", ["31", "-1", "soon"])
async def test_a_wait_is_bounded(wait: str, api: httpx.AsyncClient, desk: FakeDesk) -> None:
    assert (await api.get(f"/incidents/{desk.add().incident_id}?wait={wait}")).status_code == 422


async def test_evidence_is_given_as_soon_as_there_is_some(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    path = f"/incidents/{incident_id}/evidence"
    assert (await api.get(path)).status_code == 409
    asked = await _later(api, desk, f"{path}?wait=30")
    seen = builders.degraded_evidence()
    await desk.move(incident_id, stage=Stage.AWAITING_DECISION, evidence=seen, assessment=builders.assessment(seen))
    offer = (await asked).json()
    assert offer["stage"] == "awaiting-decision"
    assert offer["evidence"] == seen.model_dump(mode="json")


async def test_the_evidence_of_a_closed_incident_comes_from_its_record(api: httpx.AsyncClient, gate: Gate) -> None:
    await gate.store.save(builders.snapshot())
    offer = (await api.get(f"/incidents/{builders.INCIDENT_ID}/evidence")).json()
    assert offer["stage"] == "closed"
    assert offer["evidence"]["service"] == builders.SERVICE
    without = await _closed(gate, 1)
    assert (await api.get(f"/incidents/{without.incident_id}/evidence")).status_code == 409


async def test_a_decision_is_handed_in_or_declined(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add(stage=Stage.AWAITING_DECISION).incident_id
    decision = builders.decision().model_dump(mode="json")
    for body in ({"decision": decision}, {"declined": "no model today"}):
        assert (await api.post(f"/incidents/{incident_id}/decision", json=body)).status_code == 202
    assert [(each.decision, each.declined) for each in desk.decided] == [(decision, ""), (None, "no model today")]


async def test_a_decision_that_nobody_awaits_is_409(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    path = f"/incidents/{desk.add().incident_id}/decision"
    answer = await api.post(path, json={"declined": "no model today"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "no decision is awaited: the incident is detecting"


async def test_a_decision_that_does_not_validate_is_422_with_every_fields_error(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    incident_id = desk.add(stage=Stage.AWAITING_DECISION).incident_id
    body = {"decision": {**builders.decision().model_dump(mode="json"), "confidence": 7, "severity": "P9canary"}}
    answer = await api.post(f"/incidents/{incident_id}/decision", json=body)
    assert answer.status_code == 422
    assert [line.partition(":")[0] for line in answer.json()["errors"]] == ["severity", "confidence"]
    assert "canary" not in answer.text
    assert gate.refused("field") == 1


@pytest.mark.parametrize("body", [{}, {"decision": {}, "declined": "both"}, {"decision": None}, {"decision": []}])
async def test_a_decision_is_one_of_both(body: dict[str, Any], api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add(stage=Stage.AWAITING_DECISION).incident_id
    assert (await api.post(f"/incidents/{incident_id}/decision", json=body)).status_code == 422
    assert not desk.decided


def _asking(desk: FakeDesk) -> str:
    asked = {"proposal": builders.proposal(), "policy": builders.policy(approvers=["ada"])}
    return desk.add(stage=Stage.AWAITING_APPROVAL, **asked).incident_id


async def test_the_tokens_holder_approves_whatever_the_body_says(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    path = f"/incidents/{_asking(desk)}/approval"
    answer = await api.post(path, json={"digest": DIGEST, "approved": True, "note": "seen"})
    assert answer.status_code == 200
    assert (answer.json()["approver"], answer.json()["approved"], answer.json()["note"]) == ("ada", True, "seen")
    assert (await api.post(path, json={"digest": DIGEST, "approved": True})).json() == answer.json()
    forged = await api.post(path, json={"digest": DIGEST, "approved": True, "approver": "grace"})
    assert forged.status_code == 422


async def test_an_answer_that_is_refused_is_409_with_the_reason(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    path = f"/incidents/{_asking(desk)}/approval"
    other = await api.post(path, json={"digest": "0" * 64, "approved": True})
    assert (other.status_code, other.json()["detail"]) == (
        409,
        "this is not the proposal that is open: its digest differs",
    )
    async with gate.client(gate.people.approver) as stranger:
        answer = await stranger.post(path, json={"digest": DIGEST, "approved": True})
    assert (answer.status_code, answer.json()["detail"]) == (409, "approver is not one of the policy's approvers")


async def test_who_cancels_is_the_tokens_holder(api: httpx.AsyncClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    answer = await api.post(f"/incidents/{incident_id}/cancel", json={"reason": "a false alarm"})
    assert answer.json() == {"incident_id": incident_id, "acted": False}
    assert [(each.by, each.reason) for each in desk.cancelled] == [("ada", "a false alarm")]


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("decision", {"declined": "no"}),
        ("approval", {"digest": DIGEST, "approved": False}),
        ("cancel", {"reason": ""}),
    ],
)
async def test_nothing_is_asked_of_an_incident_that_has_closed(
    what: str, body: dict[str, Any], api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    kept, ended = await _closed(gate, 1), desk.add()
    await desk.end(ended.incident_id)
    for incident_id in (kept.incident_id, ended.incident_id):
        answer = await api.post(f"/incidents/{incident_id}/{what}", json=body)
        assert (answer.status_code, answer.json()["detail"]) == (409, "the incident has closed")
    assert (await api.post(f"/incidents/{UNKNOWN}/{what}", json=body)).status_code == 404
    assert not desk.touched


async def test_a_kill_switch_is_pulled_told_shown_and_let_go(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    incident_id = desk.add().incident_id
    desk.add(environment="staging")
    scope = {"service": "payment-api", "environment": "production"}
    pulled = (await api.post("/stops", json={**scope, "reason": "by hand"})).json()
    assert (pulled["stop"]["by"], pulled["stop"]["reason"], pulled["told"]) == ("ada", "by hand", [incident_id])
    assert (await api.get("/stops")).json()["stops"] == [pulled["stop"]]
    assert (await api.request("DELETE", "/stops", params={"service": "payment-api"})).status_code == 404
    assert (await api.request("DELETE", "/stops", params=scope)).json() == scope
    assert await gate.store.stops() == ()


async def test_a_kill_switch_holds_even_where_no_incident_can_be_told(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    desk.away = away()
    answer = await api.post("/stops", json={"reason": "everything"})
    assert (answer.status_code, answer.json()["told"]) == (200, None)
    (stop,) = await gate.store.stops()
    assert isinstance(stop, Stop)
    assert stop.covers("staging", "checkout")


async def test_a_misspelt_kill_switch_is_refused_for_it_would_stop_nothing(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    assert (await api.post("/stops", json={"service": "paymentapi"})).status_code == 422
    assert await gate.store.stops() == ()
    assert not desk.touched


async def test_a_service_is_watched_under_its_policy_until_somebody_ends_it(api: httpx.AsyncClient, gate: Gate) -> None:
    order = {"service": "payment-api", "environment": "staging"}
    for _ in range(2):
        assert (await api.post("/watches", json=order)).json() == order
    assert [each.policy for each in gate.lookout.begun] == [gate.policies.of("payment-api", "production")] * 2
    assert (await api.get("/watches")).json() == {"watched": [{**order, "stands": "watching"}]}
    assert (await api.request("DELETE", "/watches", params={"service": "payment-api"})).status_code == 404
    assert (await api.request("DELETE", "/watches", params=order)).json() == order
    assert (await api.get("/watches")).json() == {"watched": []}


async def test_a_service_that_the_registry_lacks_is_not_watched(api: httpx.AsyncClient, gate: Gate) -> None:
    answer = await api.post("/watches", json={"service": "payment-api", "environment": "nowhere"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0].startswith("body.service: ")
    assert gate.lookout.begun == []


async def test_where_temporal_is_away_nothing_is_said_to_be_watched(api: httpx.AsyncClient, gate: Gate) -> None:
    gate.lookout.away = away()
    order = {"service": "payment-api"}
    for answer in (
        await api.get("/watches"),
        await api.post("/watches", json=order),
        await api.request("DELETE", "/watches", params=order),
    ):
        assert answer.status_code == 503


async def test_a_caller_learns_who_it_is(gate: Gate) -> None:
    async with gate.client(gate.people.operator) as operator:
        assert (await operator.get("/whoami")).json() == {"name": "operator", "scopes": ["operate"]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/incidents", {"service": "payment-api"}),
        ("GET", f"/incidents/{UNKNOWN}", None),
        ("GET", f"/incidents/{UNKNOWN}/evidence", None),
        ("GET", f"/incidents/{UNKNOWN}/snapshot", None),
        ("POST", f"/incidents/{UNKNOWN}/decision", {"declined": "no"}),
        ("POST", f"/incidents/{UNKNOWN}/approval", {"digest": DIGEST, "approved": True}),
        ("POST", f"/incidents/{UNKNOWN}/cancel", {"reason": ""}),
    ],
)
async def test_what_temporal_does_not_answer_is_503_and_says_when_to_try_again(
    method: str, path: str, body: dict[str, Any] | None, api: httpx.AsyncClient, desk: FakeDesk
) -> None:
    desk.away = away()
    answer = await api.request(method, path, json=body)
    assert answer.status_code == 503
    assert answer.json() == {"detail": "Temporal does not answer; try again", "errors": []}
    assert int(answer.headers["retry-after"]) > 0


async def test_it_is_ready_only_while_temporal_and_the_store_answer() -> None:
    lives = True

    async def temporal() -> bool:
        return lives

    gate = Gate(FakeDesk(), needs={"temporal": temporal})
    async with gate.client(None) as anyone:
        assert (await anyone.get("/healthz")).status_code == 200
        assert (await anyone.get("/readyz")).json() == {"status": "ready", "missing": []}
        lives = False
        gate.store.errors["search"] = away()
        down = await anyone.get("/readyz")
        assert (down.status_code, down.json()["missing"]) == (503, ["store", "temporal"])
        assert (await anyone.get("/healthz")).status_code == 200


async def test_requests_are_counted_by_template_never_by_path(gate: Gate) -> None:
    async with gate.client() as api:
        await api.get(f"/incidents/{UNKNOWN}")
        await api.get("/nowhere/at/all")
        text = (await api.get("/metrics")).text
    counted = 'gateway_requests_total{method="GET",route="/incidents/{incident_id}",status="404"}'
    assert counted in text
    assert 'route="unmatched"' in text
    assert UNKNOWN not in text
    assert "nowhere" not in text


async def test_a_later_verdict_of_the_same_person_replaces_the_earlier_and_secrets_stay_out(
    api: httpx.AsyncClient, gate: Gate
) -> None:
    path = f"/incidents/{(await _closed(gate, 1)).incident_id}/label"
    secret = "AKIA" + "CANARY7890123456"
    assert (await api.post(path, json={"judgement": "good"})).status_code == 200
    said = await api.post(path, json={"judgement": "harmful", "note": f"it used {secret}"})
    (kept,) = await gate.store.labels(None)
    assert (said.json()["by"], kept.by, kept.judgement) == ("ada", "ada", "harmful")
    assert secret not in kept.note + said.text


async def test_a_verdict_on_what_is_no_incident_or_in_another_word_is_refused(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    closed = (await _closed(gate, 1)).incident_id
    good = {"judgement": "good"}
    assert (await api.post(f"/incidents/{UNKNOWN}/label", json=good)).status_code == 404
    assert (await api.post(f"/incidents/{desk.add().incident_id}/label", json=good)).status_code == 409
    for body in ({"judgement": "fine"}, {}, {**good, "by": "bob"}, {**good, "note": "x" * 501}):
        assert (await api.post(f"/incidents/{closed}/label", json=body)).status_code == 422
    assert await gate.store.labels(None) == ()
