"""Notify: tells people. Nothing here may hold up or fail a remediation; the workflow records what did not arrive."""

from temporalio import activity

from incident.messages import ChatMessage, Page
from incident.model import Fact
from incident.ports import Chat, Pager


class ResolveInput(Fact):
    """The page to close."""

    incident_id: str
    key: str


class Notify:
    """Posts to the chat and pages the person on call."""

    def __init__(self, chat: Chat, pager: Pager) -> None:
        self._chat = chat
        self._pager = pager

    @activity.defn(name="notify.chat")
    async def chat(self, message: ChatMessage) -> None:
        """Posts `message`.

        Raises:
            TransientError: the chat could not be reached.
            PermanentError: the chat refuses it.
        """
        await self._chat.post(message)

    @activity.defn(name="notify.page")
    async def page(self, page: Page) -> None:
        """Opens `page`; sent twice, it is still one page.

        Raises:
            TransientError: the pager could not be reached.
            PermanentError: the pager refuses it.
        """
        await self._pager.page(page)

    @activity.defn(name="notify.resolve")
    async def resolve(self, order: ResolveInput) -> None:
        """Closes the page.

        Raises:
            TransientError: the pager could not be reached.
            PermanentError: the pager refuses it.
        """
        await self._pager.resolve(order.key)
