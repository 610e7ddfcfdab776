"""Rolling back by a workflow: what is sent, how a run is found again, and what its words mean."""

import json
import math
import time
from datetime import datetime, timedelta

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from incident.errors import PermanentError, TransientError
from incident.ledger import RollbackOrder, RollbackRun, RunState
from incident.services import GitHubEndpoint
from integrations.github import GitHub, GitHubRollback, GitHubSettings
from integrations.github.rollback import INPUTS, MAX_PAYLOAD, MAX_REASON
from integrations.github.runs import MAX_DETAIL, Run
from integrations.http import Fence, HttpSettings, build_client
from tests import builders
from tests.unit.github_double import DISPATCHES, NOW, REPO, REPOSITORY, RUNS, Answer, Script, github

ORDER = builders.order(correlation_id="ic-1", target_revision="a" * 40, expected_revision="b" * 40)
PAGE = f"https://github.com/{REPOSITORY}/actions/workflows/rollback.yml"
URL = f"https://github.com/{REPOSITORY}/actions/runs/7"
ACCEPTED = {"workflow_run_id": 7, "run_url": "https://api.github.com/x", "html_url": URL}
RUN = f"{REPO}/actions/runs/7"


def _run(number: int = 7, correlation_id: str = "ic-1", status: str = "queued", **changes: object) -> dict[str, object]:
    known = {"id": number, "status": status, "conclusion": None, "run_attempt": 1}
    title = f"Roll back payment-api in production [{correlation_id}]"
    return {**known, "display_title": title, "html_url": URL, "created_at": "2026-11-24T13:59:59Z", **changes}


def _listed(*runs: dict[str, object]) -> dict[str, object]:
    return {"total_count": len(runs), "workflow_runs": list(runs)}


@pytest.fixture
def script() -> Script:
    told = Script()
    told.say("POST", DISPATCHES, dict(ACCEPTED))
    told.say("GET", RUNS, _listed())
    return told


def _target(script: Script, *, endpoint: dict[str, object] | None = None, **settings: object) -> GitHubRollback:
    given = GitHubEndpoint.model_validate({"kind": "github", "repository": REPOSITORY, **(endpoint or {})})
    return GitHubRollback(github(script, **settings), given, pause=script.pause)


async def _start(script: Script, order: RollbackOrder = ORDER, **settings: object) -> RollbackRun:
    return await _target(script, endpoint=None, **settings).start(order, math.inf)


async def test_a_dispatch_says_all_that_the_workflow_needs(script: Script) -> None:
    order = ORDER.model_copy(update={"confidence": 0.925, "reason": "slow\n\x1b[2J and ghp_" + "x" * 40})

    run = await _start(script, order)

    (request,) = script.sent("POST")
    body = json.loads(request.content)
    assert body == {
        "ref": "main",
        "return_run_details": True,
        "inputs": {
            "service": "payment-api",
            "environment": "production",
            "deployment_id": "100",
            "target_revision": "a" * 40,
            "expected_deployment_id": "101",
            "expected_revision": "b" * 40,
            "incident_id": order.incident_id,
            "execution_id": order.execution_id,
            "reason": "slow [2J and [REDACTED:github-token]",
            "confidence": "0.93" if round(0.925, 2) > 0.92 else "0.92",
            "correlation_id": "ic-1",
        },
    }
    assert tuple(body["inputs"]) == INPUTS
    assert run == RollbackRun(
        correlation_id="ic-1", state=RunState.PENDING, run_id=7, asked_at=NOW, url=URL, detail="accepted"
    )


async def test_the_endpoint_names_environment_branch_and_workflow(script: Script) -> None:
    script.say("POST", DISPATCHES.replace("rollback.yml", "undo.yaml"), dict(ACCEPTED))
    endpoint: dict[str, object] = {"environment": "Production EU", "ref": "release/7", "workflow": "undo.yaml"}

    await _target(script, endpoint=endpoint).start(ORDER, math.inf)

    body = json.loads(script.sent("POST")[0].content)
    assert (body["ref"], body["inputs"]["environment"]) == ("release/7", "Production EU")


@pytest.mark.parametrize(("version", "asks"), [("2022-11-28", True), ("2026-03-09", True), ("2026-03-10", False)])
async def test_the_runs_id_is_asked_for_only_where_that_is_allowed(script: Script, version: str, *, asks: bool) -> None:
    await _start(script, api_version=version)

    assert ("return_run_details" in json.loads(script.sent("POST")[0].content)) is asks


