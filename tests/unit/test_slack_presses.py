"""What is read of a press of a button, and what is none."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident.errors import PermanentError
from integrations.slack import Press, UnusablePressError, read_form, read_press
from integrations.slack.blocks import button_value
from integrations.slack.presses import MAX_DEPTH, MAX_FORM
from tests import builders
from tests.standins.slack.payloads import block_actions, form
from tests.standins.slack.records import Message
from tests.standins.slack.world import CHANNEL, OTHER_TEAM, TEAM, Person

DIGEST = "0123456789abcdef" * 4
VALUE = f"{builders.INCIDENT_ID} {DIGEST}"
TEXT = {"type": "plain_text", "text": "x"}
BUTTONS = [
    {"type": "button", "action_id": name, "value": value, "text": TEXT}
    for name, value in (("commander.approve", VALUE), ("commander.deny", VALUE), ("another", "x"))
]
MESSAGE = Message(
    channel=CHANNEL, ts="1764000000.000001", via="bot", text="x", blocks=[{"type": "actions", "elements": BUTTONS}]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _payload(action_id: str = "commander.approve", user: str = Person.MEMBER, **changes: object) -> dict[str, Any]:
    return block_actions(MESSAGE, action_id, user, **changes)


def _press(payload: dict[str, Any]) -> Press:
    press = read_press(read_form(form(payload)))
    assert press is not None
    return press


def test_a_press_says_who_answers_what_where() -> None:
    assert _press(_payload()) == Press(
        incident_id=builders.INCIDENT_ID,
        digest=DIGEST,
        approved=True,
        user=Person.MEMBER,
        team=TEAM,
        channel=CHANNEL,
        message="1764000000.000001",
        user_team=TEAM,
    )
    assert not _press(_payload("commander.deny")).approved


def test_an_approver_is_named_by_workspace_and_id_and_never_by_a_name() -> None:
    payload = _payload()
    payload["user"] |= {"name": "slack:T0/admin", "username": "admin"}

    assert _press(payload).approver == f"slack:{TEAM}/{Person.MEMBER}"


def test_where_a_person_comes_from_is_kept() -> None:
    stranger = _payload(user=Person.STRANGER, enterprise={"id": "E0123456789", "name": "acme"})
    stranger["user"]["is_stranger"] = True

    press = _press(stranger)

    assert (press.user_team, press.enterprise, press.stranger) == (OTHER_TEAM, "E0123456789", True)
    unsaid = _payload()
    del unsaid["user"]["team_id"]
    assert _press(unsaid).user_team == ""


@pytest.mark.parametrize(
    "payload",
    [
        _payload("another"),
        {"type": "view_submission", "view": {"id": "V1"}},
        {"type": "block_actions"},
        {"type": "block_actions", "actions": []},
        {"type": "block_actions", "actions": [{"type": "button", "action_id": ["commander.approve"]}]},
        {"type": "message_action", "actions": _payload()["actions"]},
        {},
    ],
)
def test_what_is_no_answer_is_none(payload: dict[str, Any]) -> None:
    assert read_press(payload) is None


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(payload: dict[str, Any]) -> None:
        inner: Any = payload
        for key in path[:-1]:
            inner = inner[0 if key == "0" else key]
        del inner[path[-1]]

    return change


def _with(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(payload: dict[str, Any]) -> None:
        inner: Any = payload
        for key in path[:-1]:
            inner = inner[0 if key == "0" else key]
        inner[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("user"),
        _without("user", "id"),
        _without("team"),
        _without("channel", "id"),
        _without("message"),
        _without("actions", "0", "value"),
        _with(None, "team"),
        _with("<@U1>", "user", "id"),
        _with(f"{TEAM}/U0OTHER001", "team", "id"),
        _with(f"{Person.MEMBER}\n", "user", "id"),
        _with(7, "user", "id"),
        _with("now", "message", "ts"),
        _with("", "actions", "0", "value"),
        _with(builders.INCIDENT_ID, "actions", "0", "value"),
        _with(f"{VALUE} more", "actions", "0", "value"),
        _with(f"../../etc {DIGEST}", "actions", "0", "value"),
        _with(VALUE.replace(" ", "\n"), "actions", "0", "value"),
        _with("x" * 2_001, "actions", "0", "value"),
        _with("static_select", "actions", "0", "type"),
        _with(_payload()["actions"] * 2, "actions"),
    ],
)
def test_a_press_of_ours_that_is_not_as_slack_sends_it_is_unusable(change: Callable[[dict[str, Any]], None]) -> None:
    payload = _payload()
    change(payload)

    with pytest.raises(UnusablePressError) as raised:
        read_press(payload)

    assert isinstance(raised.value, PermanentError)
    assert "etc" not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload={",
        b"payload=[]",
        b"payload=7",
        b"payload=%ff",
        b"payload=\xff",
        b'{"payload": {}}',
        b"other=%7B%7D",
        b"payload=%7B%7D&payload=%7B%7D",
        b"payload=" + b"[" * 20_000,
        form({"type": "x", "deep": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}),
        form({"type": "x" * MAX_FORM}),
    ],
)
def test_a_form_that_is_none_is_unusable(body: bytes) -> None:
    with pytest.raises(UnusablePressError):
        read_form(body)


def test_a_form_as_large_and_as_deep_as_allowed_is_read() -> None:
    deep = {"deep": json.loads("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))}
    assert read_form(form(deep)) == deep
    long = {"long": "x" * (MAX_FORM - len(form({"long": ""})))}
    assert len(form(long)) == MAX_FORM
    assert read_form(form(long)) == long


@given(st.binary(max_size=100) | st.text(max_size=50).map(lambda text: urlencode({"payload": text}).encode()))
def test_no_body_raises_anything_else(body: bytes) -> None:
    with suppress(UnusablePressError):
        assert isinstance(read_form(body), dict)


@given(st.sampled_from(["user", "team", "channel", "message", "actions", "enterprise", "type"]), JSON)
def test_no_payload_raises_anything_else(key: str, value: object) -> None:
    with suppress(UnusablePressError):
        read_press({**_payload(), key: value})


def test_a_button_says_what_it_answers_or_is_not_there() -> None:
    assert button_value(builders.INCIDENT_ID, DIGEST) == VALUE
    assert button_value("<!channel>", DIGEST) == ""
    assert button_value(builders.INCIDENT_ID, "a b") == ""
    assert button_value(builders.INCIDENT_ID, "") == ""


def test_the_address_that_slack_offers_for_an_answer_is_not_kept() -> None:
    payload = _payload() | {"response_url": "https://evil.example/answer"}

    assert "evil.example" not in _press(payload).model_dump_json()
