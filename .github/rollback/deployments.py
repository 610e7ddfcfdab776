# ruff: noqa: INP001 - a script of the workflow, not a module
"""What is live, from GitHub's record of deployments, and the record of what a rollback made live.

    deployments.py compare   says live=expected or live=target to the steps that follow; exits 65 where neither is live
    deployments.py record    records a deployment at the target, and that it succeeded

Live is the deployment of the environment whose latest status is `success`, and of those the one that succeeded last.
Two kinds do not count, nor what they ended: those whose payload names another service, and those that GitHub recorded
by itself for the runs of rollback.yml. Where several services share an environment, their deployments must therefore
carry `{"service": "..."}` as payload.

Exits 69 where GitHub's answer is missing or makes no sense: not knowing what is live is no leave to act.
"""

import html
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

USAGE = 64
CHANGED = 65
UNAVAILABLE = 69
_PAGE = 100
_MOST_PAGES = 10
"""GitHub gives no more than 1,000 runs."""
_DESCRIPTION = 140
"""Characters; GitHub's limit."""
_SECONDS = 20.0
_AFTERMATH = timedelta(minutes=1)
"""So soon after a success GitHub calls inactive what that success ended."""
_RUN = re.compile(r"/actions/runs/([0-9]+)")
_REVISION = re.compile(r"[0-9a-f]{40}")


