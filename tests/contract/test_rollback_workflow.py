"""The steps of rollback.yml, run for real: a real clone, real shells, and GitHub's API as far as the steps call it.

GitHub's part of a run is played here too: the deployment that it records by itself for a job with an environment, and
the `success` or `failure` that it gives to it when the job has ended.
"""

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import uvicorn

from tests.standins.github.fake import create_app
from tests.standins.github.state import OWNER, REPOSITORY
from tests.standins.github_runner import InvalidDispatchError, Place, Run, UnsupportedError, run

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "rollback.yml"
NAME = "octo/shop"
PAGE = f"https://github.com/{NAME}"
GOOD_ID, BAD_ID = 100, 101
REFUSED, CHANGED, NO_ANCESTOR, UNAVAILABLE, UNADAPTED = 64, 65, 66, 69, 78
VALIDATE = "Validate the inputs"
CHECK_OUT = "Check out the dispatched commit"
ANCESTOR = "The target must be an ancestor of the dispatched commit"
COMPARE = "Compare what is live with what is expected"
ROLL_BACK = "Roll back"
RECORD = "Record what is live now"
TEAMS_COMMAND = '#!/usr/bin/env bash\nenv > "$HOME/rolled-back"\n'


@dataclass
class Deployment:
    id: int
    sha: str
    task: str = "deploy"
    environment: str = "production"
    payload: object = ""
    automatic_of: int | None = None
    """The rollback run for whose job GitHub recorded it: what the steps have to find out."""
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> str | None:
        return self.statuses[-1]["state"] if self.statuses else None

    @property
    def last_success(self) -> str:
        return max((str(each["created_at"]) for each in self.statuses if each["state"] == "success"), default="")


class GitHub:
    """The record of deployments. Time moves by a second with every status."""

    def __init__(self) -> None:
        self.deployments: dict[int, Deployment] = {}
        self.runs: list[int] = []
        self.posted: list[tuple[str, Any]] = []
        self.asked: list[str] = []
        self.broken: dict[str, tuple[int, str]] = {}
        """"METHOD path" as a regular expression → the status and the body that such calls get."""
        self._now = datetime(2026, 11, 24, tzinfo=UTC)
        self._last_status = 5000

    def deploy(self, deployment: Deployment, *states: str, run_id: int) -> Deployment:
        self.deployments[deployment.id] = deployment
        for state in states:
            self.say(deployment, state, run_id)
        return deployment

    def say(self, deployment: Deployment, state: str, run_id: int) -> None:
        self._add_status(deployment, {"state": state, "log_url": f"{PAGE}/actions/runs/{run_id}/job/{run_id}1"})

    def live(self, environment: str = "production") -> Deployment:
        """The truth: what succeeded last and was really deployed. Outside production `inactive` may mean nothing."""
        standing = {"success"} if environment == "production" else {"success", "inactive"}
        succeeded = [
            each
            for each in self.deployments.values()
            if each.environment == environment and each.automatic_of is None and each.state in standing
        ]
        return max(succeeded, key=lambda each: each.last_success)

    def wait(self, time: timedelta) -> None:
        self._now += time

    @property
    def next_id(self) -> int:
        return max(self.deployments, default=0) + 1

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:  # noqa: ANN401 - JSON
        path, query = urlsplit(url).path.removeprefix(f"/repos/{NAME}"), dict(parse_qsl(urlsplit(url).query))
        call = f"{method} {path}"
        self.asked.append(call)
        for pattern, broken in self.broken.items():
            if re.fullmatch(pattern, call):
                return broken
        routes: Mapping[str, Callable[..., object]] = {
            r"GET /actions/workflows/rollback\.yml/runs": self._list_runs,
            r"GET /deployments": self._list_deployments,
            r"GET /deployments/([0-9]+)/statuses": self._list_statuses,
            r"POST /deployments": self._create_deployment,
            r"POST /deployments/([0-9]+)/statuses": self._create_status,
        }
        for pattern, route in routes.items():
            if found := re.fullmatch(pattern, call):
                if method == "POST":
                    self.posted.append((path, body))
                return {"GET": 200, "POST": 201}[method], route(
                    *map(int, found.groups()), query if body is None else body
                )
        return 404, {"message": "Not Found"}

    def _list_runs(self, query: Mapping[str, str]) -> object:
        size, page = int(query["per_page"]), int(query["page"])
        newest = self.runs[::-1][(page - 1) * size : page * size]
        return {"total_count": len(self.runs), "workflow_runs": [{"id": run_id} for run_id in newest]}

    def _list_deployments(self, query: Mapping[str, str]) -> object:
        found = [each for each in self.deployments.values() if each.environment == query["environment"]]
        newest = sorted(found, key=lambda each: -each.id)[: int(query["per_page"])]
        return [{"id": each.id, "sha": each.sha, "task": each.task, "payload": each.payload} for each in newest]

    def _list_statuses(self, deployment_id: int, _: Mapping[str, str]) -> object:
        return self.deployments[deployment_id].statuses[::-1]

    def _create_deployment(self, body: Mapping[str, Any]) -> object:
        made = Deployment(self.next_id, body["ref"], body["task"], body["environment"], body["payload"])
        return {"id": self.deploy(made, run_id=0).id}

    def _create_status(self, deployment_id: int, body: Mapping[str, Any]) -> object:
        self._add_status(self.deployments[deployment_id], body)
        return body

    def _add_status(self, deployment: Deployment, status: Mapping[str, Any]) -> None:
        """Outside production a success makes every other one of the environment inactive, as `auto_inactive` has it."""
        self._now += timedelta(seconds=1)
        others = [
            each for each in self.deployments.values() if each.environment == deployment.environment != "production"
        ]
        ended = [each for each in others if each is not deployment and each.state == status["state"] == "success"]
        for each, said in [(deployment, status), *((each, {"state": "inactive", "log_url": ""}) for each in ended)]:
            self._last_status += 1
            at = self._now.strftime("%Y-%m-%dT%H:%M:%SZ")
            each.statuses.append({**said, "id": self._last_status, "created_at": at})


