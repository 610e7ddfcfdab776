"""Presses of Slack's buttons: what counts, what does not, and that Slack hears of it in time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.interactivity import ANSWERS_WITHIN, Presses
from gateway.metrics import Metrics
from incident.errors import TransientError
from integrations.slack import Directory
from integrations.slack.blocks import button_value
from tests import builders
from tests.contract.gateway_desk import FakeDesk, Gate, away, settings
from tests.standins.slack import CHANNEL, SIGNING_SECRET, Person, SlackStandin, broken, hanging, running_slack
from tests.standins.slack.payloads import block_actions, form, signed
from tests.standins.slack.records import Message

DIGEST = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
PATIENCE = timedelta(seconds=10)
TEXT = {"type": "plain_text", "text": "x"}
INTERACTIVITY = "/slack/interactivity"


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


@pytest.fixture
def desk() -> FakeDesk:
    desk = FakeDesk()
    desk.add(incident_id=builders.INCIDENT_ID)
    return desk


@asynccontextmanager
async def _gate(
    slack: SlackStandin, desk: FakeDesk, within: timedelta = ANSWERS_WITHIN
) -> AsyncIterator[tuple[Gate, httpx.AsyncClient]]:
    metrics, directory = Metrics(), Directory(slack.settings())
    presses = Presses(desk, directory, metrics, within)
    known = settings().model_copy(update={"slack": slack.settings()})
    gate = Gate(desk, metrics=metrics, presses=presses, settings=known, clock=lambda: NOW)
    async with gate.client(None) as client:
        yield gate, client
    await presses.close()
    await directory.close()


def _payload(action_id: str = "commander.approve", user: str = Person.MEMBER, **changes: object) -> dict[str, Any]:
    value = button_value(builders.INCIDENT_ID, DIGEST)
    buttons = [
        {"type": "button", "action_id": name, "value": value, "text": TEXT}
        for name in ("commander.approve", "commander.deny", "commander.page")
    ]
    block = {"type": "actions", "elements": buttons}
    message = Message(channel=CHANNEL, ts="1764000000.000001", via="bot", text="x", blocks=[block])
    return block_actions(message, action_id, user, **changes)


async def _press(client: httpx.AsyncClient, payload: dict[str, Any], **headers: str) -> httpx.Response:
    body = form(payload)
    return await client.post(INTERACTIVITY, content=body, headers={**signed(body, STAMP, SIGNING_SECRET), **headers})


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - the stand-in is asked, it tells nothing by itself
            await asyncio.sleep(0.01)


async def _told(slack: SlackStandin) -> str:
    """What whoever pressed was told, and nobody else."""
    await _until(lambda: bool(slack.ephemerals()))
    (only,) = slack.ephemerals()
    return only.text


@pytest.mark.parametrize(("button", "approved"), [("commander.approve", True), ("commander.deny", False)])
async def test_a_press_tells_the_incident_who_answers_what(
    button: str, *, approved: bool, slack: SlackStandin, desk: FakeDesk
) -> None:
    async with _gate(slack, desk) as (gate, client):
        answer = await _press(client, _payload(button))
        assert (answer.status_code, answer.content) == (200, b"")
        assert (gate.webhooks("slack", "accepted"), gate.signals("answered")) == (1, 1)
    ((incident_id, given),) = desk.pressed
    assert incident_id == builders.INCIDENT_ID
    assert (given.digest, given.approved) == (DIGEST, approved)
    assert given.approver.endswith(f"/{Person.MEMBER}")
    assert given.approver.startswith("slack:T")
    assert slack.ephemerals() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": Person.GUEST}, "Guests"),
        ({"user": Person.BOT}, "bot"),
        ({"user": Person.STRANGER}, "other workspaces"),
        ({"user": Person.DEACTIVATED}, "deactivated"),
        ({"channel": {"id": "C0ANOTHER1", "name": "x"}}, "another channel"),
    ],
)
async def test_whoever_may_not_answer_is_told_so_and_the_incident_nothing(
    changes: dict[str, Any], words: str, slack: SlackStandin, desk: FakeDesk
) -> None:
    async with _gate(slack, desk) as (gate, client):
        assert (await _press(client, _payload(**changes))).status_code == 200
        assert gate.webhooks("slack", "refused") == 1
        if "channel" not in changes:
            assert words in await _told(slack)
    assert not desk.touched


async def test_what_slack_cannot_tell_of_a_person_is_never_a_yes(slack: SlackStandin, desk: FakeDesk) -> None:
    slack.faults(broken(path="/api/users.info"))
    async with _gate(slack, desk) as (gate, client):
        answer = await _press(client, _payload())
        assert answer.status_code == 503
        assert "who you are" in await _told(slack)
        assert gate.webhooks("slack", "away") == 1
        assert not desk.touched
        assert (await _press(client, _payload())).status_code == 200
    assert len(desk.pressed) == 1


async def test_a_press_for_an_incident_that_has_closed_says_so(slack: SlackStandin, desk: FakeDesk) -> None:
    await desk.end(builders.INCIDENT_ID)
    async with _gate(slack, desk) as (gate, client):
        assert (await _press(client, _payload())).status_code == 200
        assert "has closed" in await _told(slack)
        assert gate.webhooks("slack", "closed") == 1
    assert not desk.pressed


async def test_while_temporal_is_away_slack_shows_its_own_error(slack: SlackStandin, desk: FakeDesk) -> None:
    async with _gate(slack, desk) as (gate, client):
        desk.away = away()
        assert (await _press(client, _payload())).status_code == 503
        assert gate.webhooks("slack", "away") == 1
        desk.away = None
        assert (await _press(client, _payload())).status_code == 200
    assert len(desk.pressed) == 1


async def test_slack_is_answered_in_time_whatever_hangs(slack: SlackStandin, desk: FakeDesk) -> None:
    assert timedelta(seconds=3) > ANSWERS_WITHIN
    desk.holding = asyncio.Event()
    async with _gate(slack, desk, timedelta(milliseconds=500)) as (gate, client):
        assert (await _press(client, _payload())).status_code == 503
        slack.faults(hanging(path="/api/users.info"))
        assert (await _press(client, _payload(user=Person.ANOTHER))).status_code == 503
        assert gate.webhooks("slack", "away") == 2
    assert not desk.touched


async def test_what_nobody_needs_to_act_on_is_taken_and_left_alone(slack: SlackStandin, desk: FakeDesk) -> None:
    async with _gate(slack, desk) as (gate, client):
        for payload in (_payload("commander.page"), {"type": "view_submission"}, _payload(type="shortcut")):
            assert (await _press(client, payload)).status_code == 200
        assert gate.webhooks("slack", "ignored") == 3
    assert not desk.touched


async def test_a_press_that_is_not_as_slack_sends_it_is_422(slack: SlackStandin, desk: FakeDesk) -> None:
    async with _gate(slack, desk) as (gate, client):
        for body in (form(_payload(user="x' OR 1=1")), b"payload=%7B", b"nothing", form(_payload()) + b"&payload=1"):
            headers = signed(body, STAMP, SIGNING_SECRET)
            answer = await client.post(INTERACTIVITY, content=body, headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (422, "no press of a button")
        assert gate.refused("field") == 4
    assert not desk.touched


FORGED = {
    "another signature": {"X-Slack-Signature": "v0=" + "0" * 64},
    "no signature": {"X-Slack-Signature": ""},
    "not ASCII": {"X-Slack-Signature": "v0=é"},
    "no time": {"X-Slack-Request-Timestamp": ""},
    "a time that is none": {"X-Slack-Request-Timestamp": "now"},
    "a time beyond every calendar": {"X-Slack-Request-Timestamp": "9" * 12},
    "another time than was signed": {"X-Slack-Request-Timestamp": str(int(STAMP) + 1)},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
async def test_what_slack_did_not_sign_is_401(headers: dict[str, str], slack: SlackStandin, desk: FakeDesk) -> None:
    body = form(_payload())
    given = {**signed(body, STAMP, SIGNING_SECRET), **headers}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    async with _gate(slack, desk) as (gate, client):
        answer = await client.post(INTERACTIVITY, content=body, headers=raw)
        assert (answer.status_code, answer.json()["detail"]) == (401, "not authorised")
        assert gate.refused("signature") == 1
    assert not desk.touched


@pytest.mark.parametrize("minutes", [-6, -10, 6])
async def test_a_press_that_is_replayed_later_is_401_and_counted_as_such(
    minutes: int, slack: SlackStandin, desk: FakeDesk
) -> None:
    body = form(_payload())
    stamp = str(int((NOW + timedelta(minutes=minutes)).timestamp()))
    async with _gate(slack, desk) as (gate, client):
        answer = await client.post(INTERACTIVITY, content=body, headers=signed(body, stamp, SIGNING_SECRET))
        assert answer.status_code == 401
        assert (gate.refused("time"), gate.refused("signature")) == (1, 0)
    assert not desk.touched


async def test_a_signature_sent_twice_counts_for_none(slack: SlackStandin, desk: FakeDesk) -> None:
    body = form(_payload())
    headers = list(signed(body, STAMP, SIGNING_SECRET).items())
    async with _gate(slack, desk) as (_, client):
        answer = await client.post(INTERACTIVITY, content=body, headers=[*headers, headers[-1]])
    assert answer.status_code == 401
    assert not desk.touched


async def test_an_altered_body_is_401(slack: SlackStandin, desk: FakeDesk) -> None:
    body = form(_payload("commander.deny"))
    async with _gate(slack, desk) as (_, client):
        altered = body.replace(b"commander.deny", b"commander.approve")
        answer = await client.post(INTERACTIVITY, content=altered, headers=signed(body, STAMP, SIGNING_SECRET))
    assert answer.status_code == 401
    assert not desk.touched


async def test_by_socket_mode_the_same_press_means_the_same(slack: SlackStandin, desk: FakeDesk) -> None:
    metrics, directory = Metrics(), Directory(slack.settings())
    presses = Presses(desk, directory, metrics)
    await presses.take_or_drop(_payload())
    assert [given.approved for _, given in desk.pressed] == [True]
    await presses.take_or_drop(_payload(user="x' OR 1=1"))  # it would come again and again
    assert metrics.count("gateway_refused_total", reason="field") == 1
    desk.away = away()
    with pytest.raises(TransientError):
        await presses.take_or_drop(_payload())
    await presses.close()
    await directory.close()
