"""How a history is fetched from GitHub: whole or not at all, and with what changed."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from incident.errors import PermanentError, TransientError
from incident.evidence import DeploymentsReport, SourceState
from incident.services import GitHubEndpoint
from integrations.github import GitHubDeployments
from integrations.github.deployments import MAX_READ
from integrations.github.history import MAX_MESSAGE
from tests.unit.github_double import NOW, REPO, REPOSITORY, RUNS, Answer, Script, github

DEPLOYMENTS = f"{REPO}/deployments"
COMPARE = f"{REPO}/compare/abc100...abc101"
ROLLBACK_RUN = f"https://github.com/{REPOSITORY}/actions/runs/77/job/1"


def _iso(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _record(number: int, **changes: object) -> dict[str, object]:
    known = {"id": number, "sha": f"abc{number}", "task": "deploy", "payload": {}, "description": None}
    return {**known, "created_at": _iso(number - 100), "url": "left out", **changes}


def _status(number: int, state: str = "success", log_url: str = "", minutes: float | None = None) -> dict[str, object]:
    at = _iso(number - 100 if minutes is None else minutes)
    return {"id": number, "state": state, "created_at": at, "log_url": log_url, "target_url": ""}


def _comparison(*subjects: str, **changes: object) -> dict[str, object]:
    commits = [{"sha": "x", "commit": {"message": subject}} for subject in subjects]
    known: dict[str, object] = {"status": "ahead", "ahead_by": len(subjects), "behind_by": 0}
    base = {"commit": {"message": "Pool of 50\n\nlong"}}
    return {**known, "base_commit": base, "commits": commits, "files": [{"filename": "a"}] * 7, **changes}


def _tells(script: Script, records: Iterable[dict[str, Any]]) -> None:
    listed = list(records)
    script.say("GET", DEPLOYMENTS, listed)
    for each in listed:
        script.say("GET", f"{DEPLOYMENTS}/{each['id']}/statuses", [_status(each["id"])])


def _runs(*numbers: int) -> dict[str, object]:
    runs = [{"id": number, "status": "completed", "created_at": _iso(0)} for number in numbers]
    return {"total_count": len(runs), "workflow_runs": runs}


def _run(number: int, path: str) -> dict[str, object]:
    return {"id": number, "status": "completed", "created_at": _iso(0), "path": path}


@pytest.fixture
def script() -> Script:
    """100, then 101, live."""
    told = Script()
    _tells(told, [_record(101), _record(100)])
    told.say("GET", RUNS, _runs())
    told.say("GET", COMPARE, _comparison("Move payments", "Log less"))
    return told


def _source(script: Script, **endpoint: object) -> GitHubDeployments:
    given = GitHubEndpoint.model_validate({"kind": "github", "repository": REPOSITORY, **endpoint})
    return GitHubDeployments(github(script), given, "production", "payment-api")


async def _read(script: Script, **endpoint: object) -> DeploymentsReport:
    return await _source(script, **endpoint).read_deployments()


def _live(report: DeploymentsReport) -> tuple[int, str]:
    assert report.live is not None
    return report.live.deployment_id, report.live.message


async def test_a_history_names_its_source_its_live_deployment_and_what_changed(script: Script) -> None:
    report = await _read(script)

    assert (report.source, report.state, report.problem) == ("github", SourceState.OK, "")
    words = "Log less. 2 commits since deployment 100: Move payments; Log less (7 files changed)"
    assert _live(report) == (101, words)
    (good,) = (each for each in report.deployments if not each.live)
    assert (good.deployment_id, good.message, good.once_healthy) == (100, "Pool of 50", True)


async def test_the_environments_newest_are_asked_for(script: Script) -> None:
    await _read(script)
    await _read(script, environment="Production EU")

    asked = [dict(each.url.params) for each in script.sent("GET", DEPLOYMENTS)]
    assert asked == [
        {"environment": "production", "per_page": "30"},
        {"environment": "Production EU", "per_page": "30"},
    ]


async def test_a_description_goes_before_the_commits_subject(script: Script) -> None:
    _tells(script, [_record(101, description="Release 7"), _record(100, description="Release 6")])

    report = await _read(script)

    assert _live(report)[1].startswith("Release 7. 2 commits since deployment 100: ")
    assert [each.message for each in report.deployments if not each.live] == ["Release 6"]


async def test_no_statuses_are_read_of_what_cannot_be_the_services(script: Script) -> None:
    others = [_record(200, task="deploy:other"), _record(201, payload={"service": "checkout"})]
    _tells(script, [*others, _record(101), _record(100)])

    assert _live(await _read(script))[0] == 101
    assert not [each for each in script.asked if "/20" in each.url.path]


async def test_only_the_newest_are_read_whole(script: Script) -> None:
    _tells(script, [_record(number) for number in range(100, 130)])
    script.say("GET", f"{REPO}/compare/abc128...abc129", _comparison("x"))

    report = await _read(script)

    assert _live(report)[0] == 129
    assert len(report.deployments) == MAX_READ
    assert sum(each.url.path.endswith("/statuses") for each in script.asked) == MAX_READ


async def test_an_environment_without_deployments_is_empty_and_says_so(script: Script) -> None:
    script.say("GET", DEPLOYMENTS, [])

    report = await _read(script)

    assert (report.state, report.deployments) == (SourceState.EMPTY, ())
    assert "the environment production of acme/payment-api has the task deploy" in report.problem


async def test_a_history_without_a_live_one_says_why(script: Script) -> None:
    script.say("GET", f"{DEPLOYMENTS}/101/statuses", [_status(101), _status(102, "failure")])

    report = await _read(script)

    assert (report.state, report.live) == (SourceState.OK, None)
    assert "deployment 101 was activated last and now says failure" in report.problem


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        (DEPLOYMENTS, httpx.Response(502), TransientError),
        (DEPLOYMENTS, httpx.Response(404, json={"message": "Not Found"}), PermanentError),
        (DEPLOYMENTS, {"message": "no list"}, PermanentError),
        (DEPLOYMENTS, [{"id": 1}], PermanentError),
        (DEPLOYMENTS, [_record(101, sha="../../x")], PermanentError),
        (f"{DEPLOYMENTS}/100/statuses", httpx.ReadTimeout("late"), TransientError),
        (f"{DEPLOYMENTS}/100/statuses", httpx.Response(200, html="<html>"), TransientError),
        (f"{DEPLOYMENTS}/100/statuses", httpx.Response(403, json={"message": "no"}), PermanentError),
        (f"{DEPLOYMENTS}/100/statuses", [{"state": "success"}], PermanentError),
    ],
)
async def test_a_history_that_cannot_be_read_whole_is_an_error(
    script: Script, path: str, answer: Answer, error: type[Exception]
) -> None:
    script.say("GET", path, answer)

    with pytest.raises(error, match=r"^github: "):
        await _read(script)


async def test_a_repository_that_cannot_be_seen_says_what_the_token_needs(script: Script) -> None:
    script.say("GET", DEPLOYMENTS, httpx.Response(404, json={"message": "Not Found"}))

    with pytest.raises(PermanentError, match="there is no repository acme/payment-api, or the token cannot see it"):
        await _read(script)


async def test_what_github_recorded_for_a_rollbacks_job_is_not_live(script: Script) -> None:
    _tells(script, [_record(102), _record(101), _record(100)])
    script.say("GET", f"{DEPLOYMENTS}/102/statuses", [_status(102, log_url=ROLLBACK_RUN)])
    script.say("GET", RUNS, _runs(78, 77))

    assert _live(await _read(script))[0] == 101


async def test_a_run_of_another_workflow_or_repository_makes_a_deployment(script: Script) -> None:
    _tells(script, [_record(103), _record(102), _record(101), _record(100)])
    elsewhere = ROLLBACK_RUN.replace(REPOSITORY, "acme/other")
    script.say("GET", f"{DEPLOYMENTS}/102/statuses", [_status(102, log_url=elsewhere)])
    script.say("GET", f"{DEPLOYMENTS}/103/statuses", [_status(103, log_url=ROLLBACK_RUN)])
    script.say("GET", RUNS, _runs(76))
    script.say("GET", f"{REPO}/actions/runs/77", _run(77, ".github/workflows/deploy.yml"))
    script.say("GET", f"{REPO}/compare/abc102...abc103", _comparison("x"))

    assert _live(await _read(script))[0] == 103


async def test_a_run_of_the_workflow_that_is_not_listed_yet_is_known_by_its_id(script: Script) -> None:
    _tells(script, [_record(102), _record(101), _record(100)])
    script.say("GET", f"{DEPLOYMENTS}/102/statuses", [_status(102, log_url=ROLLBACK_RUN)])
    script.say("GET", f"{REPO}/actions/runs/77", _run(77, ".github/workflows/rollback.yml@refs/heads/main"))

    assert _live(await _read(script))[0] == 101


async def test_an_old_run_that_is_not_listed_is_not_asked_for(script: Script) -> None:
    script.say("GET", f"{DEPLOYMENTS}/101/statuses", [_status(101, log_url=ROLLBACK_RUN, minutes=-2)])
    script.say("GET", f"{DEPLOYMENTS}/100/statuses", [_status(100, minutes=-9)])

    assert _live(await _read(script))[0] == 101
    assert script.sent("GET", f"{REPO}/actions/runs/77") == []


async def test_runs_are_read_until_all_in_question_are_settled(script: Script) -> None:
    script.say("GET", f"{DEPLOYMENTS}/101/statuses", [_status(101, log_url=ROLLBACK_RUN)])

    def page(*numbers: int) -> httpx.Response:
        link = f'<https://api.github.com{RUNS}?page=2>; rel="next"'
        return httpx.Response(200, json=_runs(*numbers), headers={"link": link})

    script.say("GET", RUNS, page(99, 98), page(97, 77), page(70))

    assert _live(await _read(script))[0] == 100
    assert len(script.sent("GET", RUNS)) == 2


async def test_without_a_run_in_question_no_runs_are_read(script: Script) -> None:
    await _read(script)

    assert not script.sent("GET", RUNS)


async def test_runs_that_cannot_be_read_spoil_the_history(script: Script) -> None:
    script.say("GET", f"{DEPLOYMENTS}/101/statuses", [_status(101, log_url=ROLLBACK_RUN)])
    script.say("GET", RUNS, httpx.Response(404, json={"message": "Not Found"}))

    with pytest.raises(PermanentError, match=r"there is no workflow rollback\.yml of acme/payment-api"):
        await _read(script)


def _rollback(number: int, target: int, source: int = 101) -> dict[str, object]:
    said = {"service": "payment-api", "deployment_id": target, "from_deployment_id": source}
    return _record(number, task="rollback", payload={"rollback": said})


async def test_a_rollback_leads_to_its_target(script: Script) -> None:
    _tells(script, [_rollback(103, 100), _record(101), _record(100)])

    report = await _read(script)

    assert report.live is not None
    assert report.live.deployment_id == 100
    assert [each.rolled_back_from_at is not None for each in report.deployments] == [True, False]


async def test_a_target_that_is_not_listed_any_more_is_fetched(script: Script) -> None:
    _tells(script, [_rollback(103, 60), _record(101)])
    script.say("GET", f"{DEPLOYMENTS}/60", _record(60, description="Release 1"))

    report = await _read(script)

    assert report.live is not None
    assert (report.live.deployment_id, report.live.revision, report.live.message) == (60, "abc60", "Release 1")


async def test_a_target_that_is_gone_is_not_live_and_one_that_cannot_be_asked_for_is_an_error(script: Script) -> None:
    _tells(script, [_rollback(103, 60), _record(101)])
    assert (await _read(script)).live is None

    script.say("GET", f"{DEPLOYMENTS}/60", httpx.Response(502))
    with pytest.raises(TransientError):
        await _read(script)


async def test_a_listed_target_whose_statuses_are_not_read_needs_no_request(script: Script) -> None:
    _tells(script, [_rollback(200, 100), *(_record(number) for number in range(100, 125))])

    report = await _read(script)

    assert report.live is not None
    assert report.live.deployment_id == 100
    assert not script.sent("GET", f"{DEPLOYMENTS}/100")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(502), "what changed since deployment 100 could not be read: answered HTTP 502"),
        (httpx.Response(404, json={"message": "Not Found"}), "could not be read: HTTP 404 Not Found"),
        (httpx.ReadTimeout("late"), "could not be read: did not answer in time"),
        (TimeoutError(), "could not be read: no answer within 3 s"),
        ({"status": "ahead"}, "could not be read: the answer about comparison"),
    ],
)
async def test_a_failing_comparison_does_not_spoil_the_history(script: Script, answer: Answer, words: str) -> None:
    script.say("GET", COMPARE, answer)

    number, message = _live(await _read(script))

    assert number == 101
    assert words in message


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (_comparison("one"), "one. 1 commit since deployment 100: one (7 files changed)"),
        (
            _comparison(*"abcdefg", ahead_by=250, files=[{}] * 300),
            "g. 250 commits since deployment 100: c; d; e; f; g (300+ files changed)",
        ),
        (
            _comparison("a", status="diverged", behind_by=2),
            "a. 1 commit since deployment 100, and 2 of its commits are missing: a (7 files changed)",
        ),
        (
            _comparison(status="behind", behind_by=4, files=[]),
            "0 commits since deployment 100, and 4 of its commits are missing (0 files changed)",
        ),
        (_comparison("\n \x1b[2Ja\u202eb\n\nbody"), "[2Jab. 1 commit since deployment 100: [2Jab (7 files changed)"),
    ],
)
async def test_what_changed_is_told_in_a_line(script: Script, comparison: dict[str, object], words: str) -> None:
    script.say("GET", COMPARE, comparison)

    assert _live(await _read(script)) == (101, words)


async def test_a_long_story_is_cut(script: Script) -> None:
    listed = [_record(101, description="d" * 9000), _record(100, description="e\ud800" * 9000)]
    script.say("GET", DEPLOYMENTS, httpx.Response(200, content=json.dumps(listed)))

    report = await _read(script)

    assert len(report.deployments[0].message) == MAX_MESSAGE
    assert set(report.deployments[1].message) == set("e…")


async def test_two_revisions_are_compared_once(script: Script) -> None:
    source = _source(script)

    first, second = await source.read_deployments(), await source.read_deployments()

    assert first == second
    assert len(script.sent("GET", COMPARE)) == 1


async def test_nothing_is_compared_without_a_predecessor_or_with_what_is_no_revision(script: Script) -> None:
    _tells(script, [_record(101, sha="main"), _record(100)])
    assert "a revision is no commit's" in _live(await _read(script))[1]

    _tells(script, [_record(101)])
    assert _live(await _read(script)) == (101, "")
    assert not [each for each in script.asked if "/compare/" in each.url.path]