class Handler(BaseHTTPRequestHandler):
    github: ClassVar[GitHub]

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, body: object) -> None:
        status: int = 401
        answer: object = {"message": "Bad credentials"}
        if self.headers["Authorization"] == "Bearer job-token":
            status, answer = self.github.answer(self.command, self.path, body)
        content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Repository:
    """main: good, bad, then the workflow as it is shipped, then a team's own command in it. stray: not on main."""

    path: Path
    good: str
    bad: str
    shipped: str
    head: str
    stray: str


def some_inputs(repository: Repository) -> dict[str, str]:
    return {
        "service": "payment-api",
        "environment": "production",
        "deployment_id": str(GOOD_ID),
        "target_revision": repository.good,
        "expected_deployment_id": str(BAD_ID),
        "expected_revision": repository.bad,
        "incident_id": "production.payment-api.20261124T120000Z.0a1b2c3d",
        "execution_id": "5WzKRLeWrTUVEOqUGJbhP",
        "reason": "errors rose to 15.5 % two minutes after deployment 101",
        "confidence": "0.93",
        "correlation_id": "ic-0123456789abcdef0123",
    }


@dataclass
class World:
    github: GitHub
    repository: Repository
    api_url: str
    scratch: Path

    def dispatch(self, at: str | None = None, **changes: str) -> Run:
        """One run, with GitHub's own deployment for its job around it."""
        run_id = 9001 + len(self.github.runs)
        place = Place(
            self.repository.path, at or self.repository.head, self.api_url, self.scratch / str(run_id), run_id
        )
        inputs = self.inputs() | changes
        self.github.runs.append(run_id)
        automatic = Deployment(self.github.next_id, place.sha, environment=inputs["environment"], automatic_of=run_id)
        self.github.deploy(automatic, "in_progress", run_id=run_id)
        done = run(WORKFLOW, inputs, place)
        self.github.say(automatic, "success" if done.succeeded else "failure", run_id)
        return done

    def inputs(self) -> dict[str, str]:
        return some_inputs(self.repository)

    def rolled_back(self, done: Run) -> Mapping[str, str] | None:
        """The environment that the team's command saw; None: it did not run."""
        trace = self.scratch / str(done.run_id) / "rolled-back"
        return dict(line.split("=", 1) for line in trace.read_text().splitlines()) if trace.exists() else None

    def assert_nothing_done(self, done: Run) -> None:
        assert self.rolled_back(done) is None
        assert self.github.posted == []


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    path = tmp_path_factory.mktemp("repository")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        command = ("git", *identity, *arguments)
        return subprocess.run(command, cwd=path, check=True, capture_output=True, text=True, timeout=30).stdout.strip()  # noqa: S603 - git

    def commit(message: str) -> str:
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", message)
        return git("rev-parse", "HEAD")

    git("init", "--quiet", "--initial-branch=main")
    good, bad = commit("good"), commit("bad")
    shutil.copytree(ROOT / ".github" / "rollback", path / ".github" / "rollback")
    shipped = commit("shipped")
    (path / ".github" / "rollback" / "roll-back.sh").write_text(TEAMS_COMMAND)
    head = commit("head")
    git("checkout", "--quiet", "-b", "stray", good)
    stray = commit("stray")
    git("checkout", "--quiet", "main")
    return Repository(path, good, bad, shipped, head, stray)


