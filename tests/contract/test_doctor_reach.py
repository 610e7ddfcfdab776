"""What the doctor says of the chat, the pager and the gateway, without posting or paging anything."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from commander.finding import Finding
from commander.reach import examine_chat, examine_gateway, examine_pager
from commander.settings import CommanderSettings, PersonSettings
from incident.errors import TransientError
from integrations.http import HttpSettings, build_client
from integrations.pagerduty import PagerDutySettings
from integrations.slack import SlackSettings
from tests.contract.gateway_desk import FakeDesk, Gate
from tests.standins.slack import BOT_TOKEN, CHANNEL, TEAM, WEBHOOK, SlackStandin, error, running_slack

KEY = "c0ffee" * 5 + "ab"


@pytest.fixture(scope="module")
def running() -> Iterator[SlackStandin]:
    with running_slack() as standin:
        yield standin


@pytest.fixture
def slack(running: SlackStandin) -> SlackStandin:
    running.reset()
    return running


def _by_system(findings: list[Finding]) -> dict[str, Finding]:
    return {each.system: each for each in findings}


async def test_slack_that_is_not_configured_is_said_to_be_the_console_and_is_no_fault() -> None:
    (found,) = await examine_chat(SlackSettings())
    assert (found.system, found.works) == ("chat", True)
    assert found.words == "Slack is not configured: the console, which is the worker's log"


async def test_a_bot_that_may_do_all_it_needs_is_named_with_its_team_and_channel(slack: SlackStandin) -> None:
    found = _by_system(await examine_chat(slack.settings()))
    assert all(each.works for each in found.values())
    assert TEAM in found["chat"].words
    assert "pressed at the gateway's /slack/interactivity" in found["chat"].words
    assert found["chat channel"].words == f"{CHANNEL} can be read"
    assert slack.posts == 0


async def test_how_buttons_are_pressed_is_said(slack: SlackStandin) -> None:
    (socket, _), (none, _) = (
        await examine_chat(slack.socket_settings()),
        await examine_chat(slack.settings(signing_secret=None, team="")),
    )
    assert "pressed by Socket Mode" in socket.words
    assert "no buttons: SLACK__TEAM and a secret" in none.words


@pytest.mark.parametrize(
    ("scopes", "missing"),
    [
        (("chat:write", "channels:history"), "users:read"),
        (("users:read", "groups:history"), "chat:write"),
        (("chat:write", "users:read"), "channels:history or groups:history"),
    ],
)
async def test_a_scope_that_the_app_lacks_is_named(slack: SlackStandin, scopes: tuple[str, ...], missing: str) -> None:
    slack.allow(*scopes)
    found = _by_system(await examine_chat(slack.settings()))["chat"]
    assert not found.works
    assert found.words == f"give the app the scope {missing}, and install it anew"


async def test_without_buttons_nobody_need_be_looked_up(slack: SlackStandin) -> None:
    slack.allow("chat:write", "channels:history")
    found = _by_system(await examine_chat(slack.settings(signing_secret=None, team="")))
    assert found["chat"].works


async def test_a_token_of_another_team_is_found(slack: SlackStandin) -> None:
    found = _by_system(await examine_chat(slack.settings(team="T0OTHER")))["chat"]
    assert not found.works
    assert found.words == f"SLACK__TEAM: the token is of {TEAM}, expected that of T0OTHER"


async def test_a_channel_that_the_app_is_not_in_is_found(slack: SlackStandin) -> None:
    found = _by_system(await examine_chat(slack.settings(channel="C0NOWHERE")))
    assert found["chat"].works
    assert not found["chat channel"].works


async def test_a_token_that_slack_does_not_take_is_found_and_not_shown(slack: SlackStandin) -> None:
    slack.faults(error("invalid_auth"))
    (found,) = await examine_chat(slack.settings())
    assert not found.works
    assert BOT_TOKEN not in found.words


async def test_a_webhook_is_not_proven_and_nothing_is_posted(slack: SlackStandin) -> None:
    (found,) = await examine_chat(slack.webhook_settings())
    assert found.works
    assert "only a message could prove that it works" in found.words
    assert WEBHOOK not in found.words
    assert slack.posts == 0


async def test_each_setting_of_slack_that_cannot_be_used_is_a_finding() -> None:
    found = await examine_chat(SlackSettings(bot_token=SecretStr("xoxp-canary"), channel="#incidents"))
    assert [(each.works, each.words.partition(":")[0]) for each in found] == [
        (False, "SLACK__BOT_TOKEN"),
        (False, "SLACK__CHANNEL"),
    ]
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("settings", "works", "said"),
    [
        (PagerDutySettings(), True, "PagerDuty is not configured: the console"),
        (PagerDutySettings(routing_key=SecretStr(KEY)), True, "only an event could prove that it works"),
        (PagerDutySettings(routing_key=SecretStr("short")), False, "PAGERDUTY__ROUTING_KEY: expected"),
        (PagerDutySettings(routing_key=SecretStr(KEY), events_url="nowhere"), False, "PAGERDUTY__EVENTS_URL: expected"),
    ],
)
def test_what_can_be_known_of_the_pager_without_waking_anybody(
    settings: PagerDutySettings, said: str, *, works: bool
) -> None:
    (found,) = examine_pager(settings)
    assert (found.system, found.works) == ("pager", works)
    assert said in found.words
    assert KEY not in found.words


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(FakeDesk())


@pytest.fixture
async def http(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    gate.reset()
    async with build_client(HttpSettings(), httpx.ASGITransport(gate.app)) as client:
        yield client


def _person(token: str = "", url: str = "http://gateway") -> PersonSettings:
    settings = CommanderSettings(url=url, token=SecretStr(token) if token else None)
    return PersonSettings.model_construct(commander=settings, http=HttpSettings())


async def test_a_gateway_that_is_ready_and_knows_the_token_is_named_with_its_scopes(
    http: httpx.AsyncClient, gate: Gate
) -> None:
    found = _by_system(await examine_gateway(_person(gate.people.reader), http))
    assert found["gateway"] == Finding("gateway", works=True, words="http://gateway")
    assert found["token"] == Finding("token", works=True, words="of reader, good for: read")


async def test_what_a_gateway_waits_for_is_named(http: httpx.AsyncClient, gate: Gate) -> None:
    gate.store.errors["search"] = TransientError("store", "is locked")
    (found,) = await examine_gateway(_person(gate.people.reader), http)
    assert found == Finding("gateway", works=False, words="http://gateway waits for: store")


async def test_a_token_that_is_unknown_or_missing_is_a_finding(http: httpx.AsyncClient) -> None:
    unknown = _by_system(await examine_gateway(_person("ict_" + "x" * 40), http))
    assert unknown["gateway"].works
    assert unknown["token"] == Finding(
        "token", works=False, words="does not know your token (setting COMMANDER__TOKEN)"
    )
    missing = _by_system(await examine_gateway(_person(), http))
    assert missing["token"].words.startswith("COMMANDER__TOKEN: expected your token at http://gateway")


def _dead(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


async def test_without_any_gateway_or_token_the_doctor_says_so_and_finds_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with build_client(HttpSettings(), httpx.MockTransport(_dead)) as http:
        (bare,) = await examine_gateway(_person(url=CommanderSettings().url), http)
        (named, lacking) = await examine_gateway(_person(url="https://commander.example"), http)
        (with_token,) = await examine_gateway(_person("ict_" + "x" * 40, CommanderSettings().url), http)
    assert (bare.works, bare.words.partition(":")[0]) == (True, "not configured")
    assert (named.works, lacking.works, with_token.works) == (False, False, False)
    assert named.words.startswith("cannot be reached at https://commander.example")


async def test_each_setting_of_the_gateway_that_cannot_be_used_is_a_finding(http: httpx.AsyncClient) -> None:
    found = await examine_gateway(_person("with a gap and a canary", "nowhere"), http)
    assert [each.words.partition(":")[0] for each in found] == ["COMMANDER__URL", "COMMANDER__TOKEN"]
    assert "canary" not in str(found)
