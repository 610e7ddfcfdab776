"""People who cannot be reached: nothing is said twice, nothing falls silent, and no rollback waits for a message.

Scenarios 17 to 19 of the facts about Slack and PagerDuty, beside the approval table.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

import pytest

from gateway.office import IncidentView
from incident.dossier import Channel, Stage
from incident.evidence import Source
from incident.identifiers import page_key
from incident.messages import ChatKind
from incident.snapshot import ActionTaken, Outcome, Snapshot
from tests import builders
from tests.fakes import FakeAnalyst, FakeService
from tests.fault.approvals import settled, wrongs
from tests.fault.boundary import after
from tests.fault.fuse import Deed
from tests.fault.gateway_world import ADA, ASKING, INTERACTIVITY, GatewayWorld
from tests.fault.people_shift import MENTION, Commission, PeopleShift, Surroundings
from tests.standins import pagerduty, slack
from tests.standins.github import toxics
from tests.standins.github.behaviour import Fault
from tests.standins.slack import SIGNING_SECRET, Person
from tests.standins.slack.payloads import block_actions, form, signed
from tests.workflow.shift import P0, at_stage, ended, noted, sick, until_true
from workflows.desk import IncidentDesk

pytest_plugins = ("tests.fault.gateway_fixtures",)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(bool(toxics.why_not()), reason=toxics.why_not()),
]

PATIENCE = timedelta(seconds=40)
POSTS, WEBHOOK = r"/api/chat\.postMessage", "/services/"
ALWAYS = 1_000
SAID_BY_ITSELF = {ChatKind.ALERT, ChatKind.REPORT}


def without_a_culprit() -> FakeService:
    """A service that is ill, and no deployment explains it: a person must be woken."""
    service = FakeService(live=100)
    service.answer(Source.METRICS, sick(P0))
    return service


def undelivered(snapshot: Snapshot, channel: Channel) -> Sequence[ChatKind]:
    """The kinds of messages that did not arrive there."""
    return [each.kind for each in snapshot.notifications if each.channel is channel and not each.delivered]


def rolled_back_once(shift: PeopleShift, snapshot: Snapshot) -> bool:
    """Whether the incident did what it had to, whoever could be told."""
    recovered = (snapshot.outcome, snapshot.action_taken) == (Outcome.RECOVERED, ActionTaken.ROLLBACK)
    return recovered and len(shift.service.rollback.begun) == 1


# Nothing is said twice.


@pytest.mark.parametrize(("nth", "key"), [(1, "card"), (3, "question-1")])
async def test_a_worker_killed_between_slacks_yes_and_the_record_says_nothing_twice(
    gateway_world: GatewayWorld, nth: int, key: str
) -> None:
    gateway_world.fuse.arm(after("notify.chat", nth), Deed.KILL)
    incident = await gateway_world.incident(ASKING)
    await gateway_world.until_killed()
    assert gateway_world.slack.messages()[-1].key.endswith(f"/{key}")
    await gateway_world.stack.start_worker()
    question = await gateway_world.asked(incident)
    assert await gateway_world.press(question.message) == HTTPStatus.OK
    end = await settled(gateway_world, question)
    assert wrongs(end, ADA) == []
    assert 2 in await gateway_world.attempts(incident, "notify.chat")
    assert gateway_world.slack.posts == len(gateway_world.slack.messages())


async def test_a_lost_reply_of_slack_or_pagerduty_is_no_second_message(
    people: Commission, people_surroundings: Surroundings
) -> None:
    shift = await people(service=without_a_culprit())
    people_surroundings.slack.faults(slack.accepted_then_cut(times=ALWAYS // 2, path=POSTS))
    people_surroundings.pagerduty.faults(pagerduty.accepted_then_cut())
    snapshot = await ended(await shift.open(), PATIENCE)
    keys = people_surroundings.keys()
    assert sorted(set(keys)) == sorted(keys)
    assert {"card", "report"} <= {*keys}
    assert [each.dedup_key for each in people_surroundings.pagerduty.incidents()] == [page_key(snapshot.incident_id)]
    assert people_surroundings.pagerduty.woken == 1
    assert undelivered(snapshot, Channel.CHAT) == undelivered(snapshot, Channel.PAGER) == []


async def test_a_lost_reply_of_a_webhook_may_be_a_second_message(
    people: Commission, people_surroundings: Surroundings
) -> None:
    # An incoming webhook tells neither where a message stands nor which ones there are: whoever has no bot may read a
    # message twice, and never too little.
    shift = await people(by_webhook=True)
    people_surroundings.slack.faults(slack.accepted_then_cut(path=WEBHOOK))
    snapshot = await ended(await shift.open(), PATIENCE)
    titles = [each.text.partition("\n")[0] for each in people_surroundings.slack.messages()]
    assert len(titles) == len(SAID_BY_ITSELF) + 1
    assert len({*titles}) == len(SAID_BY_ITSELF)
    assert ["sent again" in each.text for each in people_surroundings.slack.messages()].count(True) == 1
    assert rolled_back_once(shift, snapshot)


# Nothing falls silent.


async def test_while_slack_is_away_pagerduty_wakes_somebody_and_the_rollback_does_not_wait(
    people: Commission, people_surroundings: Surroundings
) -> None:
    shift = await people()
    await people_surroundings.slack_network.refuse()
    snapshot = await ended(await shift.open({"settle": "3m"}), PATIENCE)
    assert rolled_back_once(shift, snapshot)
    (page,) = people_surroundings.pagerduty.incidents()
    assert (page.dedup_key, page.notified, page.state) == (
        page_key(snapshot.incident_id),
        1,
        pagerduty.State.RESOLVED,
    )
    assert "the chat did not take the alert" in str(page.event)
    assert people_surroundings.slack.messages() == []
    assert {*undelivered(snapshot, Channel.CHAT)} >= {ChatKind.ALERT, ChatKind.REPORT}
    assert not snapshot.integrations.slack
    assert snapshot.integrations.pagerduty


async def test_while_pagerduty_is_away_the_page_calls_somebody_in_slack(
    people: Commission, people_surroundings: Surroundings
) -> None:
    shift = await people(service=without_a_culprit())
    await people_surroundings.pagerduty_network.refuse()
    snapshot = await ended(await shift.open(), PATIENCE)
    (page,) = [each for each in people_surroundings.slack.messages() if each.key == page_key(snapshot.incident_id)]
    assert page.broadcast
    assert page.mentions == [MENTION, MENTION]
    assert "cannot be reached" in page.shown
    others = [each for each in people_surroundings.slack.messages() if each.key != page.key]
    assert not any(MENTION in each.mentions for each in others)
    assert people_surroundings.pagerduty.incidents() == []
    assert (snapshot.outcome, snapshot.unreached) == (Outcome.ESCALATED, "")


async def test_where_nobody_can_be_reached_the_incident_says_so_and_goes_on_until_somebody_is(
    people: Commission, people_surroundings: Surroundings
) -> None:
    shift = await people(service=without_a_culprit())
    await people_surroundings.slack_network.refuse()
    await people_surroundings.pagerduty_network.refuse()
    handle = await shift.open()
    async with shift.gateway() as gate, gate.client() as client:
        incident_id = (await IncidentDesk(shift.environment.client).dossier(handle)).incident_id

        async def _view() -> IncidentView:
            answer = await client.get(f"/incidents/{incident_id}")
            return IncidentView.model_validate_json(answer.raise_for_status().content)

        async def _unreached() -> bool:
            return "neither the pager nor the chat takes anything" in (await _view()).unreached

        await until_true(_unreached)
        assert (await _view()).stage is not Stage.CLOSED
        await people_surroundings.slack_network.clear()
        await people_surroundings.pagerduty_network.clear()
        snapshot = await ended(handle, PATIENCE)
        view = await _view()
    assert (view.stage, view.outcome, view.unreached) == (Stage.CLOSED, Outcome.ESCALATED, "")
    assert people_surroundings.pagerduty.woken == 1
    assert noted(snapshot, "nobody could be told")
    assert noted(snapshot, "somebody was told")
    assert snapshot.integrations.pagerduty


# Scenario 17: whatever Slack and PagerDuty answer, the remediation goes on, and the record says who was told.


LATE = slack.limited(1)
REFUSED = (slack.error("invalid_auth", times=ALWAYS), pagerduty.refused("routing_key is invalid", times=ALWAYS))


@pytest.mark.parametrize(
    ("chat", "pager", "told"),
    [
        ([LATE], [], {Channel.CHAT, Channel.PAGER}),
        ([slack.html(times=2)], [], {Channel.CHAT, Channel.PAGER}),
        ([slack.error("channel_not_found", times=ALWAYS)], [], {Channel.PAGER}),
        ([], [pagerduty.limited(1)], {Channel.CHAT, Channel.PAGER}),
        ([], [pagerduty.broken(503, times=2)], {Channel.CHAT, Channel.PAGER}),
        ([], [pagerduty.refused("routing_key is invalid", times=ALWAYS)], {Channel.CHAT}),
        ([REFUSED[0]], [REFUSED[1]], set[Channel]()),
    ],
    ids=["slack 429", "slack html", "slack no", "pagerduty 429", "pagerduty 503", "pagerduty 400", "both no"],
)
async def test_whatever_they_answer_the_rollback_is_made_and_who_was_told_is_on_record(
    people: Commission,
    people_surroundings: Surroundings,
    chat: Sequence[Fault],
    pager: Sequence[Fault],
    told: set[Channel],
) -> None:
    shift = await people()
    people_surroundings.slack.faults(*chat)
    people_surroundings.pagerduty.faults(*pager)
    snapshot = await ended(await shift.open(), PATIENCE)
    assert rolled_back_once(shift, snapshot)
    for channel in Channel:
        arrived = [each for each in snapshot.notifications if each.channel is channel and each.delivered]
        assert bool(arrived) is (channel in told), channel
        assert bool(undelivered(snapshot, channel)) is (channel not in told), channel
    assert len({*people_surroundings.keys()}) == len(people_surroundings.keys())
    assert shift.store.snapshots == {snapshot.incident_id: snapshot}


async def test_a_webhook_that_was_revoked_wakes_somebody_in_its_place(
    people: Commission, people_surroundings: Surroundings
) -> None:
    shift = await people(by_webhook=True)
    people_surroundings.slack.faults(slack.said("no_service", 404, times=ALWAYS, path=WEBHOOK))
    snapshot = await ended(await shift.open(), PATIENCE)
    assert rolled_back_once(shift, snapshot)
    assert people_surroundings.pagerduty.woken == 1
    problems = {each.problem for each in snapshot.notifications if each.channel is Channel.CHAT}
    assert all("SLACK__WEBHOOK_URL" in each for each in problems)
    assert slack.WEBHOOK not in snapshot.model_dump_json()


async def test_what_an_analyst_says_at_length_fits_into_slack(
    people: Commission, people_surroundings: Surroundings
) -> None:
    wordy = builders.decision(summary="&<>*" * 500, root_cause_hypothesis="<!channel>" * 200)
    shift = await people(analyst=FakeAnalyst(wordy))
    snapshot = await ended(await shift.open(), PATIENCE)
    assert undelivered(snapshot, Channel.CHAT) == []
    assert not any(each.mentions for each in people_surroundings.slack.messages())


# Scenario 19: a gateway whose clock is wrong.


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(minutes=-10)], ids=str)
async def test_a_gateway_whose_clock_is_wrong_takes_no_press_and_an_answer_by_token_at_its_true_time(
    people: Commission, people_surroundings: Surroundings, ahead: timedelta
) -> None:
    shift = await people(analyst=FakeAnalyst(builders.decision(confidence=0.7)))
    handle = await shift.open({"settle": "0s", "look_every": "0s"}, skipping=False)
    proposal = (await at_stage(handle, Stage.AWAITING_APPROVAL)).proposal
    assert proposal
    await until_true(lambda: _question_stands(people_surroundings))
    (question,) = [each for each in people_surroundings.slack.messages() if each.buttons]
    body = form(block_actions(question, "commander.approve", Person.MEMBER))
    headers = signed(body, str(int(time.time())), SIGNING_SECRET)
    async with shift.gateway(ahead) as gate, gate.client() as client:
        refused = await client.post(INTERACTIVITY, content=body, headers=headers)
        assert (refused.status_code, gate.refused("time")) == (HTTPStatus.UNAUTHORIZED, 1)
        said = {"digest": proposal.digest, "approved": True}
        incident_id = question.buttons["commander.approve"].partition(" ")[0]
        taken = await client.post(f"/incidents/{incident_id}/approval", json=said)
        assert taken.status_code == HTTPStatus.OK
    snapshot = await ended(handle, PATIENCE)
    (approval,) = snapshot.approvals
    assert proposal.proposed_at <= approval.at <= proposal.proposed_at + timedelta(minutes=1)
    assert approval.approver == "ada"
    assert rolled_back_once(shift, snapshot)


async def _question_stands(around: Surroundings) -> bool:
    return any(each.buttons for each in around.slack.messages())
