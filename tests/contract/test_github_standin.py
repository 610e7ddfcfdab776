"""What the stand-in for GitHub promises, each call judged by GitHub's published description."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.standins.github import judge, toxics
from tests.standins.github.behaviour import Behaviour, Fault, FaultKind, Moment, RunEntry
from tests.standins.github.chain import GitHubChain
from tests.standins.github.control import Control, Wishes
from tests.standins.github.history import BAD_SHA, GOOD_SHA, HEAD_SHA, OLDER_SHA, STRAY_SHA
from tests.standins.github.workflow import INPUTS, LONGEST_REASON, PATTERNS, ROLLBACK, RollbackInputs

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs_node,
    pytest.mark.skipif(bool(judge.why_not()), reason=judge.why_not()),
]
needs_toxiproxy = pytest.mark.skipif(bool(toxics.why_not()), reason=toxics.why_not())

REPO = "/repos/acme/payment-api"
DISPATCHES = f"{REPO}/actions/workflows/rollback.yml/dispatches"
RUNS = f"{REPO}/actions/workflows/rollback.yml/runs"
INSTALLATION = "/app/installations/7/access_tokens"
_WITHIN = 15.0


def inputs(correlation_id: str = "ic-incident-1", **changes: str) -> dict[str, str]:
    return {
        "service": "payment-api",
        "environment": "production",
        "deployment_id": "100",
        "target_revision": GOOD_SHA,
        "expected_deployment_id": "101",
        "expected_revision": BAD_SHA,
        "incident_id": "payment-api-20261124T100000Z-ab12cd",
        "execution_id": "exec-1",
        "reason": "error rate",
        "confidence": "0.92",
        "correlation_id": correlation_id,
        **changes,
    }


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_WITHIN):
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


class Client:
    """The calls of a rollback, as any client would make them."""

    def __init__(self, chain: GitHubChain, http: httpx.AsyncClient) -> None:
        self.control = chain.control
        self.http = http

    async def dispatch(self, correlation_id: str = "ic-incident-1", **changes: str) -> int:
        body = {"ref": "main", "inputs": inputs(correlation_id, **changes), "return_run_details": True}
        reply = await self.http.post(DISPATCHES, json=body)
        assert reply.status_code == 200, reply.text
        run_id: int = reply.json()["workflow_run_id"]
        return run_id

    async def run(self, run_id: int) -> dict[str, Any]:
        run: dict[str, Any] = await self.read(f"{REPO}/actions/runs/{run_id}")
        return run

    async def read(self, path: str, **query: str) -> Any:  # noqa: ANN401 - GitHub's JSON
        reply = await self.http.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def status_of(self, run_id: int, wanted: str) -> dict[str, Any]:
        async def reached() -> bool:
            return bool((await self.run(run_id))["status"] == wanted)

        await until(reached)
        return await self.run(run_id)

    async def entry(self, run_id: int) -> RunEntry:
        return next(run for run in (await self.control.journal()).runs if run.id == run_id)


@asynccontextmanager
async def client_of(chain: GitHubChain, url: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {chain.token}", "accept": "application/vnd.github+json"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=_WITHIN) as http:
        yield Client(chain, http)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitHubChain]:
    async with GitHubChain(tmp_path_factory.mktemp("github"), poisoned=not toxics.why_not()) as chain:
        yield chain


@pytest_asyncio.fixture(loop_scope="module")
async def anyhow(chain: GitHubChain) -> AsyncIterator[Client]:
    """A client whose calls may be judged wrong; deployment 101 is live."""
    await chain.control.reset(live=101)
    async with client_of(chain, chain.url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def github(chain: GitHubChain, anyhow: Client) -> AsyncIterator[Client]:
    """A client all of whose calls, and the replies to them, must be judged right."""
    before = len(chain.violations())
    yield anyhow
    assert chain.violations()[before:] == []


async def test_a_dispatch_gives_a_run_that_rolls_back_once(github: Client) -> None:
    run_id = await github.dispatch("ic-incident-1")

    run = await github.status_of(run_id, "completed")

    assert run["conclusion"] == "success"
    assert (
        run["display_title"]
        == "Roll back payment-api in production to deployment 100 (execution exec-1) [ic-incident-1]"
    )
    assert (run["path"], run["event"], run["run_attempt"]) == (".github/workflows/rollback.yml", "workflow_dispatch", 1)
    journal = await github.control.journal()
    assert [(each.correlation_id, each.accepted, each.run_id) for each in journal.dispatches] == [
        ("ic-incident-1", True, run_id)
    ]
    assert [(each.correlation_id, each.from_, each.to) for each in journal.effective] == [("ic-incident-1", 101, 100)]
    assert (await github.entry(run_id)).effective


async def test_a_run_without_execution_says_so_in_its_title(github: Client) -> None:
    run_id = await github.dispatch("ic-incident-2", execution_id="")

    assert "(execution none) [ic-incident-2]" in (await github.run(run_id))["display_title"]


@pytest.mark.parametrize(
    ("asked", "version", "status"),
    [(False, "2022-11-28", 204), (True, "2022-11-28", 200), (False, "2026-03-10", 200)],
)
async def test_details_are_given_to_those_who_ask_and_by_the_new_version(
    github: Client,
    asked: bool,  # noqa: FBT001 - a case
    version: str,
    status: int,
) -> None:
    body: dict[str, Any] = {"ref": "main", "inputs": inputs()}
    if asked:
        body["return_run_details"] = True

    reply = await github.http.post(DISPATCHES, json=body, headers={"x-github-api-version": version})

    assert reply.status_code == status
    assert bool(reply.content) is (status == 200)


async def test_an_old_server_gives_no_details_even_when_asked(github: Client) -> None:
    await github.control.behave(reply="empty")

    reply = await github.http.post(DISPATCHES, json={"ref": "main", "inputs": inputs(), "return_run_details": True})

    assert (reply.status_code, reply.content) == (204, b"")
    assert len((await github.control.journal()).runs) == 1


async def test_a_late_run_is_found_by_id_at_once_and_in_the_list_in_time(github: Client) -> None:
    began = datetime.now(UTC)
    since = began - timedelta(seconds=120)
    query = {"event": "workflow_dispatch", "created": f">={since:%Y-%m-%dT%H:%M:%SZ}", "per_page": "100"}
    await github.control.behave(list_lag_s=3600)
    never = await github.dispatch("ic-incident-1", service="ledger-api")
    await github.control.behave(list_lag_s=0.3)

    late = await github.dispatch("ic-incident-2")

    assert [(await github.run(run_id))["id"] for run_id in (never, late)] == [never, late]

    async def listed() -> bool:
        return bool((await github.read(RUNS, **query))["workflow_runs"])

    await until(listed)
    assert datetime.now(UTC) - began > timedelta(seconds=0.3)
    assert [run["id"] for run in (await github.read(RUNS, **query))["workflow_runs"]] == [late]


@pytest.mark.parametrize(
    ("filter_", "value", "found"),
    [
        ("status", "queued", True),
        ("status", "completed", False),
        ("event", "push", False),
        ("created", "<2020-01-01", False),
        ("created", "2020-01-01..*", True),
        ("created", ">2099-01-01T00:00:00Z", False),
        ("head_sha", HEAD_SHA, True),
    ],
)
async def test_a_list_of_runs_holds_what_its_filters_let_through(
    github: Client,
    filter_: str,
    value: str,
    found: bool,  # noqa: FBT001 - a case
) -> None:
    await github.control.behave(stuck=True)
    run_id = await github.dispatch()

    runs = (await github.read(RUNS, **{filter_: value}))["workflow_runs"]

    assert [run["id"] for run in runs] == ([run_id] if found else [])


async def test_a_run_is_queued_then_in_progress_then_completed(github: Client) -> None:
    await github.control.behave(queue_s=0.7, run_s=0.7)
    run_id = await github.dispatch()
    seen: list[tuple[str, str | None]] = []

    async def done() -> bool:
        run = await github.run(run_id)
        if (now := (run["status"], run["conclusion"])) not in seen:
            seen.append(now)
        return bool(now[0] == "completed")

    await until(done)
    assert seen == [("queued", None), ("in_progress", None), ("completed", "success")]
    job = (await github.read(f"{REPO}/actions/runs/{run_id}/jobs"))["jobs"][0]
    assert (job["status"], job["conclusion"]) == ("completed", "success")


async def test_a_newer_dispatch_takes_the_place_of_the_one_that_waits(github: Client) -> None:
    await github.control.behave(reviewers=True)
    first = await github.dispatch("ic-incident-1")
    await github.status_of(first, "waiting")
    await github.control.behave()
    second = await github.dispatch("ic-incident-2")
    assert (await github.run(second))["status"] == "pending"

    third = await github.dispatch("ic-incident-3")

    assert (await github.run(second))["conclusion"] == "cancelled"
    assert (await github.run(third))["status"] == "pending"
    await github.control.review(first, approved=True)
    assert (await github.status_of(third, "completed"))["conclusion"] == "success"
    assert [each.run_id for each in (await github.control.journal()).effective] == [first]


async def test_other_services_do_not_wait_for_each_other(github: Client) -> None:
    await github.control.behave(stuck=True)
    await github.dispatch("ic-incident-1")

    other = await github.dispatch("ic-incident-2", service="ledger-api")

    assert (await github.run(other))["status"] == "queued"


async def test_a_run_waits_for_its_reviewers_and_goes_on_when_they_approve(github: Client) -> None:
    await github.control.behave(reviewers=True)
    run_id = await github.dispatch()
    await github.status_of(run_id, "waiting")
    path = f"{REPO}/actions/runs/{run_id}/pending_deployments"

    pending = await github.read(path)
    own = {"environment_ids": [pending[0]["environment"]["id"]], "state": "approved", "comment": "mine"}

    assert pending[0]["environment"]["name"] == "production"
    assert pending[0]["reviewers"]
    assert (await github.http.post(path, json=own)).status_code == 422
    assert (await github.run(run_id))["status"] == "waiting"
    await github.control.review(run_id, approved=True)
    assert (await github.status_of(run_id, "completed"))["conclusion"] == "success"
    assert await github.read(path) == []


async def test_a_rejected_run_fails_and_rolls_nothing_back(github: Client) -> None:
    await github.control.behave(reviewers=True)
    run_id = await github.dispatch()
    await github.status_of(run_id, "waiting")

    await github.control.review(run_id, approved=False)

    assert (await github.run(run_id))["conclusion"] == "failure"
    assert (await github.control.journal()).effective == []


async def test_github_records_a_deployment_of_its_own_beside_the_one_that_was_made(github: Client) -> None:
    run_id = await github.dispatch()
    await github.status_of(run_id, "completed")

    explicit, automatic, *older = await github.read(f"{REPO}/deployments", environment="production")

    assert [each["id"] for each in older] == [101, 100, 99]
    assert (automatic["task"], automatic["sha"], automatic["ref"]) == ("deploy", HEAD_SHA, "main")
    assert (automatic["payload"], automatic["creator"]["login"]) == ({}, "github-actions[bot]")
    statuses = await github.read(f"{REPO}/deployments/{automatic['id']}/statuses")
    assert [each["state"] for each in statuses] == ["success", "in_progress"]
    assert f"/acme/payment-api/actions/runs/{run_id}/job/" in statuses[0]["log_url"]
    assert (explicit["task"], explicit["sha"]) == ("rollback", GOOD_SHA)
    assert explicit["payload"] == {
        "rollback": {
            "correlation_id": "ic-incident-1",
            "incident_id": "payment-api-20261124T100000Z-ab12cd",
            "service": "payment-api",
            "deployment_id": 100,
            "from_deployment_id": 101,
            "run_id": run_id,
        }
    }
    statuses = await github.read(f"{REPO}/deployments/{explicit['id']}/statuses")
    assert [each["state"] for each in statuses] == ["success"]
    assert statuses[0]["log_url"].endswith(f"/acme/payment-api/actions/runs/{run_id}")


async def test_what_is_live_already_is_left_alone(github: Client) -> None:
    await github.status_of(await github.dispatch("ic-incident-1"), "completed")
    second = await github.dispatch("ic-incident-2")

    run = await github.status_of(second, "completed")

    assert run["conclusion"] == "success"
    assert not (await github.entry(second)).effective
    assert [each.correlation_id for each in (await github.control.journal()).effective] == ["ic-incident-1"]
    assert len(await github.read(f"{REPO}/deployments", task="rollback")) == 1


async def test_a_deployment_that_came_in_between_is_left_alone(github: Client) -> None:
    await github.control.behave(reviewers=True)
    run_id = await github.dispatch()
    await github.status_of(run_id, "waiting")
    newer = await github.control.deploy(sha="f" * 40)
    await github.control.review(run_id, approved=True)

    run = await github.status_of(run_id, "completed")

    assert run["conclusion"] == "failure"
    assert (await github.control.journal()).effective == []
    states = {each.id: each.state for each in (await github.control.journal()).deployments}
    assert states[newer] == "success"


@pytest.mark.parametrize("revision", [STRAY_SHA, "0" * 40, "main"])
async def test_a_target_that_main_never_held_is_not_rolled_back_to(github: Client, revision: str) -> None:
    run_id = await github.dispatch(target_revision=revision)

    assert (await github.status_of(run_id, "completed"))["conclusion"] == "failure"
    assert (await github.control.journal()).effective == []


@asynccontextmanager
async def service(
    status: int, *, answers: asyncio.Event | None = None
) -> AsyncIterator[tuple[str, list[tuple[str, Any]]]]:
    """A service that answers every call so, once it `answers`; its address, and the calls it got."""
    calls: list[tuple[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
        calls.append((head.splitlines()[0], json.loads(await reader.readexactly(size))))
        if answers is not None:
            await answers.wait()
        writer.write(f"HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls


async def test_the_service_is_told_of_the_rollback(github: Client) -> None:
    async with service(200) as (url, calls):
        await github.control.behave(activate_url=url)
        run_id = await github.dispatch()
        await github.status_of(run_id, "completed")

    told = {
        "reason": "error rate",
        "confidence": 92,
        "rollback_to": 100,
        "execution_id": "exec-1",
        "correlation_id": "ic-incident-1",
        "expected_live": 101,
    }
    assert calls == [("POST /deployment/100/activate HTTP/1.1", told)]
    assert (await github.entry(run_id)).effective


async def test_a_service_that_refuses_makes_the_run_fail(github: Client) -> None:
    async with service(409) as (url, calls):
        await github.control.behave(activate_url=url)
        run_id = await github.dispatch()
        run = await github.status_of(run_id, "completed")

    assert len(calls) == 1
    assert run["conclusion"] == "failure"
    assert (await github.control.journal()).effective == []


async def test_a_run_cancelled_in_its_last_step_has_rolled_back_all_the_same(github: Client) -> None:
    answers = asyncio.Event()
    async with service(200, answers=answers) as (url, calls):
        await github.control.behave(activate_url=url)
        run_id = await github.dispatch()
        await until(lambda: asyncio.sleep(0, bool(calls)))
        assert (await github.http.post(f"{REPO}/actions/runs/{run_id}/cancel")).status_code == 202
        answers.set()
        run = await github.status_of(run_id, "completed")

    assert run["conclusion"] == "cancelled"
    assert (await github.entry(run_id)).effective


async def test_a_rollback_under_way_ends_with_the_world_it_belongs_to(github: Client) -> None:
    answers = asyncio.Event()
    async with service(200, answers=answers) as (url, calls):
        await github.control.behave(activate_url=url)
        await github.dispatch()
        await until(lambda: asyncio.sleep(0, bool(calls)))
        await github.control.reset(live=101)
        answers.set()
        fresh = await github.dispatch("ic-incident-2")
        await github.status_of(fresh, "completed")

    effective = (await github.control.journal()).effective
    assert [each.correlation_id for each in effective] == ["ic-incident-2"]


@pytest.mark.parametrize("effect_first", [True, False])
@pytest.mark.parametrize("conclusion", ["timed_out", "action_required", "startup_failure", "green"])
async def test_a_run_ends_as_the_test_wants_it(
    github: Client,
    conclusion: str,
    effect_first: bool,  # noqa: FBT001 - a case
) -> None:
    await github.control.behave(conclusion=conclusion, effect_first=effect_first, run_s=0)
    run_id = await github.dispatch()

    assert (await github.status_of(run_id, "completed"))["conclusion"] == conclusion
    assert (await github.entry(run_id)).effective is effect_first
    assert (await github.read(f"{REPO}/actions/runs/{run_id}/jobs"))["jobs"][0]["conclusion"] is not None


@pytest.mark.parametrize("how", ["cancel", "force-cancel"])
async def test_a_stuck_run_is_cancelled_at_once_and_only_once(github: Client, how: str) -> None:
    await github.control.behave(stuck=True)
    run_id = await github.dispatch()
    path = f"{REPO}/actions/runs/{run_id}/{how}"

    assert (await github.http.post(path)).status_code == 202
    assert (await github.run(run_id))["conclusion"] == "cancelled"
    assert (await github.http.post(path)).status_code == 409
    cancels = (await github.control.journal()).cancels
    assert [(each.forced, each.accepted) for each in cancels] == [(how != "cancel", True), (how != "cancel", False)]


async def test_a_run_at_work_is_cancelled_at_the_end_of_its_step(github: Client) -> None:
    await github.control.behave(run_s=3)
    run_id = await github.dispatch()
    await github.status_of(run_id, "in_progress")

    assert (await github.http.post(f"{REPO}/actions/runs/{run_id}/cancel")).status_code == 202

    assert (await github.run(run_id))["status"] == "in_progress"
    assert (await github.status_of(run_id, "completed"))["conclusion"] == "cancelled"
    assert not (await github.entry(run_id)).effective


@pytest.mark.parametrize(
    ("workflow", "ref", "changes", "status"),
    [
        ("nothing.yml", "main", {}, 404),
        ("deploy.yml", "main", {}, 422),
        ("rollback.yml", "gone", {}, 422),
        ("rollback.yml", HEAD_SHA, {}, 422),
        ("rollback.yml", "main", {"colour": "red"}, 422),
        ("rollback.yml", "main", {"reason": ""}, 422),
    ],
)
async def test_a_dispatch_that_makes_no_sense_is_refused(
    github: Client, workflow: str, ref: str, changes: dict[str, str], status: int
) -> None:
    path = f"{REPO}/actions/workflows/{workflow}/dispatches"

    reply = await github.http.post(path, json={"ref": ref, "inputs": inputs(**changes)})

    assert (reply.status_code, bool(reply.json()["message"])) == (status, True)
    journal = await github.control.journal()
    assert ([each.accepted for each in journal.dispatches], journal.runs) == ([False], [])


@pytest.mark.parametrize("name", [name for name, required in INPUTS.items() if required])
async def test_every_required_input_is_required(github: Client, name: str) -> None:
    given = {key: value for key, value in inputs().items() if key != name}

    reply = await github.http.post(DISPATCHES, json={"ref": "main", "inputs": given})

    assert (reply.status_code, name in reply.json()["message"]) == (422, True)


async def test_a_missing_a_disabled_and_an_open_workflow_start_nothing(github: Client) -> None:
    workflow, file = RUNS.removesuffix("/runs"), f"{REPO}/contents/.github/workflows/rollback.yml"
    call = {"ref": "main", "inputs": inputs()}

    await github.control.behave(workflow_missing=True)
    replies = [
        await github.http.get(workflow),
        await github.http.get(file),
        await github.http.post(DISPATCHES, json=call),
    ]
    assert [reply.status_code for reply in replies] == [404, 404, 404]

    await github.control.behave(workflow_state="disabled_manually")
    assert (await github.read(workflow))["state"] == "disabled_manually"
    assert (await github.http.post(DISPATCHES, json=call)).status_code == 422

    await github.control.behave(workflow_without_inputs=True)
    assert b"inputs" not in base64.b64decode((await github.read(file))["content"])
    assert (await github.http.post(DISPATCHES, json=call)).status_code == 422
    assert (await github.control.journal()).runs == []


async def test_the_stand_in_has_the_inputs_and_the_rules_of_the_real_workflow(github: Client) -> None:
    file = await github.read(f"{REPO}/contents/.github/workflows/rollback.yml")
    text = base64.b64decode(file["content"]).decode()
    workflow = yaml.safe_load(text)
    declared = workflow[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads the key `on` as True

    assert {name: about["required"] for name, about in declared.items()} == INPUTS
    rules = [f"must_match {name} \"${name.upper()}\" '{pattern}'" for name, pattern in PATTERNS.items()]
    assert [rule for rule in rules if rule not in text] == []
    assert len(rules) == text.count(" must_match ")
    assert f"<= {LONGEST_REASON} " in text
    assert workflow["concurrency"]["cancel-in-progress"] is False
    title = re.sub(r"\$\{\{ inputs\.(\w+)( \|\| 'none')? \}\}", lambda found: inputs()[found[1]], workflow["run-name"])
    assert RollbackInputs.model_validate(inputs()).title == title
    assert workflow["name"] == ROLLBACK.name


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": "92"},
        {"correlation_id": "ic"},
        {"deployment_id": "0"},
        {"service": "Payment API"},
        {"reason": "é" * 1001},
        {"reason": " "},
        {"target_revision": BAD_SHA},
    ],
)
async def test_inputs_that_the_job_refuses_make_the_run_fail(github: Client, changes: dict[str, str]) -> None:
    await github.control.behave(run_s=0)
    run_id = await github.dispatch(**changes)

    assert (await github.status_of(run_id, "completed"))["conclusion"] == "failure"
    assert (await github.control.journal()).effective == []


async def test_what_the_token_may_not_do_is_refused_with_what_it_would_take(github: Client) -> None:
    await github.control.behave(denied=["POST /dispatches$"])

    reply = await github.http.post(DISPATCHES, json={"ref": "main", "inputs": inputs()})

    assert reply.status_code == 403
    assert reply.json()["message"] == "Resource not accessible by personal access token"
    assert reply.headers["x-accepted-github-permissions"] == "actions=write"
    assert (await github.control.journal()).runs == []
    assert (await github.read(RUNS))["total_count"] == 0


async def test_a_wrong_token_is_refused(github: Client) -> None:
    reply = await github.http.get(RUNS, headers={"authorization": "Bearer somebody-elses"})

    assert (reply.status_code, reply.json()["message"]) == (401, "Bad credentials")


def app_token(key: rsa.RSAPrivateKey, *, lasts: timedelta = timedelta(minutes=9)) -> str:
    now = datetime.now(UTC)
    return jwt.encode({"iss": "161088", "iat": now - timedelta(seconds=30), "exp": now + lasts}, key, algorithm="RS256")


async def test_an_app_gets_a_token_for_an_hour(github: Client) -> None:
    key = rsa.generate_private_key(65_537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    await github.control.behave(app_public_key=public.decode())

    given = await github.http.post(INSTALLATION, headers={"authorization": f"Bearer {app_token(key)}"})

    assert given.status_code == 201
    lasts = datetime.fromisoformat(given.json()["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < lasts <= timedelta(hours=1)
    reply = await github.http.get(RUNS, headers={"authorization": f"Bearer {given.json()['token']}"})
    assert reply.status_code == 200
    stranger = app_token(rsa.generate_private_key(65_537, 2048))
    for wrong in (stranger, app_token(key, lasts=timedelta(minutes=20)), app_token(key, lasts=timedelta(0)), "no-jwt"):
        refused = await github.http.post(INSTALLATION, headers={"authorization": f"Bearer {wrong}"})
        assert refused.status_code == 401


async def test_the_journal_knows_who_called_and_no_token(chain: GitHubChain, github: Client) -> None:
    given = await github.http.post(
        INSTALLATION, headers={"authorization": f"Bearer {app_token(rsa.generate_private_key(65_537, 2048))}"}
    )
    await github.read(RUNS, per_page="1")

    journal = await github.control.journal()

    assert [(each.method, each.path, each.query, each.status, each.authorization) for each in journal.requests] == [
        ("POST", INSTALLATION, "", 201, "present"),
        ("GET", RUNS, "per_page=1", 200, "present"),
    ]
    assert chain.token not in journal.model_dump_json()
    assert given.json()["token"] not in journal.model_dump_json()


async def test_deployments_are_recorded_with_their_payload_and_statuses(github: Client) -> None:
    payload = {"rollback": {"correlation_id": "ic-incident-9"}}
    call = {"ref": GOOD_SHA, "task": "rollback", "auto_merge": False, "required_contexts": [], "payload": payload}

    made = await github.http.post(f"{REPO}/deployments", json=call)
    path = f"{REPO}/deployments/{made.json()['id']}"
    status = {"state": "success", "log_url": "https://ci.example/1", "description": "done"}
    said = await github.http.post(f"{path}/statuses", json=status)

    assert (made.status_code, said.status_code) == (201, 201)
    assert (await github.read(path))["payload"] == payload
    assert [each["state"] for each in await github.read(f"{path}/statuses")] == ["success"]
    assert said.json()["target_url"] == said.json()["log_url"] == "https://ci.example/1"


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"ref": "gone"}, 422), ({"auto_merge": True}, 409), ({"required_contexts": ["build"]}, 409)],
)
async def test_a_deployment_that_cannot_be_recorded_is_refused(
    github: Client, changes: dict[str, Any], status: int
) -> None:
    reply = await github.http.post(f"{REPO}/deployments", json={"ref": GOOD_SHA, "auto_merge": False, **changes})

    assert reply.status_code == status
    assert len(await github.read(f"{REPO}/deployments")) == 3


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [101, 100, 99]),
        ({"sha": OLDER_SHA}, [99]),
        ({"environment": "staging"}, []),
        ({"task": "rollback"}, []),
        ({"ref": "main"}, [101, 100, 99]),
    ],
)
async def test_deployments_are_listed_newest_first(github: Client, filters: dict[str, str], found: list[int]) -> None:
    assert [each["id"] for each in await github.read(f"{REPO}/deployments", **filters)] == found


async def test_pages_lead_to_each_other_through_the_chain(chain: GitHubChain, github: Client) -> None:
    reply = await github.http.get(f"{REPO}/deployments", params={"per_page": 2, "environment": "production"})
    seen = [each["id"] for each in reply.json()]

    following = reply.links["next"]["url"]
    assert following.startswith(chain.url)
    reply = await github.http.get(following)

    assert seen + [each["id"] for each in reply.json()] == [101, 100, 99]
    assert "next" not in reply.links


@pytest.mark.parametrize(
    ("base", "head", "status", "ahead", "behind"),
    [
        (GOOD_SHA, "main", "ahead", 2, 0),
        ("main", GOOD_SHA, "behind", 0, 2),
        (GOOD_SHA, GOOD_SHA, "identical", 0, 0),
        ("main", STRAY_SHA, "diverged", 1, 3),
    ],
)
async def test_commits_are_compared(github: Client, base: str, head: str, status: str, ahead: int, behind: int) -> None:
    found = await github.read(f"{REPO}/compare/{base}...{head}")

    assert (found["status"], found["ahead_by"], found["behind_by"]) == (status, ahead, behind)
    assert len(found["commits"]) == ahead


async def test_commits_the_repository_and_the_limits_can_be_read(github: Client) -> None:
    assert (await github.read(REPO))["default_branch"] == "main"
    assert (await github.read(f"{REPO}/commits/main"))["sha"] == HEAD_SHA
    assert [each["sha"] for each in await github.read(f"{REPO}/commits", sha=GOOD_SHA)][:2] == [GOOD_SHA, OLDER_SHA]
    assert (await github.read("/rate_limit"))["rate"]["limit"] == 5000
    assert (await github.http.get(f"{REPO}/commits/{'0' * 40}")).status_code == 422
    assert (await github.http.get(f"{REPO}/compare/gone...main")).status_code == 404
    assert (await github.http.get(f"{REPO}/actions/runs/1")).status_code == 404


@pytest.mark.parametrize(("when", "runs"), [(Moment.BEFORE, 0), (Moment.AFTER, 1)])
async def test_a_call_goes_wrong_before_or_after_its_effect(github: Client, when: Moment, runs: int) -> None:
    limit = Fault(
        method="POST", path="/dispatches$", kind=FaultKind.STATUS, status=429, headers={"retry-after": "7"}, when=when
    )
    await github.control.faults(limit)

    reply = await github.http.post(DISPATCHES, json={"ref": "main", "inputs": inputs()})

    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
    assert len((await github.control.journal()).runs) == runs
    await github.dispatch()


async def test_a_fault_lasts_as_often_as_it_is_meant_to(github: Client) -> None:
    await github.control.faults(Fault(method="GET", path="/runs$", kind=FaultKind.HTML, times=2))

    replies = [await github.http.get(RUNS) for _ in range(3)]

    assert [reply.status_code for reply in replies] == [502, 502, 200]
    assert replies[0].headers["content-type"].startswith("text/html")


async def test_a_call_may_hang_for_ever(github: Client) -> None:
    await github.control.faults(Fault(method="GET", path="/runs$", kind=FaultKind.HANG))

    with pytest.raises(httpx.ReadTimeout):
        await github.http.get(RUNS, timeout=0.3)
    assert (await github.http.get(RUNS)).status_code == 200


async def test_a_connection_is_reset_after_the_dispatch_was_taken(chain: GitHubChain, github: Client) -> None:
    await github.control.faults(Fault(method="POST", path="/dispatches$", kind=FaultKind.RESET, when=Moment.AFTER))

    async with client_of(chain, chain.direct_url) as direct:
        with pytest.raises(httpx.ReadError):
            await direct.dispatch()

    assert len((await github.control.journal()).runs) == 1


@needs_toxiproxy
async def test_a_reply_is_lost_on_a_bad_network_and_the_call_has_its_effect(chain: GitHubChain, github: Client) -> None:
    await chain.toxics.limit_data(0)
    try:
        with pytest.raises(httpx.TransportError):
            await github.dispatch()
    finally:
        await chain.toxics.clear()

    async def taken() -> bool:
        return len((await github.control.journal()).runs) == 1

    await until(taken)


@needs_toxiproxy
async def test_a_bad_network_may_be_slow_or_away(chain: GitHubChain, github: Client) -> None:
    name = await chain.toxics.latency(2_000)
    with pytest.raises(httpx.ReadTimeout):
        await github.http.get(RUNS, timeout=0.3)
    await chain.toxics.remove(name)
    assert (await github.http.get(RUNS)).status_code == 200

    await chain.toxics.refuse()
    with pytest.raises(httpx.TransportError):
        await github.http.get(RUNS)
    await chain.toxics.clear()
    assert (await github.http.get(RUNS)).status_code == 200


async def test_a_reset_forgets_everything(github: Client) -> None:
    await github.control.behave(stuck=True)
    await github.control.faults(Fault(method="GET", path=".", kind=FaultKind.HTML))
    run_id = await github.dispatch()

    await github.control.reset()

    assert (await github.control.journal()).requests == []
    assert (await github.http.get(f"{REPO}/actions/runs/{run_id}")).status_code == 404
    await github.control.deploy(101)
    assert (await github.status_of(await github.dispatch(), "completed"))["conclusion"] == "success"


GOOD_CALL: dict[str, Any] = {"ref": "main", "inputs": inputs()}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"ref": "main", "input": inputs()}, id="input for inputs"),
        pytest.param({"ref": "main", "inputs": {f"i{number}": "x" for number in range(26)}}, id="26 inputs"),
        pytest.param({"ref": "main", "inputs": inputs() | {"reason": {"text": "x"}}}, id="an object for a value"),
        pytest.param({"ref": "main", "inputs": inputs() | {"confidence": 92}}, id="a number for a value"),
        pytest.param({"inputs": inputs()}, id="no ref"),
        pytest.param({**GOOD_CALL, "return_run_details": "true"}, id="a word for a boolean"),
    ],
)
async def test_the_judge_lets_no_dispatch_through_that_github_forbids(
    chain: GitHubChain, anyhow: Client, body: dict[str, Any]
) -> None:
    before = len(chain.violations())

    reply = await anyhow.http.post(DISPATCHES, json=body)

    assert reply.status_code == 422
    assert (await anyhow.control.journal()).requests == []
    await judged(chain, before, f"POST {DISPATCHES}", "Invalid request")


async def test_the_judge_lets_nobody_through_without_a_token(chain: GitHubChain, anyhow: Client) -> None:
    before = len(chain.violations())
    del anyhow.http.headers["authorization"]

    assert (await anyhow.http.post(DISPATCHES, json=GOOD_CALL)).status_code == 401

    assert (await anyhow.control.journal()).requests == []
    await judged(chain, before, f"POST {DISPATCHES}", "Invalid security scheme used")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (RUNS, {"created": "since yesterday"}, 422),
        (RUNS, {"per_page": "many"}, 422),
        (f"{REPO}/actions/runs/latest", {}, 422),
        (f"{REPO}/rollbacks", {}, 404),
    ],
)
async def test_the_judge_lets_no_question_through_that_github_does_not_know(
    chain: GitHubChain, anyhow: Client, path: str, query: dict[str, str], status: int
) -> None:
    before = len(chain.violations())

    assert (await anyhow.http.get(path, params=query)).status_code == status

    assert (await anyhow.control.journal()).requests == []
    assert len(chain.violations()) == before + 1


async def test_the_judge_catches_a_reply_that_github_would_not_give(chain: GitHubChain, anyhow: Client) -> None:
    before = len(chain.violations())
    await anyhow.control.behave(reply="malformed")

    reply = await anyhow.http.post(DISPATCHES, json={**GOOD_CALL, "return_run_details": True})

    assert reply.status_code == 500
    assert "workflow_run_id" in reply.headers["sl-violations"]
    assert len((await anyhow.control.journal()).runs) == 1
    await judged(chain, before, f"POST {DISPATCHES}", "Request/Response not valid")


async def test_the_judge_notes_a_status_that_github_does_not_declare(chain: GitHubChain, anyhow: Client) -> None:
    before = len(chain.violations())
    await anyhow.control.faults(Fault(method="GET", path="/runs$", kind=FaultKind.STATUS, status=418))

    assert (await anyhow.http.get(RUNS)).status_code == 418

    await judged(chain, before, "", "Unable to match the returned status code")


async def judged(chain: GitHubChain, before: int, call: str, problem: str) -> None:
    """Exactly one violation has come since, of that call, for that reason."""

    async def come() -> bool:
        return len(chain.violations()) > before

    await until(come)
    [violation] = chain.violations()[before:]
    assert violation.call == call
    assert violation.problem.startswith((problem, f"response {problem}"))


async def test_without_a_judge_a_client_meets_the_stand_in_itself(tmp_path: Path) -> None:
    async with GitHubChain(tmp_path, judged=False) as chain:
        assert chain.url == chain.direct_url
        await chain.control.deploy(101)
        await chain.control.behave(reply="malformed", run_s=0)
        async with client_of(chain, chain.url) as client:
            reply = await client.http.post(DISPATCHES, json={**GOOD_CALL, "return_run_details": True})
            assert (reply.status_code, "workflow_run_id" in reply.json()) == (200, False)
            [run] = (await client.control.journal()).runs
            assert (await client.status_of(run.id, "completed"))["conclusion"] == "success"
            typo = await client.http.post(DISPATCHES, json={"ref": "main", "input": inputs()})
            assert typo.status_code == 422


async def test_a_test_can_wish_for_all_that_the_stand_in_can_do() -> None:
    assert set(Wishes.__annotations__) == set(Behaviour.model_fields)


async def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    async with GitHubChain(tmp_path / "first", judged=False) as first:
        second = GitHubChain(tmp_path / "second", judged=False)
        second.direct_url = first.direct_url
        second.control = Control("http://127.0.0.1:9")  # nobody there, so that the first one is not taken for it
        with pytest.raises(RuntimeError, match=r"(?s)github ended with .* address already in use"):
            await second.__aenter__()
