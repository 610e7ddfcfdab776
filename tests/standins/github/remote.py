"""How the controls speak to their processes: a connection a call, so that they outlive the loop they were made in."""

import ssl
from typing import Any

import httpx

# Never used: all is on the loopback, in plain HTTP. A default one would read the system's certificates for each call.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TIMEOUT_SECONDS = 10.0


class Remote:
    """One process's own API."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:  # noqa: ANN401 - JSON
        """The reply. Raises httpx.HTTPStatusError for a refusal."""
        async with httpx.AsyncClient(trust_env=False, verify=_NO_TLS, timeout=_TIMEOUT_SECONDS) as client:
            reply = await client.request(method, self._url + path, json=body)
        return reply.raise_for_status()

    async def answers(self, path: str) -> bool:
        """Whether it answers well by now."""
        try:
            return (await self.call("GET", path)).is_success
        except httpx.HTTPError:
            return False
