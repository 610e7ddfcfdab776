"""The settings of the OpenAI analyst, and the client that is built of them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Literal, cast
from urllib.parse import urlsplit

from httpx2 import (
    AsyncBaseTransport,
    AsyncByteStream,
    AsyncClient,
    DecodingError,
    Response,
    Timeout,
    TransportError,
)
from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from incident.errors import ConfigurationError
from incident.model import Duration
from integrations.egress import Egress

_OPENAI_HOST = "api.openai.com"
_ACTIVITY_ENDS_AFTER = timedelta(seconds=60)
"""The time-out of the activity that asks: the analyst gives up before, or Temporal would pay for a reply unseen."""
_CONNECT_WITHIN = timedelta(seconds=5)
MAX_REPLY = 4 * 1024 * 1024
"""Bytes: many times what the longest answer that may be asked for takes."""
_NO_KEY = "none"
"""Sent where a server of one's own wants no key: the SDK refuses to send a request without one."""


class OpenAISettings(BaseModel):
    """How the model is reached, and how much it may take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    api_key: SecretStr | None = Field(
        default=None, description="The key; may be left out where base_url is a server of your own that wants none."
    )
    base_url: str = Field(
        default=f"https://{_OPENAI_HOST}/v1",
        description="OpenAI, or any server that speaks its API (vLLM, Ollama and others).",
    )
    model: str = Field(default="gpt-5.4-mini", min_length=1, description="The model; it must know structured outputs.")
    api: Literal["auto", "responses", "chat"] = Field(
        default="auto", description="The API that is spoken; auto: Responses with OpenAI, Chat Completions elsewhere."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=45),
        gt=timedelta(0),
        lt=_ACTIVITY_ENDS_AFTER,
        description="For the whole decision, repairs included; under 60s, when Temporal gives up on it.",
    )
    max_output_tokens: int = Field(
        default=4_000,
        ge=256,
        le=32_000,
        description="The length of each reply, a reasoning model's reasoning included.",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sent only if set: reasoning models refuse the parameter."
    )
    input_price: float = Field(
        default=0.75,  # https://openai.com/api/pricing, gpt-5.4-mini
        ge=0,
        description="Money for a million tokens sent, in any currency; 0 for a server of your own.",
    )
    output_price: float = Field(
        default=4.50,  # the same
        ge=0,
        description="Money for a million tokens answered, in the same currency.",
    )

    @property
    def at_openai(self) -> bool:
        """Whether it is OpenAI itself that is asked, at its global or a regional address."""
        host = urlsplit(self.base_url).hostname or ""
        return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")

    @property
    def spoken_api(self) -> Literal["responses", "chat"]:
        """The API that is spoken, `auto` resolved."""
        if self.api == "auto":
            return "responses" if self.at_openai else "chat"
        return self.api


def build_client(settings: OpenAISettings, transport: AsyncBaseTransport | None = None) -> AsyncOpenAI:
    """A client that asks nobody but that server, and takes no proxy, key or account from the environment.

    It never retries, follows no redirect, and reads no reply that is larger than `MAX_REPLY` or packed.

    Args:
        settings: where it connects; the caller closes it.
        transport: what carries the requests; left out, the network.

    Raises:
        ConfigurationError: OpenAI without a key, or an address that cannot be used.
    """
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if problems := _problems(settings, key):
        raise ConfigurationError(*problems)
    timeout = Timeout(settings.timeout.total_seconds(), connect=_CONNECT_WITHIN.total_seconds())
    only = Egress({"OPENAI__BASE_URL": [settings.base_url]})
    client = AsyncOpenAI(
        api_key=key or _NO_KEY,
        base_url=settings.base_url,
        timeout=timeout,
        max_retries=0,  # only Temporal retries; the API knows no idempotency key, so each retry is billed
        http_client=AsyncClient(
            transport=transport,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
            event_hooks={"request": [only.guard], "response": [_cap]},
            trust_env=False,
            follow_redirects=False,
        ),
    )
    client.organization = client.project = None  # the SDK takes both from the environment
    return client


class ReplyTooLargeError(TransportError):
    """The reply was not read to its end."""


class _Capped(AsyncByteStream):
    def __init__(self, inner: AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > MAX_REPLY:
                raise ReplyTooLargeError(f"is larger than {MAX_REPLY} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _cap(response: Response) -> None:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DecodingError("is compressed, which was not asked for")
    response.stream = _Capped(cast("AsyncByteStream", response.stream))


def _problems(settings: OpenAISettings, key: str) -> tuple[str, ...]:
    # The address is checked here and not by a field, whose error would show it, password included.
    address = urlsplit(settings.base_url)
    return tuple(
        problem
        for wrong, problem in (
            (not key and settings.at_openai, "openai.api_key: expected a key, since OpenAI is asked"),
            (
                address.scheme not in {"http", "https"} or not address.hostname,
                "openai.base_url: expected an address that begins with https:// or http://",
            ),
            ("@" in address.netloc, "openai.base_url: expected an address without a user or a password"),
            (bool(address.query or address.fragment), "openai.base_url: expected an address without a query"),
        )
        if wrong
    )
