"""Whether people can be reached, and can reach the commander: the chat, the pager, the gateway."""

import httpx

from commander.finding import Finding, asked, unusable
from commander.settings import CommanderSettings, PersonSettings
from incident.errors import ConfigurationError, IntegrationError, PermanentError
from integrations.gateway import GatewayClient
from integrations.pagerduty import PagerDutySettings
from integrations.slack import Checked, Directory, SlackSettings
from integrations.slack.api import SlackApi
from integrations.slack.settings import secret

_FOR_BUTTONS = "users:read"
"""The scope by which Slack says who pressed."""


async def examine_chat(settings: SlackSettings) -> list[Finding]:
    """Whether messages reach Slack, and answers come back; nothing is posted."""
    if settings == SlackSettings():
        return [Finding("chat", works=True, words="Slack is not configured: the console, which is the worker's log")]
    if problems := settings.problems():
        return unusable("chat", problems)
    if not settings.by_bot:
        return [
            Finding("chat", works=True, words="a webhook, without buttons; only a message could prove that it works")
        ]
    directory = Directory(settings)
    try:
        checked = await directory.check()
    except IntegrationError as error:
        return [Finding("chat", works=False, words=error.problem)]
    finally:
        await directory.close()
    return [await asked("chat", _team(settings, checked)), await asked("chat channel", _channel(settings))]


def examine_pager(settings: PagerDutySettings) -> list[Finding]:
    """Whether the pager's settings can be used; nobody is paged."""
    if settings.routing_key is None:
        return [Finding("pager", works=True, words="PagerDuty is not configured: the console, the worker's log")]
    if problems := settings.problems():
        return unusable("pager", problems)
    return [Finding("pager", works=True, words="the key is shaped like one; only an event could prove that it works")]


async def examine_gateway(settings: PersonSettings, http: httpx.AsyncClient) -> list[Finding]:
    """Whether the gateway answers, and knows the token."""
    person = settings.commander
    if problems := person.problems():
        return unusable("gateway", problems)
    token, lacks = _bearer(person)
    gateway = GatewayClient(http, person.url, token)
    reached = await asked("gateway", _ready(gateway, person.url))
    if not reached.works and not token and person == CommanderSettings():
        words = f"not configured: none answers at {person.url}, and there is no token; --direct goes past it"
        return [Finding("gateway", works=True, words=words)]
    if not token:
        return [reached, *unusable("token", lacks)]
    return [reached, await asked("token", _scopes(gateway))] if reached.works else [reached]


async def _team(settings: SlackSettings, checked: Checked) -> str:
    if settings.team and checked.team != settings.team:
        raise PermanentError("slack", f"SLACK__TEAM: the token is of {checked.team}, expected that of {settings.team}")
    missing = [each for each in checked.missing if settings.interactive or each != _FOR_BUTTONS]
    if missing:
        raise PermanentError("slack", f"give the app the scope {', '.join(missing)}, and install it anew")
    by = "by Socket Mode" if settings.app_token else "at the gateway's /slack/interactivity"
    buttons = f"its buttons are pressed {by}" if settings.interactive else "no buttons: SLACK__TEAM and a secret"
    return f"{checked.team_name} ({checked.team}), as {checked.user}; {buttons}"


async def _channel(settings: SlackSettings) -> str:
    api = SlackApi(settings.api_url, secret(settings.bot_token), settings.timeout)
    try:
        await api.read("conversations.history", channel=settings.channel, limit="1")
    finally:
        await api.close()
    return f"{settings.channel} can be read"


def _bearer(person: CommanderSettings) -> tuple[str, tuple[str, ...]]:
    """The token; where there is none, what to set."""
    try:
        return person.bearer(), ()
    except ConfigurationError as error:
        return "", error.lines


async def _ready(gateway: GatewayClient, url: str) -> str:
    if missing := await gateway.missing():
        raise PermanentError("gateway", f"{url} waits for: {', '.join(missing)}")
    return url


async def _scopes(gateway: GatewayClient) -> str:
    myself = await gateway.whoami()
    return f"of {myself.name}, good for: {', '.join(myself.scopes)}"
