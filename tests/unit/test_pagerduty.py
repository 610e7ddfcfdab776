"""What PagerDuty is sent: always a body that it takes, small enough, and without a secret."""

import json
import unicodedata
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from incident.errors import ConfigurationError, IntegrationError, PermanentError, TransientError
from incident.identifiers import escalation_key
from incident.messages import Change, MessageField, Page
from incident.severity import Severity
from integrations.http import HttpSettings, build_client
from integrations.pagerduty import PagerDutyPager, PagerDutySettings
from integrations.pagerduty.events import CUT, MAX_BODY, MAX_DETAILS, MAX_VALUE, change_event, dedup_key, trigger
from tests import builders
from tests.standins.pagerduty.contract import CHANGES, EVENTS, errors

KEY = "0123456789abcdef" * 2
CANARY = "ghp_" + "c0FFee" * 7
PAGES = "https://commander.example/incidents/"
AT = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(["", "\x00\x1b[2J", "\u202e\u200b", '"\\', "a\ud800b"])
SUMMARY = TEXT.map(lambda text: text.encode("utf-8", "replace").decode())
"""Pydantic lets no lone surrogate into a text whose length it checks."""
FIELDS = st.lists(st.tuples(TEXT, TEXT), max_size=12)
TIMES = st.sampled_from([1, 12, 120])
"""How often each list and each text is repeated: what is drawn itself stays small."""


def _page(**changes: object) -> Page:
    values = {
        "key": f"ic/{builders.INCIDENT_ID}",
        "incident_id": builders.INCIDENT_ID,
        "severity": Severity.P0,
        "priority": "P1",
        "summary": "P0 payment-api (production): look at it",
        "service": builders.SERVICE,
        "environment": builders.ENVIRONMENT,
        "details": (MessageField(label="why", text="nobody knows"),),
    }
    return Page.model_validate({**values, **changes})


def _change(**changes: object) -> Change:
    values = {
        "incident_id": builders.INCIDENT_ID,
        "summary": "Rolled back to 100",
        "service": builders.SERVICE,
        "environment": builders.ENVIRONMENT,
        "at": AT,
        "url": "https://github.example/acme/payment-api/actions/runs/7",
    }
    return Change.model_validate({**values, **changes})


def _wire(body: object) -> bytes:
    return httpx.Request("POST", "http://x", json=body).content


def _details(page: Page) -> dict[str, str]:
    details: dict[str, str] = json.loads(_wire(trigger(page, KEY, PAGES)))["payload"]["custom_details"]
    return details


def _fields(drawn: list[tuple[str, str]], times: int) -> tuple[MessageField, ...]:
    return tuple(MessageField(label=label, text=text * times) for label, text in drawn) * times


@given(TEXT, TEXT, SUMMARY, st.sampled_from(Severity), FIELDS, TIMES)
def test_any_page_gives_a_body_that_pagerduty_takes(
    key: str, name: str, summary: str, severity: Severity, drawn: list[tuple[str, str]], times: int
) -> None:
    names = dict.fromkeys(("incident_id", "service", "environment", "priority"), name * times)
    said = (summary * times)[:1024]
    page = _page(key=key * times, summary=said, severity=severity, details=_fields(drawn, times), **names)

    wire = _wire(trigger(page, KEY, PAGES))

    assert errors(EVENTS, json.loads(wire)) == []
    assert len(wire) <= MAX_BODY
    assert not [each for each in _strings(json.loads(wire)) if not _seen(each)]


