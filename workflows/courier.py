"""Carries messages to people by activities; what arrived and what did not goes into the incident's dossier."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.notify import Notify, ResolveInput
    from incident.dossier import Channel, Dossier, Notification
    from incident.messages import Change, ChatKind, ChatMessage, Page
    from workflows import names, options


class Courier:
    """Carries the messages of one incident."""

    def __init__(self, dossier: Dossier) -> None:
        self._dossier = dossier

    async def chat(self, message: ChatMessage) -> str | None:
        """Where `message` stands now, empty where the chat gives no place; `None`: it did not arrive."""
        work = workflow.start_activity_method(
            Notify.chat, message, summary=f"chat: {message.kind}", **self._within(options.TELL)
        )
        place, problem = await _delivered(work)
        if problem or not message.stands:
            self._keep(Channel.CHAT, message.kind, message.title, message.text, problem)
        return None if problem else place

    async def chat_at_once(self, message: ChatMessage) -> str | None:
        """The same without a round trip through the server, for a chat that answers at once; a failure is not kept."""
        try:
            place = await workflow.execute_local_activity_method(
                Notify.chat, message, summary=f"chat: {message.kind}", **options.TELL_AT_ONCE
            )
        except FailureError:  # a local activity's failure comes without ActivityError around it
            return None
        self._keep(Channel.CHAT, message.kind, message.title, message.text)
        return place

    async def page(self, page: Page, *, first: bool) -> str:
        """Why `page` did not arrive; empty: it did. Of one that is sent on and on, the first failure is kept."""
        work = workflow.start_activity_method(
            Notify.page,
            page,
            task_queue=names.act_queue(workflow.info().task_queue),
            summary="wake the person on call",
            **self._within(options.WAKE),
        )
        _, problem = await _delivered(work)
        if first or not problem:
            self._keep(Channel.PAGER, ChatKind.PAGE, page.summary, page.text, problem)
        return problem

    async def resolve(self, key: str) -> None:
        """Closes the page of that key."""
        order = ResolveInput(incident_id=self._dossier.incident_id, key=key)
        summary = "close the page"
        work = workflow.start_activity_method(Notify.resolve, order, summary=summary, **self._within(options.TELL))
        _, problem = await _delivered(work)
        self._keep(Channel.PAGER, ChatKind.RESOLVE, summary, "", problem)

    async def change(self, change: Change) -> None:
        """Shows `change` beside the pages."""
        work = workflow.start_activity_method(
            Notify.change, change, summary="show the change", **self._within(options.TELL)
        )
        _, problem = await _delivered(work)
        self._keep(Channel.PAGER, ChatKind.CHANGE, change.summary, "", problem)

    def _within(self, kind: options.Options) -> options.Options:
        return options.noticed_within(kind, self._dossier.policy.worker_lost_after)

    def _keep(self, channel: Channel, kind: ChatKind, title: str, text: str, problem: str = "") -> None:
        self._dossier.notifications.append(
            Notification(
                channel=channel,
                kind=kind,
                title=title,
                text=text,
                delivered=not problem,
                problem=problem,
                at=workflow.now(),
            )
        )


async def _delivered(work: workflow.ActivityHandle[Any]) -> tuple[str, str]:
    """What the activity gave, and why it failed; one of them is empty."""
    try:
        return await work or "", ""
    except ActivityError as error:
        return "", str(error.cause or error)
