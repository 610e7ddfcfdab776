"""What a press of a button says: who answers, and what exactly is answered.

By "Handling user interaction" (docs.slack.dev): a form with one field, `payload`, which is JSON.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from incident.errors import PermanentError
from incident.model import Fact
from integrations.slack.blocks import APPROVE, DENY, read_button_value

MAX_FORM = 64 * 1024
"""Bytes; a message of ours, which comes along with each press, has 10,000 characters."""
MAX_DEPTH = 32

_ANSWERS = {APPROVE: True, DENY: False}
_Id = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{2,30}$")]


class UnusablePressError(PermanentError):
    """What came is no press of a button as Slack sends it; the text says why."""

    def __init__(self, problem: str) -> None:
        super().__init__("slack", problem)


class Press(Fact):
    """One press of one of the commander's buttons, as Slack tells of it."""

    incident_id: str
    digest: str = Field(description="of exactly what is answered")
    approved: bool
    user: str
    team: str = Field(description="the workspace in which the button was pressed")
    channel: str
    message: str = Field(description="Slack's time stamp of the message with the button")
    user_team: str = Field(default="", description="the workspace that the user is of; empty: Slack does not say")
    enterprise: str = Field(default="", description="the organization of the workspace; empty: it has none")
    stranger: bool = Field(default=False, description="whether Slack says that the user is of another organization")

    @property
    def approver(self) -> str:
        """Who answers, as the policy names people."""
        return f"slack:{self.team}/{self.user}"


class _Part(BaseModel):
    """A part of a payload; Slack may add to it."""

    model_config = ConfigDict(strict=True)


class _User(_Part):
    id: _Id
    team_id: _Id | None = None
    is_stranger: bool = False


class _Place(_Part):
    id: _Id


class _Message(_Part):
    ts: str = Field(pattern=r"^[0-9]{1,12}\.[0-9]{1,9}$")


class _Action(_Part):
    type: str
    action_id: str
    value: str = Field(default="", max_length=2_000)


class _Payload(_Part):
    user: _User
    team: _Place
    channel: _Place
    message: _Message
    enterprise: _Place | None = None


def read_form(body: bytes) -> dict[str, Any]:
    """The payload in a form whose signature was verified.

    Raises:
        UnusablePressError: too large, no such form, or no JSON object in it.
    """
    if len(body) > MAX_FORM:
        raise UnusablePressError(f"the form is larger than {MAX_FORM} bytes")
    try:
        form = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as error:
        raise UnusablePressError("the body is no form") from error
    texts = form.get("payload", [])
    if len(texts) != 1:
        raise UnusablePressError(f"the form has {len(texts)} fields named payload instead of one")
    try:
        payload = json.loads(texts[0])
    except (ValueError, RecursionError) as error:
        raise UnusablePressError("the payload is not JSON") from error
    if not isinstance(payload, dict):
        raise UnusablePressError("the payload is no object")
    if _deeper(payload, MAX_DEPTH):
        raise UnusablePressError(f"the payload is nested deeper than {MAX_DEPTH}")
    return payload


def read_press(payload: Mapping[str, Any]) -> Press | None:
    """The press that `payload` tells of; `None`: it tells of something else, such as a link or a dialog.

    Raises:
        UnusablePressError: one of the commander's buttons, but not as Slack tells of one.
    """
    actions = payload.get("actions")
    if payload.get("type") != "block_actions" or not isinstance(actions, list):
        return None
    ours = [each for each in actions if isinstance(each, dict) and each.get("action_id") in tuple(_ANSWERS)]
    if not ours:
        return None
    if len(actions) != 1:
        raise UnusablePressError(f"{len(actions)} buttons pressed at once")
    try:
        action, told = _Action.model_validate(ours[0]), _Payload.model_validate(payload)
        incident_id, digest = read_button_value(action.value)
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"])) for each in error.errors(include_input=False)})
        raise UnusablePressError(f"the payload is not as Slack sends it: {', '.join(places)}") from None
    except ValueError as error:
        raise UnusablePressError("the button is none of the commander's") from error
    if action.type != "button":
        raise UnusablePressError("what was pressed is no button")
    return Press(
        incident_id=incident_id,
        digest=digest,
        approved=_ANSWERS[action.action_id],
        user=told.user.id,
        team=told.team.id,
        channel=told.channel.id,
        message=told.message.ts,
        user_team=told.user.team_id or "",
        enterprise=told.enterprise.id if told.enterprise else "",
        stranger=told.user.is_stranger,
    )


def _deeper(value: object, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
