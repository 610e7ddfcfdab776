"""Socket Mode: who listens, what is under way, and what is sent again because nobody confirmed it."""

import asyncio
import json
from secrets import token_hex
from typing import Any

from aiohttp import WSMsgType, web

from tests.standins.slack.records import EnvelopeEntry
from tests.standins.slack.state import Slack

REDELIVERS_AFTER = 0.3
"""Seconds; Slack itself waits for ten times as long."""
MOST_TIMES = 4


class Hub:
    """The connections of the app."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack
        self._tickets: set[str] = set()
        self._open: list[web.WebSocketResponse] = []
        self.connections = 0

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def ticket(self) -> str:
        """What opens one connection, once."""
        ticket = token_hex(8)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, until either side ends it."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403)
        self._tickets.remove(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        await socket.send_json({"type": "hello", "num_connections": 1})
        self._open.append(socket)
        delivery = asyncio.create_task(self._deliver(socket))
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    self._confirm(json.loads(frame.data))
        finally:
            if socket in self._open:
                self._open.remove(socket)
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
        return socket

    def push(self, payload: Any) -> str:  # noqa: ANN401 - JSON
        """Sends a press on its way; its envelope's id."""
        envelope = EnvelopeEntry(id=token_hex(8), payload=payload)
        self._slack.envelopes[envelope.id] = envelope
        return envelope.id

    async def disconnect(self) -> None:
        """Asks every connection to be opened anew, and ends it."""
        for socket in list(self._open):
            self._open.remove(socket)
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    def cut(self) -> None:
        """Breaks every connection off."""
        for socket in list(self._open):
            if (writer := socket._writer) is not None and writer.transport is not None:
                writer.transport.abort()

    async def _deliver(self, socket: web.WebSocketResponse) -> None:
        """Sends what is not confirmed, again and again."""
        sent_at: dict[str, float] = {}
        clock = asyncio.get_running_loop().time
        while socket in self._open:
            for envelope in list(self._slack.envelopes.values()):
                due = sent_at.get(envelope.id, 0.0) + REDELIVERS_AFTER <= clock()
                if not envelope.acked and due and envelope.sent < MOST_TIMES:
                    sent_at[envelope.id] = clock()
                    self._keep(envelope, sent=envelope.sent + 1)
                    await socket.send_json(_frame(envelope))
            await asyncio.sleep(0.01)

    def _confirm(self, said: Any) -> None:  # noqa: ANN401 - JSON
        envelope = self._slack.envelopes.get(said.get("envelope_id", ""))
        if envelope is not None:
            self._keep(envelope, acked=True)

    def _keep(self, envelope: EnvelopeEntry, **changes: object) -> None:
        self._slack.envelopes[envelope.id] = envelope.model_copy(update=changes)


def _frame(envelope: EnvelopeEntry) -> dict[str, Any]:
    return {
        "envelope_id": envelope.id,
        "type": "interactive",
        "payload": envelope.payload,
        "accepts_response_payload": False,
        "retry_attempt": envelope.sent,
    }
