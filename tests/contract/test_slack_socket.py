"""Presses without an open port: each is handled before Slack hears that it was taken, whatever becomes of the line."""

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from incident.messages import Ask, ChatKind, ChatMessage
from integrations.slack import SlackChat, SocketMode, read_press
from tests import builders
from tests.standins.slack import APP_TOKEN, Person, SlackStandin, error, html, limited, running_slack

WITHIN = 8.0
AT_ONCE = (timedelta(0), timedelta(seconds=0.05))
OPEN = "apps.connections.open"


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


class Desk:
    """Takes presses, and fails as often as it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.came: list[dict[str, Any]] = []
        self.let = asyncio.Event()
        self.let.set()

    async def __call__(self, payload: dict[str, Any]) -> None:
        self.came.append(payload)
        await self.let.wait()
        if len(self.came) <= self.fails:
            raise RuntimeError("the workflow cannot be reached")


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - the stand-in is asked, it tells nothing by itself
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _listening(slack: SlackStandin, desk: Desk) -> AsyncIterator[SocketMode]:
    async with SocketMode(slack.socket_settings(), desk, AT_ONCE) as socket:
        await _until(lambda: slack.connected == 1)
        yield socket
    await _until(lambda: slack.connected == 0)


async def _question(slack: SlackStandin) -> str:
    chat = SlackChat(slack.socket_settings())
    ask = Ask(digest="0123456789abcdef" * 4, deadline=datetime(2026, 11, 24, 14, 30, tzinfo=UTC))
    message = ChatMessage(
        kind=ChatKind.QUESTION, incident_id=builders.INCIDENT_ID, title="Roll back?", fields=(), ask=ask
    )
    place = await chat.post(message)
    await chat.close()
    return place.partition("/")[2]


async def test_a_press_is_handled_and_then_confirmed(slack: SlackStandin) -> None:
    desk, ts = Desk(), await _question(slack)
    desk.let.clear()
    async with _listening(slack, desk):
        envelope = slack.press_socket(ts, "approve")
        await _until(lambda: bool(desk.came))
        assert not slack.envelope(envelope).acked
        desk.let.set()
        await _until(lambda: slack.envelope(envelope).acked)

    press = read_press(desk.came[0])
    assert press is not None
    assert (press.approver, press.approved, press.message) == (f"slack:T0STANDIN1/{Person.MEMBER}", True, ts)


async def test_a_press_that_could_not_be_handled_comes_again(
    slack: SlackStandin, caplog: pytest.LogCaptureFixture
) -> None:
    desk, ts = Desk(fails=1), await _question(slack)
    async with _listening(slack, desk):
        envelope = slack.press_socket(ts, "deny")
        await _until(lambda: slack.envelope(envelope).acked)

    assert len(desk.came) >= 2
    assert "RuntimeError" in caplog.text
    assert "cannot be reached" not in caplog.text


async def test_a_press_that_is_handled_while_the_client_stops_comes_to_the_next(slack: SlackStandin) -> None:
    slow, ts = Desk(), await _question(slack)
    slow.let.clear()
    async with _listening(slack, slow):
        envelope = slack.press_socket(ts, "approve")
        await _until(lambda: bool(slow.came))
    assert not slack.envelope(envelope).acked

    async with _listening(slack, Desk()):
        await _until(lambda: slack.envelope(envelope).acked)


@pytest.mark.parametrize("how", ["disconnect", "cut"])
async def test_a_connection_that_ends_is_opened_anew(how: str, slack: SlackStandin) -> None:
    desk, ts = Desk(), await _question(slack)
    async with _listening(slack, desk):
        before = slack.journal().connections
        await asyncio.to_thread(getattr(slack, how))
        await _until(lambda: slack.journal().connections == before + 1 and slack.connected == 1)
        envelope = slack.press_socket(ts, "approve")
        await _until(lambda: slack.envelope(envelope).acked)

    assert desk.came


async def test_a_press_of_before_the_break_is_confirmed_after_it(slack: SlackStandin) -> None:
    desk, ts = Desk(), await _question(slack)
    desk.let.clear()
    async with _listening(slack, desk):
        envelope = slack.press_socket(ts, "approve")
        await _until(lambda: bool(desk.came))
        slack.cut()
        desk.let.set()
        await _until(lambda: slack.envelope(envelope).acked)


async def test_while_slack_is_away_it_is_tried_again_and_no_log_holds_the_token_or_the_address(
    slack: SlackStandin, caplog: pytest.LogCaptureFixture
) -> None:
    away = error("", path=OPEN).model_copy(update={"body": {"ok": True, "url": "ws://127.0.0.1:1/link?ticket=hunter2"}})
    astray = away.model_copy(update={"body": {"ok": True, "url": "http://127.0.0.1:1/hunter2"}})
    refused = away.model_copy(update={"body": {"ok": True, "url": f"ws{slack.url[4:]}/link?ticket=hunter2"}})
    slack.faults(error("internal_error", path=OPEN), html(502, path=OPEN), away, astray, refused, limited(0, path=OPEN))

    with caplog.at_level(logging.DEBUG, logger="integrations.slack"):
        async with _listening(slack, Desk()):
            pass

    assert len([each for each in slack.requests() if OPEN in each.path]) == 7
    assert caplog.text.count("slack socket mode") == 6
    assert APP_TOKEN not in caplog.text
    assert "hunter2" not in caplog.text


@asynccontextmanager
async def _server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port that answers whoever speaks to it so, and what came."""
    came: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def test_neither_another_host_nor_a_redirect_leads_the_line_elsewhere(
    slack: SlackStandin, caplog: pytest.LogCaptureFixture
) -> None:
    async with _server(b"") as (trap, caught):
        location = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{trap}/\r\nContent-Length: 0\r\n\r\n"
        async with _server(location.encode()) as (port, came):
            say = error("", path=OPEN)
            elsewhere, redirecting = (
                say.model_copy(update={"body": {"ok": True, "url": url}})
                for url in (f"ws://localhost:{trap}/link", f"ws://127.0.0.1:{port}/link")
            )
            slack.faults(elsewhere, redirecting)
            async with _listening(slack, Desk()):
                pass
            assert len(came) == 1
        assert caught == []
    assert "not beneath the one of SLACK__API_URL" in caplog.text
    assert "RedirectedError" in caplog.text


async def test_a_wrong_token_is_told_and_tried_on(slack: SlackStandin, caplog: pytest.LogCaptureFixture) -> None:
    settings = slack.socket_settings(app_token=SecretStr("xapp-another-0123456789"))

    async with SocketMode(settings, Desk(), AT_ONCE):
        await _until(lambda: len(slack.requests()) >= 2)

    assert "invalid_auth" in caplog.text
    assert "xapp-another" not in caplog.text


async def test_it_stops_at_once_and_leaves_nothing_behind(slack: SlackStandin) -> None:
    slow, ts = Desk(), await _question(slack)
    slow.let.clear()
    before = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with asyncio.timeout(WITHIN), SocketMode(slack.socket_settings(), slow, AT_ONCE):
            await _until(lambda: slack.connected == 1)
            slack.press_socket(ts, "approve")
            await _until(lambda: bool(slow.came))
        async with asyncio.timeout(WITHIN), SocketMode(slack.socket_settings(), slow, AT_ONCE):
            pass

    assert asyncio.all_tasks() == before


async def test_what_is_no_press_is_confirmed_without_being_handled(slack: SlackStandin) -> None:
    desk = Desk()
    async with _listening(slack, desk):
        envelope = str(slack._post("push", "no object"))
        await _until(lambda: slack.envelope(envelope).acked)

    assert desk.came == []
