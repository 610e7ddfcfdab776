"""The services that the contract tests run every adapter against: the fake, and the mock service in both profiles."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import httpx
import pytest

from incident.ledger import RollbackOrder
from incident.ports import Service
from integrations.http import HttpSettings, build_client
from integrations.mock_service import MockPaymentApi
from tests import builders
from tests.fakes import FakeService

_ROOT = Path(__file__).resolve().parents[2]
_READY_WITHIN = 20.0


class Ward(Protocol):
    """One implementation of the service's ports, and the hand that changes what it tells of."""

    name: str
    service: Service

    async def deploy_bad(self) -> None:
        """Makes deployment 101 live."""
        ...

    async def applied(self, correlation_id: str) -> int:
        """How many rollbacks of that correlation id took effect."""
        ...


class FakeWard:
    name = "fake"

    def __init__(self) -> None:
        self._fake = FakeService()
        self.service: Service = self._fake

    async def deploy_bad(self) -> None:
        self._fake.deploy(101)

    async def applied(self, correlation_id: str) -> int:
        return sum(order.correlation_id == correlation_id for order in self._fake.rollback.begun)


class _Everything:
    """One `MockPaymentApi` for all five ports."""

    def __init__(self, api: MockPaymentApi) -> None:
        self.metrics = self.logs = self.alerts = self.deployments = self.rollback = api


class MockWard:
    def __init__(self, name: str, client: httpx.AsyncClient, url: str) -> None:
        self.name = name
        self._client, self._url = client, url
        self.service: Service = _Everything(MockPaymentApi(client, url))

    async def deploy_bad(self) -> None:
        await self.control("/demo/trigger-incident")

    async def applied(self, correlation_id: str) -> int:
        answer = await self._client.get(f"{self._url}/demo/journal", params={"correlation_id": correlation_id})
        return sum(entry["applied"] for entry in answer.json()["entries"])

    async def calm(self) -> None:
        """Returns once no alert fires any more: the live profile looks at its rules twice a second."""
        async with asyncio.timeout(_READY_WITHIN):
            while (await self._client.get(f"{self._url}/alerts")).json()["alerts"]:
                continue

    async def control(self, path: str) -> None:
        (await self._client.post(self._url + path)).raise_for_status()


@contextmanager
def _running(profile: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quick = {"MOCK_RAMP_SECONDS": "0", "MOCK_ALERT_AFTER_SECONDS": "0"}
    environment = {**os.environ, **quick, "MOCK_PROFILE": profile, "PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", "mock_service"], cwd=_ROOT, env=environment) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _await_health(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_health(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        try:
            raise RuntimeError(f"the mock service ended with {process.wait(0.05)} before it was ready")
        except subprocess.TimeoutExpired:
            continue
    raise TimeoutError(f"the mock service was not ready within {_READY_WITHIN} s")


@pytest.fixture(scope="session")
def live_url() -> Iterator[str]:
    """A mock service under the live profile, without ramps."""
    with _running("live") as url:
        yield url


@pytest.fixture(scope="session")
def steady_url() -> Iterator[str]:
    """A mock service under the steady profile."""
    with _running("steady") as url:
        yield url


@pytest.fixture(
    params=[
        "fake",
        pytest.param("live", marks=pytest.mark.slow),
        pytest.param("steady", marks=pytest.mark.slow),
    ]
)
async def ward(request: pytest.FixtureRequest) -> AsyncIterator[Ward]:
    """A service in good health, deployment 100 live: the fake, or a mock service under either profile."""
    if request.param == "fake":
        yield FakeWard()
        return
    url: str = request.getfixturevalue(f"{request.param}_url")
    async with build_client(HttpSettings(read_timeout=timedelta(seconds=5))) as client:
        mock = MockWard(request.param, client, url)
        await mock.control("/demo/reset")
        await mock.calm()
        yield mock


@pytest.fixture
def order() -> RollbackOrder:
    """The order to roll back from 101 to 100, under a correlation id of its own."""
    return builders.order(correlation_id=f"ic-{uuid4().hex[:20]}")
