"""The bot against a stand-in for Slack: what people read, once, and what every kind of trouble comes to."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.messages import Ask, ChatKind, ChatMessage, Claim, MessageField
from integrations.http import MAX_RETRY_AFTER
from integrations.slack import SlackChat
from integrations.slack.chat import LOOKS_BACK, MAX_PAGES, PAGE_SIZE
from integrations.slack.replies import PAUSE
from tests import builders
from tests.standins.github.behaviour import Fault
from tests.standins.slack import (
    BOT_TOKEN,
    CHANNEL,
    SlackStandin,
    accepted_then_cut,
    broken,
    error,
    hanging,
    html,
    limited,
    reset,
    running_slack,
    said,
)
from tests.standins.slack.world import ARCHIVED_CHANNEL, FOREIGN_CHANNEL

PAGES = "https://commander.example/incidents/"
DIGEST = "0123456789abcdef" * 4
KEY = f"{builders.INCIDENT_ID}/alert"
POST, UPDATE, HISTORY = "chat.postMessage", "chat.update", "conversations.history"
CANARY = "ghp_" + "c0FFee" * 7
ELSEWHERE = f"{CHANNEL}/1000000000.000001"


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


@pytest.fixture
async def chat(slack: SlackStandin) -> AsyncIterator[SlackChat]:
    chat = SlackChat(slack.settings(), PAGES)
    yield chat
    await chat.close()


@pytest.fixture
async def hasty(slack: SlackStandin) -> AsyncIterator[SlackChat]:
    """One that waits half a second for Slack."""
    chat = SlackChat(slack.settings(timeout=timedelta(seconds=0.5)), PAGES)
    yield chat
    await chat.close()


def _message(**changes: object) -> ChatMessage:
    values = {
        "kind": ChatKind.ALERT,
        "incident_id": builders.INCIDENT_ID,
        "title": "P0 payment-api (production): asking to roll back deployment 101 to 100",
        "fields": (MessageField(label="Error rate", text="15.5%"),),
        "claims": (Claim(label="Suspects", text="deployment 101", cites=("log-1",)),),
        "key": KEY,
    }
    return ChatMessage.model_validate({**values, **changes})


async def test_a_message_stands_in_the_channel_with_its_key_and_nothing_unfurled(
    chat: SlackChat, slack: SlackStandin
) -> None:
    place = await chat.post(_message())

    (message,) = slack.messages()
    assert (message.place, message.channel, message.key) == (place, CHANNEL, KEY)
    assert (message.mentions, message.buttons) == ([], {})
    for shown in ("Error rate", "15.5%", "The analyst says", "deployment 101", "log-1"):
        assert shown in message.shown
    sent = slack.requests()[0].arguments
    quiet = {"unfurl_links": False, "unfurl_media": False, "link_names": False, "parse": "none", "mrkdwn": False}
    assert {name: sent[name] for name in quiet} == quiet


async def test_one_message_goes_on_saying_where_the_matter_stands(chat: SlackChat, slack: SlackStandin) -> None:
    place = await chat.post(_message())

    same = await chat.post(_message(stands=place, status="Rolled back; recovering"))
    again = await chat.post(_message(stands=place, status="FULLY_RECOVERED"))

    (message,) = slack.messages()
    assert same == again == place == message.place
    assert (slack.posts, message.updates, message.key) == (1, 2, KEY)
    assert "FULLY_RECOVERED" in message.shown
    assert "recovering" not in message.shown


async def test_details_stand_under_the_alert_and_only_an_announced_one_in_the_channel_too(
    chat: SlackChat, slack: SlackStandin
) -> None:
    alert = await chat.post(_message())
    await chat.post(_message(kind=ChatKind.DETAILS, thread=alert, key="details"))
    await chat.post(_message(kind=ChatKind.REPORT, thread=alert, key="report", announce=True))

    parent, details, report = slack.messages()
    assert (parent.thread_ts, details.thread_ts, report.thread_ts) == (None, parent.ts, parent.ts)
    assert (details.broadcast, report.broadcast) == (False, True)


async def test_an_announcement_that_stands_under_nothing_is_a_message_like_any_other(
    chat: SlackChat, slack: SlackStandin
) -> None:
    await chat.post(_message(announce=True))

    assert [(each.thread_ts, each.broadcast) for each in slack.messages()] == [(None, False)]


async def test_a_question_has_buttons_until_it_is_answered(chat: SlackChat, slack: SlackStandin) -> None:
    ask = Ask(digest=DIGEST, deadline=datetime(2026, 11, 24, 14, 30, tzinfo=UTC))
    place = await chat.post(_message(kind=ChatKind.QUESTION, ask=ask))
    value = f"{builders.INCIDENT_ID} {DIGEST}"
    assert slack.messages()[0].buttons == {"commander.approve": value, "commander.deny": value}

    await chat.post(_message(kind=ChatKind.QUESTION, stands=place, status="Approved by <@U0MEMBER01>"))

    (message,) = slack.messages()
    assert (message.buttons, message.mentions) == ({}, [])
    assert "Approved by <@U0MEMBER01>" in message.shown


async def test_without_a_way_back_for_a_press_there_are_no_buttons(slack: SlackStandin) -> None:
    ask = Ask(digest=DIGEST, deadline=datetime(2026, 11, 24, 14, 30, tzinfo=UTC))
    chat = SlackChat(slack.settings(signing_secret=None), PAGES)

    await chat.post(_message(kind=ChatKind.QUESTION, ask=ask))
    await chat.close()

    (message,) = slack.messages()
    assert message.buttons == {}
    assert f"commander approve {builders.INCIDENT_ID}" in message.shown


async def test_only_what_nobody_could_be_paged_about_calls_somebody(slack: SlackStandin) -> None:
    chat = SlackChat(slack.settings(mention="<@U0MEMBER01>"), PAGES)
    for kind in ChatKind:
        await chat.post(_message(kind=kind, key=kind))
    await chat.close()

    called = {message.key: message.mentions for message in slack.messages() if message.mentions}
    assert set(called) == {ChatKind.PAGE}
    assert set(called[ChatKind.PAGE]) == {"<@U0MEMBER01>"}


async def test_a_lost_reply_and_the_message_again_are_one_message(hasty: SlackChat, slack: SlackStandin) -> None:
    slack.faults(accepted_then_cut(path=POST))
    with pytest.raises(TransientError):
        await hasty.post(_message())
    assert slack.posts == 1

    place = await hasty.post(_message(again=True))

    assert [message.place for message in slack.messages()] == [place]
    assert slack.posts == 1


async def test_a_lost_reply_in_a_thread_and_the_message_again_are_one_message(
    hasty: SlackChat, slack: SlackStandin
) -> None:
    alert = await hasty.post(_message())
    slack.faults(accepted_then_cut(path=POST))
    with pytest.raises(TransientError):
        await hasty.post(_message(thread=alert, key="details"))

    place = await hasty.post(_message(thread=alert, key="details", again=True))

    assert place == slack.messages()[1].place
    assert slack.posts == 2


async def test_a_message_that_never_arrived_is_posted_when_it_comes_again(chat: SlackChat, slack: SlackStandin) -> None:
    await chat.post(_message(key="another"))
    slack.faults(reset(path=POST))
    with pytest.raises(TransientError):
        await chat.post(_message())

    await chat.post(_message(again=True))

    assert [message.key for message in slack.messages()] == ["another", KEY]


async def test_a_key_is_looked_for_only_where_the_message_says_that_it_may_stand(
    chat: SlackChat, slack: SlackStandin
) -> None:
    first = await chat.post(_message())

    second = await chat.post(_message())
    keyless = [await chat.post(_message(key="", again=True)) for _ in range(2)]

    assert len({first, second, *keyless}) == 4
    assert not [each for each in slack.requests() if HISTORY in each.path]


async def test_a_changed_message_is_found_by_its_key_as_before(chat: SlackChat, slack: SlackStandin) -> None:
    place = await chat.post(_message())
    await chat.post(_message(stands=place, status="recovering", key=""))

    assert await chat.post(_message(again=True)) == place
    assert slack.posts == 1


async def test_a_message_is_found_on_a_later_page_and_looking_ends(chat: SlackChat, slack: SlackStandin) -> None:
    place = await chat.post(_message())
    slack.chatter(2 * PAGE_SIZE)
    assert await chat.post(_message(again=True)) == place
    assert len([each for each in slack.requests() if HISTORY in each.path]) == 3
    slack.chatter((MAX_PAGES - 2) * PAGE_SIZE)
    asked = len(slack.requests())

    assert await chat.post(_message(again=True)) != place

    assert len(slack.requests()) == asked + MAX_PAGES + 1


async def test_what_is_older_than_a_day_is_not_looked_for(slack: SlackStandin) -> None:
    late = SlackChat(slack.settings(), clock=lambda: datetime.now(UTC) + LOOKS_BACK + timedelta(minutes=1))
    place = await late.post(_message())

    assert await late.post(_message(again=True)) != place

    await late.close()


@pytest.mark.parametrize("fault", [limited(7), error("internal_error"), html(200), html(502), hanging(), reset()])
async def test_nothing_is_posted_blindly_while_nobody_can_look(
    fault: Fault, hasty: SlackChat, slack: SlackStandin
) -> None:
    slack.faults(fault.model_copy(update={"path": HISTORY}))

    with pytest.raises(TransientError):
        await hasty.post(_message(again=True))

    assert slack.posts == 0


@pytest.mark.parametrize("answer", ['{"ok": true}', '{"ok": true, "messages": {}}', '{"ok": true, "messages": [7]}'])
async def test_a_history_that_cannot_be_read_finds_nothing_or_says_so(
    answer: str, chat: SlackChat, slack: SlackStandin
) -> None:
    slack.faults(said(answer, path=HISTORY).model_copy(update={"headers": {}}))

    if answer.endswith("[7]}"):
        await chat.post(_message(again=True))
    else:
        with pytest.raises(TransientError, match="which messages"):
            await chat.post(_message(again=True))


@pytest.mark.parametrize(
    ("fault", "kind", "pause"),
    [
        (limited(7), TransientError, 7),
        (limited(), TransientError, PAUSE.total_seconds()),
        (limited("soon"), TransientError, PAUSE.total_seconds()),
        (limited(86_400), TransientError, MAX_RETRY_AFTER.total_seconds()),
        (error("something_new").model_copy(update={"status": 429}), TransientError, PAUSE.total_seconds()),
        (error("something_new").model_copy(update={"status": 400}), PermanentError, None),
        (error("ratelimited"), TransientError, PAUSE.total_seconds()),
        (error("rate_limited"), TransientError, PAUSE.total_seconds()),
        (error("internal_error"), TransientError, None),
        (error("fatal_error"), TransientError, None),
        (error("service_unavailable"), TransientError, None),
        (error("request_timeout"), TransientError, None),
        (broken(500), TransientError, None),
        (broken(503), TransientError, None),
        (html(200), TransientError, None),
        (html(403), TransientError, None),
        (html(502), TransientError, None),
        (said("ok"), TransientError, None),
        (said("upstream connect error", 503), TransientError, None),
        (said("[]").model_copy(update={"headers": {}}), TransientError, None),
        (said("[7]").model_copy(update={"headers": {}}), TransientError, None),
        (said("{").model_copy(update={"headers": {}}), TransientError, None),
        (said("").model_copy(update={"headers": {}}), TransientError, None),
        (said("[" * 100_000).model_copy(update={"headers": {}}), TransientError, None),
        (said('{"ok": true}').model_copy(update={"headers": {}}), TransientError, None),
        (reset(), TransientError, None),
        (hanging(), TransientError, None),
        (error("invalid_auth"), PermanentError, None),
        (error("token_revoked"), PermanentError, None),
        (error("channel_not_found"), PermanentError, None),
        (error("not_in_channel"), PermanentError, None),
        (error("is_archived"), PermanentError, None),
        (error("invalid_blocks"), PermanentError, None),
        (error("msg_too_long"), PermanentError, None),
        (error("restricted_action"), PermanentError, None),
        (error("something_new"), PermanentError, None),
    ],
)
async def test_each_trouble_is_one_call_and_says_whether_another_helps(
    fault: Fault, kind: type[IntegrationError], pause: float | None, hasty: SlackChat, slack: SlackStandin
) -> None:
    slack.faults(fault)

    with pytest.raises(kind) as raised:
        await hasty.post(_message())

    after = getattr(raised.value, "retry_after", None)
    assert (after.total_seconds() if after is not None else None) == pause
    assert BOT_TOKEN not in _chain(raised.value)
    assert (len(slack.requests()), slack.posts) == (1, 0)
    await hasty.post(_message())  # the fault stood for one call: had it tried again by itself, nothing had been raised


def _chain(raised: BaseException | None) -> str:
    """The texts of an error and of all that Temporal would record as its causes."""
    texts = []
    while raised is not None:
        texts.append(f"{raised!s} {raised!r}")
        raised = raised.__cause__ or (None if raised.__suppress_context__ else raised.__context__)
    return "\n".join(texts)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (error("something_new"), "something_new"),
        (error("not_in_channel"), "invite the app"),
        (error("invalid_auth"), "SLACK__BOT_TOKEN"),
        (error("missing_scope", needed="chat:write"), "the scope chat:write"),
        (error("missing_scope", needed=f"<{CANARY}>"), "missing_scope$"),
        (error(f"{BOT_TOKEN} <!channel>"), "without a name"),
    ],
)
async def test_a_refusal_says_what_to_do_and_nothing_that_slack_could_slip_in(
    fault: Fault, words: str, chat: SlackChat, slack: SlackStandin
) -> None:
    slack.faults(fault)

    with pytest.raises(PermanentError, match=words) as raised:
        await chat.post(_message())

    assert not any(each in _chain(raised.value) for each in (BOT_TOKEN, CANARY, "<!channel>"))


async def test_a_redirect_is_not_followed(chat: SlackChat, slack: SlackStandin) -> None:
    slack.faults(said("", 307, location=f"{slack.url}/api/chat.postMessage"))

    with pytest.raises(PermanentError, match="SLACK__API_URL"):
        await chat.post(_message())

    assert (len(slack.requests()), slack.posts) == (1, 0)


async def test_where_nobody_listens_another_try_may_help(slack: SlackStandin) -> None:
    chat = SlackChat(slack.settings(api_url="http://127.0.0.1:1/api/"))

    with pytest.raises(TransientError, match="cannot be reached") as raised:
        await chat.post(_message())

    await chat.close()
    assert BOT_TOKEN not in _chain(raised.value)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"channel": ARCHIVED_CHANNEL}, "is_archived"),
        ({"channel": FOREIGN_CHANNEL}, "not_in_channel"),
        ({"channel": "C0NOWHERE1"}, "channel_not_found"),
        ({"bot_token": SecretStr("xoxb-another-0123456789")}, "invalid_auth"),
    ],
)
async def test_settings_that_do_not_fit_the_workspace_are_refused_for_good(
    changes: dict[str, object], code: str, slack: SlackStandin
) -> None:
    chat = SlackChat(slack.settings(**changes))

    with pytest.raises(PermanentError, match=code):
        await chat.post(_message())

    await chat.close()


async def test_a_missing_scope_is_named(chat: SlackChat, slack: SlackStandin) -> None:
    slack.allow("users:read")

    with pytest.raises(PermanentError, match=r"missing_scope; give the app the scope chat:write"):
        await chat.post(_message())


@pytest.mark.parametrize("changes", [{"stands": ELSEWHERE}, {"thread": ELSEWHERE}])
async def test_a_message_that_is_gone_is_not_tried_again(
    changes: dict[str, str], chat: SlackChat, slack: SlackStandin
) -> None:
    with pytest.raises(PermanentError, match="not_found"):
        await chat.post(_message(**changes))

    assert slack.posts == 0


@pytest.mark.parametrize("place", ["nowhere", CHANNEL, f"{CHANNEL}/", "../1.2", f"{CHANNEL}/1.2\n", "é" * 1_000])
async def test_a_place_that_is_none_is_refused_before_slack_is_asked(
    place: str, chat: SlackChat, slack: SlackStandin
) -> None:
    for changes in ({"stands": place}, {"thread": place}):
        with pytest.raises(PermanentError) as raised:
            await chat.post(_message(**changes))
        assert len(str(raised.value)) < 200

    assert slack.requests() == []


async def test_messages_past_the_limit_are_asked_again_after_the_pause(chat: SlackChat, slack: SlackStandin) -> None:
    slack.limit()
    for number in range(3):
        await chat.post(_message(key=f"{number}"))

    with pytest.raises(TransientError) as raised:
        await chat.post(_message(key="4"))

    assert raised.value.retry_after == timedelta(seconds=1)


@pytest.mark.parametrize("text", [f"{CANARY} <!channel> ```", "x" * 1_000_000, '"&<' * 5_000, "\U0001f525" * 9_000])
async def test_whatever_others_write_is_taken_calls_nobody_and_gives_nothing_away(
    text: str, chat: SlackChat, slack: SlackStandin
) -> None:
    fields = tuple(MessageField(label=text[:200], text=text) for _ in range(30))
    claims = tuple(Claim(label=text[:200], text=text, cites=(text[:200],) * 9) for _ in range(9))

    await chat.post(_message(title=text, status=text, fields=fields, claims=claims))

    (message,) = slack.messages()
    assert message.mentions == []
    assert CANARY.encode() not in b"".join(each.body for each in slack.requests())
    assert max(len(each.body.decode()) for each in slack.requests()) < 200_000
    assert len(json.dumps(message.blocks, ensure_ascii=False)) < 13_200


async def test_no_log_holds_the_token_or_a_message(
    chat: SlackChat, slack: SlackStandin, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await chat.post(_message())
        slack.faults(html(502))
        with pytest.raises(TransientError):
            await chat.post(_message())

    assert BOT_TOKEN not in caplog.text
    assert "roll back deployment" not in caplog.text


async def test_no_proxy_is_taken_from_the_environment(
    chat: SlackChat, slack: SlackStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    await chat.post(_message())

    assert slack.posts == 1
