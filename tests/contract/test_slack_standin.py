"""The stand-in refuses what Slack refuses, and its people press buttons as Slack tells of them."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from integrations.slack import ForgedError, read_form, read_press, verify
from tests import builders
from tests.standins.slack import (
    BOT_TOKEN,
    CHANNEL,
    SIGNING_SECRET,
    TEAM,
    Person,
    SlackStandin,
    running_slack,
)
from tests.standins.slack.world import APP_TOKEN

PLAIN = {"type": "plain_text", "text": "x"}
MARKUP = {"type": "mrkdwn", "text": "x"}
VALUE = f"{builders.INCIDENT_ID} {'0123456789abcdef' * 4}"
BUTTON = {"type": "button", "action_id": "commander.approve", "text": PLAIN, "value": VALUE}
SECTION = {"type": "section", "text": MARKUP}


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


def _call(slack: SlackStandin, method: str, **arguments: object) -> dict[str, object]:
    return _called(slack, method, BOT_TOKEN, arguments)


def _called(slack: SlackStandin, method: str, token: str, arguments: dict[str, object]) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(trust_env=False, headers=headers) as client:
        answer: dict[str, object] = client.post(f"{slack.url}/api/{method}", json=arguments).json()
    return answer


def _post(slack: SlackStandin, **arguments: object) -> dict[str, object]:
    return _call(slack, "chat.postMessage", **{"channel": CHANNEL, "text": "x", **arguments})


def _long(text: str, times: int) -> dict[str, str]:
    return {"type": "plain_text", "text": text * times}


@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        ([SECTION] * 50, ""),
        ([SECTION] * 51, "invalid_blocks"),
        ([{"type": "section", "text": _long("x", 3_000)}], ""),
        ([{"type": "section", "text": _long("x", 3_001)}], "invalid_blocks"),
        ([{"type": "section", "fields": [PLAIN] * 10}], ""),
        ([{"type": "section", "fields": [PLAIN] * 11}], "invalid_blocks"),
        ([{"type": "section", "fields": [_long("x", 2_001)]}], "invalid_blocks"),
        ([{"type": "section"}], "invalid_blocks"),
        ([{"type": "section", "text": {"type": "plain_text", "text": ""}}], "invalid_blocks"),
        ([{"type": "section", "text": {**PLAIN, "verbatim": True}}], "invalid_blocks"),
        ([{"type": "header", "text": _long("x", 150)}], ""),
        ([{"type": "header", "text": _long("x", 151)}], "invalid_blocks"),
        ([{"type": "header", "text": MARKUP}], "invalid_blocks"),
        ([{"type": "context", "elements": [PLAIN] * 11}], "invalid_blocks"),
        ([{"type": "context", "elements": []}], "invalid_blocks"),
        ([{"type": "actions", "elements": [BUTTON]}], ""),
        ([{"type": "actions", "elements": [BUTTON, BUTTON]}], "invalid_blocks"),
        ([{"type": "actions", "elements": [{**BUTTON, "text": _long("x", 76)}]}], "invalid_blocks"),
        ([{"type": "actions", "elements": [{**BUTTON, "value": "x" * 2_001}]}], "invalid_blocks"),
        ([{"type": "actions", "elements": [{**BUTTON, "style": "loud"}]}], "invalid_blocks"),
        ([{"type": "rich_text", "elements": []}], "invalid_blocks"),
        ([{"type": "nothing"}], "invalid_blocks"),
        (["x"], "invalid_blocks_format"),
        ([{"type": "section", "text": _long("x", 2_900)}] * 5, "msg_blocks_too_long"),
    ],
)
def test_blocks_beyond_slacks_limits_are_refused(blocks: list[object], code: str, slack: SlackStandin) -> None:
    assert _post(slack, blocks=blocks).get("error", "") == code
    assert slack.posts == (0 if code else 1)


def test_a_call_that_may_not_be_made_is_refused_by_its_code(slack: SlackStandin) -> None:
    assert _called(slack, "auth.test", "", {})["error"] == "not_authed"
    assert _called(slack, "auth.test", "xoxb-x", {})["error"] == "invalid_auth"
    assert _call(slack, "apps.connections.open")["error"] == "not_allowed_token_type"
    assert _call(slack, "chat.delete")["error"] == "unknown_method"
    assert _post(slack, text="")["error"] == "no_text"
    assert _post(slack, text="x" * 40_001)["error"] == "msg_too_long"
    assert _post(slack, channel="C0NOWHERE1")["error"] == "channel_not_found"
    assert _post(slack, thread_ts="1.000001")["error"] == "thread_not_found"
    assert _post(slack, metadata={"key": "x"})["error"] == "invalid_metadata_format"
    assert _call(slack, "chat.update", channel=CHANNEL, ts="1.000001", text="x")["error"] == "message_not_found"
    slack.allow()
    assert _post(slack) == {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write",
        "provided": "",
    }
    assert slack.posts == 0


def test_metadata_is_told_only_to_who_asks_for_it(slack: SlackStandin) -> None:
    _post(slack, metadata={"event_type": "t", "event_payload": {"key": "k"}})

    (bare,) = _listed(_call(slack, "conversations.history", channel=CHANNEL))
    (whole,) = _listed(_call(slack, "conversations.history", channel=CHANNEL, include_all_metadata=True))

    assert "metadata" not in bare
    assert whole["metadata"]["event_payload"] == {"key": "k"}


def _listed(answer: dict[str, object]) -> list[dict[str, dict[str, object]]]:
    messages = answer["messages"]
    assert isinstance(messages, list)
    return messages


def test_replies_stand_in_their_thread_and_not_in_the_channel(slack: SlackStandin) -> None:
    parent = _post(slack)["ts"]
    _post(slack, thread_ts=parent)
    _post(slack, thread_ts=parent, reply_broadcast=True)

    assert len(_listed(_call(slack, "conversations.history", channel=CHANNEL))) == 2
    assert len(_listed(_call(slack, "conversations.replies", channel=CHANNEL, ts=parent))) == 3


def test_a_ticket_opens_one_connection_once(slack: SlackStandin) -> None:
    url = str(_called(slack, "apps.connections.open", APP_TOKEN, {})["url"])
    with httpx.Client(trust_env=False) as client:
        assert client.get(url.replace("ws://", "http://").replace("ticket=", "ticket=x")).status_code == 403


class _Gateway(BaseHTTPRequestHandler):
    """Answers 200 to a press that Slack signed, and 401 to any other."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at, signature = self.headers["X-Slack-Request-Timestamp"], self.headers["X-Slack-Signature"]
        try:
            verify(body, at, signature, SIGNING_SECRET, datetime.now(UTC))
        except ForgedError:
            self.send_response(401)
        else:
            press = read_press(read_form(body))
            self.send_response(200 if press and press.approver == f"slack:{TEAM}/{Person.MEMBER}" else 403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Says nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_press_is_signed_as_slack_signs_it_and_can_be_forged_in_every_way(slack: SlackStandin, gateway: str) -> None:
    ts = str(_post(slack, blocks=[{"type": "actions", "elements": [BUTTON]}])["ts"])

    assert slack.press(ts, "approve", url=gateway) == 200
    assert slack.press(ts, "approve", url=gateway, times=3) == 200
    assert slack.press(ts, "approve", url=gateway, user=Person.GUEST) == 403
    assert slack.press(ts, "approve", url=gateway, signing_secret="another0" * 4) == 401
    assert slack.press(ts, "approve", url=gateway, timestamp="1764000000") == 401
    assert slack.press(ts, "approve", url=gateway, timestamp="soon") == 401
    assert slack.press(ts, "approve", url=gateway, tamper=lambda body: body.replace(b"approve", b"deny", 1)) == 401
