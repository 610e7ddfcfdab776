"""Approvals that survive: whatever dies, drifts or lies between question and answer, it counts once or not at all.

Each case has a row in the table at the end. Presses that must not count share one incident, which the right person
answers when all of them are through.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import pytest_asyncio

from incident.dossier import Stage
from incident.snapshot import Outcome
from integrations.slack.blocks import button_value
from tests.fault.approvals import settled, wrongs
from tests.fault.gateway_world import ADA, ASKING, GOOD, GRACE, GatewayWorld, Question
from tests.fault.world import ENVIRONMENT, until
from tests.standins.slack import SIGNING_SECRET, Person, broken
from tests.standins.slack.payloads import signed
from tests.standins.slack.world import OTHER_TEAM, people
from workflows.desk import IncidentDesk

pytest_plugins = ("tests.fault.gateway_fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

OK, CONFLICT, AWAY = HTTPStatus.OK, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE
FEW_LOOKS = ASKING.model_copy(update={"max_looks": 6})
"""Where nothing is rolled back: it looks in vain, and no longer than that."""
BUTTON, TOKEN = "Slack button", "token"
TEN_MINUTES = timedelta(minutes=10)


@dataclass
class Row:
    """One row of the table."""

    note: Callable[[str, object], None]

    def of(self, fault: str, way: str) -> None:
        """Which one."""
        self.note("fault", fault)
        self.note("way", way)

    def came(self, what: object) -> None:
        """What came of it."""
        self.note("came", str(what))


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    return Row(record_property)


async def held(world: GatewayWorld, question: Question, row: Row, *by: str, approved: bool = True) -> None:
    """Holds the end of an incident to all that makes it right."""
    end = await settled(world, question)
    row.came(end)
    assert wrongs(end, *by, approved=approved) == []


# Nothing happens.


@pytest.mark.parametrize("approved", [True, False], ids=["approve", "deny"])
@pytest.mark.parametrize("way", [BUTTON, TOKEN])
async def test_an_answer_counts_by_either_way(
    gateway_world: GatewayWorld, row: Row, way: str, *, approved: bool
) -> None:
    row.of("none", f"{way}, {'approve' if approved else 'deny'}")
    question = await gateway_world.asking(ASKING if approved else FEW_LOOKS)
    if way == BUTTON:
        assert await gateway_world.press(question.message, "approve" if approved else "deny") == OK
    else:
        assert (await gateway_world.answer(question, approved=approved)).status_code == OK
    await held(gateway_world, question, row, ADA if way == BUTTON else "ada", approved=approved)


async def test_one_person_by_both_ways_is_one_answer(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("none", "Slack button and token, the same person")
    question = await gateway_world.asking()
    pressed, told = await asyncio.gather(gateway_world.press(question.message), gateway_world.answer(question))
    assert (pressed, told.status_code) == (OK, OK)
    await held(gateway_world, question, row, told.json()["approver"])
    assert "was not taken" not in gateway_world.threads(question)


# Something dies between question and answer.


async def test_a_dead_gateway_takes_no_press_and_the_next_one_does(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("gateway killed", f"{BUTTON}, pressed while it is dead, pressed again")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("gateway")
    with pytest.raises(httpx.ConnectError):
        await gateway_world.press(question.message)
    await gateway_world.stack.start_gateway()
    assert await gateway_world.press(question.message) == OK
    await held(gateway_world, question, row, ADA)


async def test_a_gateway_that_was_killed_knows_the_same_tokens(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("gateway killed", f"{TOKEN}, after its start")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("gateway")
    await gateway_world.stack.start_gateway()
    assert (await gateway_world.answer(question)).status_code == OK
    await held(gateway_world, question, row, "ada")


async def test_a_press_while_no_worker_runs_is_kept_for_the_next(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("worker killed", f"{BUTTON}, pressed while it is dead")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("worker")
    assert await gateway_world.press(question.message) == OK
    await gateway_world.stack.start_worker()
    await held(gateway_world, question, row, ADA)


async def test_an_answer_by_token_waits_for_a_worker(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("worker killed", f"{TOKEN}, given while it is dead")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("worker")
    answering = asyncio.create_task(gateway_world.answer(question))
    await gateway_world.stack.start_worker()
    if (await answering).status_code != OK:  # it took longer to come back than anybody waits
        assert answering.result().status_code == AWAY
        assert (await gateway_world.answer(question)).status_code == OK
    await held(gateway_world, question, row, "ada")


async def test_while_temporal_is_away_slack_hears_503_and_the_next_press_counts(
    gateway_world: GatewayWorld, row: Row
) -> None:
    row.of("Temporal killed", f"{BUTTON}, pressed while it is dead, pressed again")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("temporal")
    assert await gateway_world.press(question.message) == AWAY
    await gateway_world.stack.start_temporal()
    await until(lambda: _presses_through(gateway_world, question), "a press goes through")
    await held(gateway_world, question, row, ADA)


async def test_an_answer_by_token_outlasts_temporals_death(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("Temporal killed", f"{TOKEN}, given while it is dead, given again")
    question = await gateway_world.asking()
    await gateway_world.stack.kill("temporal")
    answering = asyncio.create_task(gateway_world.answer(question))
    await gateway_world.stack.start_temporal()
    assert (await answering).status_code in {OK, AWAY}
    await until(lambda: _answers(gateway_world, question), "an answer is taken")
    await held(gateway_world, question, row, "ada")


async def _presses_through(world: GatewayWorld, question: Question) -> bool:
    return await world.press(question.message) == OK


async def _answers(world: GatewayWorld, question: Question) -> bool:
    return (await world.answer(question)).status_code == OK


# The world moves on.


async def test_what_was_approved_before_another_deployment_went_live_is_asked_anew(
    gateway_world: GatewayWorld, row: Row
) -> None:
    row.of("another deployment goes live", f"{BUTTON}, the old one, again, then the new one")
    gateway_world.bad = GOOD
    question = await gateway_world.asking()
    await gateway_world.somebody_deploys()
    assert await gateway_world.press(question.message) == OK
    anew = await gateway_world.asked(question.incident, question.proposal.digest)
    assert await gateway_world.press(question.message, user=Person.ANOTHER) == OK
    await until(lambda: "its digest differs" in gateway_world.threads(question), "the old button is refused")
    assert anew.proposal.expected_live != question.proposal.expected_live
    assert await gateway_world.press(anew.message) == OK
    end = await settled(gateway_world, question)
    row.came(end)
    assert wrongs(end, ADA, anew=anew) == []


async def test_a_question_that_nobody_answered_in_time_is_answered_by_nobody_later(
    gateway_world: GatewayWorld, row: Row
) -> None:
    row.of("the question expires", f"{BUTTON}, and token, too late")
    soon = FEW_LOOKS.model_copy(update={"approve_within": timedelta(seconds=1), "max_looks": 12})
    question = await gateway_world.asking(soon)
    await until(lambda: not gateway_world.slack.message(question.message.ts).buttons, "its time is over")
    assert await gateway_world.press(question.message) == OK
    assert (await gateway_world.answer(question)).status_code == CONFLICT
    await until(lambda: "no answer is awaited" in gateway_world.threads(question), "the press is refused")
    await held(gateway_world, question, row)
    assert (await gateway_world.closed(question.incident)).outcome is Outcome.ESCALATED
    assert gateway_world.pagerduty.woken == 1


async def test_a_button_of_the_last_incident_answers_nothing_of_the_next(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("the next incident of the service", f"{BUTTON} of the last one, then of this one")
    last = await gateway_world.asking()
    await gateway_world.call("POST", f"/incidents/{last.incident.incident_id}/cancel", {"reason": "a drill"})
    assert (await gateway_world.closed(last.incident)).outcome is Outcome.CANCELLED
    assert await gateway_world.press(last.message) == OK
    await until(lambda: "has closed" in gateway_world.told_alone(), "whoever pressed is told")
    question = await gateway_world.asking()
    assert await gateway_world.press(last.message) == OK
    await until(lambda: "its digest differs" in gateway_world.threads(question), "the old button is refused")
    assert await gateway_world.press(question.message) == OK
    await held(gateway_world, question, row, ADA)
    assert await gateway_world.activations(last.incident) == await gateway_world.activations(question.incident)


# Repeats, and several people.


async def test_a_click_that_comes_twice_and_a_replay_after_the_end_count_once(
    gateway_world: GatewayWorld, row: Row
) -> None:
    row.of("none", f"{BUTTON}, double click, replayed while fresh")
    question = await gateway_world.asking()
    body = gateway_world.pressed(question.message)
    headers = signed(body, str(int(time.time())), SIGNING_SECRET)
    assert {*await asyncio.gather(*(gateway_world.sent(body, headers) for _ in range(2)))} == {OK}
    await gateway_world.closed(question.incident)
    assert await gateway_world.sent(body, headers) == OK
    await until(lambda: "has closed" in gateway_world.told_alone(), "whoever pressed is told")
    await held(gateway_world, question, row, ADA)
    assert "was not taken" not in gateway_world.threads(question)


async def test_of_two_people_at_once_the_first_decides_and_the_other_is_told(
    gateway_world: GatewayWorld, row: Row
) -> None:
    row.of("none", f"{BUTTON}, approve and deny at once by two people")
    question = await gateway_world.asking(FEW_LOOKS.model_copy(update={"max_looks": 20}))
    presses = (
        gateway_world.press(question.message, "approve"),
        gateway_world.press(question.message, "deny", user=Person.ANOTHER),
    )
    assert {*await asyncio.gather(*presses)} == {OK}
    await until(lambda: "was not taken: already" in gateway_world.threads(question), "the other is told")
    snapshot = await gateway_world.closed(question.incident)
    assert snapshot.approval
    approved = snapshot.approval.approved
    await held(gateway_world, question, row, ADA if approved else GRACE, approved=approved)


async def test_two_people_must_approve_and_one_by_two_ways_is_one(gateway_world: GatewayWorld, row: Row) -> None:
    row.of("two must approve", f"{BUTTON} and token of one person, then {BUTTON} of another")
    question = await gateway_world.asking(ASKING.model_copy(update={"approvals_needed": 2}))
    assert await gateway_world.press(question.message) == OK
    again = await gateway_world.answer(question)
    assert (again.status_code, again.json()["approver"]) == (OK, ADA)
    dossier = await IncidentDesk(gateway_world.stack.client).dossier(gateway_world.handle(question.incident))
    assert (dossier.stage, dossier.approval, len(dossier.approvals)) == (Stage.AWAITING_APPROVAL, None, 1)
    assert await gateway_world.press(question.message, user=Person.ANOTHER) == OK
    await held(gateway_world, question, row, ADA, GRACE)


# What must not count.


@dataclass(frozen=True)
class Wrong:
    """A press or an answer by token that must not count."""

    how: str
    status: HTTPStatus
    alone: str = ""
    """What whoever pressed is told, and nobody else."""
    thread: str = ""
    """What is said where the question stands."""
    counted: str = ""
    """As what the gateway counts the refusal."""
    press: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)


UNAUTHORIZED, FORBIDDEN = HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN
COLLEAGUE, UNCHECKED = "U0MEMBER03", "U0MEMBER04"
"""Members of the workspace whom the policy does not name."""
ELSEWHERE = button_value(f"{ENVIRONMENT}.search-api.20261127T000000Z.00000000", "0" * 64)
WRONG = (
    Wrong("not one of the approvers", OK, thread="is not one of the policy's approvers", press={"user": COLLEAGUE}),
    Wrong("a guest", OK, alone="Guests cannot answer", press={"user": Person.GUEST}),
    Wrong("somebody of another team", OK, alone="other workspaces", press={"user": Person.STRANGER}),
    Wrong("in another team", OK, alone="another workspace", press={"team": {"id": OTHER_TEAM, "domain": "x"}}),
    Wrong("in another channel", OK, press={"channel": {"id": "C0ANOTHER1", "name": "x"}}),
    Wrong("a bot", OK, alone="A bot cannot answer", press={"user": Person.BOT}),
    Wrong("a deactivated account", OK, alone="deactivated", press={"user": Person.DEACTIVATED}),
    Wrong("whom Slack does not know", OK, press={"user": "U0NOBODY01"}),
    Wrong("while Slack does not say who", AWAY, alone="who you are", press={"user": UNCHECKED}),
    Wrong("signed with another secret", UNAUTHORIZED, counted="signature", press={"secret": "guessed0" * 4}),
    Wrong(
        "changed after it was signed",
        UNAUTHORIZED,
        counted="signature",
        press={"tamper": lambda body: body.replace(b"commander.deny", b"commander.approve"), "answer": "deny"},
    ),
    Wrong("replayed after ten minutes", UNAUTHORIZED, counted="time", press={"at": -TEN_MINUTES}),
    Wrong("signed ten minutes ahead", UNAUTHORIZED, counted="time", press={"at": TEN_MINUTES}),
    Wrong("with a time that is none", UNAUTHORIZED, counted="signature", press={"at": "now"}),
    Wrong("of another digest", OK, thread="its digest differs", press={"digest": "0" * 64}),
    Wrong("of another service's incident", OK, alone="has closed", press={"value": ELSEWHERE}),
    Wrong("by a token that nobody has", UNAUTHORIZED, counted="token", token={"caller": "ict_guessed"}),
    Wrong("by a token that may only read", FORBIDDEN, counted="scope", token={"caller": "reader"}),
    Wrong("by the token of no approver", CONFLICT, token={"caller": "mallory"}),
    Wrong("by token, of another digest", CONFLICT, token={"digest": "0" * 64}),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def standing(gateway_stack: GatewayWorld) -> AsyncIterator[Question]:
    """A question that stands while everything is tried that must not count."""
    await gateway_stack.put_right()
    question = await gateway_stack.asking()
    gateway_stack.slack.know({**people()[Person.MEMBER], "id": COLLEAGUE})
    gateway_stack.slack.know({**people()[Person.MEMBER], "id": UNCHECKED})
    yield question
    await gateway_stack.put_right()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.how)
async def test_what_must_not_count_changes_nothing(
    gateway_stack: GatewayWorld, standing: Question, row: Row, wrong: Wrong
) -> None:
    row.of(wrong.how, TOKEN if wrong.token else BUTTON)
    before = await gateway_stack.counted("gateway_refused_total", reason=wrong.counted)
    told, said = len(gateway_stack.told_alone()), len(gateway_stack.threads(standing))
    if wrong.press.get("user") == UNCHECKED:
        gateway_stack.slack.faults(broken(path="/api/users.info"))
    assert await _status(gateway_stack, standing, wrong) == wrong.status
    await until(lambda: wrong.alone in gateway_stack.told_alone()[told:], "whoever pressed is told")
    await until(lambda: wrong.thread in gateway_stack.threads(standing)[said:], "it is said where the question stands")
    assert await gateway_stack.counted("gateway_refused_total", reason=wrong.counted) == before + bool(wrong.counted)
    dossier = await IncidentDesk(gateway_stack.stack.client).dossier(gateway_stack.handle(standing.incident))
    assert (dossier.stage, dossier.approvals, dossier.proposal) == (Stage.AWAITING_APPROVAL, [], standing.proposal)
    assert await gateway_stack.activations(standing.incident) == []
    row.came(f"{wrong.status.value}, nothing taken, nothing done")


async def test_the_right_answer_after_all_the_wrong_ones_counts_once(
    gateway_stack: GatewayWorld, standing: Question, row: Row
) -> None:
    row.of("after all of these", BUTTON)
    assert await gateway_stack.press(standing.message) == OK
    await held(gateway_stack, standing, row, ADA)


async def _status(world: GatewayWorld, question: Question, wrong: Wrong) -> int:
    if wrong.token:
        return (await world.answer(question, **wrong.token)).status_code
    given = dict(wrong.press)
    if digest := given.pop("digest", ""):
        given["value"] = button_value(question.incident.incident_id, digest)
    return await world.press(question.message, given.pop("answer", "approve"), **given)
