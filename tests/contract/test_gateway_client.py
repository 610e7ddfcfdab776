"""The client of our own gateway against that gateway, and against whatever else may answer at its address."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from incident.changes import Telling, ToldChange, ToldKind
from incident.dossier import Stage
from incident.errors import PermanentError, TransientError
from incident.labels import Judgement
from incident.ledger import Stop
from incident.snapshot import Outcome, close
from integrations.gateway import LONGEST_WAIT, GatewayClient, UnreachableError, patient
from integrations.http import HttpSettings, build_client
from tests import builders
from tests.contract.gateway_desk import FakeDesk, Gate, away

pytest_plugins = ["tests.contract.gateway_fixtures"]
UNKNOWN = "production.payment-api.20200101T000000Z.00000000"
URL = "http://gateway"
CANARY = "ict_c0FFee" + "x" * 30
ANSWER_WITHIN = 10


@pytest.fixture
async def http(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(patient(HttpSettings()), httpx.ASGITransport(gate.app)) as client:
        yield client


@pytest.fixture
def ada(http: httpx.AsyncClient, gate: Gate) -> GatewayClient:
    return GatewayClient(http, URL, gate.people.ada)


def _asking(desk: FakeDesk, **changes: object) -> str:
    """An incident that asks a person."""
    asking = {
        **dict(builders.decided_dossier()),
        "stage": Stage.AWAITING_APPROVAL,
        "proposal": builders.proposal(),
        "policy": builders.policy(approvers=["ada"]),
        **changes,
    }
    return desk.add(**{key: value for key, value in asking.items() if key != "incident_id"}).incident_id


async def test_opening_says_whether_it_was_opened_and_names_the_cli_and_the_tokens_holder(
    ada: GatewayClient, desk: FakeDesk
) -> None:
    asked = {"reason": "they call us", "outside_analyst": "kestra", "trigger_id": "ticket-4711"}
    opened = await ada.open("payment-api", "staging", **asked)
    joined = await ada.open("payment-api", "staging", trigger_id="another")
    assert (opened.opened, joined.opened, joined.incident_id) == (True, False, opened.incident_id)
    assert opened.page_url.endswith(f"/ui/incidents/{opened.incident_id}")
    request = desk.opened[0]
    assert (request.environment, request.outside_analyst) == ("staging", "kestra")
    trigger = request.trigger
    assert (trigger.source, trigger.by, trigger.reason, trigger.trigger_id) == (
        "cli",
        "ada",
        "they call us",
        "ticket-4711",
    )


async def test_an_open_incident_is_viewed_by_its_dossier_and_a_closed_one_by_its_whole_record(
    ada: GatewayClient, desk: FakeDesk, gate: Gate
) -> None:
    incident_id = _asking(desk)
    seen = await ada.view(incident_id)
    assert (seen.stage, seen.dossier, seen.snapshot) == (
        Stage.AWAITING_APPROVAL,
        desk.dossiers[incident_id],
        None,
    )
    record = builders.snapshot(desk.dossiers[incident_id])
    await gate.store.save(record)
    closed = await ada.view(incident_id)
    assert (closed.stage, closed.dossier, closed.snapshot) == (Stage.CLOSED, None, record)
    assert await ada.snapshot(incident_id) == record


async def test_a_view_waits_for_another_stage_than_the_known_one(ada: GatewayClient, desk: FakeDesk) -> None:
    incident_id = desk.add(stage=Stage.ANALYZING).incident_id
    waiting = asyncio.create_task(ada.view(incident_id, timedelta(seconds=20), Stage.ANALYZING))
    async with asyncio.timeout(ANSWER_WITHIN):
        while not desk.waiting:  # noqa: ASYNC110 - the desk has no event for it
            await asyncio.sleep(0)
        await desk.move(incident_id, stage=Stage.SETTLING)
        assert (await waiting).stage is Stage.SETTLING
        at_once = await ada.view(incident_id, timedelta(seconds=20), Stage.ANALYZING)
    assert at_once.stage is Stage.SETTLING


async def test_no_wait_is_longer_than_the_gateway_allows_and_the_client_outlasts_it(
    ada: GatewayClient, desk: FakeDesk
) -> None:
    incident_id = desk.add().incident_id
    assert (await ada.view(incident_id, timedelta(hours=1), Stage.VERIFYING)).incident_id == incident_id
    assert patient(HttpSettings()).read_timeout > LONGEST_WAIT
    patience = HttpSettings(read_timeout=timedelta(minutes=5), connect_timeout=timedelta(seconds=1))
    assert patient(patience) == patience


async def test_pages_lead_through_every_incident(ada: GatewayClient, desk: FakeDesk, gate: Gate) -> None:
    open_id = desk.add().incident_id
    for number in range(3):
        opened_at = builders.NOW + timedelta(hours=number)
        dossier = builders.dossier(
            incident_id=f"production.payment-api.20261124T{number:02}0000Z.0000000{number}", opened_at=opened_at
        )
        await gate.store.save(close(dossier, Outcome.NO_INCIDENT, opened_at + timedelta(minutes=1)))
    first = await ada.incidents(2)
    second = await ada.incidents(2, first.next or "")
    assert first.open_known
    assert first.incidents[0].incident_id == open_id
    assert [each.outcome for each in first.incidents] == [None, Outcome.NO_INCIDENT, Outcome.NO_INCIDENT]
    assert [each.incident_id[-1] for each in (*first.incidents[1:], *second.incidents)] == ["2", "1", "0"]
    assert second.next is None
    assert (await ada.incidents(10_000)).next is None


@pytest.mark.parametrize("approved", [True, False])
async def test_an_answer_is_the_token_holders(ada: GatewayClient, desk: FakeDesk, *, approved: bool) -> None:
    incident_id = _asking(desk)
    given = await ada.answer(incident_id, builders.proposal().digest, approved=approved, note="seen")
    assert (given.approver, given.approved, given.note) == ("ada", approved, "seen")
    assert desk.dossiers[incident_id].approval == given


async def test_cancelling_says_whether_something_was_done(ada: GatewayClient, desk: FakeDesk) -> None:
    done = desk.add(remediation=builders.remediation_record()).incident_id
    undone = desk.add(service="checkout").incident_id
    assert (await ada.cancel(done, "drill")).acted
    assert not (await ada.cancel(undone)).acted
    assert [(each.by, each.reason) for each in desk.cancelled] == [("ada", "drill"), ("ada", "")]


async def test_a_verdict_is_the_token_holders_and_kept_only_of_a_closed_incident(
    ada: GatewayClient, desk: FakeDesk, gate: Gate
) -> None:
    incident_id = desk.add().incident_id
    with pytest.raises(PermanentError, match="is open"):
        await ada.label(incident_id, Judgement.GOOD)
    record = await desk.end(incident_id)
    assert record
    kept = await ada.label(incident_id, Judgement.MISSED, "101 was the cause")
    assert (kept.by, kept.judgement, kept.note) == ("ada", Judgement.MISSED, "101 was the cause")
    assert await gate.store.labels(None) == (kept,)


async def test_a_change_is_the_token_holders_and_told_again_under_its_id_the_same(
    ada: GatewayClient, gate: Gate
) -> None:
    at = gate.clock() - timedelta(minutes=5)

    async def told(kind: ToldKind) -> ToldChange:
        words = "pool from 20 to 10"
        telling = Telling(id="pool", service="payment-api", environment="staging", kind=kind, at=at, description=words)
        return await ada.tell(telling)

    kept = await told(ToldKind.CONFIGURATION)
    assert (kept.by, kept.at, kept.description) == ("ada", at, "pool from 20 to 10")
    assert await told(ToldKind.CONFIGURATION) == kept
    with pytest.raises(PermanentError, match="is known with another kind"):
        await told(ToldKind.OTHER)
    assert await ada.changes("payment-api", "staging") == (kept,)
    assert await ada.changes("payment-api", "production") == ()


async def test_a_kill_switch_is_pulled_listed_and_let_go(ada: GatewayClient, desk: FakeDesk) -> None:
    incident_id = desk.add().incident_id
    pulled = await ada.stop("payment-api", "production", "drill")
    assert (pulled.stop.by, pulled.stop.reason, pulled.told) == ("ada", "drill", (incident_id,))
    assert await ada.stops() == (pulled.stop,)
    assert not await ada.release("payment-api")
    assert await ada.release("payment-api", "production")
    assert await ada.stops() == ()


async def test_a_kill_switch_that_nobody_could_be_told_of_says_so(ada: GatewayClient, desk: FakeDesk) -> None:
    desk.away = away()
    assert (await ada.stop()).told is None


async def test_the_list_says_when_the_open_ones_are_not_known(ada: GatewayClient, desk: FakeDesk) -> None:
    desk.away = away()
    assert not (await ada.incidents(5)).open_known


async def test_whoami_names_the_holder_and_the_scopes(http: httpx.AsyncClient, gate: Gate) -> None:
    myself = await GatewayClient(http, f"{URL}/", gate.people.reader).whoami()
    assert (myself.name, myself.scopes) == ("reader", ("read",))


async def test_readiness_needs_no_token_and_names_what_is_missing(http: httpx.AsyncClient, gate: Gate) -> None:
    nobody = GatewayClient(http, URL, "")
    assert await nobody.missing() == ()
    gate.store.errors["search"] = TransientError("store", "is locked")
    assert await nobody.missing() == ("store",)


Call = Callable[[GatewayClient], Awaitable[object]]
CALLS: dict[str, Call] = {
    "open": lambda client: client.open("payment-api", "production"),
    "incidents": lambda client: client.incidents(5),
    "view": lambda client: client.view(UNKNOWN),
    "answer": lambda client: client.answer(UNKNOWN, builders.proposal().digest, approved=True),
    "cancel": lambda client: client.cancel(UNKNOWN),
    "label": lambda client: client.label(UNKNOWN, Judgement.GOOD),
    "tell": lambda client: client.tell(Telling(id="pool", service="payment-api", kind=ToldKind.OTHER)),
    "changes": lambda client: client.changes("payment-api", "production"),
    "snapshot": lambda client: client.snapshot(UNKNOWN),
    "stop": lambda client: client.stop(),
    "release": lambda client: client.release(),
    "stops": lambda client: client.stops(),
    "watch": lambda client: client.watch("payment-api", "production"),
    "unwatch": lambda client: client.unwatch("payment-api", "production"),
    "watches": lambda client: client.watches(),
    "whoami": lambda client: client.whoami(),
}
NEEDS = {
    "open": "operate",
    "incidents": "read",
    "view": "read",
    "answer": "approve",
    "cancel": "operate",
    "label": "operate",
    "tell": "operate",
    "changes": "read",
    "snapshot": "read",
    "stop": "operate",
    "release": "operate",
    "stops": "read",
    "watch": "operate",
    "unwatch": "operate",
    "watches": "read",
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_token_that_is_not_known_is_named_by_its_variable_and_never_shown(
    http: httpx.AsyncClient, call: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        await CALLS[call](GatewayClient(http, URL, CANARY))
    assert str(caught.value) == "gateway: does not know your token (setting COMMANDER__TOKEN)"
    assert CANARY not in repr(caught.value.__cause__)


@pytest.mark.parametrize(("call", "scope"), NEEDS.items())
async def test_a_scope_that_a_token_lacks_is_named(
    http: httpx.AsyncClient, gate: Gate, desk: FakeDesk, call: str, scope: str
) -> None:
    token = gate.people.operator if scope == "read" else gate.people.reader
    with pytest.raises(PermanentError, match=f"lacks the scope {scope} \\(setting COMMANDER__TOKEN\\)"):
        await CALLS[call](GatewayClient(http, URL, token))
    assert not desk.touched


@pytest.mark.parametrize("call", ["view", "answer", "cancel", "snapshot"])
async def test_an_incident_that_nobody_knows_is_said_to_be_none(ada: GatewayClient, call: str) -> None:
    with pytest.raises(PermanentError, match=r"^gateway: no such incident$"):
        await CALLS[call](ada)


async def test_a_refusal_says_why_in_the_incidents_own_words(ada: GatewayClient, desk: FakeDesk) -> None:
    incident_id = _asking(desk, policy=builders.policy(approvers=["ben"]))
    with pytest.raises(PermanentError, match="ada is not one of the policy's approvers"):
        await ada.answer(incident_id, builders.proposal().digest, approved=True)
    await desk.end(incident_id)
    with pytest.raises(PermanentError, match="the incident has closed"):
        await ada.cancel(incident_id)


async def test_what_is_not_valid_is_told_field_by_field_on_one_line(ada: GatewayClient) -> None:
    with pytest.raises(PermanentError) as caught:
        await ada.open("Payment API", "no where", reason="x" * 501)
    said = str(caught.value)
    assert all(field in said for field in ("body.service: ", "body.environment: ", "body.reason: "))
    assert "\n" not in said
    with pytest.raises(PermanentError, match=r"not valid; body\.service: expected a service that the registry has"):
        await ada.open("nobody-has-it", "production")


@pytest.mark.parametrize("call", ["open", "view", "cancel"])
async def test_what_stands_behind_the_gateway_and_is_away_is_worth_another_try(
    ada: GatewayClient, desk: FakeDesk, call: str
) -> None:
    desk.away = away()
    with pytest.raises(TransientError, match=r"^gateway: Temporal does not answer; try again$") as caught:
        await CALLS[call](ada)
    assert not isinstance(caught.value, UnreachableError)
    assert caught.value.retry_after == timedelta(seconds=5)


def _answering(status: int, body: bytes, **headers: str) -> GatewayClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    return GatewayClient(build_client(HttpSettings(), transport), URL, CANARY)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, b"<html>no page</html>", PermanentError, "http://gateway answered HTTP 404, not as a gateway does"),
        (404, b'{"error": "nope"}', PermanentError, "http://gateway answered HTTP 404, not as a gateway does"),
        (302, b"", PermanentError, "http://gateway answered HTTP 302, not as a gateway does"),
        (502, b"<html>bad gateway</html>", TransientError, "answered HTTP 502"),
        (429, b'{"detail": "too many requests"}', TransientError, "too many requests"),
        (418, b'{"detail": "a\\nb\\u001b[31m", "errors": ["c"]}', PermanentError, "gateway: a b[31m; c"),
        (200, b"<html>welcome</html>", PermanentError, "the answer (HTTP 200) is HTML, not JSON"),
        (200, b"[]", PermanentError, "answers what this version does not understand"),
        (200, b'{"name": 5, "scopes": []}', PermanentError, "does not understand: name"),
    ],
)
async def test_whatever_else_answers_there_is_one_clear_line(
    status: int, body: bytes, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        await _answering(status, body).whoami()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_what_is_no_gateway_is_not_taken_for_one_without_that_kill_switch() -> None:
    with pytest.raises(PermanentError, match="not as a gateway does"):
        await _answering(404, b"no page").release("payment-api")


async def test_what_a_newer_gateway_says_beside_is_let_pass() -> None:
    myself = await _answering(200, b'{"name": "ada", "scopes": ["read", "dream"], "shift": "night"}').whoami()
    assert (myself.name, myself.scopes) == ("ada", ("read", "dream"))


async def test_a_pause_that_is_asked_for_is_passed_on() -> None:
    busy = _answering(429, b'{"detail": "too many requests"}', **{"Retry-After": "7"})
    with pytest.raises(TransientError) as caught:
        await busy.whoami()
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("call", CALLS)
async def test_a_gateway_that_cannot_be_reached_says_how_to_go_past_it(call: str) -> None:
    async with build_client(HttpSettings()) as http:
        with pytest.raises(UnreachableError) as caught:
            await CALLS[call](GatewayClient(http, "http://127.0.0.1:9", CANARY))
    assert str(caught.value) == (
        "gateway: cannot be reached at http://127.0.0.1:9 (setting COMMANDER__URL); --direct goes past it"
    )


async def test_an_id_is_one_part_of_the_address_whatever_it_holds() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(404, json={"detail": "no such incident"})

    client = GatewayClient(build_client(HttpSettings(), httpx.MockTransport(answer)), f"{URL}/base/", CANARY)
    with pytest.raises(PermanentError):
        await client.view("../stops?x=1#y")
    assert asked == ["/base/incidents/..%2Fstops%3Fx%3D1%23y"]


async def test_the_scope_of_a_kill_switch_is_exactly_what_was_said(ada: GatewayClient, gate: Gate) -> None:
    everything = Stop(by="ben", at=builders.NOW)
    await gate.store.stop(everything)
    assert not await ada.release("payment-api", "production")
    assert await ada.release()
    assert await gate.store.stops() == ()