class StopError(Exception):
    """The job ends here, with `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Live:
    """A deployment that succeeded, and that nothing has ended since."""

    deployment_id: int
    revision: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Course:
    """A deployment, what became of it, and the runs of Actions that its statuses point to."""

    deployment_id: int
    revision: str
    payload: Mapping[str, Any]
    statuses: Sequence[tuple[datetime, int, str]]
    """When, its id, and the state; oldest first."""
    runs: frozenset[int]

    @property
    def rollback(self) -> Mapping[str, Any]:
        """What this workflow put into the payload; empty: the deployment is not one of its own records."""
        rollback = self.payload.get("rollback")
        return rollback if isinstance(rollback, dict) else {}

    @property
    def service(self) -> str | None:
        """The service that the payload names."""
        service = self.payload.get("service") or self.rollback.get("service")
        return service if isinstance(service, str) else None

    @property
    def successes(self) -> Sequence[datetime]:
        """When it succeeded, oldest first."""
        return [at for at, _, state in self.statuses if state == "success"]

    def stands(self, took_over: Sequence[datetime]) -> bool:
        """Whether it succeeded and nothing has ended it since.

        Outside production GitHub calls every earlier success of the environment `inactive` once another one comes
        (`auto_inactive`). Where that one is an automatic deployment of this workflow, at one of the times of
        `took_over`, it has ended nothing.
        """
        if not self.successes:
            return False
        at, _, state = self.statuses[-1]
        ended_by_us = state == "inactive" and any(each <= at <= each + _AFTERMATH for each in took_over)
        return state == "success" or ended_by_us

    def as_live(self) -> Live:
        """What it made live, if it stands."""
        return Live(self.deployment_id, self.revision, self.successes[-1])


class GitHub:
    """This repository, as the job's token sees it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._root = f"{environ['GITHUB_API_URL']}/repos/{environ['GITHUB_REPOSITORY']}"
        self._headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
            "User-Agent": "rollback",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def get(self, path: str, **query: str | int) -> Any:  # noqa: ANN401 - GitHub's own JSON
        """What lies at `path`."""
        return self._call("GET", f"{path}?{urllib.parse.urlencode({**query, 'per_page': _PAGE})}", None, 200)

    def create(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401 - GitHub's own JSON
        """What GitHub made of `body`."""
        return self._call("POST", path, json.dumps(body).encode(), 201)

    def _call(self, method: str, path: str, body: bytes | None, wanted: int) -> Any:  # noqa: ANN401 - GitHub's own JSON
        asked = f"{method} {path.partition('?')[0]}"
        request = urllib.request.Request(self._root + path, body, self._headers, method=method)  # noqa: S310 - the runner's URL
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - the runner's URL
                status, content = answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise StopError(UNAVAILABLE, f"GitHub answered {error.code} to {asked}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise StopError(UNAVAILABLE, f"no usable answer from GitHub to {asked}: {type(error).__name__}") from error
        if status != wanted:
            raise StopError(UNAVAILABLE, f"GitHub answered {status}, not {wanted}, to {asked}")
        return content


def find_live(github: GitHub, environment: str, service: str, this_run: int) -> Live | None:
    """What is live of `service`; None: no deployment says so."""
    try:
        ours = {this_run, *_runs_of_this_workflow(github)}
        courses = [_course(github, each) for each in github.get("/deployments", environment=environment)]
        ours |= {int(each.rollback["run_id"]) for each in courses if "run_id" in each.rollback}
        automatic = [each for each in courses if not each.rollback and each.runs & ours]
        took_over = [at for each in automatic for at in each.successes]
        found = [
            each.as_live()
            for each in courses
            if each not in automatic and each.service in (None, service) and each.stands(took_over)
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StopError(UNAVAILABLE, f"GitHub's record of deployments makes no sense ({error!r:.200})") from error
    return max(found, key=lambda live: (live.since, live.deployment_id), default=None)


def _course(github: GitHub, deployment: Mapping[str, Any]) -> Course:
    statuses = github.get(f"/deployments/{deployment['id']}/statuses")
    if not _REVISION.fullmatch(deployment["sha"]):
        raise ValueError("a deployment's sha is not a commit")
    return Course(
        deployment["id"],
        deployment["sha"],
        _payload(deployment),
        sorted((datetime.fromisoformat(each["created_at"]), int(each["id"]), str(each["state"])) for each in statuses),
        frozenset(run for each in statuses for run in _runs(each)),
    )


def _runs(status: Mapping[str, Any]) -> Iterator[int]:
    for url in (status.get("log_url"), status.get("target_url")):
        yield from (int(run) for run in _RUN.findall(url or ""))


def _runs_of_this_workflow(github: GitHub) -> Iterator[int]:
    for page in range(1, _MOST_PAGES + 1):
        runs = github.get("/actions/workflows/rollback.yml/runs", page=page)["workflow_runs"]
        yield from (run["id"] for run in runs)
        if len(runs) < _PAGE:
            return


def _payload(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """What whoever made the deployment put into it; GitHub gives it back as an object or as text."""
    payload = deployment.get("payload")
    if isinstance(payload, str) and payload.lstrip().startswith("{"):
        payload = json.loads(payload)
    return payload if isinstance(payload, dict) else {}


def compare(environ: Mapping[str, str]) -> None:
    """Lets the next steps go on only if the expected revision is live.

    Raises:
        StopError: something else is live, or GitHub does not say.
    """
    service, environment = environ["SERVICE"], environ["ENVIRONMENT"]
    live = find_live(GitHub(environ), environment, service, int(environ["GITHUB_RUN_ID"]))
    if live is None:
        raise StopError(CHANGED, f"no deployment says what is live of {service} in {environment}; nothing was done")
    known = f"deployment {live.deployment_id} at {live.revision} is live, since {live.since.isoformat()}"
    if live.revision == environ["EXPECTED_REVISION"]:
        _output(environ, "expected")
        _say(f"as expected: {known}")
    elif live.revision == environ["TARGET_REVISION"]:
        _output(environ, "target")
        _say(f"::notice::already there: {known}; nothing was done")
        _summarize(environ, f"Already there: {known}. Nothing was done.")
    else:
        raise StopError(CHANGED, f"{known}, which is not {environ['EXPECTED_REVISION']}; nothing was done")


def record(environ: Mapping[str, str]) -> None:
    """Records that the target is live.

    Raises:
        StopError: GitHub did not take the record.
    """
    service, revision = environ["SERVICE"], environ["TARGET_REVISION"]
    run_url = f"{environ['GITHUB_SERVER_URL']}/{environ['GITHUB_REPOSITORY']}/actions/runs/{environ['GITHUB_RUN_ID']}"
    github = GitHub(environ)
    try:
        deployment_id = _made(github.create("/deployments", _deployment(environ)))
        github.create(f"/deployments/{deployment_id}/statuses", {"state": "success", "log_url": run_url})
    except StopError as error:
        raise StopError(error.code, f"{service} was rolled back to {revision}, but is not recorded: {error}") from error
    _say(f"deployment {deployment_id} records that {revision} is live")
    _summarize(
        environ,
        f"Rolled back {service} in {environ['ENVIRONMENT']} to {revision}; deployment {deployment_id} records it. "
        f"Incident {environ['INCIDENT_ID']}, execution {environ['EXECUTION_ID'] or 'none'}, "
        f"confidence {environ['CONFIDENCE']}: {_plain(environ['REASON'])}",
    )


def _deployment(environ: Mapping[str, str]) -> Mapping[str, object]:
    description = f"Rolled back {environ['SERVICE']}: {_plain(environ['REASON'])}"
    return {
        "ref": environ["TARGET_REVISION"],
        "task": "rollback",
        "auto_merge": False,
        "required_contexts": [],
        "environment": environ["ENVIRONMENT"],
        "description": description[:_DESCRIPTION],
        "payload": {
            "rollback": {
                "correlation_id": environ["CORRELATION_ID"],
                "incident_id": environ["INCIDENT_ID"],
                "service": environ["SERVICE"],
                "deployment_id": int(environ["DEPLOYMENT_ID"]),
                "from_deployment_id": int(environ["EXPECTED_DEPLOYMENT_ID"]),
                "run_id": int(environ["GITHUB_RUN_ID"]),
            }
        },
    }


def _made(deployment: object) -> int:
    match deployment:
        case {"id": int() as deployment_id}:
            return deployment_id
    raise StopError(UNAVAILABLE, "GitHub's answer to a new deployment makes no sense")


def _plain(text: str) -> str:
    """`text` on one line, with nothing in it that GitHub refuses in a description."""
    return " ".join("".join(each if each.isprintable() and each <= "\uffff" else " " for each in text).split())


def _output(environ: Mapping[str, str], live: str) -> None:
    with Path(environ["GITHUB_OUTPUT"]).open("a") as output:
        output.write(f"live={live}\n")


def _summarize(environ: Mapping[str, str], text: str) -> None:
    with Path(environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(f"<p>{html.escape(text)}</p>\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


COMMANDS = {"compare": compare, "record": record}


def main() -> int:
    """Runs the command that the workflow named; the exit code says how it ended."""
    command = COMMANDS.get(" ".join(sys.argv[1:]))
    if command is None:
        _say(f"::error::expected one of {', '.join(COMMANDS)}")
        return USAGE
    try:
        command(os.environ)
    except StopError as error:
        _say(f"::error::{error}")
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
