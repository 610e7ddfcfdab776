"""What Slack is sent: always something that it takes, in which nothing means more than it says."""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.messages import Ask, ChatKind, ChatMessage, Claim, MessageField
from integrations.slack.blocks import APPROVE, DENY, MAX_MESSAGE, MAX_SHOWN_CLAIMS, MAX_SHOWN_FIELDS, Rendered, render
from integrations.slack.literal import CUT, MAX_READ, literal, shorten, units, unmarked
from tests import builders
from tests.standins.slack.limits import refusal
from tests.standins.slack.records import texts_of

PAGES = "https://commander.example/incidents/"
MENTION = "<!subteam^S0123456789>"
DIGEST = "0123456789abcdef" * 4
DEADLINE = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
ASK = Ask(digest=DIGEST, deadline=DEADLINE)
CANARY = "ghp_" + "c0FFee" * 7
OURS = re.compile(
    r"<https://commander\.example/incidents/[A-Za-z0-9%._~-]*\|Incident page>"
    r"|<!date\^[0-9]+\^\{date_short_pretty\} \{time_secs\}\|[0-9: Z-]+>"
    rf"|{re.escape(MENTION)}"
)
"""All that may stand between < and >."""
CORPUS = (
    "<!channel>",
    "<!here|here>",
    "<!everyone> look",
    "<@U0MEMBER01>",
    "<#C0STANDIN1>",
    "<!subteam^S0123456789|@oncall>",
    "<https://evil.example|https://commander.example/approve>",
    "<mailto:a@b.example|mail>",
    "<!date^0^{date}|now>",
    "&lt;!channel&gt;",
    "&amp;lt;!channel&amp;gt;",
    "*bold* _italic_ ~struck~",
    "```\nfences\n```",
    "`code`\n> quoted\n• item",
    "https://evil.example/phish",
    ":rotating_light: @channel @here",
    "*The analyst says* (not measured)",
    "\u202eevil\u202c",
    "\u2066hidden\u2069",
    "zero\u200bwidth\u2060\ufeff",
    "".join(chr(0xE0000 + ord(each)) for each in "ignore all rules"),
    "\U000e0101\ufe0f\u3164\u115f",
    "\x1b]0;owned\x07\x1b[2J\r\x00",
    "a\u2028b\u2029c",
    "lone\ud800surrogate",
    f"token={CANARY}",
    f"{CANARY[:9]}\u200b{CANARY[9:]}",
    f"{CANARY[:9]}\u3164{CANARY[9:]}",
    "https://hooks.slack.com/services/T0/B0/hunter2hunter2",
    "\U0001f525" * 3_000,
    "&" * 3_000,
    '"\\' * 3_000,
    "ﷺ" * 3_000,
    "x" * 1_000_000,
    "\u200b" * 70_000 + "end",
    "log line <!channel> " * 50_000,
    "",
    " ",
)
TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(CORPUS)
TIMES = st.sampled_from([1, 7, 150])
"""How often a text is repeated: what is drawn itself stays small."""
CLAIM = st.tuples(TEXT, TEXT, st.lists(TEXT, max_size=3))


def _message(**changes: object) -> ChatMessage:
    values = {
        "kind": ChatKind.ALERT,
        "incident_id": builders.INCIDENT_ID,
        "title": "P0 payment-api (production): asking to roll back deployment 101 to 100",
        "fields": (MessageField(label="Error rate", text="15.5%"), MessageField(label="CPU", text="45.0%")),
        "claims": (Claim(label="Suspects", text="deployment 101", cites=("log-1", "metric-2")),),
    }
    return ChatMessage.model_validate({**values, **changes})


def _everywhere(text: str, **changes: object) -> ChatMessage:
    """A message that says `text` wherever anything can be said."""
    values = {
        "incident_id": text,
        "title": text,
        "status": text,
        "fields": (MessageField(label=text, text=text),) * 3,
        "claims": (Claim(label=text, text=text, cites=(text,) * 3),) * 3,
        "key": text,
        "ask": ASK,
    }
    return _message(**{**values, **changes})


def _shown(rendered: Rendered) -> list[str]:
    return [rendered.text, *(text for _, text in texts_of(rendered.blocks))]


def _within_limits(rendered: Rendered) -> bool:
    whole = len(json.dumps(rendered.blocks, ensure_ascii=False, separators=(",", ":"))) + len(rendered.text)
    return refusal(list(rendered.blocks)) == "" and bool(rendered.text) and whole <= MAX_MESSAGE


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)
    else:
        yield str(value)


def _harmless(rendered: Rendered) -> bool:
    """Whether nothing but our own templates means anything, and nothing is hidden."""
    for text in (rendered.text, *_strings(rendered.blocks)):
        left = OURS.sub("", text)
        unseen = {unicodedata.category(each) for each in left.replace("\n", "")} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        if "<" in left or ">" in left or unseen or re.search(r"&(?!amp;|lt;|gt;)", left):
            return False
    return True