@given(TEXT, TEXT, SUMMARY, st.datetimes(timezones=st.just(UTC)), FIELDS, TIMES)
def test_any_change_gives_a_body_that_pagerduty_takes(
    url: str, name: str, summary: str, at: datetime, drawn: list[tuple[str, str]], times: int
) -> None:
    names = dict.fromkeys(("incident_id", "service", "environment"), name * times)
    said = (summary * times)[:1024]
    change = _change(url=url * times, summary=said, at=at, details=_fields(drawn, times), **names)

    wire = _wire(change_event(change, KEY, PAGES))

    assert errors(CHANGES, json.loads(wire)) == []
    assert len(wire) <= MAX_BODY


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_secret_leaves_whatever_stands_around_it(before: str, after: str) -> None:
    text = f"{before} {CANARY} {after}"
    fields = (MessageField(label=text, text=text),)

    page = _page(summary=text[:1024], details=fields, service=text, environment=text, incident_id=text, priority=text)
    change = _change(summary=text[:1024], details=fields, service=text, incident_id=text, url=f"https://x/{CANARY}")

    for body in (trigger(page, KEY, PAGES), change_event(change, KEY, PAGES)):
        assert CANARY not in _wire(body).decode()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)//", "https://ada:hunter2@x/", "https://x/?token=hunter2hunter2&i=", "https://[x/", "x"]
)
def test_an_address_that_leads_nowhere_or_gives_something_away_is_not_linked(url: str) -> None:
    assert "links" not in trigger(_page(), KEY, url)
    assert "links" not in change_event(_change(url=url), KEY, url)


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *_strings(each))]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [str(value)]


def _seen(text: str) -> bool:
    return {unicodedata.category(each) for each in text}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_ten_megabytes_of_text_are_cut_visibly_and_the_short_details_stay() -> None:
    long = tuple(MessageField(label=f"log {number}", text="é" * 10_000_000) for number in range(2))
    many = tuple(MessageField(label=f"line {number}", text='"' * 900) for number in range(90))
    short = MessageField(label="why", text="the live deployment does not explain it")

    two = _details(_page(details=(*long, short)))
    everything = _details(_page(details=(*long, *many, short)))

    assert two["why"] == everything["why"] == short.text
    assert two["log 0"].endswith(CUT)
    assert MAX_VALUE - 4 <= len(two["log 0"].encode()) <= MAX_VALUE
    assert everything["line 0"].endswith(CUT)
    assert len(everything) == 2 + 90 + 3


def test_details_past_the_hundredth_are_counted_instead_of_lost_in_silence() -> None:
    details = tuple(MessageField(label=f"d{number}", text="x") for number in range(MAX_DETAILS + 7))

    assert _details(_page(details=details))["left out"] == "7 more details"


def test_no_detail_hides_another_or_one_of_ours() -> None:
    fields = tuple(MessageField(label=label, text=text) for label, text in (("priority", "P5"), ("a", "1"), ("a", "2")))

    assert _details(_page(details=fields)) == {
        "priority": "P1",
        "incident_id": builders.INCIDENT_ID,
        "priority (2)": "P5",
        "a": "1",
        "a (2)": "2",
    }


@pytest.mark.parametrize("hidden", [CANARY, CANARY[:9] + "\u200b" + CANARY[9:], "x" * 1010 + f" {CANARY}"])
def test_a_secret_leaves_neither_behind_an_unseen_character_nor_halved_by_a_cut(hidden: str) -> None:
    wire = _wire(trigger(_page(summary=hidden[-1024:], details=(MessageField(label="why", text=hidden),)), KEY, PAGES))

    assert CANARY[:12] not in wire.decode()


@pytest.mark.parametrize(("severity", "said"), [("P0", "critical"), ("P1", "error"), ("P2", "warning"), ("P3", "info")])
def test_severity_is_the_decisions(severity: str, said: str) -> None:
    body = json.loads(_wire(trigger(_page(severity=severity), KEY, PAGES)))

    assert body["payload"]["severity"] == said


def test_a_page_names_the_service_and_leads_to_the_incident() -> None:
    body = json.loads(_wire(trigger(_page(), KEY, PAGES)))

    address = PAGES + builders.INCIDENT_ID
    assert body["client_url"] == address
    assert body["links"] == [{"href": address, "text": "Incident"}]
    assert body["payload"]["source"] == f"{builders.SERVICE}/{builders.ENVIRONMENT}"
    assert not {"client_url", "links", "images"} & trigger(_page(), KEY, "").keys()