@pytest.fixture
def world(repository: Repository, tmp_path: Path) -> Iterator[World]:
    github = GitHub()
    github.deploy(Deployment(GOOD_ID, repository.good), "in_progress", "success", run_id=7100)
    github.deploy(Deployment(BAD_ID, repository.bad), "in_progress", "success", run_id=7101)
    handler = type("HandlerOfOneTest", (Handler,), {"github": github})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield World(github, repository, f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
        thread.join()


def test_a_rollback_leaves_the_target_live_though_github_s_own_success_comes_last(world: World) -> None:
    done = world.dispatch()
    assert done.succeeded, done.errors
    assert done.executed == [VALIDATE, CHECK_OUT, ANCESTOR, COMPARE, ROLL_BACK, RECORD]
    last = max(world.github.deployments.values(), key=lambda each: str(each.statuses[-1]["created_at"]))
    assert (last.automatic_of, last.sha) == (done.run_id, world.repository.head)
    assert world.github.live().sha == world.repository.good


def test_the_record_says_what_was_rolled_back_and_why(world: World) -> None:
    done = world.dispatch()
    (path, deployment), (status_path, status) = world.github.posted
    assert path == "/deployments"
    assert deployment == {
        "ref": world.repository.good,
        "task": "rollback",
        "auto_merge": False,
        "required_contexts": [],
        "environment": "production",
        "description": "Rolled back payment-api: errors rose to 15.5 % two minutes after deployment 101",
        "payload": {
            "rollback": {
                "correlation_id": "ic-0123456789abcdef0123",
                "incident_id": "production.payment-api.20261124T120000Z.0a1b2c3d",
                "service": "payment-api",
                "deployment_id": GOOD_ID,
                "from_deployment_id": BAD_ID,
                "run_id": done.run_id,
            }
        },
    }
    assert status_path == f"/deployments/{world.github.live().id}/statuses"
    assert status == {"state": "success", "log_url": f"{PAGE}/actions/runs/{done.run_id}"}


def test_the_team_s_command_learns_what_to_do_and_no_token(world: World) -> None:
    seen = world.rolled_back(world.dispatch())
    assert seen is not None
    told = {"SERVICE", "ENVIRONMENT", "TARGET_REVISION", "EXPECTED_REVISION", "DEPLOYMENT_ID"}
    assert {name: seen[name] for name in told} == {
        "SERVICE": "payment-api",
        "ENVIRONMENT": "production",
        "TARGET_REVISION": world.repository.good,
        "EXPECTED_REVISION": world.repository.bad,
        "DEPLOYMENT_ID": str(GOOD_ID),
    }
    assert not [name for name, value in seen.items() if "job-token" in value]


def test_a_second_run_is_green_and_does_nothing(world: World) -> None:
    world.dispatch()
    world.github.posted.clear()
    for _ in range(2):  # the first of them leaves a `success` of its own at the head of the branch
        again = world.dispatch()
        assert again.executed == [VALIDATE, CHECK_OUT, ANCESTOR, COMPARE]
        assert again.succeeded
        assert "already there" in again.steps[3].output
        assert "Nothing was done" in again.summary
        world.assert_nothing_done(again)
    assert world.github.live().sha == world.repository.good


def test_nothing_is_done_once_something_else_is_live(world: World) -> None:
    newer = world.github.deploy(Deployment(102, world.repository.shipped), "success", run_id=7102)
    done = world.dispatch()
    assert (done.failed_step.name, done.failed_step.code) == (COMPARE, CHANGED)
    assert f"deployment {newer.id} at {newer.sha} is live" in done.errors[0]
    world.assert_nothing_done(done)


def test_nothing_is_done_while_no_deployment_has_succeeded(world: World) -> None:
    for deployment in list(world.github.deployments.values()):
        world.github.say(deployment, "inactive", 7103)
    done = world.dispatch()
    assert (done.failed_step.name, done.failed_step.code) == (COMPARE, CHANGED)
    world.assert_nothing_done(done)


def test_what_succeeded_last_is_live_and_not_what_was_begun_last(world: World) -> None:
    world.github.deploy(Deployment(102, world.repository.shipped), "success", run_id=7102)
    world.github.say(world.github.deployments[BAD_ID], "success", 7101)
    assert world.dispatch().succeeded
    assert world.github.live().sha == world.repository.good


def test_what_failed_or_ended_is_not_live(world: World) -> None:
    for number, state in enumerate(("failure", "error", "inactive", "in_progress"), start=102):
        world.github.deploy(Deployment(number, world.repository.shipped), "success", state, run_id=7000 + number)
    world.github.deploy(Deployment(106, world.repository.shipped), run_id=7106)
    assert world.dispatch().succeeded
    assert world.github.live().sha == world.repository.good


@pytest.mark.parametrize(
    "payload",
    [{"service": "ledger"}, '{"service": "ledger"}', {"rollback": {"service": "ledger", "run_id": 8000}}],
    ids=["object", "text", "rollback"],
)
def test_a_deployment_of_another_service_is_not_ours(world: World, payload: object) -> None:
    world.github.deploy(Deployment(102, world.repository.shipped, payload=payload), "success", run_id=8000)
    assert world.dispatch().succeeded


def test_a_deployment_that_names_our_service_is_ours(world: World) -> None:
    ours = Deployment(102, world.repository.shipped, payload={"service": "payment-api"})
    world.github.deploy(ours, "success", run_id=7102)
    assert world.dispatch().failed_step.code == CHANGED


def test_a_deployment_in_another_environment_is_not_ours(world: World) -> None:
    world.github.deploy(Deployment(102, world.repository.shipped, environment="staging"), "success", run_id=7102)
    assert world.dispatch().succeeded


def deploy_to_staging(world: World) -> None:
    for number, sha in ((102, world.repository.good), (103, world.repository.bad)):
        world.github.deploy(Deployment(number, sha, environment="staging"), "success", run_id=7000 + number)
        world.github.wait(timedelta(hours=1))


def test_each_environment_has_its_own_live_deployment(world: World) -> None:
    deploy_to_staging(world)
    world.github.deploy(Deployment(104, world.repository.shipped), "success", run_id=7104)
    assert world.dispatch(environment="staging").succeeded
    assert world.github.live("staging").sha == world.repository.good
    assert world.github.live().sha == world.repository.shipped


def test_outside_production_what_a_rollback_s_own_job_called_inactive_is_still_live(world: World) -> None:
    deploy_to_staging(world)
    assert world.dispatch(environment="staging").executed[-1] == RECORD
    assert world.github.live("staging").state == "inactive"
    for _ in range(2):
        world.github.wait(timedelta(hours=1))
        again = world.dispatch(environment="staging")
        assert again.executed[-1] == COMPARE
        assert "already there" in again.steps[3].output


@pytest.mark.parametrize(("later", "state"), [(timedelta(hours=1), "inactive"), (timedelta(0), "failure")])
def test_outside_production_what_somebody_ended_is_not_live(world: World, later: timedelta, state: str) -> None:
    deploy_to_staging(world)
    world.dispatch(environment="staging")
    record = world.github.live("staging")
    world.github.wait(later)
    world.github.say(record, state, 7105)
    assert world.dispatch(environment="staging").failed_step.code == CHANGED


def test_outside_production_a_later_deploy_ends_what_came_before(world: World) -> None:
    deploy_to_staging(world)
    world.dispatch(environment="staging")
    world.github.wait(timedelta(hours=1))
    newer = Deployment(world.github.next_id, world.repository.shipped, environment="staging")
    world.github.deploy(newer, "success", run_id=7106)
    done = world.dispatch(environment="staging")
    assert done.failed_step.code == CHANGED
    assert f"deployment {newer.id} at {newer.sha} is live" in done.errors[0]


def test_the_automatic_deployment_of_an_old_run_is_told_apart_too(world: World) -> None:
    world.github.runs.extend(range(8000, 8250))
    old = Deployment(102, world.repository.shipped, automatic_of=8000)
    world.github.deploy(old, "success", run_id=8000)
    assert world.dispatch().succeeded
    assert world.github.live().sha == world.repository.good


@pytest.mark.parametrize("link", ["log_url", "target_url"])
def test_the_automatic_deployment_of_an_earlier_attempt_is_told_apart_though_no_list_shows_its_run(
    world: World, link: str
) -> None:
    attempt = world.github.deploy(Deployment(102, world.repository.shipped, automatic_of=9001), "success", run_id=0)
    attempt.statuses[0] = {**attempt.statuses[0], "log_url": "", link: f"{PAGE}/actions/runs/9001/job/90011"}
    world.github.broken["GET /actions/workflows/rollback.yml/runs"] = (200, '{"workflow_runs": []}')
    assert world.dispatch().succeeded
    assert world.github.live().sha == world.repository.good


def test_the_automatic_deployment_of_a_run_that_github_has_forgotten_is_told_apart_by_its_record(world: World) -> None:
    first = world.dispatch()
    world.github.runs.clear()
    world.github.runs.append(first.run_id + 1)
    again = world.dispatch()
    assert "already there" in again.steps[3].output


@pytest.mark.parametrize("target", ["stray", "unknown"])
def test_a_target_off_the_branch_fails_before_anything_else(world: World, target: str) -> None:
    done = world.dispatch(target_revision={"stray": world.repository.stray, "unknown": "f" * 40}[target])
    assert (done.failed_step.name, done.failed_step.code) == (ANCESTOR, NO_ANCESTOR)
    assert "not an ancestor" in done.errors[0]
    assert world.github.asked == []
    world.assert_nothing_done(done)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service", ""),
        ("service", "Payment"),
        ("service", "a b"),
        ("service", "-a"),
        ("service", "payment-api\n"),
        ("service", "$(touch x)"),
        ("environment", "prod'uction"),
        ("environment", "production\nstaging"),
        ("deployment_id", "0"),
        ("deployment_id", "12a"),
        ("deployment_id", "1" * 19),
        ("target_revision", "abc1234"),
        ("target_revision", "A" * 40),
        ("target_revision", "--help"),
        ("expected_deployment_id", "-1"),
        ("expected_revision", "main"),
        ("incident_id", "`touch x`"),
        ("incident_id", "::error::x"),
        ("execution_id", "a;touch x"),
        ("reason", ""),
        ("reason", " \n\t"),
        ("reason", "a" * 2001),
        ("confidence", "93"),
        ("confidence", "1.01"),
        ("confidence", "-0.5"),
        ("confidence", "nan"),
        ("correlation_id", "short"),
        ("correlation_id", "x" * 129),
        ("correlation_id", "ic-1234567]"),
    ],
)
def test_a_bad_input_is_named_and_stops_everything(world: World, name: str, value: str) -> None:
    done = world.dispatch(**{name: value})
    assert (done.failed_step.name, done.failed_step.code) == (VALIDATE, REFUSED)
    assert done.executed == [VALIDATE]
    assert [error.partition(":")[0] for error in done.errors] == [f"input {name}"]
    assert world.github.asked == []
    world.assert_nothing_done(done)


