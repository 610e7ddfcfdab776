"""What every chat and pager promises, and what the console's writes may hold."""

import io
import unicodedata
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.messages import Change, ChatKind, ChatMessage, MessageField, Page
from incident.ports import Chat, Pager
from incident.severity import Severity
from integrations.console import ConsoleChat, ConsolePager
from integrations.http import HttpSettings, build_client
from integrations.pagerduty import PagerDutyPager, PagerDutySettings
from integrations.slack import SlackChat
from tests import builders
from tests.fakes import FakeChat, FakePager
from tests.standins.pagerduty import running_pagerduty
from tests.standins.slack import running_slack

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31mred\u202egnp\u2028●\n  Incident: forged\r\x00"


def _message(**changes: object) -> ChatMessage:
    fields = (MessageField(label="Severity", text="P0"), MessageField(label="Error rate", text="15.5%"))
    values = {"kind": ChatKind.ALERT, "incident_id": builders.INCIDENT_ID, "title": "P0 payment-api", "fields": fields}
    return ChatMessage.model_validate({**values, **changes})


def _page(**changes: object) -> Page:
    values = {
        "key": f"ic/{builders.INCIDENT_ID}",
        "incident_id": builders.INCIDENT_ID,
        "severity": Severity.P0,
        "priority": "P1",
        "summary": "P0 payment-api (production): look at it",
        "service": builders.SERVICE,
        "environment": builders.ENVIRONMENT,
        "details": (MessageField(label="why", text="the live deployment does not explain it"),),
    }
    return Page.model_validate({**values, **changes})


class _BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(len(text))


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.fixture(params=["fake", "console", "slack"])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Chat, Callable[[], int]]]:
    """A chat, and how many messages it holds."""
    if request.param == "fake":
        fake = FakeChat()
        yield fake, lambda: len(fake.posted)
    elif request.param == "console":
        stream = io.StringIO()
        yield ConsoleChat(stream), lambda: stream.getvalue().count("\n\n")
    else:
        with running_slack() as slack:
            channel = SlackChat(slack.settings())
            yield channel, lambda: slack.posts
            await channel.close()


@pytest.fixture(params=["with places", "slack"])
async def placed(request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    """A chat whose messages have places."""
    if request.param == "slack":
        with running_slack() as slack:
            channel = SlackChat(slack.settings())
            yield channel
            await channel.close()
    else:
        yield FakeChat(places=True)


@pytest.fixture(params=["fake", "console", "pagerduty"])
async def pager(request: pytest.FixtureRequest) -> AsyncIterator[Pager]:
    if request.param == "pagerduty":
        with running_pagerduty() as pagerduty:
            key = SecretStr(pagerduty.routing_key)
            async with build_client(HttpSettings()) as client:
                yield PagerDutyPager(client, PagerDutySettings(routing_key=key, events_url=pagerduty.url))
    else:
        yield FakePager() if request.param == "fake" else ConsolePager(io.StringIO())


async def test_every_post_is_one_message(chat: tuple[Chat, Callable[[], int]]) -> None:
    channel, count = chat

    for kind in ChatKind:
        await channel.post(_message(kind=kind))

    assert count() == len(ChatKind)


async def test_a_message_stands_where_it_was_posted_and_is_changed_there(placed: Chat) -> None:
    card, question = await placed.post(_message(key="card")), await placed.post(_message(key="question"))
    assert card
    assert card != question
    changed = _message(key="card", status="by now", stands=card)
    assert await placed.post(changed) == card
    assert await placed.post(_message(kind=ChatKind.NOTE, thread=card)) not in {card, question}


async def test_a_key_that_may_have_been_posted_is_looked_for(placed: Chat) -> None:
    place = await placed.post(_message(key="card"))
    assert await placed.post(_message(key="card", again=True)) == place
    assert await placed.post(_message(key="other", again=True)) != place


async def test_a_change_is_shown_and_opens_nothing(pager: Pager) -> None:
    change = Change(
        incident_id=builders.INCIDENT_ID,
        summary="rollback of payment-api",
        service=builders.SERVICE,
        environment=builders.ENVIRONMENT,
        at=builders.NOW,
    )
    await pager.record_change(change)
    await pager.record_change(change)


async def test_the_same_page_may_be_sent_again_and_closed_twice(pager: Pager) -> None:
    await pager.page(_page())
    await pager.page(_page())
    await pager.resolve(_page().key)
    await pager.resolve(_page().key)


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (FakeChat(error=TransientError("chat", "down")), TransientError),
        (ConsoleChat(_BrokenStream()), TransientError),
        (ConsoleChat(_closed()), PermanentError),
    ],
)
async def test_a_message_that_cannot_be_posted_is_one_of_our_errors(failing: Chat, error: type[Exception]) -> None:
    with pytest.raises(error):
        await failing.post(_message())


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (FakePager(error=TransientError("pager", "down")), TransientError),
        (ConsolePager(_BrokenStream()), TransientError),
        (ConsolePager(_closed()), PermanentError),
    ],
)
async def test_a_page_that_cannot_be_sent_is_one_of_our_errors(failing: Pager, error: type[Exception]) -> None:
    with pytest.raises(error):
        await failing.page(_page())
    with pytest.raises(error):
        await failing.resolve("ic/1")


async def test_a_scripted_failure_passes_and_the_next_message_arrives() -> None:
    chat = FakeChat(TransientError("chat", "down"))
    with pytest.raises(IntegrationError):
        await chat.post(_message())

    await chat.post(_message())

    assert len(chat.posted) == 1


async def test_equal_keys_are_one_open_page() -> None:
    pager = FakePager()
    await pager.page(_page())
    await pager.page(_page(summary="again"))

    assert [page.summary for page in pager.open.values()] == ["again"]
    await pager.resolve(_page().key)
    assert not pager.open


async def test_the_console_shows_title_incident_and_every_field() -> None:
    stream = io.StringIO()

    await ConsoleChat(stream).post(_message())

    assert stream.getvalue() == (
        f"● alert: P0 payment-api\n  Incident: {builders.INCIDENT_ID}\n  Severity: P0\n  Error rate: 15.5%\n\n"
    )


async def test_the_console_shows_key_priority_and_details_of_a_page() -> None:
    stream = io.StringIO()

    await ConsolePager(stream).page(_page())
    await ConsolePager(stream).resolve(_page().key)

    opened, closed, _ = stream.getvalue().split("\n\n")
    assert opened == (
        f"● page ic/{builders.INCIDENT_ID} (P1): P0 payment-api (production): look at it\n"
        "  why: the live deployment does not explain it"
    )
    assert closed == f"● page ic/{builders.INCIDENT_ID}: resolved"


async def test_no_value_can_steer_the_terminal_or_pass_for_a_line_of_ours() -> None:
    stream = io.StringIO()
    field = MessageField(label=HOSTILE, text=HOSTILE)

    await ConsoleChat(stream).post(_message(title=HOSTILE, incident_id=HOSTILE, fields=(field,)))
    await ConsolePager(stream).page(_page(key=HOSTILE, summary=HOSTILE, details=(field,)))

    written = stream.getvalue()
    assert {unicodedata.category(each) for each in written.replace("\n", "")}.isdisjoint({"Cc", "Cf", "Zl", "Zp"})
    assert [len(block.splitlines()) for block in written.split("\n\n")] == [3, 2, 0]
