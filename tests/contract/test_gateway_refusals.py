"""What is not taken: the right status, no word that helps, nothing started, and counted."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
import structlog
from starlette.types import Message, Scope

from gateway.access import github_signature
from gateway.guards import Bounded, Observed
from gateway.metrics import Metrics
from tests import builders
from tests.contract.gateway_desk import KEYS, FakeDesk, Gate, settings

pytest_plugins = ["tests.contract.gateway_fixtures"]
ALERTS = {"alerts": [{"status": "firing", "labels": {"alertname": "HighErrorRate", "service": "payment-api"}}]}
OPEN = b'{"service": "payment-api"}'
CANARY = "canary-4711"
JSON = {"Content-Type": "application/json"}
MOST = 8 * 1024


@pytest.fixture(scope="module")
def built() -> Gate:
    return Gate(FakeDesk(), settings=settings(max_body_bytes=MOST))


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with gate.client(**JSON) as client:
        yield client


def _deep(levels: int) -> bytes:
    return b'{"service": "payment-api", "x": ' + b"[" * levels + b"]" * levels + b"}"


UNUSABLE = {
    "not JSON": (b"service=payment-api", 422, "encoding"),
    "cut off": (b'{"service": "payment-a', 422, "encoding"),
    "empty": (b"", 422, "field"),
    "not UTF-8": (b'{"service": "payment-api", "reason": "\xff"}', 422, "encoding"),
    "UTF-16": ('{"service": "payment-api"}'.encode("utf-16"), 422, "encoding"),
    "byte order mark": (b"\xef\xbb\xbf" + OPEN, 422, "encoding"),
    "lone surrogate": (rb'{"service": "payment-api", "reason": "\ud800"}', 422, "encoding"),
    "lone surrogate as a key": (rb'{"service": "payment-api", "\ud800": 1}', 422, "encoding"),
    "NUL": (rb'{"service": "payment-api", "reason": "a\u0000b"}', 422, "encoding"),
    "NaN": (b'{"service": "payment-api", "x": NaN}', 422, "encoding"),
    "infinity": (b'{"service": "payment-api", "x": -Infinity}', 422, "encoding"),
    "infinite by its exponent": (b'{"service": "payment-api", "x": 1e999}', 422, "encoding"),
    "a number of 5,000 digits": (b'{"service": "payment-api", "x": 1%s}' % (b"0" * 5_000), 422, "encoding"),
    "a key twice": (b'{"service": "payment-api", "service": "checkout"}', 422, "encoding"),
    "a key twice, inside": (b'{"service": "payment-api", "x": {"a": 1, "a": 2}}', 422, "encoding"),
    "33 levels": (_deep(32), 422, "depth"),
    "3,000 levels": (_deep(3_000), 422, "depth"),
    "too large": (b'{"service": "payment-api", "reason": "%s"}' % (b"x" * MOST), 413, "size"),
    "an unknown field": (b'{"service": "payment-api", "force": true}', 422, "field"),
    "a wrong type": (b'{"service": ["payment-api"]}', 422, "field"),
    "a list": (b"[]", 422, "field"),
    "null": (b"null", 422, "field"),
    "a text that is too long": (b'{"service": "payment-api", "reason": "%s"}' % (b"x" * 501), 422, "field"),
    "a name that is none": (b'{"service": "payment-api/../x"}', 422, "field"),
    "a name with a line's end": (rb'{"service": "payment-api\n"}', 422, "field"),
    "another name for the caller": (b'{"service": "payment-api", "by": "grace"}', 422, "field"),
}


@pytest.mark.parametrize(("body", "status", "reason"), UNUSABLE.values(), ids=UNUSABLE)
async def test_a_body_that_cannot_be_used_starts_nothing_and_is_counted(
    body: bytes, status: int, reason: str, api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    answer = await api.post("/incidents", content=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "errors"}
    assert gate.refused(reason) == 1
    assert not desk.touched


async def test_the_deepest_body_that_is_taken_has_32_levels(api: httpx.AsyncClient, gate: Gate, desk: FakeDesk) -> None:
    answer = await api.post("/incidents", content=_deep(31))
    assert answer.json()["errors"] == ["body.x: Extra inputs are not permitted"]
    assert gate.refused("depth") == 0
    assert not desk.touched


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_a_body_in_another_form_is_415(
    headers: dict[str, str], api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    body = gzip.compress(OPEN) if "Content-Encoding" in headers else OPEN
    answer = await api.post("/incidents", content=body, headers=headers)
    assert answer.status_code == 415
    assert gate.refused("encoding") == 1
    assert not desk.touched


@pytest.mark.parametrize("path", ["/incidents", "/stops", "/webhooks/alertmanager"])
async def test_no_word_of_what_was_sent_comes_back(path: str, api: httpx.AsyncClient) -> None:
    body = {"service": CANARY.upper(), "reason": 7, "environment": f"{CANARY}!", "alerts": CANARY}
    headers = {"Authorization": f"Bearer {KEYS['alertmanager_secret']}"} if "webhooks" in path else {}
    answer = await api.post(path, json=body, headers=headers)
    assert answer.status_code == 422
    assert CANARY not in answer.text.lower()
    assert "Traceback" not in answer.text


async def test_names_of_unknown_fields_are_cut_and_made_printable(api: httpx.AsyncClient) -> None:
    (_, line) = sorted((await api.post("/incidents", json={"\x1b[2J" + "x" * 500: 1})).json()["errors"])
    assert "\x1b" not in line
    assert len(line) < 150


TOKENS = {
    "none": {},
    "empty": {"Authorization": ""},
    "unknown": {"Authorization": "Bearer ict_" + "A" * 43},
    "another scheme": {"Authorization": "Basic YTpi"},
    "no scheme": {"Authorization": "ict_" + "A" * 43},
    "not ASCII": {"Authorization": "Bearer \xff\xfe"},
    "a webhook's": {"Authorization": f"Bearer {KEYS['alertmanager_secret']}"},
}


@pytest.mark.parametrize("headers", TOKENS.values(), ids=TOKENS)
async def test_whoever_is_not_known_hears_the_same_words_and_nothing_of_the_body_is_read(
    headers: dict[str, str], gate: Gate, desk: FakeDesk
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with gate.client(None) as anyone:
        for body in (OPEN, b"not JSON"):
            answer = await anyone.post("/incidents", content=body, headers=[*raw, (b"Content-Type", b"text/plain")])
            assert answer.status_code == 401
            assert answer.json() == {"detail": "not authorised", "errors": []}
            assert answer.headers["www-authenticate"] == "Bearer"
    assert gate.refused("token") == 2
    assert not desk.touched


SCOPES = [
    ("GET", "/incidents", "reader"),
    ("GET", f"/incidents/{builders.INCIDENT_ID}", "reader"),
    ("GET", f"/incidents/{builders.INCIDENT_ID}/evidence", "reader"),
    ("GET", f"/incidents/{builders.INCIDENT_ID}/snapshot", "reader"),
    ("GET", "/stops", "reader"),
    ("GET", "/watches", "reader"),
    ("GET", "/changes", "reader"),
    ("POST", "/incidents", "operator"),
    ("POST", "/services/check", "operator"),
    ("POST", f"/incidents/{builders.INCIDENT_ID}/decision", "operator"),
    ("POST", f"/incidents/{builders.INCIDENT_ID}/cancel", "operator"),
    ("POST", f"/incidents/{builders.INCIDENT_ID}/label", "operator"),
    ("POST", "/stops", "operator"),
    ("POST", "/changes", "operator"),
    ("DELETE", "/stops", "operator"),
    ("POST", "/watches", "operator"),
    ("DELETE", "/watches", "operator"),
    ("POST", f"/incidents/{builders.INCIDENT_ID}/approval", "approver"),
]


@pytest.mark.parametrize(("method", "path", "who"), SCOPES)
async def test_each_route_asks_for_exactly_one_scope(
    method: str, path: str, who: str, gate: Gate, desk: FakeDesk
) -> None:
    for each in ("reader", "operator", "approver"):
        async with gate.client(getattr(gate.people, each)) as api:
            answer = await api.request(method, path)
        assert (answer.status_code == 403) == (each != who), each
        assert answer.status_code != 401
    assert gate.refused("scope") == 2
    assert not desk.touched


def test_every_route_of_the_document_is_in_the_table_or_open_on_purpose(gate: Gate) -> None:
    described = {
        (method.upper(), path)
        for path, methods in gate.app.openapi()["paths"].items()
        for method in methods
        if not path.startswith(("/webhooks/", "/slack/")) and path not in {"/healthz", "/readyz", "/metrics", "/whoami"}
    }
    held = {(method, path.replace(builders.INCIDENT_ID, "{incident_id}")) for method, path, _ in SCOPES}
    assert described == held


async def test_a_closed_webhook_hears_the_same_words_as_a_wrong_secret(desk: FakeDesk) -> None:
    gate = Gate(desk, settings=settings(alertmanager_secret=None, grafana_secret=None, github_secret=None))
    async with gate.client("None") as anyone:
        for path in ("/webhooks/alertmanager", "/webhooks/grafana", "/webhooks/github", "/slack/interactivity"):
            empty = {"X-Hub-Signature-256": github_signature(b"{}", "")}
            answer = await anyone.post(path, content=b"{}", headers={**empty, "Authorization": "Bearer "})
            assert (answer.status_code, answer.json()["detail"]) == (401, "not authorised")
    assert not desk.touched


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1024


async def test_a_body_of_unknown_length_is_bounded_as_well(api: httpx.AsyncClient, gate: Gate) -> None:
    answer = await api.post("/incidents", content=_chunks(100))
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert gate.refused("size") == 1


def _scope(**headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/incidents", "headers": raw, "client": ("203.0.113.9", 1)}


class Wire:
    """What a sender sends, piece by piece, and what it is answered; `hangs`: then nothing more comes."""

    def __init__(self, *pieces: bytes, hangs: bool = False) -> None:
        self.pieces = list(pieces)
        self.read = 0
        self.sent: list[Message] = []
        self._hangs = hangs

    async def receive(self) -> Message:
        if self.read == len(self.pieces):
            if self._hangs:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        self.read += 1
        return {"type": "http.request", "body": self.pieces[self.read - 1], "more_body": True}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


async def _never(_: object, __: object, ___: object) -> None:
    pytest.fail("what stands behind was reached")


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    wire, metrics = Wire(b"x" * 50), Metrics()
    await Bounded(_never, 100, metrics)(_scope(content_length="101"), wire.receive, wire.send)
    assert (wire.status, wire.read) == (413, 0)


async def test_a_body_that_lies_of_its_length_is_read_no_further_than_the_limit() -> None:
    wire = Wire(*[b"x" * 60] * 10)
    await Bounded(_never, 100, Metrics())(_scope(content_length="1"), wire.receive, wire.send)
    assert (wire.status, wire.read) == (413, 2)


async def test_a_body_that_does_not_come_is_given_up() -> None:
    wire, metrics = Wire(b"x", hangs=True), Metrics()
    await Bounded(_never, 100, metrics, timedelta(milliseconds=20))(_scope(), wire.receive, wire.send)
    assert wire.status == 408
    assert metrics.count("gateway_refused_total", reason="time") == 1


async def test_a_sender_that_goes_away_is_not_answered() -> None:
    wire = Wire(b"x")
    await Bounded(_never, 100, Metrics())(_scope(), wire.receive, wire.send)
    assert wire.sent == []


async def test_what_stands_behind_learns_that_the_caller_went_away() -> None:
    wire, seen = Wire(), []

    async def behind(_: object, receive: object, __: object) -> None:
        assert callable(receive)
        seen.extend([await receive(), await receive()])

    wire.pieces, first = [], {"type": "http.request", "body": b"{}", "more_body": False}
    messages: list[Message] = [dict(first), {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    await Bounded(behind, 100, Metrics())(_scope(), receive, wire.send)
    assert seen == [first, {"type": "http.disconnect"}]


@pytest.fixture
def quiet() -> Iterator[None]:
    """No log lines: structlog's own renderer shows every local of every frame, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet")