async def test_a_reason_is_short_and_never_blank(script: Script) -> None:
    for reason in ("x" * 9000, " \n "):
        await _start(script, ORDER.model_copy(update={"reason": reason}))

    sent = [json.loads(each.content)["inputs"]["reason"] for each in script.sent("POST")]
    assert (len(sent[0]), sent[1]) == (MAX_REASON, "no reason was given")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target_revision": ""}, "the revision of deployment 100 is not known"),
        ({"expected_revision": ""}, "the revision of deployment 101 is not known"),
        ({"target_revision": "b" * 40}, "deployments 100 and 101 are the same revision"),
        ({"incident_id": "i" * MAX_PAYLOAD}, f"GitHub takes {MAX_PAYLOAD}"),
    ],
)
async def test_an_order_that_cannot_be_dispatched_is_refused_unsent(
    script: Script, change: dict[str, object], words: str
) -> None:
    run = await _start(script, ORDER.model_copy(update=change))

    assert run.state is RunState.REFUSED
    assert words in run.detail
    assert not script.asked


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(204),
        httpx.Response(200),
        httpx.Response(200, html="<html>"),
        httpx.Response(200, content=b'{"workflow_run_id": 7'),
        {},
        {"workflow_run_id": "7"},
        {"workflow_run_id": True},
        {"workflow_run_id": None, "html_url": URL},
        [],
    ],
)
async def test_an_accepted_dispatch_without_a_run_id_is_pending(script: Script, answer: Answer) -> None:
    script.say("POST", DISPATCHES, answer)

    run = await _start(script)

    assert (run.state, run.run_id, run.url, run.asked_at) == (RunState.PENDING, None, PAGE, NOW)
    assert run.detail == "accepted; its run is not listed yet"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, json={"message": "Bad credentials"}), "HTTP 401 Bad credentials: the token is not valid"),
        (httpx.Response(403, json={"message": "no"}), "the token needs actions=write on acme/payment-api"),
        (httpx.Response(404, json={"message": "Not Found"}), "there is no workflow rollback.yml of acme/payment-api"),
        (httpx.Response(422, json={"message": "No ref found for: main"}), "HTTP 422 No ref found for: main"),
        (httpx.Response(409, json={"message": "Conflict"}), "HTTP 409 Conflict"),
        (httpx.Response(301, headers={"location": "https://x.example/"}), "has moved"),
    ],
)
async def test_a_dispatch_that_github_does_not_take_is_refused(
    script: Script, answer: httpx.Response, words: str
) -> None:
    script.say("POST", DISPATCHES, answer)

    run = await _start(script)

    assert (run.state, run.run_id) == (RunState.REFUSED, None)
    assert words in run.detail
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429, headers={"retry-after": "7"}),
        httpx.Response(403, json={"message": "You have exceeded a secondary rate limit"}),
        httpx.Response(500),
        httpx.Response(502, html="<html>"),
        httpx.ReadTimeout("silent"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
    ],
)
async def test_a_dispatch_of_which_nobody_knows_is_worth_another_look(script: Script, answer: Answer) -> None:
    script.say("POST", DISPATCHES, answer)

    with pytest.raises(TransientError):
        await _start(script)
    assert len(script.sent("POST")) == 1


async def test_a_dispatch_that_is_late_is_not_sent(script: Script) -> None:
    fence = Fence(httpx.MockTransport(script))
    connection = GitHub(build_client(HttpSettings(), fence), GitHubSettings.model_validate({"token": "x"}))
    endpoint = GitHubEndpoint.model_validate({"kind": "github", "repository": REPOSITORY})
    target = GitHubRollback(connection, endpoint)

    with pytest.raises(TransientError, match="was not sent: it is too late"):
        await target.start(ORDER, time.monotonic() - 1)
    assert not script.asked

    assert (await target.start(ORDER, time.monotonic() + 60)).run_id == 7


async def test_one_look_is_enough_where_nobody_is_known_to_have_asked(script: Script) -> None:
    assert await _target(script).find(ORDER, None) is None

    (asked,) = script.sent("GET", RUNS)
    assert dict(asked.url.params) == {
        "event": "workflow_dispatch",
        "created": ">=2026-11-23T14:00:00Z",
        "per_page": "100",
        "exclude_pull_requests": "true",
    }
    assert script.pauses == []


