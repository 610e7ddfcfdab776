"""Pages people by PagerDuty. A page is opened and resolved; to acknowledge it is for whoever it woke."""

import httpx

from incident.errors import ConfigurationError
from incident.messages import Change, Page
from integrations.http import Question, ask
from integrations.pagerduty.events import Body, change_event, resolve, trigger
from integrations.pagerduty.replies import SUCCESSES, SYSTEM, check, refusal
from integrations.pagerduty.settings import PagerDutySettings

_EVENTS, _CHANGES = "/v2/enqueue", "/v2/change/enqueue"
_RULESET = "R"
"""What a ruleset's key begins with; PagerDuty takes changes only on an integration's."""


class PagerDutyPager:
    """One integration of PagerDuty.

    Args:
        client: from `integrations.http.build_client`: it neither retries nor follows redirects.
        settings: the integration and the region.
        incident_url: where the incidents' pages stand; an incident's id is appended to it. Empty: nothing is linked.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, client: httpx.AsyncClient, settings: PagerDutySettings, incident_url: str = "") -> None:
        if problems := settings.problems():
            raise ConfigurationError(*problems)
        self._client, self._incident_url = client, incident_url
        self._url, self._key = settings.events_url.rstrip("/"), settings.key()

    async def page(self, page: Page) -> None:
        """Opens `page`; the same key again is the same page, and one that was acknowledged stays silent.

        Raises:
            TransientError: it is not known whether PagerDuty has it; sent again it is still one page.
            PermanentError: PagerDuty refuses it.
        """
        await self._send(_EVENTS, trigger(page, self._key, self._incident_url))

    async def resolve(self, key: str) -> None:
        """Closes the page of that key; PagerDuty passes over a key that has no open page. Raises as `page` does."""
        await self._send(_EVENTS, resolve(key, self._key))

    async def record_change(self, change: Change) -> None:
        """Shows `change` beside the service's pages; on a ruleset's key it does nothing. Raises as `page` does."""
        if not self._key.startswith(_RULESET):
            await self._send(_CHANGES, change_event(change, self._key, self._incident_url))

    async def _send(self, path: str, body: Body) -> None:
        question = Question(
            "POST", self._url + path, body, answers=SUCCESSES, refusal=lambda reply: refusal(reply, self._key)
        )
        check(await ask(self._client, SYSTEM, question), self._key)
