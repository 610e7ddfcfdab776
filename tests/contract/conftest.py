"""The services that the contract tests run every adapter against.

The fake, the mock service in both profiles, and a repository on the stand-in for GitHub that Prism judges.
"""

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
import pytest_asyncio

from incident.evidence import AlertsReport, LogsReport, MetricsReport
from incident.ledger import RollbackOrder
from incident.ports import Service
from incident.services import GitHubEndpoint
from integrations.github import GitHub, GitHubDeployments, GitHubRollback, GitHubSettings
from integrations.http import HttpSettings, build_client
from integrations.mock_service import MockPaymentApi
from tests import builders
from tests.fakes import FakeService
from tests.standins.github.chain import GitHubChain
from tests.standins.github.history import BAD_SHA, GOOD_SHA
from tests.standins.github.judge import why_not

_ROOT = Path(__file__).resolve().parents[2]
_READY_WITHIN = 20.0
PATIENT = HttpSettings(read_timeout=timedelta(seconds=30))
"""On a busy machine Prism takes seconds for the first call of each kind."""
NEEDS_GITHUB = [pytest.mark.needs_node, pytest.mark.skipif(bool(why_not()), reason=why_not())]
"""Of a test that asks the stand-in for GitHub behind Prism."""


class Ward(Protocol):
    """One implementation of the service's ports, and the hand that changes what it tells of."""

    name: str
    service: Service
    knows_health: bool
    """Whether its history tells a deployment that never was well from one that was."""

    async def deploy_bad(self) -> None:
        """Makes deployment 101 live; GitHub's second one has a number of its own."""
        ...

    async def applied(self, correlation_id: str) -> int:
        """How many rollbacks of that correlation id took effect."""
        ...


class FakeWard:
    name = "fake"
    knows_health = True

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
    knows_health = True

    name = "mock"

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
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


class GitHubWard:
    """Deployments and rollbacks on GitHub; readings of a fake service that follows what is live there."""

    name = "github"
    knows_health = False  # GitHub knows whether a deployment succeeded, not how it fared

    def __init__(self, client: httpx.AsyncClient, chain: GitHubChain) -> None:
        self._chain = chain
        settings = GitHubSettings.model_validate(
            {"api_url": chain.url, "token": chain.token, "run_appears_within": "10s", "search_every": "100ms"}
        )
        github = GitHub(client, settings)
        endpoint = GitHubEndpoint(kind="github", repository="acme/payment-api")
        self.deployments = GitHubDeployments(github, endpoint, builders.ENVIRONMENT, builders.SERVICE)
        self.rollback = GitHubRollback(github, endpoint)
        self._fake = FakeService()
        self.metrics = self.logs = self.alerts = self
        self.service: Service = self
        self._deployed = False

    async def deploy_bad(self) -> None:
        await self._chain.control.deploy(None if self._deployed else 101)
        self._deployed = True

    async def applied(self, correlation_id: str) -> int:
        journal = await self._chain.control.journal()
        return sum(effect.correlation_id == correlation_id for effect in journal.effective)

    async def read_metrics(self) -> MetricsReport:
        return await (await self._following()).read_metrics()

    async def read_logs(self) -> LogsReport:
        return await (await self._following()).read_logs()

    async def read_alerts(self) -> AlertsReport:
        return await (await self._following()).read_alerts()

    async def _following(self) -> FakeService:
        live = (await self.deployments.read()).live
        assert live is not None
        self._fake.deploy(live.deployment_id)
        return self._fake


@contextmanager
def running_mock(profile: str) -> Iterator[str]:
    """The address of a mock service under that profile, without ramps."""
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
    with running_mock("live") as url:
        yield url


@pytest.fixture(scope="session")
def steady_url() -> Iterator[str]:
    """A mock service under the steady profile."""
    with running_mock("steady") as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def github_chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitHubChain]:
    """A stand-in for GitHub behind Prism, which judges both sides of every call."""
    async with GitHubChain(tmp_path_factory.mktemp("github-ward")) as chain:
        yield chain


@pytest.fixture(
    params=[
        "fake",
        pytest.param("live_url", marks=pytest.mark.slow, id="live"),
        pytest.param("steady_url", marks=pytest.mark.slow, id="steady"),
        pytest.param("github_chain", marks=NEEDS_GITHUB, id="github"),
    ]
)
def behind(request: pytest.FixtureRequest) -> str | GitHubChain | None:
    """What stands behind the ward: a mock service's address, a stand-in for GitHub, or nothing."""
    if request.param == "fake":
        return None
    found: str | GitHubChain = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def ward(behind: str | GitHubChain | None) -> AsyncIterator[Ward]:
    """A service in good health, deployment 100 live."""
    if behind is None:
        yield FakeWard()
        return
    async with build_client(PATIENT) as client:
        if isinstance(behind, GitHubChain):
            await behind.control.reset()
            await behind.control.behave(run_s=0.02)
            yield GitHubWard(client, behind)
            return
        mock = MockWard(client, behind)
        await mock.control("/demo/reset")
        await mock.calm()
        yield mock


@pytest.fixture
def order() -> RollbackOrder:
    """The order to roll back from 101 to 100, under a correlation id of its own."""
    return builders.order(
        correlation_id=f"ic-{uuid4().hex[:20]}",
        execution_id="exec-1",
        target_revision=GOOD_SHA,
        expected_revision=BAD_SHA,
    )