def test_a_target_that_is_the_expected_revision_is_refused(world: World) -> None:
    done = world.dispatch(target_revision=world.repository.bad)
    assert (done.failed_step.code, done.errors) == (
        REFUSED,
        ["input target_revision: must differ from expected_revision"],
    )


@pytest.mark.parametrize("confidence", ["0", "1", "0.8", "1.0"])
def test_confidence_is_a_ratio(world: World, confidence: str) -> None:
    assert world.dispatch(confidence=confidence).succeeded


def test_the_shipped_command_refuses_and_nothing_is_recorded(world: World) -> None:
    done = world.dispatch(at=world.repository.shipped)
    assert (done.failed_step.name, done.failed_step.code) == (ROLL_BACK, UNADAPTED)
    assert "no rollback command here yet" in done.errors[0]
    world.assert_nothing_done(done)
    assert world.github.live().sha == world.repository.bad


@pytest.mark.parametrize(
    "call",
    ["GET /deployments", "GET /deployments/100/statuses", "GET /actions/workflows/rollback.yml/runs"],
)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, "{}"), id="500"),
        pytest.param((404, "{}"), id="404"),
        pytest.param((200, "<html>"), id="no JSON"),
        pytest.param((200, '{"message": "odd"}'), id="nonsense"),
        pytest.param((202, "[]"), id="202"),
    ],
)
def test_not_knowing_what_is_live_is_no_leave_to_act(world: World, call: str, answer: tuple[int, str]) -> None:
    world.github.broken[re.escape(call)] = answer
    done = world.dispatch()
    assert (done.failed_step.name, done.failed_step.code) == (COMPARE, UNAVAILABLE)
    assert "GitHub" in done.errors[0]
    world.assert_nothing_done(done)