def test_a_key_is_sent_as_it_is_unless_pagerduty_might_alter_it_and_then_never_cut() -> None:
    key = escalation_key(builders.INCIDENT_ID, 3)
    assert dedup_key(key) == key
    assert dedup_key("k" * 255) == "k" * 255
    odd = ["", "k" * 256, "k" * 257, "k\n", "k ", "kä", "k\ud800"]
    assert len({dedup_key(each) for each in odd}) == len(odd)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"routing_key": KEY}, []),
        ({"routing_key": "R" + KEY[1:], "events_url": "https://events.eu.pagerduty.com"}, []),
        ({}, ["PAGERDUTY__ROUTING_KEY"]),
        ({"routing_key": "hunter2"}, ["PAGERDUTY__ROUTING_KEY"]),
        ({"routing_key": KEY[:-1] + "-"}, ["PAGERDUTY__ROUTING_KEY"]),
        ({"routing_key": KEY + "\n"}, ["PAGERDUTY__ROUTING_KEY"]),
        ({"routing_key": KEY, "events_url": "ftp://x"}, ["PAGERDUTY__EVENTS_URL"]),
        ({"routing_key": KEY, "events_url": "https://ada:hunter2@x"}, ["PAGERDUTY__EVENTS_URL"]),
        ({"routing_key": KEY, "events_url": "https://x?key=hunter2"}, ["PAGERDUTY__EVENTS_URL"]),
        ({"routing_key": KEY, "events_url": "https://x:hunter2"}, ["PAGERDUTY__EVENTS_URL"]),
        ({"routing_key": "x", "events_url": "x"}, ["PAGERDUTY__ROUTING_KEY", "PAGERDUTY__EVENTS_URL"]),
    ],
)
def test_each_problem_names_its_variable_and_no_secret(settings: dict[str, str], names: list[str]) -> None:
    given = PagerDutySettings.model_validate(settings)

    lines = given.problems()

    assert [line.partition(": ")[0] for line in lines] == names
    assert "hunter2" not in "".join(lines)
    if lines:
        with pytest.raises(ConfigurationError) as raised:
            PagerDutyPager(build_client(HttpSettings()), given)
        assert raised.value.lines == lines


async def _ask(answer: httpx.Response) -> IntegrationError | None:
    """What comes of a page that PagerDuty answers so."""
    settings = PagerDutySettings(routing_key=SecretStr(KEY))
    async with build_client(HttpSettings(), httpx.MockTransport(lambda _: answer)) as client:
        try:
            await PagerDutyPager(client, settings).page(_page())
        except IntegrationError as error:
            return error
    return None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"status":"success"}'])
async def test_what_pagerduty_has_taken_is_taken_whatever_the_body_says_of_it(content: bytes) -> None:
    assert await _ask(httpx.Response(202, stream=httpx.ByteStream(content))) is None


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (202, b"<html>prove that you are human</html>", TransientError),
        (202, b'{"status":"invalid event"}', TransientError),
        (200, b'{"status":"success"}', TransientError),
        (200, b"<html>", TransientError),
        (403, b"<html>", TransientError),
        (404, b"{}", PermanentError),
        (413, b"{}", PermanentError),
        (302, b"", PermanentError),
        (408, b"", TransientError),
        (503, b"", TransientError),
    ],
)
async def test_any_other_answer_is_an_error_of_its_kind(status: int, content: bytes, kind: type) -> None:
    assert type(await _ask(httpx.Response(status, stream=httpx.ByteStream(content)))) is kind


@given(
    st.text(max_size=400),
    st.text(max_size=400),
    st.sampled_from([202, 400, 401, 429, 500]),
    st.sampled_from([0, 280, 4090]),
)
async def test_no_error_shows_the_key_or_a_secret(before: str, after: str, status: int, padding: int) -> None:
    said = f"{'x' * padding} {before}{KEY}{after} {KEY[:7]}\u200b{KEY[7:]} token={CANARY}"
    body = {"status": "invalid event", "message": said, "errors": [said, said]}

    error = await _ask(httpx.Response(status, json=body))

    assert error is not None
    assert KEY not in str(error)
    assert CANARY[:20] not in str(error)
    assert len(str(error)) < 600
