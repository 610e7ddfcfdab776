"""Telling people, in the background: nothing here holds up a remediation, and what did not arrive is recorded."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.notify import Notify, ResolveInput
    from incident import messages as wording
    from incident.dossier import Channel, Dossier, Notification
    from incident.identifiers import page_key
    from incident.messages import ChatKind, ChatMessage
    from workflows import options
    from workflows.chronicle import Chronicle


class People:
    """Tells people of one incident; what arrived and what did not goes into its dossier."""

    def __init__(self, dossier: Dossier, chronicle: Chronicle) -> None:
        self._dossier = dossier
        self._chronicle = chronicle
        self._under_way: list[asyncio.Task[None]] = []
        self.paging = False
        """Whether a page was sent or is being sent."""

    def tell(self, message: ChatMessage) -> None:
        """Posts `message` to the chat."""
        self._under_way.append(asyncio.create_task(self._post(message)))

    async def tell_last(self, message: ChatMessage) -> None:
        """Posts a message that nothing waits behind: at once if the chat answers at once, else like any other."""
        try:
            await workflow.execute_local_activity_method(
                Notify.chat, message, summary=f"chat: {message.kind}", **options.TELL_AT_ONCE
            )
        except FailureError:  # a local activity's failure comes without ActivityError around it
            self.tell(message)
        else:
            self._keep(Channel.CHAT, message.kind, message.title, message.text)

    def page(self, why: str) -> None:
        """Wakes the person on call; once for each incident, and every reason is noted."""
        self._chronicle.note(f"paging: {why}")
        seen, assessment = self._dossier.evidence, self._dossier.assessment
        if self.paging or seen is None or assessment is None:
            return
        self.paging = True
        severity = self._dossier.verdict.severity if self._dossier.verdict else assessment.severity
        page = wording.page(self._dossier.incident_id, seen, severity, assessment.summary, why)
        self._under_way.append(asyncio.create_task(self._wake(page)))

    async def all_told(self) -> None:
        """Waits until every message arrived or was given up."""
        while self._under_way:
            await self._under_way.pop(0)

    async def resolve(self) -> None:
        """Closes the page, if one arrived."""
        await self.all_told()
        if self._dossier.paged:
            order = ResolveInput(incident_id=self._dossier.incident_id, key=page_key(self._dossier.incident_id))
            summary = "close the page"
            await self._deliver(
                Channel.PAGER,
                ChatKind.RESOLVE,
                summary,
                workflow.start_activity_method(Notify.resolve, order, summary=summary, **self._within(options.TELL)),
            )

    def _within(self, kind: options.Options) -> options.Options:
        return options.noticed_within(kind, self._dossier.policy.worker_lost_after)

    async def _post(self, message: ChatMessage) -> None:
        work = workflow.start_activity_method(
            Notify.chat, message, summary=f"chat: {message.kind}", **self._within(options.TELL)
        )
        await self._deliver(Channel.CHAT, message.kind, message.title, work, message.text)

    async def _wake(self, page: wording.Page) -> None:
        work = workflow.start_activity_method(
            Notify.page, page, summary="wake the person on call", **self._within(options.WAKE)
        )
        await self._deliver(Channel.PAGER, ChatKind.PAGE, page.summary, work, page.text)

    async def _deliver(
        self, channel: Channel, kind: ChatKind, title: str, work: workflow.ActivityHandle[Any], text: str = ""
    ) -> None:
        problem = ""
        try:
            await work
        except ActivityError as error:
            problem = str(error.cause or error)
        self._keep(channel, kind, title, text, problem)

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
