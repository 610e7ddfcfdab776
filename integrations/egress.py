"""Where requests may go: to the hosts that settings and the registry name, and nowhere else.

Addresses are made of settings alone. This is the last look before a request leaves, so that no text which somebody
else wrote (an alert, a log line, a reply) could ever lead one elsewhere, whatever an adapter makes of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import httpx
from pydantic import BaseModel

from incident.errors import PermanentError
from integrations.http import HttpSettings, build_client

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ADDRESSES = ("url", "urls")
_MAX_HOST = 100
"""Characters of a refused host that are shown."""


class ForbiddenHostError(PermanentError):
    """A request was kept from leaving: no setting names its host."""

    def __init__(self, where: str, settings: Iterable[str]) -> None:
        super().__init__(
            "egress", f"nothing is sent to {where}, which no setting names; {' or '.join(settings)} would allow it"
        )


class _Url(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def raw_host(self) -> bytes: ...
    @property
    def port(self) -> int | None: ...


class _Request(Protocol):
    @property
    def url(self) -> _Url: ...


class Egress:
    """The hosts that one client may ask, each by scheme, host and port.

    Args:
        named: the addresses that are asked, by the setting that names them; what is no address allows nothing.
    """

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        self._settings = tuple(named)
        self._allowed = {_origin(url) for addresses in named.values() for url in _parsed(addresses)}

    def check(self, url: _Url) -> None:
        """Returns where requests may go there.

        Raises:
            ForbiddenHostError: they may not; names the host, and the settings that would allow it.
        """
        scheme, host, port = origin = _origin(url)
        if origin not in self._allowed:
            raise ForbiddenHostError(f"{scheme}://{host[:_MAX_HOST]}:{port}", self._settings)

    async def guard(self, request: _Request) -> None:
        """`check` for a request, as an event hook of httpx and of httpx2."""
        self.check(request.url)


def build_guarded_client(
    settings: HttpSettings, egress: Egress, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """What `build_client` gives, held to `egress`; the caller closes it."""
    client = build_client(settings, transport)
    client.event_hooks = {"request": [egress.guard]}
    return client


def addresses(registry: BaseModel) -> tuple[str, ...]:
    """Every address that the registry of services names: what stands under `url` or `urls`, or a name that ends so."""
    return tuple(_addresses(registry.model_dump()))


def within(url: str, address: str) -> bool:
    """Whether the host of `url` is that of `address`, or one beneath it."""
    for asked in _parsed([url]):
        for own in _parsed([address]):
            return asked.host == own.host or asked.host.endswith(f".{own.host}")
    return False


def _addresses(value: object, name: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, each in value.items():
                yield from _addresses(each, str(key))
        case list() | tuple():
            for each in value:
                yield from _addresses(each, name)
        case str() if name.endswith(_ADDRESSES):
            yield value


def _parsed(addresses: Iterable[str]) -> Iterator[httpx.URL]:
    for each in addresses:
        try:
            url = httpx.URL(each)
        except httpx.InvalidURL:
            continue
        if url.scheme in _PORTS and url.host:
            yield url


def _origin(url: _Url) -> tuple[str, str, int]:
    return url.scheme, url.raw_host.decode("ascii", "replace").lower(), url.port or _PORTS.get(url.scheme, 0)
