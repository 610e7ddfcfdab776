"""The channel, written to by an incoming webhook: no threads, no changes, no buttons.

By "Sending messages using incoming webhooks" (docs.slack.dev): taken is HTTP 200 with the body `ok`; a refusal is a
status and its code as text. The address is a secret and stands in no text.
"""

import asyncio

import httpx

from incident.errors import ConfigurationError, IntegrationError, PermanentError, TransientError
from incident.messages import ChatKind, ChatMessage, said_again
from integrations.slack.blocks import render
from integrations.slack.chat import QUIET
from integrations.slack.replies import SERVER_ERROR, SYSTEM, limited, pause, refusal
from integrations.slack.replies import TOO_MANY as _TOO_MANY
from integrations.slack.settings import SlackSettings, secret

SENT = frozenset({ChatKind.ALERT, ChatKind.QUESTION, ChatKind.REVIEW, ChatKind.REPORT, ChatKind.PAGE})
"""What stands by itself; the rest would only make sense under an alert, which a webhook cannot name."""
_OK, _TIMEOUT = 200, 408
_REDIRECTS = range(300, 400)
_MAX_ANSWER = 1024


class SlackWebhook:
    """One incoming webhook.

    Args:
        client: from `integrations.http.build_client`: it neither retries nor follows redirects.
        settings: with a webhook's address.
        incident_url: where the incidents' pages stand; an incident's id is appended to it. Empty: nothing is linked.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, client: httpx.AsyncClient, settings: SlackSettings, incident_url: str = "") -> None:
        problems = settings.problems()
        if problems or not settings.by_webhook:
            raise ConfigurationError(*(problems or ("SLACK__WEBHOOK_URL: expected an incoming webhook",)))
        self._client, self._settings, self._incident_url = client, settings, incident_url

    async def post(self, message: ChatMessage) -> str:
        """Posts `message` if it stands by itself; always empty, since a webhook names no place.

        Raises:
            TransientError: it is not known whether it stands; sent again it may stand twice.
            PermanentError: Slack refuses it.
        """
        if message.kind in SENT and not message.stands:
            rendered = render(said_again(message), self._incident_url, buttons=False, mention=self._settings.mention)
            await self._send({**QUIET, "text": rendered.text, "blocks": list(rendered.blocks)})
        return ""

    async def _send(self, body: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                status, headers, said = await self._answer(body)
        except (TimeoutError, httpx.TimeoutException):
            raise TransientError(SYSTEM, "the webhook did not answer in time") from None
        except httpx.HTTPError as error:  # its text, and its request, may hold the address
            words = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke the connection off"
            raise TransientError(SYSTEM, f"the webhook {words} ({type(error).__name__})") from None
        except (httpx.InvalidURL, ValueError) as error:
            raise PermanentError(SYSTEM, f"the webhook cannot be asked ({type(error).__name__})") from None
        if status != _OK or said.strip() != "ok":
            raise _refusal(status, headers, said)

    async def _answer(self, body: dict[str, object]) -> tuple[int, httpx.Headers, str]:
        url = secret(self._settings.webhook_url)
        async with self._client.stream("POST", url, json=body) as response:
            said = b""
            async for chunk in response.aiter_raw():
                said += chunk[:_MAX_ANSWER]
                if len(said) >= _MAX_ANSWER:
                    break
            return response.status_code, response.headers, said.decode("utf-8", "replace")


def _refusal(status: int, headers: httpx.Headers, said: str) -> IntegrationError:
    if status == _TOO_MANY:
        return limited(headers)
    if status in _REDIRECTS:
        return PermanentError(SYSTEM, f"the webhook answered HTTP {status}, a redirect: set SLACK__WEBHOOK_URL anew")
    page = "html" in headers.get("Content-Type", "").casefold() or said.lstrip()[:1] == "<"
    if page or status >= SERVER_ERROR or status in {_OK, _TIMEOUT}:
        words = "with a page of HTML" if page else "and not that the message was taken"
        return TransientError(SYSTEM, f"the webhook answered HTTP {status} {words}", pause(headers))
    return refusal(said.strip(), headers)
