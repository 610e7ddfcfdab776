"""The methods of the Web API that the commander calls, and the webhook, each refusing what Slack refuses."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.standins.slack import limits
from tests.standins.slack.records import Ephemeral, Message
from tests.standins.slack.state import Slack
from tests.standins.slack.world import APP_TOKEN, ARCHIVED_CHANNEL, BOT_TOKEN, BOT_USER, CHANNEL, FOREIGN_CHANNEL, TEAM

Arguments = Mapping[str, Any]
Body = dict[str, Any]
_YES = frozenset({"1", "true", "True", True})
_MAX_PAGE = 999


class RefusedError(Exception):
    """Slack says no."""

    def __init__(self, code: str, **more: object) -> None:
        super().__init__(code)
        self.body = {"ok": False, "error": code, **more}


class WebApi:
    """The methods by name."""

    def __init__(self, slack: Slack, open_connection: Callable[[], str]) -> None:
        self._slack, self._open = slack, open_connection
        self._methods: Mapping[str, tuple[str, str, Callable[[Arguments], Body]]] = {
            "auth.test": (BOT_TOKEN, "", self._auth_test),
            "chat.postMessage": (BOT_TOKEN, "chat:write", self._post),
            "chat.update": (BOT_TOKEN, "chat:write", self._update),
            "chat.postEphemeral": (BOT_TOKEN, "chat:write", self._ephemeral),
            "conversations.history": (BOT_TOKEN, "channels:history", self._history),
            "conversations.replies": (BOT_TOKEN, "channels:history", self._replies),
            "users.info": (BOT_TOKEN, "users:read", self._user),
            "apps.connections.open": (APP_TOKEN, "", self._connect),
        }

    def answer(self, name: str, request: web.Request, body: bytes) -> web.Response:
        """Slack's answer to one call."""
        try:
            done = self._answer(name, request, body)
        except RefusedError as refused:
            status = 429 if refused.body["error"] == "ratelimited" else 200
            headers = {"Retry-After": "1"} if status == 429 else {}
            return web.json_response(refused.body, status=status, headers=headers)
        return web.json_response({"ok": True, **done}, headers={"x-oauth-scopes": ",".join(self._slack.scopes)})

    def _answer(self, name: str, request: web.Request, body: bytes) -> Body:
        if name not in self._methods:
            raise RefusedError("unknown_method", req_method=name)
        token, scope, act = self._methods[name]
        given = request.headers.get("Authorization", "")
        if not given:
            raise RefusedError("not_authed")
        if given != f"Bearer {token}":
            raise RefusedError("not_allowed_token_type" if given.endswith((BOT_TOKEN, APP_TOKEN)) else "invalid_auth")
        if scope and scope not in self._slack.scopes:
            raise RefusedError("missing_scope", needed=scope, provided=",".join(self._slack.scopes))
        return act(_arguments(request, body))

    def webhook(self, body: bytes) -> web.Response:
        """The webhook's answer."""
        try:
            said = json.loads(body)
            self._check(said)
        except (ValueError, AttributeError):
            return web.Response(text="invalid_payload", status=400)
        except RefusedError as refused:
            return web.Response(text=str(refused), status=400)
        if not self._slack.takes(CHANNEL):
            return web.Response(text="ratelimited", status=429, headers={"Retry-After": "1"})
        self._slack.post(CHANNEL, "webhook", said)
        return web.Response(text="ok")

    def _auth_test(self, _: Arguments) -> Body:
        return {"team": "Stand-in", "team_id": TEAM, "user": "commander", "user_id": BOT_USER, "bot_id": "B0STANDIN1"}

    def _post(self, said: Arguments) -> Body:
        channel = _channel(said)
        self._check(said)
        if (thread := said.get("thread_ts")) and self._slack.find(channel, thread) is None:
            raise RefusedError("thread_not_found")
        if said.get("reply_broadcast") and not thread:
            raise RefusedError("invalid_arguments")
        if not self._slack.takes(channel):
            raise RefusedError("ratelimited")
        message = self._slack.post(channel, "bot", said)
        return {"channel": channel, "ts": message.ts, "message": _told(message, metadata=True)}

    def _update(self, said: Arguments) -> Body:
        channel = _channel(said)
        message = self._slack.find(channel, str(said.get("ts")))
        if message is None:
            raise RefusedError("message_not_found")
        if message.via != "bot":
            raise RefusedError("cant_update_message")
        self._check(said)
        self._slack.update(message, said)
        return {"channel": channel, "ts": message.ts, "text": said.get("text") or ""}

    def _ephemeral(self, said: Arguments) -> Body:
        channel = _channel(said)
        self._check(said)
        if said.get("user") not in self._slack.people:
            raise RefusedError("user_not_in_channel")
        told = Ephemeral(
            channel=channel, user=said["user"], text=said.get("text") or "", blocks=said.get("blocks") or []
        )
        self._slack.ephemerals.append(told)
        return {"message_ts": "1.000001"}

    def _check(self, said: Arguments) -> None:
        text, blocks, metadata = said.get("text"), said.get("blocks"), said.get("metadata")
        if not text and not blocks:
            raise RefusedError("no_text")
        if not isinstance(text or "", str) or len(text or "") > limits.MAX_TEXT:
            raise RefusedError("msg_too_long")
        if blocks and (code := limits.refusal(blocks)):
            raise RefusedError(code)
        if metadata is not None and not (
            isinstance(metadata, dict)
            and isinstance(metadata.get("event_type"), str)
            and isinstance(metadata.get("event_payload"), dict)
        ):
            raise RefusedError("invalid_metadata_format")

    def _history(self, asked: Arguments) -> Body:
        channel = _channel(asked)
        seen = [each for each in self._slack.messages if not each.thread_ts or each.broadcast]
        return _page([each for each in reversed(seen) if each.channel == channel], asked)

    def _replies(self, asked: Arguments) -> Body:
        channel, ts = _channel(asked), str(asked.get("ts"))
        if self._slack.find(channel, ts) is None:
            raise RefusedError("thread_not_found")
        seen = [each for each in self._slack.messages if ts in {each.ts, each.thread_ts}]
        return _page([each for each in seen if each.channel == channel], asked)

    def _user(self, asked: Arguments) -> Body:
        person = self._slack.people.get(str(asked.get("user")))
        if person is None:
            raise RefusedError("user_not_found")
        return {"user": person}

    def _connect(self, _: Arguments) -> Body:
        return {"url": self._open()}


