"""What is said of one incident in the chat: one message that goes on saying where it stands, the rest under it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from incident import wording
    from incident.dossier import Dossier
    from incident.messages import ChatKind, ChatMessage
    from workflows.courier import Courier

_ONLY_UNDER_THE_CARD = frozenset({ChatKind.DETAILS, ChatKind.NOTE})
_REFUSALS_SHOWN = 10
"""Answers of which it is said why they were not taken: whoever presses on and on has read it by then."""


@dataclass(frozen=True)
class _Said:
    message: ChatMessage
    change: bool
    """Of what stands already: where it does not, there is nothing to change."""


class Conversation:
    """Says things in the order in which they happened, in the background: nothing waits for the chat.

    Args:
        dossier: the incident.
        courier: carries the messages.
        unheard: told of each message that did not arrive.
    """

    def __init__(self, dossier: Dossier, courier: Courier, unheard: Callable[[ChatMessage], None]) -> None:
        self._dossier = dossier
        self._courier = courier
        self._unheard = unheard
        self._line: deque[_Said] = deque()
        self._speaker: asyncio.Task[None] | None = None
        self._places: dict[str, str] = {}
        """Where the message of each key stands; empty: the chat gives no place."""
        self._card: ChatMessage | None = None
        self._question: ChatMessage | None = None
        self._refusals = 0

    @property
    def silent(self) -> bool:
        """Whether everything has been said."""
        return self._speaker is None or self._speaker.done()

    async def all_said(self) -> None:
        """Waits until every message arrived or was given up."""
        while self._speaker and not self._speaker.done():
            await self._speaker

    def alert(self, alert: ChatMessage, details: ChatMessage) -> None:
        """The incident's one message, or what it says from now on, and the details under it."""
        self._card = alert
        self.tell(alert)
        self.tell(details)

    def status(self, text: str) -> None:
        """The incident's one message says from now on that it stands so."""
        if self._card:
            self._card = self._card.model_copy(update={"status": text})
            self._say(_Said(self._card, change=True))

    def ask(self, question: ChatMessage) -> None:
        """Asks; an earlier question can no longer be answered where it stands."""
        self.close_question("asked again below")
        self._question = question
        self.tell(question)

    def close_question(self, status: str) -> None:
        """The open question shows `status` instead of what it could be answered by."""
        if self._question:
            self._say(_Said(self._question.model_copy(update={"ask": None, "status": status}), change=True))
        self._question = None

    def refuse(self, approver: str, answer: str, why: str) -> None:
        """Says why an answer was not taken."""
        self._refusals += 1
        if self._refusals <= _REFUSALS_SHOWN:
            self.tell(wording.refused(self._dossier.incident_id, approver, answer, why))

    def tell(self, message: ChatMessage) -> None:
        """Says `message` once everything before it has been said."""
        self._say(_Said(message, change=False))

    async def tell_last(self, message: ChatMessage) -> None:
        """The same for a message that nothing waits behind: at once, if nothing is before it and the chat answers."""
        if self.silent and await self._courier.chat_at_once(self._threaded(message)) is not None:
            return
        self.tell(message.model_copy(update={"again": True}))

    async def tell_now(self, message: ChatMessage) -> bool:
        """Says `message` before everything that waits; whether it arrived."""
        return await self._courier.chat(self._threaded(message)) is not None

    def _say(self, said: _Said) -> None:
        for index, waiting in enumerate(self._line):
            if said.change and waiting.message.key == said.message.key:
                self._line[index] = replace(waiting, message=said.message)
                return
        self._line.append(said)
        if self.silent:
            self._speaker = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        while self._line:
            message = self._placed(self._line.popleft())
            if message is None:
                continue
            place = await self._courier.chat(message)
            if place is None:
                self._unheard(message)
            elif message.key and not message.stands:
                self._places[message.key] = place

    def _placed(self, said: _Said) -> ChatMessage | None:
        """The message as it is sent now; `None` where there is no place for it."""
        message = self._threaded(said.message)
        stands = self._places.get(message.key, "")
        if stands and (said.change or message.kind is ChatKind.ALERT):
            return message.model_copy(update={"stands": stands})
        homeless = message.kind in _ONLY_UNDER_THE_CARD and not message.thread
        return None if said.change or homeless else message

    def _threaded(self, message: ChatMessage) -> ChatMessage:
        card = wording.card_key(self._dossier.incident_id)
        return message if message.key == card else message.model_copy(update={"thread": self._places.get(card, "")})