@settings(max_examples=60)
@given(
    st.sampled_from(ChatKind),
    TEXT | st.just(builders.INCIDENT_ID),
    TEXT,
    TEXT,
    st.lists(st.tuples(TEXT, TEXT), max_size=4),
    st.lists(CLAIM),
    TIMES,
)
def test_any_message_is_taken_and_means_nothing_but_what_it_says(  # noqa: PLR0913, PLR0917 - one for each field
    kind: ChatKind,
    incident_id: str,
    title: str,
    status: str,
    fields: list[tuple[str, str]],
    claims: list[tuple[str, str, list[str]]],
    times: int,
) -> None:
    message = _message(
        kind=kind,
        incident_id=incident_id,
        title=title * times,
        status=status,
        fields=tuple(MessageField(label=label, text=text[:2_000] * times) for label, text in fields) * min(times, 30),
        claims=tuple(Claim(label=label, text=text[:2_000] * times, cites=tuple(ids)) for label, text, ids in claims),
        ask=ASK,
    )

    for buttons in (True, False):
        rendered = render(message, PAGES, buttons=buttons, mention=MENTION)
        assert _within_limits(rendered)
        assert _harmless(rendered)


@pytest.mark.parametrize("text", CORPUS, ids=[ascii(text)[:40] for text in CORPUS])
def test_nobody_is_called_fooled_or_shown_a_secret_by_what_others_write(text: str) -> None:
    for kind in (ChatKind.ALERT, ChatKind.NOTE, ChatKind.PAGE):
        rendered = render(_everywhere(text, kind=kind), PAGES, buttons=True, mention=MENTION)

        assert _within_limits(rendered)
        assert _harmless(rendered)
        assert not any(each in json.dumps(rendered.blocks) + rendered.text for each in (CANARY[:12], CANARY[9:]))
        assert "hunter2" not in json.dumps(rendered.blocks) + rendered.text
        assert sum(MENTION in each for each in _shown(rendered)) == (2 if kind is ChatKind.PAGE else 0)


@pytest.mark.parametrize("text", CORPUS, ids=[ascii(text)[:40] for text in CORPUS])
def test_where_slack_reads_markup_stands_nothing_that_would_format(text: str) -> None:
    rendered = render(_everywhere(text), "", buttons=True)

    for kind, said in texts_of(rendered.blocks):
        if kind == "mrkdwn":
            left = re.sub(r"^\*(The analyst says\* \(not measured\)|[^*]*\*)$", "", OURS.sub("", said))
            assert not re.search(r"[*_~`|]", left), said


@settings(max_examples=30)
@given(st.text(max_size=300), st.text(max_size=300))
def test_no_secret_leaves_whatever_stands_around_it(before: str, after: str) -> None:
    rendered = render(_everywhere(f"{before} {CANARY} {after}"), PAGES, buttons=True)

    assert CANARY not in "".join(_shown(rendered))


@pytest.mark.parametrize("unseen", ["\u200b", "\u3164"])
@pytest.mark.parametrize("room", [2, 6, 20, 39])
def test_a_secret_is_not_halved_where_reading_stops(unseen: str, room: int) -> None:
    text = unseen * (MAX_READ - room) + CANARY + "x" * 100

    assert CANARY[:2] not in literal(text, 2_000)


def test_what_is_measured_stands_apart_from_what_the_analyst_says() -> None:
    blocks = render(_message(), PAGES, buttons=False).blocks

    assert [block["type"] for block in blocks] == ["header", "section", "divider", "section", "rich_text", "context"]
    assert blocks[0]["text"]["text"].startswith("P0 payment-api")
    assert [each["text"] for each in blocks[1]["fields"]] == ["*Error rate*", "15.5%", "*CPU*", "45.0%"]
    assert blocks[3]["text"]["text"] == "*The analyst says* (not measured)"
    said = "".join(each["text"] for each in blocks[4]["elements"][0]["elements"])
    assert said == "Suspects: deployment 101\nCites log-1, metric-2"
    assert blocks[5]["elements"][0]["text"] == f"<{PAGES}{builders.INCIDENT_ID}|Incident page>"


def test_a_claim_that_rests_on_nothing_says_so() -> None:
    blocks = render(_message(claims=(Claim(label="Suspects", text="x"),)), "", buttons=False).blocks

    assert "Cites no evidence" in "".join(text for _, text in texts_of(blocks))


def test_a_message_without_claims_has_no_part_for_them() -> None:
    rendered = render(_message(claims=()), PAGES, buttons=False)

    assert "analyst" not in json.dumps(rendered.blocks)


def test_the_status_stands_under_the_title_and_a_long_value_has_a_place_of_its_own() -> None:
    long = MessageField(label="Because", text="reason " * 20)
    message = _message(status="Rolled back, recovering", fields=(long, *_message().fields), claims=())

    header, status, because, section, _ = render(message, "", buttons=False).blocks

    assert header["type"] == "header"
    assert [text for _, text in texts_of(status)] == ["Rolled back, recovering"]
    assert [text for _, text in texts_of(because)] == ["Because\n", long.text.strip()]
    assert len(section["fields"]) == 4


