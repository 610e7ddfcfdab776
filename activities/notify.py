"""Notify: tells people. Nothing here may hold up or fail a remediation; the workflow records what did not arrive."""

from temporalio import activity

from activities.telemetry import counted
from incident.dossier import Channel
from incident.messages import Change, ChatKind, ChatMessage, Page
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
    async def chat(self, message: ChatMessage) -> str:
        """Posts or changes `message`; where it stands now. An attempt before this one may have posted it.

        Raises:
            TransientError: the chat could not be reached.
            PermanentError: the chat refuses it.
        """
        again = message.again or (activity.in_activity() and activity.info().attempt > 1)
        with counted(Channel.CHAT, message.kind):
            return await self._chat.post(message.model_copy(update={"again": again}))

    @activity.defn(name="notify.page")
    async def page(self, page: Page) -> None:
        """Opens `page`; sent twice, it is still one page.

        Raises:
            TransientError: the pager could not be reached.
            PermanentError: the pager refuses it.
        """
        with counted(Channel.PAGER, ChatKind.PAGE):
            await self._pager.page(page)

    @activity.defn(name="notify.resolve")
    async def resolve(self, order: ResolveInput) -> None:
        """Closes the page.

        Raises:
            TransientError: the pager could not be reached.
            PermanentError: the pager refuses it.
        """
        with counted(Channel.PAGER, ChatKind.RESOLVE):
            await self._pager.resolve(order.key)

    @activity.defn(name="notify.change")
    async def change(self, change: Change) -> None:
        """Shows `change` beside the pages; a retry after a lost answer may show it twice, and wakes nobody.

        Raises:
            TransientError: the pager could not be reached.
            PermanentError: the pager refuses it.
        """
        again = activity.in_activity() and activity.info().attempt > 1
        summary = f"{change.summary} (sent again: it may stand here twice)" if again else change.summary
        with counted(Channel.PAGER, ChatKind.CHANGE):
            await self._pager.record_change(change.model_copy(update={"summary": summary[:1024]}))
