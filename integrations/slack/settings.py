"""How Slack is reached, and whose answers count."""

import re
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from incident.model import Duration
from integrations.addresses import host_of

_BOT_TOKEN = re.compile(r"xoxb-[A-Za-z0-9-]{10,255}")
_APP_TOKEN = re.compile(r"xapp-[A-Za-z0-9-]{10,255}")
_SIGNING_SECRET = re.compile(r"[A-Za-z0-9]{16,128}")
_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}")
_TEAM = re.compile(r"T[A-Z0-9]{2,30}")
_MENTION = re.compile(r"<(?:!subteam\^S|@[UW])[A-Z0-9]{2,30}>")


class SlackSettings(BaseModel):
    """The channel that is written to, by a bot or by an incoming webhook, and the buttons in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bot_token: SecretStr | None = Field(
        default=None, description="The app's bot token, xoxb-…; with it messages are threaded and kept up to date."
    )
    channel: str = Field(default="", description="The id of the bot's channel, C… or G…; the app must be in it.")
    webhook_url: SecretStr | None = Field(
        default=None, description="An incoming webhook, a secret itself; it posts what matters most, without buttons."
    )
    signing_secret: SecretStr | None = Field(
        default=None, description="The app's signing secret: its buttons are pressed by HTTP, at the gateway."
    )
    app_token: SecretStr | None = Field(
        default=None, description="An app-level token, xapp-…: its buttons are pressed by Socket Mode, no port is open."
    )
    team: str = Field(default="", description="The id of the workspace, T…, the only one whose people may answer.")
    mention: str = Field(
        default="", description="Whom a message calls that nobody could be paged about: <!subteam^S…> or <@U…>."
    )
    api_url: str = Field(default="https://slack.com/api/", description="Slack's Web API.")
    timeout: Duration = Field(
        default=timedelta(seconds=5), gt=timedelta(0), description="How long Slack may take for an answer."
    )

    @property
    def by_bot(self) -> bool:
        """Whether a bot posts."""
        return self.bot_token is not None

    @property
    def by_webhook(self) -> bool:
        """Whether there is a webhook to post to."""
        return self.webhook_url is not None

    @property
    def configured(self) -> bool:
        """Whether there is any way to post."""
        return self.by_bot or self.by_webhook

    @property
    def interactive(self) -> bool:
        """Whether its messages have buttons, whose presses reach the commander."""
        return self.by_bot and bool(self.team) and (self.signing_secret is not None or self.app_token is not None)

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that keeps Slack from being used; empty: none does."""
        # Checked here and not by the fields, whose errors would show what was given, secrets included.
        checks = (
            (self.configured, "BOT_TOKEN: expected a bot token, xoxb-…, here or a webhook in SLACK__WEBHOOK_URL"),
            (_fits(_BOT_TOKEN, self.bot_token), "BOT_TOKEN: expected a bot token, which begins with xoxb-"),
            (
                _CHANNEL.fullmatch(self.channel) or not (self.channel or self.by_bot),
                "CHANNEL: expected the id of the channel that the bot posts to, such as C0123456789, not its name",
            ),
            (
                self.webhook_url is None or host_of(self.webhook_url.get_secret_value()),
                "WEBHOOK_URL: expected an address that begins with https:// or http://, without user or query",
            ),
            (
                _fits(_SIGNING_SECRET, self.signing_secret),
                "SIGNING_SECRET: expected the app's signing secret, letters and digits",
            ),
            (_fits(_APP_TOKEN, self.app_token), "APP_TOKEN: expected an app-level token, which begins with xapp-"),
            (
                self.by_bot or (self.app_token is None and self.signing_secret is None) or not self.configured,
                "BOT_TOKEN: expected a bot token beside the buttons of SLACK__SIGNING_SECRET or SLACK__APP_TOKEN",
            ),
            (
                _TEAM.fullmatch(self.team)
                or not (self.team or self.app_token is not None or self.signing_secret is not None),
                "TEAM: expected the id of the workspace whose people may press buttons, such as T0123456789",
            ),
            (
                not self.mention or _MENTION.fullmatch(self.mention),
                "MENTION: expected <!subteam^S…> for a user group or <@U…> for a person",
            ),
            (
                host_of(self.api_url),
                "API_URL: expected an address that begins with https:// or http://, without user or query",
            ),
        )
        return tuple(f"SLACK__{line}" for holds, line in checks if not holds)


def secret(value: SecretStr | None) -> str:
    """`value` as text; empty where none is set."""
    return value.get_secret_value() if value else ""


def _fits(pattern: re.Pattern[str], value: SecretStr | None) -> bool:
    return value is None or pattern.fullmatch(value.get_secret_value()) is not None
