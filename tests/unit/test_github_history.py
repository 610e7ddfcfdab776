"""How GitHub's deployments are read: which is live is told rightly or not at all."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from incident.errors import PermanentError
from integrations.github.history import History, read_history
from integrations.github.records import DeploymentRecord, Status, Told, told
from tests.unit.github_double import NOW, REPOSITORY

SERVICE = "payment-api"
RUN = 30_001
RUN_URL = f"https://github.com/{REPOSITORY}/actions/runs/{RUN}"


def _at(minute: int) -> datetime:
    return NOW + timedelta(minutes=minute)


def _statuses(number: int, *course: tuple[int, str], log_url: str | None = None) -> list[Status]:
    """Statuses by minute and state; their ids follow minute and deployment."""
    return [
        Status(id=minute * 1000 + number, state=state, created_at=_at(minute), log_url=log_url)
        for minute, state in course
    ]


def _deployment(
    number: int,
    *course: tuple[int, str],
    task: str = "deploy",
    payload: JsonValue = None,
    log_url: str | None = None,
) -> Told:
    record = DeploymentRecord(id=number, sha=f"abc{number}", task=task, payload=payload, created_at=_at(0))
    return told(record, _statuses(number, *course, log_url=log_url), REPOSITORY)


def _rollback(
    number: int, target: int, source: int, *course: tuple[int, str], log_url: str | None = RUN_URL, **changes: JsonValue
) -> Told:
    said: dict[str, JsonValue] = {
        "correlation_id": "ic-1",
        "incident_id": "i-1",
        "service": SERVICE,
        "deployment_id": target,
        "from_deployment_id": source,
        "run_id": RUN,
        **changes,
    }
    return _deployment(number, *course, task="rollback", payload={"rollback": said}, log_url=log_url)


def _read(*records: Told, leave_out: Sequence[int] = (), others: Sequence[Told] = (), task: str = "deploy") -> History:
    return read_history(
        records,
        service=SERVICE,
        task=task,
        leave_out=frozenset(leave_out),
        others={each.record.id: each for each in others},
    )


def _live(history: History) -> int | None:
    assert sum(each.live for each in history.deployments) <= 1
    assert bool(history.problem) != any(each.live for each in history.deployments) or not history.deployments
    return history.live.deployment_id if history.live else None


GOOD = _deployment(100, (1, "queued"), (2, "success"))
BAD = _deployment(101, (3, "in_progress"), (4, "success"))


def test_of_several_that_say_success_the_one_activated_last_is_live() -> None:
    history = _read(GOOD, BAD)

    assert _live(history) == 101
    assert [each.deployment_id for each in history.deployments] == [101, 100]
    assert [each.activated_at for each in history.deployments] == [_at(4), _at(2)]
    assert [each.revision for each in history.deployments] == ["abc101", "abc100"]
    assert [each.id for each in history.deployments] == ["deployment:101", "deployment:100"]


def test_an_older_deployment_that_succeeds_again_is_live() -> None:
    again = _deployment(100, (2, "success"), (6, "success"))

    history = _read(again, BAD)

    assert (_live(history), history.deployments[1].activated_at) == (100, _at(6))


def test_within_one_second_the_later_status_counts() -> None:
    first = _deployment(100, (4, "success"))
    second = told(first.record.model_copy(update={"id": 99}), _statuses(99, (4, "success")), REPOSITORY)

    assert _live(_read(second, first)) == 100
    assert _live(_read(first, second)) == 100


@pytest.mark.parametrize("state", ["failure", "error", "inactive", "in_progress", "queued", "pending", "sleeping"])
def test_what_was_activated_last_and_does_not_say_so_any_more_leaves_nothing_known_to_be_live(state: str) -> None:
    history = _read(GOOD, _deployment(101, (4, "success"), (5, state)))

    assert _live(history) is None
    assert history.problem == f"deployment 101 was activated last and now says {state}, so what is live is not known"


@pytest.mark.parametrize("state", ["failure", "error", "queued", "in_progress", "pending", "inactive"])
def test_a_deployment_that_never_succeeded_replaced_nothing(state: str) -> None:
    assert _live(_read(GOOD, _deployment(101, (4, state)))) == 100


def test_a_deployment_without_any_status_replaced_nothing() -> None:
    history = _read(GOOD, _deployment(101))

    assert _live(history) == 100
    assert (history.deployments[0].activated_at, history.deployments[0].once_healthy) == (None, None)


def test_nothing_that_succeeded_is_nothing_live() -> None:
    history = _read(_deployment(100, (1, "failure")), _deployment(101))

    assert _live(history) is None
    assert history.problem == "none of the newest deployments ever succeeded"
    assert _read() == History()


@pytest.mark.parametrize(
    ("course", "healthy"),
    [
        ([(1, "success")], True),
        ([(1, "success"), (2, "failure")], True),
        ([(1, "success"), (2, "inactive")], True),
        ([(1, "failure"), (2, "success")], True),
        ([(1, "failure")], False),
        ([(1, "error"), (2, "inactive")], False),
        ([(1, "queued"), (2, "in_progress")], None),
        ([(1, "inactive")], None),
        ([], None),
    ],
)
def test_healthy_means_that_it_ever_succeeded(course: list[tuple[int, str]], healthy: bool | None) -> None:  # noqa: FBT001 - the expected value
    (entry,) = _read(_deployment(100, *course)).deployments

    assert entry.once_healthy is healthy


def test_a_rollback_makes_its_target_live_again_and_is_no_deployment_of_its_own() -> None:
    history = _read(GOOD, BAD, _rollback(103, 100, 101, (7, "success")))

    assert _live(history) == 100
    assert [each.deployment_id for each in history.deployments] == [101, 100]
    bad, good = history.deployments
    assert (good.activated_at, good.once_healthy, good.rolled_back_from_at) == (_at(7), True, None)
    assert (bad.activated_at, bad.rolled_back_from_at) == (_at(4), _at(7))


def test_a_rollback_of_a_rollback_follows_the_last_one() -> None:
    undo = _rollback(104, 101, 100, (9, "success"))

    history = _read(GOOD, BAD, _rollback(103, 100, 101, (7, "success")), undo)

    assert _live(history) == 101
    assert [each.rolled_back_from_at for each in history.deployments] == [_at(7), _at(9)]


def test_what_is_deployed_after_a_rollback_is_live() -> None:
    history = _read(GOOD, BAD, _rollback(103, 100, 101, (7, "success")), _deployment(105, (8, "success")))

    assert _live(history) == 105
    assert history.last_known_good is not None
    assert history.last_known_good.deployment_id == 100


def test_a_late_second_word_of_a_rollback_undoes_nothing() -> None:
    rollback = _rollback(103, 100, 101, (7, "success"), (9, "success"))

    assert _live(_read(GOOD, BAD, rollback, _deployment(105, (8, "success")))) == 105


@pytest.mark.parametrize("course", [[], [(7, "queued")], [(7, "in_progress")], [(7, "failure")], [(7, "error")]])
def test_a_rollback_that_did_not_succeed_changed_nothing(course: list[tuple[int, str]]) -> None:
    history = _read(GOOD, BAD, _rollback(103, 100, 101, *course))

    assert _live(history) == 101
    assert [each.rolled_back_from_at for each in history.deployments] == [None, None]


@pytest.mark.parametrize("state", ["failure", "inactive", "error", "in_progress"])
def test_a_rollback_that_does_not_say_success_any_more_leaves_nothing_known_to_be_live(state: str) -> None:
    history = _read(GOOD, BAD, _rollback(103, 100, 101, (7, "success"), (8, state)))

    assert _live(history) is None
    assert "deployment 103 was activated last and now says" in history.problem


def test_the_end_of_its_own_job_does_not_undo_a_rollback() -> None:
    rollback = _rollback(103, 100, 101, (7, "success"), (8, "inactive"))
    job = _deployment(102, (6, "in_progress"), (8, "success"), log_url=RUN_URL)
    long_ago = _deployment(102, (6, "success"), log_url=RUN_URL)

    assert _live(_read(GOOD, BAD, job, rollback, leave_out=[102])) == 100
    assert _live(_read(GOOD, BAD, long_ago, rollback, leave_out=[102])) is None
    assert _live(_read(GOOD, BAD, rollback)) is None


def test_the_end_of_a_run_that_found_nothing_to_do_ends_nothing() -> None:
    later = RUN_URL.replace(str(RUN), "30002")
    job = _deployment(104, (12, "in_progress"), (14, "success"), log_url=later)
    rollback = _rollback(103, 100, 101, (7, "success"), (14, "inactive"))
    deployed = _deployment(101, (5, "success"), (14, "inactive"))

    assert _live(_read(GOOD, BAD, rollback, job, leave_out=[104])) == 100
    assert _live(_read(GOOD, deployed, job, leave_out=[104])) == 101


@pytest.mark.parametrize("state", ["failure", "error", "in_progress"])
def test_any_other_word_than_inactive_does(state: str) -> None:
    rollback = _rollback(103, 100, 101, (7, "success"), (8, state))
    job = _deployment(102, (8, "success"), log_url=RUN_URL)

    assert _live(_read(GOOD, BAD, job, rollback, leave_out=[102])) is None


def test_what_github_recorded_for_a_rollbacks_job_is_left_out() -> None:
    history = _read(GOOD, BAD, _deployment(102, (6, "success"), log_url=RUN_URL), leave_out=[102])

    assert _live(history) == 101
    assert [each.deployment_id for each in history.deployments] == [101, 100]


@pytest.mark.parametrize(
    "payload", ["text", "{", "[]", '"{}"', None, "", {"a": 1}, [1], {"rollback": None}, 7, "[" * 9999]
)
def test_any_other_payload_is_an_ordinary_deployments(payload: JsonValue) -> None:
    assert _live(_read(GOOD, _deployment(101, (4, "success"), payload=payload))) == 101


def test_a_payload_may_come_as_text_and_its_numbers_too() -> None:
    said = {"rollback": {"service": SERVICE, "deployment_id": "100", "from_deployment_id": "101"}}
    record = _deployment(103, (7, "success"), task="rollback", payload=json.dumps(said))

    assert _live(_read(GOOD, BAD, record)) == 100


def test_a_record_under_the_services_own_task_is_a_rollback_all_the_same() -> None:
    said: JsonValue = {"rollback": {"service": SERVICE, "deployment_id": 100, "from_deployment_id": 101}}

    assert _live(_read(GOOD, BAD, _deployment(103, (7, "success"), payload=said))) == 100


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "text",
        {},
        {"rollback": {}},
        {"rollback": "100"},
        {"rollback": []},
        {"rollback": {"service": SERVICE}},
        {"rollback": {"service": SERVICE, "deployment_id": 100}},
        {"rollback": {"service": SERVICE, "deployment_id": True, "from_deployment_id": 101}},
        {"rollback": {"service": SERVICE, "deployment_id": 0, "from_deployment_id": 101}},
        {"rollback": {"service": SERVICE, "deployment_id": "\N{SUPERSCRIPT TWO}", "from_deployment_id": 101}},
        {"rollback": {"service": SERVICE, "deployment_id": 100.5, "from_deployment_id": 101}},
        {"rollback": {"service": 7, "deployment_id": 100, "from_deployment_id": 101}},
        {"rollback": {"deployment_id": 100, "from_deployment_id": 101}},
    ],
)
def test_a_rollback_that_took_place_and_cannot_be_read_spoils_the_history(payload: JsonValue) -> None:
    record = _deployment(103, (7, "success"), (8, "inactive"), task="rollback", payload=payload)

    with pytest.raises(PermanentError, match=r"deployment 103 says that it is a rollback, but payload\.rollback"):
        _read(GOOD, BAD, record)


@pytest.mark.parametrize("payload", [None, {"rollback": {}}, {"rollback": "100"}])
def test_one_that_never_took_place_does_not(payload: JsonValue) -> None:
    record = _deployment(103, (7, "failure"), task="rollback", payload=payload)

    history = _read(GOOD, BAD, record)

    assert (_live(history), len(history.deployments)) == (101, 2)


def test_another_services_rollbacks_and_deployments_are_not_read() -> None:
    foreign = _rollback(103, 100, 101, (7, "success"), service="checkout")
    broken = _rollback(104, 100, 101, (8, "success"), service="checkout", deployment_id="x")
    task = _deployment(105, (9, "success"), task="deploy:checkout")
    named = _deployment(106, (10, "success"), payload={"service": "checkout"})
    mine = _deployment(107, (5, "success"), payload={"service": SERVICE})

    history = _read(GOOD, BAD, foreign, broken, task, named, mine)

    assert _live(history) == 107
    assert [each.deployment_id for each in history.deployments] == [107, 101, 100]


def test_a_target_that_the_page_does_not_hold_any_more_gets_an_entry() -> None:
    history = _read(BAD, _rollback(103, 60, 101, (7, "success")), others=[_deployment(60)])

    assert _live(history) == 60
    assert (history.live.activated_at, history.live.once_healthy) == (_at(7), True) if history.live else False


@pytest.mark.parametrize("target", [_deployment(60, task="other"), _deployment(60, payload={"service": "checkout"})])
def test_a_target_that_is_no_deployment_of_the_service_is_not_live_and_neither_is_any_other(target: Told) -> None:
    for others in ([], [target]):
        history = _read(GOOD, BAD, _rollback(103, 60, 101, (7, "success")), others=others)

        assert _live(history) is None
        assert "rollback 103 led to deployment 60" in history.problem


def test_the_last_known_good_succeeded_before_and_was_not_rolled_back_from() -> None:
    failed = _deployment(102, (5, "failure"))
    rolled_back = _rollback(104, 99, 100, (3, "success"))
    older = _deployment(99, (1, "success"))

    good = _read(older, GOOD, rolled_back, failed, BAD).last_known_good

    assert good is not None
    assert (good.deployment_id, good.activated_at) == (99, _at(3))
    assert _read(BAD).last_known_good is None
    assert _read(GOOD, _deployment(101, (4, "success"), (5, "failure"))).last_known_good is None


_COURSES = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["success", "failure", "inactive", "in_progress"])))
_PAYLOADS = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.just({"rollback": {"service": SERVICE}})
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["rollback", "service", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.integers(90, 110), st.tuples(_COURSES, st.sampled_from(["deploy", "rollback"]), _PAYLOADS)))
def test_a_live_deployment_is_never_invented(world: dict[int, tuple[list[tuple[int, str]], str, JsonValue]]) -> None:
    records = [_deployment(number, *course, task=task, payload=said) for number, (course, task, said) in world.items()]
    try:
        history = _read(*records)
    except PermanentError:
        return

    live = _live(history)
    counted = {each.deployment_id for each in history.deployments}
    succeeded = [each for each in records if each.successes and each.record.id in counted]
    assert history == _read(*reversed(records))
    if live is not None:
        last = max(succeeded, key=lambda each: each.successes[-1].order)
        assert (last.record.id, last.says_success) == (live, True)


@given(st.lists(st.tuples(st.sampled_from([99, 100, 101]), st.sampled_from(["deploy", "roll back"])), max_size=8))
def test_whatever_was_done_last_is_live(done: list[tuple[int, str]]) -> None:
    courses: dict[int, list[tuple[int, str]]] = {99: [(1, "success")], 100: [(2, "success")], 101: [(3, "success")]}
    records: list[Told] = []
    live = 101
    for minute, (number, how) in enumerate(done, start=10):
        if how == "deploy":
            courses[number].append((minute, "success"))
        else:
            records.append(_rollback(200 + minute, number, live, (minute, "success")))
        live = number

    history = _read(*(_deployment(number, *course) for number, course in courses.items()), *records)

    assert _live(history) == live