async def test_a_run_that_may_have_been_asked_for_is_looked_for_until_it_should_be_listed(script: Script) -> None:
    assert await _target(script).find(ORDER, NOW) is None

    assert script.pauses[:5] == [3, 4.5, 6.75, 10.125, 12]
    assert sum(script.pauses) == 90
    assert len(script.sent("GET", RUNS)) == len(script.pauses) + 1
    assert script.sent("GET", RUNS)[0].url.params["created"] == ">=2026-11-24T13:50:00Z"


async def test_a_run_that_is_listed_late_is_found(script: Script) -> None:
    script.say("GET", RUNS, _listed(), _listed(), _listed(_run()))

    found = await _target(script).find(ORDER, NOW)

    assert found == RollbackRun(
        correlation_id="ic-1", state=RunState.PENDING, run_id=7, asked_at=NOW, url=URL, detail="queued"
    )
    assert script.pauses == [3, 4.5]


@pytest.mark.parametrize(
    ("asked_at", "waits"),
    [
        (NOW - timedelta(seconds=80), 10),
        (NOW - timedelta(hours=1), 0),
        (NOW + timedelta(minutes=10), 90),  # by a clock that is ahead of ours
    ],
)
async def test_the_wait_counts_from_when_it_was_asked_for(script: Script, asked_at: datetime, waits: float) -> None:
    assert await _target(script).find(ORDER, asked_at) is None

    assert sum(script.pauses) == waits
    since = datetime.fromisoformat(script.sent("GET", RUNS)[0].url.params["created"].removeprefix(">="))
    assert since == min(asked_at, NOW) - timedelta(minutes=10)


async def test_a_target_that_lists_at_once_waits_for_nothing(script: Script) -> None:
    assert await _target(script, run_appears_within="0s").find(ORDER, NOW) is None
    assert script.pauses == []


@pytest.mark.parametrize(
    "title",
    [
        "",
        "ic-1",
        "Roll back [ic-10]",
        "Roll back [xic-1]",
        "Roll back [ic-1] again",
        "Roll back [[ic-1]]",
        "Roll back [ic-1",
        "Roll back [IC-1]",
        "[ic-1] [ic-2]",
    ],
)
async def test_only_the_whole_id_at_the_end_of_a_title_is_a_match(script: Script, title: str) -> None:
    script.say("GET", RUNS, _listed(_run(display_title=title), _run(display_title="another [ic-2]")))

    assert await _target(script).find(ORDER, None) is None


async def test_a_run_on_a_later_page_is_found(script: Script) -> None:
    link = {"link": f'<https://api.github.com{RUNS}?page=2>; rel="next"'}
    script.say("GET", RUNS, httpx.Response(200, json=_listed(_run(8, "ic-2")), headers=link), _listed(_run()))

    found = await _target(script).find(ORDER, None)

    assert found is not None
    assert (found.run_id, found.asked_at) == (7, datetime.fromisoformat("2026-11-24T13:59:59+00:00"))


async def test_of_two_runs_the_first_counts_and_another_that_has_not_begun_is_called_off(script: Script) -> None:
    runs = [_run(9, status="in_progress"), _run(8, status="waiting"), _run(10, status="queued"), _run(7)]
    script.say("GET", RUNS, _listed(*runs))
    script.say("POST", f"{REPO}/actions/runs/8/cancel", httpx.Response(202, json={}))
    script.say("POST", f"{REPO}/actions/runs/10/cancel", httpx.Response(403, json={"message": "no"}))

    with structlog.testing.capture_logs() as logs:
        found = await _target(script).find(ORDER, None)

    assert found is not None
    assert found.run_id == 7
    assert [each.url.path for each in script.sent("POST")] == [f"{REPO}/actions/runs/{n}/cancel" for n in (8, 10)]
    assert [(each["event"], each["run_id"]) for each in logs] == [
        ("rollback.duplicate_cancelled", 8),
        ("rollback.duplicate_stays", 10),
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(502), TransientError),
        (httpx.Response(404, json={"message": "Not Found"}), PermanentError),
        ({"workflow_runs": [{"id": "7"}]}, PermanentError),
    ],
)
async def test_a_list_that_cannot_be_read_is_not_an_empty_one(
    script: Script, answer: Answer, error: type[Exception]
) -> None:
    script.say("GET", RUNS, answer)

    with pytest.raises(error):
        await _target(script).find(ORDER, None)


