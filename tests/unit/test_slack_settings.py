"""What keeps Slack from being used, said by the variable and never by its value."""

import pytest
from pydantic import SecretStr, ValidationError

from incident.errors import ConfigurationError
from integrations.http import HttpSettings, build_client
from integrations.slack import Directory, SlackChat, SlackSettings, SlackWebhook, SocketMode

BOT = {"bot_token": "xoxb-1-2-hunter2hunter2", "channel": "C0123456789"}
BUTTONS = {**BOT, "signing_secret": "0123456789abcdef" * 2, "team": "T0123456789"}
SOCKET = {**BOT, "app_token": "xapp-1-A0-hunter2hunter2", "team": "T0123456789"}
WEBHOOK = {"webhook_url": "https://hooks.slack.com/services/T0/B0/hunter2hunter2"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (BOT, []),
        (BUTTONS, []),
        (SOCKET, []),
        ({**BUTTONS, **SOCKET}, []),
        (WEBHOOK, []),
        ({**BOT, **WEBHOOK}, []),
        ({**BOT, "channel": "G0123456789", "mention": "<!subteam^S0123456789>"}, []),
        ({**WEBHOOK, "mention": "<@U0123456789>"}, []),
        ({}, ["BOT_TOKEN"]),
        ({"bot_token": "xoxb-1-2-hunter2hunter2"}, ["CHANNEL"]),
        ({**BOT, "bot_token": "xoxp-hunter2hunter2"}, ["BOT_TOKEN"]),
        ({**BOT, "bot_token": "xoxb-hunter2hunter2\n"}, ["BOT_TOKEN"]),
        ({**BOT, "channel": "#incidents"}, ["CHANNEL"]),
        ({**WEBHOOK, "channel": "#incidents"}, ["CHANNEL"]),
        ({"webhook_url": "hooks.slack.com/services/hunter2"}, ["WEBHOOK_URL"]),
        ({"webhook_url": "https://ada:hunter2@hooks.slack.com/"}, ["WEBHOOK_URL"]),
        ({**BUTTONS, "signing_secret": "hunter2"}, ["SIGNING_SECRET"]),
        ({**SOCKET, "app_token": "xoxb-hunter2hunter2"}, ["APP_TOKEN"]),
        ({**BUTTONS, "team": ""}, ["TEAM"]),
        ({**SOCKET, "team": "acme"}, ["TEAM"]),
        ({**WEBHOOK, "app_token": SOCKET["app_token"], "team": "T0123456789"}, ["BOT_TOKEN"]),
        ({**BOT, "mention": "<!channel>"}, ["MENTION"]),
        ({**BOT, "mention": "<@U0123456789> <!here>"}, ["MENTION"]),
        ({**BOT, "mention": "@ada"}, ["MENTION"]),
        ({**BOT, "api_url": "https://slack.com/api/?token=hunter2"}, ["API_URL"]),
        ({**BOT, "api_url": "file:///etc/hunter2"}, ["API_URL"]),
        ({"bot_token": "hunter2", "team": "x", "api_url": "x"}, ["BOT_TOKEN", "CHANNEL", "TEAM", "API_URL"]),
    ],
)
def test_each_problem_names_its_variable_and_no_secret(given: dict[str, str], names: list[str]) -> None:
    settings = SlackSettings.model_validate(given)

    lines = settings.problems()

    assert [line.partition(": ")[0] for line in lines] == [f"SLACK__{name}" for name in names]
    assert "hunter2" not in "".join(lines)
    assert "hunter2" not in repr(settings.model_copy(update={"api_url": ""}))


@pytest.mark.parametrize(
    ("given", "can"),
    [
        ({}, (False, False, False)),
        (WEBHOOK, (False, True, False)),
        (BOT, (True, False, False)),
        ({**BOT, **WEBHOOK}, (True, True, False)),
        (BUTTONS, (True, False, True)),
        (SOCKET, (True, False, True)),
        ({**BUTTONS, "team": ""}, (True, False, False)),
        ({**BOT, "team": "T0123456789"}, (True, False, False)),
    ],
)
def test_what_is_set_says_what_can_be_done(given: dict[str, str], can: tuple[bool, bool, bool]) -> None:
    settings = SlackSettings.model_validate(given)

    assert (settings.by_bot, settings.by_webhook, settings.interactive) == can
    assert settings.configured is any(can)


def test_nothing_is_built_of_settings_that_cannot_be_used() -> None:
    client = build_client(HttpSettings())

    async def handle(_: object) -> None: ...

    for given in (SlackSettings(), SlackSettings(bot_token=SecretStr("hunter2"))):
        for build in (
            lambda given=given: SlackChat(given),
            lambda given=given: SlackWebhook(client, given),
            lambda given=given: Directory(given),
            lambda given=given: SocketMode(given, handle),
        ):
            with pytest.raises(ConfigurationError) as raised:
                build()
            assert raised.value.lines == given.problems()


def test_each_part_wants_its_own_secret() -> None:
    webhook, bot = SlackSettings.model_validate(WEBHOOK), SlackSettings.model_validate(BOT)

    async def handle(_: object) -> None: ...

    for build, name in (
        (lambda: SlackChat(webhook), "SLACK__BOT_TOKEN"),
        (lambda: Directory(webhook), "SLACK__BOT_TOKEN"),
        (lambda: SlackWebhook(build_client(HttpSettings()), bot), "SLACK__WEBHOOK_URL"),
        (lambda: SocketMode(bot, handle), "SLACK__APP_TOKEN"),
    ):
        with pytest.raises(ConfigurationError, match=name):
            build()


@pytest.mark.parametrize("timeout", ["0s", "-1s", 5])
def test_a_time_out_has_a_unit_and_is_longer_than_nothing(timeout: object) -> None:
    with pytest.raises(ValidationError):
        SlackSettings.model_validate({"timeout": timeout})
