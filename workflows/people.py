"""Whoever must know of one incident: told in the chat, woken by the pager, and by the one where the other is away."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from incident import wording
    from incident.dossier import Dossier
    from incident.ledger import RollbackOrder, RollbackRun
    from incident.messages import ChatKind, ChatMessage, Page
    from workflows.chronicle import Chronicle
    from workflows.conversation import Conversation
    from workflows.courier import Courier

_MUST_BE_HEARD = frozenset({ChatKind.ALERT, ChatKind.QUESTION, ChatKind.REVIEW})
_ESCALATIONS = 5
"""Pages beyond the first that one incident may send: who has not come by then does not come for a sixth."""
_TRY_THE_PAGER_FOR = timedelta(minutes=10)
"""Where the chat has the page already."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=10)


class People:
    """Tells and wakes people on behalf of one incident; nothing here holds up a remediation."""

    def __init__(self, dossier: Dossier, chronicle: Chronicle) -> None:
        self._dossier = dossier
        self._chronicle = chronicle
        self._courier = Courier(dossier)
        self.chat = Conversation(dossier, self._courier, self._unheard)
        self._tasks: list[asyncio.Task[None]] = []
        self._call_under_way = False
        self._pages: list[Page] = []
        self._paged_at = dossier.opened_at
        self.over = False
        """Whether nobody needs to be woken any more."""

    @property
    def paging(self) -> bool:
        """Whether a page was sent or is being sent."""
        return bool(self._pages)

    def page(self, why: str) -> None:
        """Wakes the person on call; once for each incident, and every reason is noted."""
        self._chronicle.note(f"paging: {why}")
        if not self._pages:
            self._call(why)

    def escalate(self, why: str) -> None:
        """Wakes somebody anew, if nobody was lately: a page that was acknowledged stays silent under its key."""
        if not self._pages:
            self.page(why)
            return
        self._chronicle.note(f"escalating: {why}")
        lately = workflow.now() < self._paged_at + self._dossier.policy.wake_again_after
        if len(self._pages) <= _ESCALATIONS and not self._call_under_way and not lately:
            self._call(why)

    def changed(self, order: RollbackOrder, run: RollbackRun) -> None:
        """Shows the rollback beside the service's pages."""
        self._tasks.append(asyncio.create_task(self._courier.change(wording.change(order, run, workflow.now()))))

    def refuse(self, approver: str, answer: str, why: str) -> None:
        """Says why an answer was not taken, where the question stands."""
        self._chronicle.note(f"the answer of {approver} ({answer}) was not taken: {why}")
        self.chat.refuse(approver, answer, why)

    async def all_told(self) -> None:
        """Waits until everybody was told, or was tried long enough."""
        while self._tasks or not self.chat.silent:
            await self.chat.all_said()
            if self._tasks:
                await self._tasks.pop(0)

    async def resolve(self) -> None:
        """Closes every page, also one of which it is not known whether it arrived; all of them at once."""
        self.over = True
        await self.all_told()
        await asyncio.gather(*(self._courier.resolve(page.key) for page in self._pages))

    def _unheard(self, message: ChatMessage) -> None:
        if message.kind in _MUST_BE_HEARD and not self.over:
            self.page(f"the chat did not take the {message.kind}")

    def _call(self, why: str) -> None:
        seen, assessment = self._dossier.evidence, self._dossier.assessment
        if seen is None or assessment is None:
            return
        severity = self._dossier.verdict.severity if self._dossier.verdict else assessment.severity
        page = wording.page(self._dossier.incident_id, seen, severity, assessment.summary, why, len(self._pages))
        self._pages.append(page)
        self._paged_at = workflow.now()
        self._call_under_way = True
        self._tasks.append(asyncio.create_task(self._reach(page)))

    async def _reach(self, page: Page) -> None:
        if await self._reached(page):
            self._unreached("")
            self.chat.status("a person was paged")
        self._call_under_way = False

    async def _reached(self, page: Page) -> bool:
        """Whether the pager takes `page` in the end; as long as it does not, the page stands in the chat."""
        began, pause, told = workflow.now(), _FIRST_PAUSE, False
        while problem := await self._courier.page(page, first=pause == _FIRST_PAUSE):
            told = told or await self.chat.tell_now(wording.instead(page, problem))
            self._unreached("" if told else problem)
            patience = _TRY_THE_PAGER_FOR if told else self._dossier.policy.keep_calling_for
            if self._is_over() or workflow.now() + pause > began + patience:
                return False
            with suppress(TimeoutError):
                await workflow.wait_condition(self._is_over, timeout=pause, timeout_summary="try to page again")
            pause = min(2 * pause, _LONGEST_PAUSE)
        return True

    def _is_over(self) -> bool:
        return self.over or bool(self._dossier.cancelled_by)

    def _unreached(self, why: str) -> None:
        news = bool(why) is not bool(self._dossier.unreached)
        self._dossier.unreached = why and f"neither the pager nor the chat takes anything: {why}"
        if news:
            self._chronicle.note(f"nobody could be told: {why}" if why else "somebody was told")