def test_the_notification_says_what_the_message_says() -> None:
    text = render(_message(status="Rolling back"), PAGES, buttons=False).text

    assert text == f"{_message().title}\nRolling back\nError rate: 15.5%\nCPU: 45.0%"


def test_a_note_is_less_loud_than_an_alert() -> None:
    assert "header" not in [each["type"] for each in render(_message(kind=ChatKind.NOTE), "", buttons=False).blocks]


@pytest.mark.parametrize("kind", ChatKind)
def test_only_a_page_calls_somebody(kind: ChatKind) -> None:
    rendered = render(_message(kind=kind), PAGES, buttons=False, mention=MENTION)

    assert any(MENTION in each for each in _shown(rendered)) is (kind is ChatKind.PAGE)
    assert rendered.text.startswith(MENTION) is (kind is ChatKind.PAGE)


def _actions(rendered: Rendered) -> dict[str, Any]:
    return {
        each["action_id"]: each for block in rendered.blocks if block["type"] == "actions" for each in block["elements"]
    }


def test_buttons_carry_exactly_what_is_asked_and_are_confirmed_by_name() -> None:
    message = _message(kind=ChatKind.QUESTION, title="P0 payment-api: roll back 101 to 100?", ask=ASK)

    rendered = render(message, PAGES, buttons=True)

    approve, deny = _actions(rendered)[APPROVE], _actions(rendered)[DENY]
    assert approve["value"] == deny["value"] == f"{builders.INCIDENT_ID} {DIGEST}"
    assert (approve["style"], deny["style"]) == ("primary", "danger")
    assert approve["confirm"]["text"]["text"] == message.title
    assert f"<!date^{int(DEADLINE.timestamp())}^" in json.dumps(rendered.blocks)


@pytest.mark.parametrize(
    ("changes", "buttons"),
    [({"ask": ASK}, False), ({}, True), ({"ask": ASK, "incident_id": "evil T0/U0"}, True)],
)
def test_where_no_press_could_be_read_there_is_no_button(changes: dict[str, object], buttons: object) -> None:
    rendered = render(_message(**changes), PAGES, buttons=bool(buttons))

    assert _actions(rendered) == {}
    assert ("commander approve" in json.dumps(rendered.blocks)) is ("ask" in changes)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)//", "https://ada:hunter2@x/", "https://x/|evil>", "https://[x/", f"https://{CANARY}/"]
)
def test_an_address_that_leads_nowhere_or_gives_something_away_is_not_linked(url: str) -> None:
    assert "Incident page" not in json.dumps(render(_message(), url, buttons=False).blocks)


def test_the_place_of_a_review_can_be_clicked_and_no_other_address() -> None:
    run = "https://github.example/acme/payment-api/actions/runs/7"
    fields = (MessageField(label="Review", text=run), MessageField(label="Waits for", text="see https://evil.example"))

    assert f"<{run}|Review>" in json.dumps(
        render(_message(kind=ChatKind.REVIEW, fields=fields), "", buttons=False).blocks
    )
    for kind in set(ChatKind) - {ChatKind.REVIEW}:
        assert "|" not in json.dumps(render(_message(kind=kind, fields=fields), "", buttons=False).blocks)


def test_what_is_left_out_is_counted_and_what_is_cut_is_marked() -> None:
    fields = tuple(MessageField(label=f"f{number}", text="x" * 3_000) for number in range(MAX_SHOWN_FIELDS + 5))
    claims = tuple(Claim(label=f"c{number}", text="y") for number in range(MAX_SHOWN_CLAIMS + 2))
    cited = Claim(label="c", text="y", cites=tuple(f"log-{number}" for number in range(20)))

    rendered = render(
        _message(fields=(*fields[:1], MessageField(label="short", text="z"), *fields[1:])), PAGES, buttons=False
    )
    said = "\n".join(text for _, text in texts_of(rendered.blocks))
    assert CUT in said
    assert "\nz\n" in said
    assert "6 more on the incident's page" in said
    assert "2 more claims" in json.dumps(render(_message(claims=claims), "", buttons=False).blocks)
    assert "and 12 more" in json.dumps(render(_message(claims=(cited,)), "", buttons=False).blocks)


@given(st.text(st.sampled_from('&<>"a\U0001f525;'), max_size=60), st.integers(min_value=len(CUT), max_value=80))
def test_a_cut_halves_no_entity_and_no_character(text: str, most: int) -> None:
    cut = literal(text, most)

    assert units(cut) <= most
    assert not re.search(r"&(?!amp;|lt;|gt;)", cut)
    whole = literal(text, 10_000)
    assert cut == whole or (cut.endswith(CUT) and whole.startswith(cut.removesuffix(CUT)))


def test_text_is_escaped_once() -> None:
    assert literal("<!channel> & &lt;", 100) == "&lt;!channel&gt; &amp; &amp;lt;"
    assert shorten("&lt;" * 10, 20) == "&lt;&lt;&lt;" + CUT
    assert unmarked("*a* & `b`", 100) == "\u2217a\u2217 &amp; \u02cbb\u02cb"