def test_a_deployment_of_no_commit_is_no_answer(world: World) -> None:
    world.github.deploy(Deployment(102, "::error::main"), "success", run_id=7102)
    done = world.dispatch()
    assert (done.failed_step.name, done.failed_step.code) == (COMPARE, UNAVAILABLE)
    world.assert_nothing_done(done)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("POST /deployments", (500, "{}")),
        ("POST /deployments", (202, '{"message": "merged"}')),
        ("POST /deployments", (201, "{}")),
        (r"POST /deployments/[0-9]+/statuses", (500, "{}")),
        (r"POST /deployments/[0-9]+/statuses", (200, "{}")),
    ],
)
def test_a_rollback_that_cannot_be_recorded_fails_loudly_and_is_recorded_by_the_next_run(
    world: World, call: str, answer: tuple[int, str]
) -> None:
    world.github.broken[call] = answer
    done = world.dispatch()
    assert (done.failed_step.name, done.failed_step.code) == (RECORD, UNAVAILABLE)
    assert world.rolled_back(done) is not None
    assert world.repository.good in done.errors[0]
    assert "not recorded" in done.errors[0]
    assert world.github.live().sha == world.repository.bad
    world.github.broken.clear()
    assert world.dispatch().succeeded
    assert world.github.live().sha == world.repository.good


