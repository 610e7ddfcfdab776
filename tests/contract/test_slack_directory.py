"""Who may press a button at all, by what Slack says of people."""

from collections.abc import AsyncIterator, Iterator

import pytest

from incident.errors import PermanentError, TransientError
from integrations.slack import Directory, Press
from integrations.slack.directory import KEEPS
from tests import builders
from tests.standins.github.behaviour import Fault
from tests.standins.slack import (
    BOT_TOKEN,
    CHANNEL,
    TEAM,
    Person,
    SlackStandin,
    error,
    hanging,
    html,
    limited,
    reset,
    running_slack,
    said,
)
from tests.standins.slack.world import BOT_USER, OTHER_TEAM, SCOPES, people

CANARY = "ghp_" + "c0FFee" * 7


class Clock:
    """As `time.monotonic`, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def directory(slack: SlackStandin, clock: Clock) -> AsyncIterator[Directory]:
    directory = Directory(slack.settings(), clock)
    yield directory
    await directory.close()


def _press(**changes: object) -> Press:
    values = {
        "incident_id": builders.INCIDENT_ID,
        "digest": "0123456789abcdef",
        "approved": True,
        "user": Person.MEMBER,
        "team": TEAM,
        "channel": CHANNEL,
        "message": "1764000000.000001",
        "user_team": TEAM,
    }
    return Press.model_validate({**values, **changes})


async def test_a_member_in_the_channel_may_answer(directory: Directory) -> None:
    assert await directory.objection(_press()) == ""
    assert await directory.objection(_press(user_team="")) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": Person.GUEST}, "Guests"),
        ({"user": Person.BOT}, "bot"),
        ({"user": "USLACKBOT"}, "does not know"),
        ({"user": Person.DEACTIVATED}, "deactivated"),
        ({"user": Person.STRANGER}, "other workspaces"),
        ({"user": Person.STRANGER, "user_team": ""}, "other workspaces"),
        ({"user": "U0NOBODY01"}, "does not know"),
        ({"team": OTHER_TEAM}, "another workspace"),
        ({"user_team": OTHER_TEAM}, "other workspaces"),
        ({"stranger": True}, "other workspaces"),
        ({"channel": "C0ANOTHER1"}, "another channel"),
    ],
)
async def test_nobody_else_may(changes: dict[str, object], words: str, directory: Directory) -> None:
    assert words in await directory.objection(_press(**changes))


async def test_what_the_press_itself_gives_away_needs_no_question(directory: Directory, slack: SlackStandin) -> None:
    for changes in ({"team": OTHER_TEAM}, {"user_team": OTHER_TEAM}, {"stranger": True}, {"channel": "C0ANOTHER1"}):
        assert await directory.objection(_press(**changes))

    assert slack.requests() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"is_ultra_restricted": True},
        {"is_restricted": None},
        {"is_ultra_restricted": None},
        {"is_bot": None},
        {"deleted": None},
        {"is_bot": "false"},
        {"team_id": None},
        {"team_id": OTHER_TEAM},
        {"is_stranger": True},
        {"id": Person.ANOTHER},
    ],
)
async def test_what_slack_leaves_open_or_says_otherwise_counts_against_a_person(
    changes: dict[str, object], directory: Directory, slack: SlackStandin
) -> None:
    told = {**people()[Person.MEMBER], "id": "U0MEMBER03"}
    slack.know(told)
    assert await directory.objection(_press(user="U0MEMBER03")) == ""

    strange = {**told, "id": "U0MEMBER04", **changes}
    slack.faults(said_of(strange))

    assert await directory.objection(_press(user="U0MEMBER04")) != ""


def said_of(person: dict[str, object]) -> Fault:
    """The answer of users.info that says this of a person."""
    return error("", path="users.info").model_copy(update={"body": {"ok": True, "user": person}})


@pytest.mark.parametrize("person", [None, [], "U0MEMBER01", {}])
async def test_an_answer_without_a_person_is_no_permission(
    person: object, directory: Directory, slack: SlackStandin
) -> None:
    slack.faults(said_of({}).model_copy(update={"body": {"ok": True, "user": person}}))

    assert await directory.objection(_press()) != ""


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (limited(3), TransientError),
        (error("internal_error"), TransientError),
        (html(502), TransientError),
        (said("ok"), TransientError),
        (reset(), TransientError),
        (hanging(), TransientError),
        (error("missing_scope", needed="users:read"), PermanentError),
        (error("invalid_auth"), PermanentError),
    ],
)
async def test_could_not_tell_is_never_may(
    fault: Fault, kind: type[Exception], directory: Directory, slack: SlackStandin
) -> None:
    slack.faults(fault)

    with pytest.raises(kind) as raised:
        await directory.objection(_press())

    assert BOT_TOKEN not in str(raised.value)
    assert await directory.objection(_press()) == ""
    assert len(slack.requests()) == 2


async def test_a_person_is_asked_about_once_a_minute(directory: Directory, slack: SlackStandin, clock: Clock) -> None:
    await directory.objection(_press())
    slack.know({**people()[Person.MEMBER], "deleted": True})
    clock.now += KEEPS.total_seconds() - 1
    assert await directory.objection(_press()) == ""
    assert len(slack.requests()) == 1
    clock.now += 1

    assert "deactivated" in await directory.objection(_press())
    assert "deactivated" in await directory.objection(_press())

    assert len(slack.requests()) == 2


async def test_without_a_workspace_nobody_may_answer(slack: SlackStandin) -> None:
    directory = Directory(slack.settings(team="", signing_secret=None))

    assert await directory.objection(_press()) != ""

    await directory.close()


async def test_whoever_pressed_is_told_and_nobody_else(directory: Directory, slack: SlackStandin) -> None:
    await directory.tell(_press(), f"Not taken: <!channel> token={CANARY} *x* {'y' * 100_000}")

    (told,) = slack.ephemerals()
    assert (told.channel, told.user) == (CHANNEL, Person.MEMBER)
    assert told.text.startswith("Not taken: &lt;!channel&gt; token=[REDACTED")
    assert told.blocks[0]["text"] == {"type": "plain_text", "text": told.text, "emoji": False}
    assert slack.messages() == []


async def test_what_cannot_be_told_is_an_error_of_ours(directory: Directory, slack: SlackStandin) -> None:
    slack.faults(limited(3))
    with pytest.raises(TransientError):
        await directory.tell(_press(), "x")
    with pytest.raises(PermanentError, match="user_not_in_channel"):
        await directory.tell(_press(user="U0NOBODY01"), "")


async def test_the_doctor_learns_who_we_are_and_what_we_lack(directory: Directory, slack: SlackStandin) -> None:
    checked = await directory.check()

    assert (checked.team, checked.team_name, checked.user) == (TEAM, "Stand-in", BOT_USER)
    assert (checked.scopes, checked.missing) == (tuple(sorted(SCOPES)), ())
    slack.allow("chat:write")
    assert (await directory.check()).missing == ("users:read", "channels:history or groups:history")
    slack.allow("chat:write", "users:read", "groups:history")
    assert (await directory.check()).missing == ()


async def test_a_token_that_is_none_is_said_to_the_doctor(directory: Directory, slack: SlackStandin) -> None:
    slack.faults(error("invalid_auth"))

    with pytest.raises(PermanentError, match="SLACK__BOT_TOKEN"):
        await directory.check()
