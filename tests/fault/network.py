"""The network of a worker under test: it knows when a server has done what it was asked, before an answer is read."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from integrations.http import network
from tests.fault.boundary import Moment, template


@dataclass
class Call:
    """A call under way."""

    what: str
    accepted: bool = False


Passing = Callable[[Moment, str], bool]
"""Told of each point that a call passes; whether its connection is to be cut there."""
_LOOKS_EVERY_SECONDS = 0.002
_call: ContextVar[Call | None] = ContextVar("call", default=None)


class FaultTransport(httpx.AsyncBaseTransport):
    """Tells of each call before it leaves and once it is answered; `inner` is a `Fence` around a `tapped` network."""

    def __init__(self, inner: httpx.AsyncBaseTransport, passing: Passing) -> None:
        self._inner = inner
        self._passing = passing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(template(request.method, request.url.path, request.url.params.keys()))
        token = _call.set(call)
        try:
            if self._passing(Moment.BEFORE, call.what):
                raise httpx.ConnectError("the connection was cut", request=request)
            response = await self._inner.handle_async_request(request)
            content = await response.aread()
        finally:
            _call.reset(token)
        if self._passing(Moment.ANSWERED, call.what):
            raise httpx.ReadError("the connection was cut", request=request)
        return httpx.Response(response.status_code, headers=response.headers, content=content)

    async def aclose(self) -> None:
        await self._inner.aclose()


def tapped(passing: Passing) -> httpx.AsyncHTTPTransport:
    """httpx's own network, which tells of each call once the server has answered it and nothing is read yet."""
    transport = network()
    transport._pool._network_backend = _Backend(passing)
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, passing: Passing) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._passing = passing

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._passing)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, passing: Passing) -> None:
        self._inner = inner
        self._passing = passing

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        call = _call.get()
        if call and not call.accepted:
            call.accepted = True
            await self._answer_waits(timeout)
            if self._passing(Moment.ACCEPTED, call.what):
                raise httpcore.ReadError("the connection was cut")
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._inner.get_extra_info(info)

    async def _answer_waits(self, within: float | None) -> None:
        """Returns once the kernel holds a part of the answer, or the end of the connection."""
        try:
            async with asyncio.timeout(within):
                while not self._inner.get_extra_info("is_readable"):  # noqa: ASYNC110 - to wait for it is to read it
                    await asyncio.sleep(_LOOKS_EVERY_SECONDS)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