HOSTILE = (
    "$(touch pwned) `touch pwned` \"'; touch pwned #\n::error::pwned\n##[error]pwned\n"
    "</p><img src=x> \\ %0A \x1b[31m💥é"
)


def test_a_hostile_reason_is_only_text(world: World) -> None:
    done = world.dispatch(reason=HOSTILE)
    assert done.succeeded, done.errors
    assert not list(world.scratch.rglob("pwned"))
    assert not [step for step in done.steps if "pwned" in step.output]
    assert "<img" not in done.summary
    description = world.github.posted[0][1]["description"]
    assert description == (
        "Rolled back payment-api: $(touch pwned) `touch pwned` \"'; touch pwned # ::error::pwned ##[error]pwned "
        "</p><img src=x> \\ %0A [31m é"
    )


def test_a_long_reason_is_cut_to_what_github_takes(world: World) -> None:
    assert world.dispatch(reason="long " * 400).succeeded
    assert len(world.github.posted[0][1]["description"]) == 140


@pytest.mark.parametrize(("execution_id", "shown"), [("5WzKRLeWrTUVEOqUGJbhP", "5WzKRLeWrTUVEOqUGJbhP"), ("", "none")])
def test_a_run_is_found_by_its_name(world: World, execution_id: str, shown: str) -> None:
    assert world.dispatch(execution_id=execution_id).display_title == (
        f"Roll back payment-api in production to deployment 100 (execution {shown}) [ic-0123456789abcdef0123]"
    )


