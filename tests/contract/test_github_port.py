"""The GitHub adapters over a stand-in whose every call Prism judges by GitHub's published description."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from math import inf

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from incident.errors import PermanentError, TransientError
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.services import GitHubEndpoint
from integrations.github import GitHub, GitHubDeployments, GitHubRollback, GitHubSettings
from integrations.github.inspection import inspect_deployments, inspect_rollback
from integrations.http import build_client
from tests import builders
from tests.contract.conftest import NEEDS_GITHUB, PATIENT
from tests.standins.github.behaviour import Fault, FaultKind, Moment
from tests.standins.github.chain import GitHubChain
from tests.standins.github.history import BAD_SHA, GOOD_SHA

pytestmark = NEEDS_GITHUB
DISPATCHES = "/dispatches$"


class Desk:
    """The adapters of one repository, and the hand on the stand-in."""

    def __init__(self, chain: GitHubChain, github: GitHub) -> None:
        self.control = chain.control
        self.endpoint = GitHubEndpoint(kind="github", repository="acme/payment-api")
        self.github = github
        self.deployments = GitHubDeployments(github, self.endpoint, builders.ENVIRONMENT, builders.SERVICE)
        self.rollback = GitHubRollback(github, self.endpoint)

    async def ended(self, order: RollbackOrder, run: RollbackRun) -> RollbackRun:
        while not run.state.ended:
            run = await self.rollback.look(order, run)
        return run

    async def reached(self, order: RollbackOrder, run: RollbackRun, state: RunState) -> RollbackRun:
        while run.state is not state:
            run = await self.rollback.look(order, run)
        return run

    async def dispatched(self) -> int:
        return sum(each.accepted for each in (await self.control.journal()).dispatches)


def _github(chain: GitHubChain, client: httpx.AsyncClient, **settings: object) -> GitHub:
    known = {"api_url": chain.url, "run_appears_within": "5s", "search_every": "100ms", **settings}
    return GitHub(client, GitHubSettings.model_validate(known))


@pytest.fixture
async def anyhow(github_chain: GitHubChain) -> AsyncIterator[Desk]:
    """101 is live; what goes over the wire may be judged wrong."""
    await github_chain.control.reset(live=101)
    await github_chain.control.behave(run_s=0.02)
    async with build_client(PATIENT) as client:
        yield Desk(github_chain, _github(github_chain, client, token=github_chain.token))


@pytest.fixture
async def desk(github_chain: GitHubChain, anyhow: Desk) -> AsyncIterator[Desk]:
    """101 is live, and nothing that goes over the wire is against GitHub's description."""
    before = len(github_chain.violations())
    yield anyhow
    assert list(github_chain.violations())[before:] == []


async def test_a_history_is_read_as_github_tells_it(desk: Desk) -> None:
    report = await desk.deployments.read_deployments()

    assert report.live is not None
    assert (report.live.deployment_id, report.live.revision) == (101, BAD_SHA)
    assert "since deployment 100" in report.live.message
    assert "could not be read" not in report.live.message
    good = report.find(100)
    assert good is not None
    assert (good.revision, good.once_healthy, good.rolled_back_from_at) == (GOOD_SHA, True, None)


async def test_after_a_rollback_the_jobs_own_deployment_is_not_taken_for_live(desk: Desk, order: RollbackOrder) -> None:
    run = await desk.ended(order, await desk.rollback.start(order, inf))

    report = await desk.deployments.read_deployments()

    assert run.state is RunState.SUCCEEDED
    assert any(each.automatic_of for each in (await desk.control.journal()).deployments)
    assert report.live is not None
    assert report.live.deployment_id == 100
    assert [each.deployment_id for each in report.deployments] == [101, 100, 99]
    left = report.find(101)
    assert left is not None
    assert left.rolled_back_from_at is not None


@pytest.mark.parametrize("reply", ["details", "empty", "malformed"])
@pytest.mark.parametrize("version", ["2022-11-28", "2026-03-10"])
async def test_a_run_is_adopted_whatever_the_dispatch_is_answered_with(
    anyhow: Desk, github_chain: GitHubChain, order: RollbackOrder, reply: str, version: str
) -> None:
    await anyhow.control.behave(run_s=0.02, reply=reply, list_lag_s=0.3)  # type: ignore[arg-type]  # the case's own words
    async with build_client(PATIENT) as client:
        # Prism lets no malformed reply through.
        url = github_chain.direct_url if reply == "malformed" else github_chain.url
        settings = {"api_url": url, "token": github_chain.token, "api_version": version}
        desk = Desk(github_chain, _github(github_chain, client, **settings))
        started = await desk.rollback.start(order, inf)
        run = await desk.ended(order, started)

    assert started.state is RunState.PENDING
    assert (run.state, run.run_id is not None) == (RunState.SUCCEEDED, True)
    assert await anyhow.dispatched() == 1


async def test_a_dispatch_whose_answer_was_lost_is_found_although_it_is_listed_late(
    anyhow: Desk, order: RollbackOrder
) -> None:
    await anyhow.control.behave(run_s=0.02, list_lag_s=0.5)
    lost = Fault(method="POST", path=DISPATCHES, kind=FaultKind.STATUS, status=502, when=Moment.AFTER)
    await anyhow.control.faults(lost)
    asked_at = datetime.now(UTC)
    with pytest.raises(TransientError):
        await anyhow.rollback.start(order, inf)

    found = await anyhow.rollback.find(order, asked_at)

    assert found is not None
    assert (await anyhow.ended(order, found)).state is RunState.SUCCEEDED
    assert await anyhow.dispatched() == 1


