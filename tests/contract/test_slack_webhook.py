"""The incoming webhook against a stand-in for Slack."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.messages import Ask, ChatKind, ChatMessage, Claim, MessageField
from integrations.http import HttpSettings, build_client
from integrations.slack import SlackWebhook
from integrations.slack.replies import PAUSE
from tests import builders
from tests.standins.github.behaviour import Fault
from tests.standins.slack import (
    SlackStandin,
    accepted_then_cut,
    broken,
    hanging,
    html,
    limited,
    reset,
    running_slack,
    said,
)
from tests.standins.slack.world import WEBHOOK

PAGES = "https://commander.example/incidents/"
SENT = {ChatKind.ALERT, ChatKind.QUESTION, ChatKind.REVIEW, ChatKind.REPORT, ChatKind.PAGE}
SECRET = WEBHOOK.rpartition("/")[2]


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(HttpSettings()) as client:
        yield client


@pytest.fixture
def webhook(client: httpx.AsyncClient, slack: SlackStandin) -> SlackWebhook:
    settings = slack.webhook_settings(timeout=timedelta(seconds=0.5), mention="<@U0MEMBER01>")
    return SlackWebhook(client, settings, PAGES)


def _message(**changes: object) -> ChatMessage:
    values = {
        "kind": ChatKind.ALERT,
        "incident_id": builders.INCIDENT_ID,
        "title": "P0 payment-api (production): roll back?",
        "fields": (MessageField(label="Error rate", text="15.5%"),),
        "claims": (Claim(label="Suspects", text="deployment 101"),),
    }
    return ChatMessage.model_validate({**values, **changes})


async def test_what_stands_by_itself_is_posted_and_the_rest_is_passed_over(
    webhook: SlackWebhook, slack: SlackStandin
) -> None:
    for kind in ChatKind:
        assert await webhook.post(_message(kind=kind, title=kind)) == ""
        assert await webhook.post(_message(kind=kind, stands="C1/1.2")) == ""

    assert {message.text.splitlines()[0].split()[-1] for message in slack.messages()} == SENT
    assert slack.posts == len(SENT)
    assert len(slack.requests()) == len(SENT)


async def test_only_a_page_calls_somebody(webhook: SlackWebhook, slack: SlackStandin) -> None:
    for kind in SENT:
        await webhook.post(_message(kind=kind, title=kind))

    called = [message for message in slack.messages() if message.mentions]
    assert ["page" in message.text for message in called] == [True]


async def test_a_question_says_how_to_answer_since_it_has_no_buttons(
    webhook: SlackWebhook, slack: SlackStandin
) -> None:
    ask = Ask(digest="0123456789abcdef" * 4, deadline=datetime(2026, 11, 24, 14, 30, tzinfo=UTC))

    await webhook.post(_message(kind=ChatKind.QUESTION, ask=ask))

    (message,) = slack.messages()
    assert message.buttons == {}
    assert f"commander approve {builders.INCIDENT_ID}" in message.shown
    assert "incident's page" in message.shown


@pytest.mark.parametrize(
    ("fault", "kind", "pause"),
    [
        (limited(7), TransientError, 7),
        (limited(), TransientError, PAUSE.total_seconds()),
        (broken(500), TransientError, None),
        (said("rollup_error", 500), TransientError, None),
        (said("service_unavailable", 503), TransientError, None),
        (said("", 200), TransientError, None),
        (said("okay", 200), TransientError, None),
        (said("no_service", 200), TransientError, None),
        (html(200), TransientError, None),
        (html(403), TransientError, None),
        (hanging(), TransientError, None),
        (reset(), TransientError, None),
        (said("invalid_payload", 400), PermanentError, None),
        (said("user_not_found", 400), PermanentError, None),
        (said("action_prohibited", 403), PermanentError, None),
        (said("invalid_token", 403), PermanentError, None),
        (said("channel_not_found", 404), PermanentError, None),
        (said("no_service", 404), PermanentError, None),
        (said("channel_is_archived", 410), PermanentError, None),
        (said("something_new", 400), PermanentError, None),
        (said("", 404), PermanentError, None),
        (said("", 302, location="/"), PermanentError, None),
    ],
)
async def test_each_trouble_is_one_call_and_says_whether_another_helps(
    fault: Fault, kind: type[IntegrationError], pause: float | None, webhook: SlackWebhook, slack: SlackStandin
) -> None:
    slack.faults(fault)

    with pytest.raises(kind) as raised:
        await webhook.post(_message())

    after = getattr(raised.value, "retry_after", None)
    assert (after.total_seconds() if after is not None else None) == pause
    assert (len(slack.requests()), slack.posts) == (1, 0)
    assert not _names_the_address(raised.value)


def _names_the_address(raised: BaseException | None) -> bool:
    """Whether an error, or what Temporal would record as its cause, holds the webhook's secret."""
    while raised is not None:
        if SECRET in f"{raised!s} {raised!r}" or "/services/" in str(raised):
            return True
        raised = raised.__cause__ or (None if raised.__suppress_context__ else raised.__context__)
    return False


async def test_a_revoked_webhook_is_named_by_its_variable(client: httpx.AsyncClient, slack: SlackStandin) -> None:
    gone = SecretStr(f"{slack.url}/services/T0/B0/{SECRET}gone")

    with pytest.raises(PermanentError, match="no_service; see SLACK__WEBHOOK_URL") as raised:
        await SlackWebhook(client, slack.webhook_settings(webhook_url=gone)).post(_message())

    assert not _names_the_address(raised.value)


async def test_a_lost_reply_is_not_known_to_be_taken(webhook: SlackWebhook, slack: SlackStandin) -> None:
    slack.faults(accepted_then_cut())

    with pytest.raises(TransientError):
        await webhook.post(_message())

    assert slack.posts == 1


async def test_where_nobody_listens_another_try_may_help(client: httpx.AsyncClient, slack: SlackStandin) -> None:
    settings = slack.webhook_settings(webhook_url=SecretStr(f"http://127.0.0.1:1{WEBHOOK}"))

    with pytest.raises(TransientError, match="cannot be reached") as raised:
        await SlackWebhook(client, settings).post(_message())

    assert not _names_the_address(raised.value)


async def test_an_answer_without_end_is_not_read_to_the_end(webhook: SlackWebhook, slack: SlackStandin) -> None:
    slack.faults(said("x" * 9_000_000, 400))

    with pytest.raises(PermanentError, match="without a name"):
        await webhook.post(_message())