@pytest.mark.parametrize("changes", [{"colour": "red"}, {"reason": None}], ids=["unknown", "missing"])
def test_the_runner_takes_no_dispatch_that_github_would_refuse(world: World, changes: Mapping[str, str | None]) -> None:
    inputs = {name: value for name, value in {**world.inputs(), **changes}.items() if value is not None}
    place = Place(world.repository.path, world.repository.head, world.api_url, world.scratch / "x")
    with pytest.raises(InvalidDispatchError, match=next(iter(changes))):
        run(WORKFLOW, inputs, place)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("${{ github.token }}", "${{ secrets.TOKEN }}"),
        ("steps.compare.outputs.live == 'expected'", "steps.nobody.outputs.live == 'expected'"),
        ("persist-credentials: false", "persist-credentials: true"),
        ("    shell: bash", "    shell: pwsh"),
    ],
)
def test_the_runner_stops_at_what_it_does_not_know(world: World, right: str, wrong: str) -> None:
    changed = world.scratch / "rollback.yml"
    changed.write_text(WORKFLOW.read_text().replace(right, wrong))
    place = Place(world.repository.path, world.repository.head, world.api_url, world.scratch / "x")
    with pytest.raises(UnsupportedError):
        run(changed, world.inputs(), place)


def test_without_its_history_the_clone_cannot_tell_an_ancestor(world: World) -> None:
    """So the check above is one of the workflow's `fetch-depth: 0`, too."""
    changed = world.scratch / "rollback.yml"
    changed.write_text(WORKFLOW.read_text().replace("fetch-depth: 0", "fetch-depth: 1"))
    place = Place(world.repository.path, world.repository.head, world.api_url, world.scratch / "x")
    assert run(changed, world.inputs(), place).failed_step.code == NO_ANCESTOR