async def test_a_dispatch_that_never_came_is_not_found(desk: Desk, order: RollbackOrder) -> None:
    assert await desk.rollback.find(order, None) is None


@pytest.mark.parametrize(
    ("conclusion", "state"),
    [
        ("failure", RunState.FAILED),
        ("cancelled", RunState.CANCELLED),
        ("timed_out", RunState.TIMED_OUT),
        ("action_required", RunState.ACTION_REQUIRED),
        ("startup_failure", RunState.STARTUP_FAILURE),
        ("neutral", RunState.UNKNOWN),
        ("a new word", RunState.UNKNOWN),
    ],
)
async def test_a_run_ends_as_github_says(anyhow: Desk, order: RollbackOrder, conclusion: str, state: RunState) -> None:
    await anyhow.control.behave(run_s=0.02, conclusion=conclusion)

    run = await anyhow.reached(order, await anyhow.rollback.start(order, inf), state)

    assert run.state is state
    live = (await anyhow.deployments.read_deployments()).live
    assert live is not None
    assert live.deployment_id == 101


async def test_the_step_that_found_another_deployment_live_is_named(desk: Desk, order: RollbackOrder) -> None:
    await desk.control.deploy()

    run = await desk.ended(order, await desk.rollback.start(order, inf))

    assert run.state is RunState.FAILED
    assert "step" in run.detail


async def test_a_waiting_run_names_its_environment_and_can_be_called_off(desk: Desk, order: RollbackOrder) -> None:
    await desk.control.behave(reviewers=True)
    waiting = await desk.reached(order, await desk.rollback.start(order, inf), RunState.WAITING)
    assert "production" in waiting.detail

    run = await desk.ended(order, await desk.rollback.cancel(order, waiting))

    assert run.state is RunState.CANCELLED
    assert not (await desk.control.journal()).effective


async def test_a_run_that_has_begun_is_not_called_off(desk: Desk, order: RollbackOrder) -> None:
    await desk.control.behave(run_s=1)
    running = await desk.reached(order, await desk.rollback.start(order, inf), RunState.RUNNING)

    await desk.rollback.cancel(order, running)

    assert not (await desk.control.journal()).cancels
    assert (await desk.ended(order, running)).state is RunState.SUCCEEDED


@pytest.mark.parametrize("wishes", [{"denied": [f"POST {DISPATCHES}"]}, {"workflow_missing": True}])
async def test_an_order_that_the_token_may_not_give_is_refused_in_words(
    desk: Desk, order: RollbackOrder, wishes: dict[str, object]
) -> None:
    await desk.control.behave(**wishes)  # type: ignore[arg-type]  # the case's own words

    run = await desk.rollback.start(order, inf)

    assert run.state is RunState.REFUSED
    assert "actions=write" in run.detail


async def test_a_wrong_token_is_said_to_be_wrong(github_chain: GitHubChain, anyhow: Desk, order: RollbackOrder) -> None:
    del anyhow
    async with build_client(PATIENT) as client:
        desk = Desk(github_chain, _github(github_chain, client, token="wrong"))  # noqa: S106 - it opens nothing
        assert "GITHUB__TOKEN" in (await desk.rollback.start(order, inf)).detail
        with pytest.raises(PermanentError, match="GITHUB__TOKEN"):
            await desk.deployments.read_deployments()


async def test_an_app_is_as_good_as_a_token(github_chain: GitHubChain, desk: Desk, order: RollbackOrder) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    await desk.control.behave(run_s=0.02, app_public_key=public.decode())
    async with build_client(PATIENT) as client:
        app = {"app_id": "Iv23", "installation_id": 7, "private_key": private.decode()}
        by_app = Desk(github_chain, _github(github_chain, client, **app))
        run = await by_app.ended(order, await by_app.rollback.start(order, inf))

    assert run.state is RunState.SUCCEEDED


async def test_the_inspection_finds_everything_in_order(desk: Desk) -> None:
    found = [
        *await inspect_rollback(desk.github, desk.endpoint),
        *await inspect_deployments(desk.deployments),
    ]

    assert [(each.subject, each.works) for each in found] == [
        ("repository", True),
        ("workflow", True),
        ("workflow file", True),
        ("live", True),
    ], found


@pytest.mark.parametrize(
    ("wishes", "subject"),
    [
        ({"workflow_missing": True}, "workflow"),
        ({"workflow_state": "disabled_manually"}, "workflow"),
        ({"workflow_without_inputs": True}, "workflow file"),
        ({"denied": ["GET /contents/"]}, "workflow file"),
    ],
)
async def test_the_inspection_finds_what_is_wrong(desk: Desk, wishes: dict[str, object], subject: str) -> None:
    await desk.control.behave(**wishes)  # type: ignore[arg-type]  # the case's own words

    found = {each.subject: each for each in await inspect_rollback(desk.github, desk.endpoint)}

    assert not found[subject].works
