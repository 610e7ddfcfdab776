"""What Slack sends of a press of a button, and how it signs it."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.standins.slack.records import Message
from tests.standins.slack.world import OTHER_TEAM, TEAM, Person


def block_actions(message: Message, action_id: str, user: str, **changes: object) -> dict[str, Any]:
    """The payload of a press by `user` on the button of that action id; `changes` go on top of it."""
    element = next(each for block in message.blocks for each in block.get("elements", ()) if _is(each, action_id))
    team = OTHER_TEAM if user == Person.STRANGER else TEAM
    return {
        "type": "block_actions",
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": team},
        "api_app_id": "A0STANDIN1",
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": False,
        },
        "trigger_id": "1.2.standin",
        "team": {"id": TEAM, "domain": "stand-in"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": message.channel, "name": "incidents"},
        "message": {"type": "message", "ts": message.ts, "text": message.text, "blocks": list(message.blocks)},
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T0STANDIN1/1/standin",
        "actions": [
            {
                "action_id": action_id,
                "block_id": "b1",
                "text": element["text"],
                "value": element.get("value"),
                "type": "button",
                "action_ts": message.ts,
            }
        ],
        **changes,
    }


def form(payload: Mapping[str, Any]) -> bytes:
    """The body that carries `payload`."""
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(body: bytes, timestamp: str, secret: str) -> dict[str, str]:
    """The headers that Slack sends with `body`."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest(),
    }


def _is(element: Mapping[str, Any], action_id: str) -> bool:
    return element.get("type") == "button" and element.get("action_id") == action_id
