"""Slack's Web API, one call at a time: a JSON object, or one of our errors."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from incident.errors import PermanentError, TransientError
from integrations.egress import Egress
from integrations.slack.replies import SERVER_ERROR, SYSTEM, TOO_MANY, refusal, unavailable

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.INFO)  # below it the SDK writes whole messages and answers
_OK = 200
_BODIES = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the SDK raises over a body that is no JSON object."""


class _RedirectedError(aiohttp.ClientError):
    """Slack's API redirects nobody; who follows would carry the token elsewhere."""


@dataclass(frozen=True)
class Answer:
    """What Slack says where it does what it was asked."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class SlackApi:
    """The Web API on behalf of one token. It never retries, follows no redirect and takes no proxy from outside.

    Args:
        url: of the API.
        token: a bot's or an app's.
        timeout: of a whole call.
    """

    def __init__(self, url: str, token: str, timeout: timedelta) -> None:
        self._url, self._token, self._timeout = url, token, timeout
        self._only = Egress({"SLACK__API_URL": [url]})
        self._session: aiohttp.ClientSession | None = None

    async def read(self, method: str, **arguments: str) -> Answer:
        """The answer to a question that changes nothing. Raises as `write` does."""
        # By POST, although it could be GET: aiohttp asks a GET again by itself where the connection breaks.
        return await self._call(method, {"data": arguments})

    async def write(self, method: str, arguments: Mapping[str, Any]) -> Answer:
        """The answer to `method`.

        Raises:
            TransientError: unreachable, silent, limited, broken or not speaking Slack's API; whether it was done is
                not known.
            PermanentError: Slack refuses it.
        """
        return await self._call(method, {"json": dict(arguments)})

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, arguments: Mapping[str, Any]) -> Answer:
        client = AsyncWebClient(
            token=self._token, base_url=self._url, session=self._connections(), logger=_LOGGER, retry_handlers=[]
        )
        client.proxy = None  # the SDK takes it from the environment
        try:
            response = await client.api_call(method, **arguments)
        except SlackClientError as error:
            raise _refusal(error) from None  # its text holds what the server said
        except _RedirectedError:
            words = "answers with a redirect, which is not followed: set SLACK__API_URL anew"
            raise PermanentError(SYSTEM, words) from None
        except TimeoutError as error:
            raise TransientError(SYSTEM, "did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            broke = "cannot be reached" if isinstance(error, aiohttp.ClientConnectorError) else "broke off"
            raise TransientError(SYSTEM, f"{broke} ({type(error).__name__})") from None  # its text may hold an address
        except _BODIES as error:
            raise TransientError(SYSTEM, f"did not answer as Slack does ({type(error).__name__})") from None
        if not isinstance(response.data, dict):
            raise TransientError(SYSTEM, "did not answer as Slack does")
        return Answer(response.data, response.headers)

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=self._timeout.total_seconds())
            trace = unredirected()
            trace.on_request_start.append(self._check)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False, trace_configs=[trace])
        return self._session

    async def _check(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, asked: aiohttp.TraceRequestStartParams
    ) -> None:
        self._only.check(httpx.URL(str(asked.url)))


def unredirected() -> aiohttp.TraceConfig:
    """What keeps a session from following redirects, those of a WebSocket's handshake included."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse)
    return trace


async def _refuse(_: aiohttp.ClientSession, __: SimpleNamespace, ___: aiohttp.TraceRequestRedirectParams) -> None:
    raise _RedirectedError


def _refusal(error: SlackClientError) -> TransientError | PermanentError:
    response = getattr(error, "response", None)
    if not isinstance(response, AsyncSlackResponse):
        return unavailable(int(getattr(response, "status", _OK)), getattr(response, "headers", {}), "without JSON")
    body, status, headers = response.data, response.status_code, response.headers
    if not isinstance(body, dict) or "error" not in body or status >= SERVER_ERROR or status == TOO_MANY:
        return unavailable(status, headers, "without saying what is wrong")
    return refusal(body["error"], headers, body.get("needed"))