class HandClock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class StandIn:
    """The repository's stand-in for GitHub, with the runs of this module instead of those that it plays itself."""

    def __init__(self, api: httpx.Client, clock: HandClock, repository: Repository, scratch: Path) -> None:
        self._api, self._clock, self._repository, self._scratch = api, clock, repository, scratch
        self.good, self.bad = self.deploy(repository.good), self.deploy(repository.bad)

    def deploy(self, sha: str) -> int:
        self._clock.now += timedelta(seconds=1)
        return int(self._call("POST", "/_control/deploy", {"sha": sha})["deployment_id"])

    def dispatch(self) -> Run:
        """One run that ends a minute after it began; what it does in between, the workflow's steps do."""
        self._clock.now += timedelta(seconds=1)
        self._call("PUT", "/_control/behaviour", {"token": "job-token", "conclusion": "success", "run_s": 60})
        inputs = self._inputs()
        ordered = {"ref": "main", "inputs": inputs, "return_run_details": True}
        run_id = self._call("POST", f"{self.at}/actions/workflows/rollback.yml/dispatches", ordered)["workflow_run_id"]
        self._wait_until(run_id, "in_progress")
        root = str(self._api.base_url).rstrip("/")
        place = Place(self._repository.path, self._repository.head, root, self._scratch / str(run_id), run_id)
        done = run(WORKFLOW, inputs, replace(place, name=f"{OWNER}/{REPOSITORY}"))
        self._clock.now += timedelta(minutes=1)
        self._wait_until(run_id, "completed")
        return done

    @property
    def at(self) -> str:
        return f"/repos/{OWNER}/{REPOSITORY}"

    def deployments(self) -> list[dict[str, Any]]:
        journal: dict[str, list[dict[str, Any]]] = self._call("GET", "/_control/journal")
        return journal["deployments"]

    def title(self, run_id: int) -> str:
        return str(self._call("GET", f"{self.at}/actions/runs/{run_id}")["display_title"])

    def _inputs(self) -> dict[str, str]:
        ids = {"deployment_id": str(self.good), "expected_deployment_id": str(self.bad)}
        return {**some_inputs(self._repository), **ids}

    def _wait_until(self, run_id: int, status: str) -> None:
        """Its runs move on by themselves, every ten milliseconds; each look takes one or two."""
        for _ in range(5000):
            if self._call("GET", f"{self.at}/actions/runs/{run_id}")["status"] == status:
                return
        pytest.fail(f"run {run_id} does not get {status}")

    def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        answer = self._api.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture
def stand_in(repository: Repository, tmp_path: Path) -> Iterator[StandIn]:
    clock = HandClock()
    server = uvicorn.Server(uvicorn.Config(create_app(clock), log_level="warning", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        headers = {"Authorization": "Bearer job-token"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=10) as api:
            yield StandIn(api, clock, repository, tmp_path)
        server.should_exit = True
        thread.join()


def test_the_steps_and_the_stand_in_tell_one_story(stand_in: StandIn) -> None:
    """A rollback, and its repetition after GitHub's own `success` came last: judged by what the other side recorded."""
    first, second = stand_in.dispatch(), stand_in.dispatch()
    assert first.executed[-1] == RECORD
    assert (second.executed[-1], second.succeeded) == (COMPARE, True)
    *_, automatic, recorded, repeated = stand_in.deployments()
    assert (automatic["automatic_of"], automatic["state"]) == (first.run_id, "success")
    assert (repeated["automatic_of"], repeated["state"]) == (second.run_id, "success")
    assert {name: recorded[name] for name in ("sha", "task", "state", "automatic_of")} == {
        "sha": first.steps[3].env["TARGET_REVISION"],
        "task": "rollback",
        "state": "success",
        "automatic_of": None,
    }
    assert recorded["payload"]["rollback"]["run_id"] == first.run_id


def test_the_stand_in_names_runs_as_the_workflow_does(stand_in: StandIn) -> None:
    done = stand_in.dispatch()
    assert stand_in.title(done.run_id) == done.display_title


def test_the_steps_find_what_was_deployed_on_the_stand_in_meanwhile(stand_in: StandIn, repository: Repository) -> None:
    newer = stand_in.deploy(repository.shipped)
    done = stand_in.dispatch()
    assert done.failed_step.code == CHANGED
    assert f"deployment {newer} at {repository.shipped} is live" in done.errors[0]