async def test_a_failure_of_ours_is_500_without_a_word_of_it(
    api: httpx.AsyncClient, gate: Gate, desk: FakeDesk
) -> None:
    desk.away = RuntimeError(CANARY)
    answer = await api.post("/incidents", content=OPEN)
    assert (answer.status_code, answer.json()["detail"]) == (500, "something went wrong here")
    assert CANARY not in answer.text
    assert gate.metrics.count("gateway_requests_total", route="/incidents", method="POST", status="500") == 1


@pytest.mark.usefixtures("quiet")
async def test_a_failure_after_the_answer_began_ends_it_and_is_not_answered_twice() -> None:
    wire = Wire()

    async def breaks(_: object, __: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError(CANARY)

    with pytest.raises(RuntimeError):
        await Observed(breaks, Metrics())(_scope(), wire.receive, wire.send)
    assert [each["type"] for each in wire.sent] == ["http.response.start"]


async def test_answers_may_not_be_sniffed_kept_or_framed(api: httpx.AsyncClient) -> None:
    for path in ("/incidents", "/nowhere", "/openapi.json"):
        headers = (await api.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/incidents", 405), ("GET", "/docs", 404)])
async def test_what_there_is_not_is_told_as_any_problem(
    method: str, path: str, status: int, api: httpx.AsyncClient
) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "errors"}


async def test_a_caller_that_comes_too_fast_is_429_and_only_that_caller(desk: FakeDesk) -> None:
    gate = Gate(desk, settings=settings(requests_per_second=0.01, burst=3))
    async with gate.client() as ada, gate.client(gate.people.reader) as reader:
        statuses = [(await ada.get("/whoami")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert (await reader.get("/whoami")).status_code == 200
        slow = await ada.get("/whoami")
        assert int(slow.headers["retry-after"]) > 1
        assert (await ada.get("/healthz")).status_code == 200
    assert gate.refused("rate") == 3


async def test_guessed_tokens_share_one_bucket_for_each_address(desk: FakeDesk) -> None:
    gate = Gate(desk, settings=settings(requests_per_second=0.01, burst=3))
    async with gate.client(None) as guesser:
        statuses = [
            (await guesser.get("/whoami", headers={"Authorization": f"Bearer ict_{number}"})).status_code
            for number in range(5)
        ]
    assert statuses == [401, 401, 401, 429, 429]


async def test_a_webhook_that_comes_too_fast_is_503_for_its_sender_drops_what_is_refused_by_4xx(
    desk: FakeDesk,
) -> None:
    gate = Gate(desk, settings=settings(requests_per_second=0.01, burst=2))
    async with gate.client(KEYS["alertmanager_secret"]) as sender:
        statuses = [(await sender.post("/webhooks/alertmanager", json=ALERTS)).status_code for _ in range(3)]
    assert statuses == [200, 200, 503]
    assert len(desk.alerts) == 2


def test_the_table_of_unusable_bodies_covers_every_reason_a_body_can_have() -> None:
    assert {reason for _, _, reason in UNUSABLE.values()} == {"encoding", "depth", "size", "field"}
    assert all(len(body) < MOST for name, (body, _, _) in UNUSABLE.items() if name != "too large")
    json.loads(OPEN)