@pytest.mark.parametrize(
    ("status", "conclusion", "state", "detail"),
    [
        ("queued", None, RunState.PENDING, "queued"),
        ("requested", None, RunState.PENDING, "requested"),
        ("pending", None, RunState.PENDING, "pending"),
        ("waiting", None, RunState.WAITING, "waiting"),
        ("in_progress", None, RunState.RUNNING, "in progress"),
        ("in_progress", "success", RunState.RUNNING, "in progress"),
        ("completed", "success", RunState.SUCCEEDED, ""),
        ("completed", "failure", RunState.FAILED, ""),
        ("completed", "cancelled", RunState.CANCELLED, ""),
        ("completed", "timed_out", RunState.TIMED_OUT, ""),
        ("completed", "action_required", RunState.ACTION_REQUIRED, ""),
        ("completed", "startup_failure", RunState.STARTUP_FAILURE, ""),
        (
            "completed",
            "neutral",
            RunState.UNKNOWN,
            "GitHub says 'neutral' of how it ended, which is not known as success",
        ),
        (
            "completed",
            "skipped",
            RunState.UNKNOWN,
            "GitHub says 'skipped' of how it ended, which is not known as success",
        ),
        ("completed", "stale", RunState.UNKNOWN, "GitHub says 'stale' of how it ended, which is not known as success"),
        (
            "completed",
            "Success",
            RunState.UNKNOWN,
            "GitHub says 'Success' of how it ended, which is not known as success",
        ),
        (
            "completed",
            "\x1b[2J\nwon",
            RunState.UNKNOWN,
            "GitHub says '[2J won' of how it ended, which is not known as success",
        ),
        ("completed", None, RunState.UNKNOWN, "GitHub says 'nothing' of how it ended, which is not known as success"),
        ("success", "success", RunState.UNKNOWN, "GitHub says 'success' of where it is, which is not known as success"),
        (None, None, RunState.UNKNOWN, "GitHub says 'nothing' of where it is, which is not known as success"),
    ],
)
async def test_a_run_is_where_githubs_words_say(
    script: Script, status: str | None, conclusion: str | None, state: RunState, detail: str
) -> None:
    script.say("GET", RUN, _run(status=status, conclusion=conclusion, run_attempt=3))  # type: ignore[arg-type]  # any word is the point
    before = builders.run(RunState.PENDING, correlation_id="ic-1", run_id=7, asked_at=NOW)

    run = await _target(script).look(ORDER, before)

    assert (run.state, run.detail) == (state, detail)
    assert (run.run_id, run.attempt, run.asked_at, run.url) == (7, 3, NOW, URL)


@given(st.sampled_from(("completed", "queued")) | st.text() | st.none(), st.text() | st.none())
def test_only_one_pair_of_words_is_success(status: str | None, conclusion: str | None) -> None:
    run = Run.model_validate({"id": 1, "created_at": NOW, "status": status, "conclusion": conclusion})

    assert (run.state is RunState.SUCCEEDED) is ((status, conclusion) == ("completed", "success"))
    assert run.state.ended <= (status == "completed")
    assert run.words


async def test_a_waiting_run_says_for_whom(script: Script) -> None:
    script.say("GET", RUN, _run(status="waiting"))
    environment = {"environment": {"id": 1, "name": "production\x1b"}, "reviewers": []}
    script.say("GET", f"{RUN}/pending_deployments", [environment])

    run = await _target(script).look(ORDER, builders.run(RunState.PENDING, correlation_id="ic-1", run_id=7))

    assert (run.state, run.detail) == (RunState.WAITING, "waiting for a review of the environment production")


async def test_a_failed_run_says_where(script: Script) -> None:
    steps = [{"name": "Set up", "conclusion": "success"}, {"name": "Compare what is live", "conclusion": "failure"}]
    jobs = [{"name": "lint", "conclusion": "success"}, {"name": "roll-back", "conclusion": "failure", "steps": steps}]
    script.say("GET", RUN, _run(status="completed", conclusion="failure"))
    script.say("GET", f"{RUN}/jobs", {"total_count": 2, "jobs": jobs})

    run = await _target(script).look(ORDER, builders.run(RunState.RUNNING, correlation_id="ic-1", run_id=7))

    assert run.detail == "failure in job 'roll-back', step 'Compare what is live'"


async def test_a_flood_of_failed_jobs_stays_short(script: Script) -> None:
    jobs = [{"name": "j" * 900, "conclusion": "failure"}] * 90
    script.say("GET", RUN, _run(status="completed", conclusion="failure"))
    script.say("GET", f"{RUN}/jobs", {"jobs": jobs})

    run = await _target(script).look(ORDER, builders.run(RunState.RUNNING, correlation_id="ic-1", run_id=7))

    assert len(run.detail) == MAX_DETAIL