def _arguments(request: web.Request, body: bytes) -> Arguments:
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        try:
            said = json.loads(body or b"{}")
        except ValueError:
            raise RefusedError("invalid_json") from None
        if not isinstance(said, dict):
            raise RefusedError("json_not_object")
        return {**given, **said}
    form: dict[str, Any] = dict(parse_qsl(body.decode()))
    for name in {"blocks", "metadata"} & form.keys():
        form[name] = json.loads(form[name])
    return {**given, **form}


def _channel(said: Arguments) -> str:
    channel = said.get("channel")
    if channel not in {CHANNEL, ARCHIVED_CHANNEL, FOREIGN_CHANNEL}:
        raise RefusedError("channel_not_found")
    if channel == ARCHIVED_CHANNEL:
        raise RefusedError("is_archived")
    if channel == FOREIGN_CHANNEL:
        raise RefusedError("not_in_channel")
    return str(channel)


def _page(messages: list[Message], asked: Arguments) -> Body:
    """One page of `messages`, which stand in the order that Slack gives them in."""
    oldest, limit = float(asked.get("oldest", 0)), min(int(asked.get("limit", 100)), _MAX_PAGE)
    begin = int(asked.get("cursor") or 0)
    young = [each for each in messages if float(each.ts) > oldest]
    with_metadata = asked.get("include_all_metadata") in _YES
    more = len(young) > begin + limit
    return {
        "messages": [_told(each, metadata=with_metadata) for each in young[begin : begin + limit]],
        "has_more": more,
        "response_metadata": {"next_cursor": str(begin + limit) if more else ""},
    }


def _told(message: Message, *, metadata: bool) -> Body:
    told: Body = {"type": "message", "ts": message.ts, "text": message.text, "blocks": list(message.blocks)}
    if message.thread_ts:
        told["thread_ts"] = message.thread_ts
    if metadata and message.metadata is not None:
        told["metadata"] = message.metadata
    return told
