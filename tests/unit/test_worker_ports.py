"""Which adapter the settings choose for chat and pager, and that what cannot be used is refused at the start."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from incident.errors import ConfigurationError
from incident.services import parse_registry
from integrations.console import ConsoleChat, ConsolePager
from integrations.pagerduty import PagerDutyPager, PagerDutySettings
from integrations.slack import SlackChat, SlackSettings, SlackWebhook
from worker.bootstrap import Ports, build_ports
from worker.settings import Settings

REGISTRY = parse_registry(
    '[[service]]\nname = "payment-api"\nsource = { kind = "mock", url = "http://127.0.0.1:9" }\n', "services.toml"
)
BOT = SlackSettings(bot_token=SecretStr("xoxb-0123456789"), channel="C0123456789")
WEBHOOK = SlackSettings(webhook_url=SecretStr("https://hooks.slack.example/services/T1/B1/x"))
PAGERDUTY = PagerDutySettings(routing_key=SecretStr("0" * 32))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


def built(client: httpx.AsyncClient, **settings: object) -> Ports:
    return build_ports(Settings.model_validate({"store": {"url": "sqlite://"}, **settings}), REGISTRY, client)


@pytest.mark.parametrize(
    ("slack", "kind"), [(SlackSettings(), ConsoleChat), (BOT, SlackChat), (WEBHOOK, SlackWebhook)], ids=str
)
async def test_the_chat_follows_from_what_is_set(client: httpx.AsyncClient, slack: SlackSettings, kind: type) -> None:
    world = built(client, slack=slack)
    assert isinstance(world.chat, kind)
    await world.close()


@pytest.mark.parametrize(("pagerduty", "kind"), [(PagerDutySettings(), ConsolePager), (PAGERDUTY, PagerDutyPager)])
async def test_the_pager_follows_from_what_is_set(
    client: httpx.AsyncClient, pagerduty: PagerDutySettings, kind: type
) -> None:
    world = built(client, pagerduty=pagerduty)
    assert isinstance(world.pager, kind)
    await world.close()


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"slack": SlackSettings(channel="C0123456789")}, "SLACK__WEBHOOK_URL"),
        ({"slack": BOT.model_copy(update={"channel": ""})}, "SLACK__CHANNEL"),
        ({"pagerduty": PagerDutySettings(routing_key=SecretStr("short"))}, "PAGERDUTY__ROUTING_KEY"),
    ],
    ids=["no token", "no channel", "short key"],
)
async def test_half_an_account_is_refused_and_named(
    client: httpx.AsyncClient, settings: dict[str, object], variable: str
) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        built(client, **settings)


def test_links_lead_to_the_incidents_pages() -> None:
    assert Settings(public_url="https://commander.example/").incident_url == "https://commander.example/ui/incidents/"
    assert Settings().incident_url == ""