@pytest.mark.parametrize(
    "answer", [httpx.Response(502), httpx.Response(403), {"jobs": "x"}, [], httpx.ReadError("cut")]
)
@pytest.mark.parametrize(
    ("status", "conclusion", "path", "detail"),
    [("completed", "failure", "jobs", ""), ("waiting", None, "pending_deployments", "waiting")],
)
async def test_what_cannot_be_told_in_detail_is_left_out(
    script: Script, answer: Answer, status: str, conclusion: str | None, path: str, *, detail: str
) -> None:
    script.say("GET", RUN, _run(status=status, conclusion=conclusion))
    script.say("GET", f"{RUN}/{path}", answer)

    run = await _target(script).look(ORDER, builders.run(RunState.RUNNING, correlation_id="ic-1", run_id=7))

    assert run.detail == detail


async def test_a_run_that_github_does_not_know_any_more_is_an_error(script: Script) -> None:
    with pytest.raises(PermanentError, match="there is no run 7 of acme/payment-api"):
        await _target(script).look(ORDER, builders.run(RunState.RUNNING, correlation_id="ic-1", run_id=7))


async def test_a_run_without_an_id_is_adopted_once_it_is_listed(script: Script) -> None:
    pending = builders.run(RunState.PENDING, correlation_id="ic-1", asked_at=NOW)
    target = _target(script)
    assert await target.look(ORDER, pending) == pending

    script.say("GET", RUNS, _listed(_run(status="in_progress")))
    run = await target.look(ORDER, pending)

    assert (run.run_id, run.state, run.asked_at) == (7, RunState.RUNNING, NOW)
    assert script.pauses == []


@pytest.mark.parametrize("state", [state for state in RunState if state.ended])
async def test_an_ended_run_is_not_asked_about(script: Script, state: RunState) -> None:
    ended = builders.run(state, correlation_id="ic-1", run_id=7)

    assert await _target(script).look(ORDER, ended) == ended
    assert await _target(script).cancel(ORDER, ended) == ended
    assert not script.asked


@pytest.mark.parametrize("status", ["queued", "waiting", "pending", "requested"])
@pytest.mark.parametrize("answer", [202, 409])
async def test_a_run_that_has_not_begun_is_called_off(script: Script, status: str, answer: int) -> None:
    script.say("GET", RUN, _run(status=status), _run(status="completed", conclusion="cancelled"))
    script.say("POST", f"{RUN}/cancel", httpx.Response(answer, json={}))

    run = await _target(script).cancel(ORDER, builders.run(RunState.PENDING, correlation_id="ic-1", run_id=7))

    assert run.state is RunState.CANCELLED
    assert len(script.sent("POST", f"{RUN}/cancel")) == 1


@pytest.mark.parametrize(("status", "conclusion"), [("in_progress", None), ("completed", "success"), ("odd", None)])
async def test_a_run_that_may_have_begun_goes_on(script: Script, status: str, conclusion: str | None) -> None:
    script.say("GET", RUN, _run(status=status, conclusion=conclusion))

    await _target(script).cancel(ORDER, builders.run(RunState.PENDING, correlation_id="ic-1", run_id=7))

    assert not script.sent("POST")


async def test_a_run_without_an_id_is_looked_for_before_it_is_called_off(script: Script) -> None:
    pending = builders.run(RunState.PENDING, correlation_id="ic-1", asked_at=NOW)
    assert await _target(script).cancel(ORDER, pending) == pending

    script.say("GET", RUNS, _listed(_run()))
    script.say("GET", RUN, _run(status="completed", conclusion="cancelled"))
    script.say("POST", f"{RUN}/cancel", httpx.Response(202, json={}))
    assert (await _target(script).cancel(ORDER, pending)).state is RunState.CANCELLED


async def test_a_cancellation_that_github_refuses_is_an_error(script: Script) -> None:
    script.say("GET", RUN, _run())
    script.say("POST", f"{RUN}/cancel", httpx.Response(403, json={"message": "no"}))

    with pytest.raises(PermanentError, match="actions=write"):
        await _target(script).cancel(ORDER, builders.run(RunState.PENDING, correlation_id="ic-1", run_id=7))


async def test_a_link_that_is_none_is_not_passed_on(script: Script) -> None:
    script.say("GET", RUN, _run(html_url="javascript:alert(1)"))

    run = await _target(script).look(ORDER, builders.run(RunState.RUNNING, correlation_id="ic-1", run_id=7))

    assert run.url == PAGE
