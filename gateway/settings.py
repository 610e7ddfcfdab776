"""Every setting of the gateway, from the environment.

`GATEWAY__BIND` sets `gateway.bind`, and so on.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from incident.errors import ConfigurationError
from incident.model import Duration, EnvironmentName
from integrations.redaction import RedactionSettings
from integrations.slack import SlackSettings
from integrations.store import StoreSettings
from integrations.temporal import TemporalSettings
from integrations.variables import from_environment

_LEAST_SECRET = 16
_LEAST_SESSION_KEY = 32
"""Bytes of a key for HMAC-SHA256: at least the hash's own length (RFC 7518 §3.2)."""


class GatewaySettings(BaseModel):
    """How the gateway is reached, and what it takes from whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bind: str = Field(default="127.0.0.1:8080", description="host:port of the gateway; port 0 takes a free one.")
    tokens_file: Path = Field(
        default=Path("tokens.toml"), description="Whose tokens are known, as hashes; without the file nobody's is."
    )
    alertmanager_secret: SecretStr | None = Field(
        default=None, description="The bearer token that Alertmanager sends; without it its webhook is closed."
    )
    grafana_secret: SecretStr | None = Field(
        default=None, description="The bearer token that Grafana sends; without it its webhook is closed."
    )
    github_secret: SecretStr | None = Field(
        default=None, description="The secret by which GitHub signs its webhooks; without it that webhook is closed."
    )
    service_label: str = Field(
        default="service", min_length=1, description="The alerts' label that names a service of the registry."
    )
    environment_label: str = Field(
        default="environment", min_length=1, description="The alerts' label that names its environment."
    )
    default_environment: EnvironmentName = Field(
        default="production", description="The environment of an alert that does not name one."
    )
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024, description="The largest body that is read.")
    requests_per_second: float = Field(
        default=300, gt=0, description="How many requests of one sender and kind one gateway takes in the long run."
    )
    burst: int = Field(default=2000, ge=1, description="How many of them it takes at once.")
    session_key: SecretStr | None = Field(
        default=None,
        description="Signs the pages' logins, at least 32 bytes, the same in every gateway; without it no page opens.",
    )
    secure_cookies: bool = Field(
        default=True, description="Whether browsers send the login over HTTPS only; false for plain HTTP."
    )
    drain: Duration = Field(
        default="10s", validate_default=True, description="How long SIGTERM lets requests that are under way finish."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")

    def problems(self) -> tuple[str, ...]:
        """A line for each secret that is too short to be one; empty: none is."""
        # Checked here and not by the fields, whose errors would show what was given.
        least = {
            "alertmanager_secret": _LEAST_SECRET,
            "grafana_secret": _LEAST_SECRET,
            "github_secret": _LEAST_SECRET,
            "session_key": _LEAST_SESSION_KEY,
        }
        return tuple(
            f"GATEWAY__{name.upper()}: expected at least {bytes_} bytes"
            for name, bytes_ in least.items()
            if (given := getattr(self, name)) is not None and len(given.get_secret_value().encode()) < bytes_
        )


class Settings(BaseSettings):
    """All settings; see each part for its fields."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True)

    services_file: Path = Field(default=Path("services.toml"), description="The registry of services.")
    policy_file: Path = Field(
        default=Path("policy.toml"), description="The policy; where the file does not exist, the defaults hold."
    )
    public_url: str = Field(
        default="", description="Where people reach the gateway, for the links in messages; empty: no links."
    )
    temporal: TemporalSettings = TemporalSettings()
    store: StoreSettings = StoreSettings()
    slack: SlackSettings = SlackSettings()
    gateway: GatewaySettings = GatewaySettings()
    redaction: RedactionSettings = RedactionSettings()


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises:
        ConfigurationError: a line for each variable that cannot be used.
    """
    settings = from_environment(Settings)
    pressed = settings.slack.signing_secret or settings.slack.app_token
    slack = settings.slack.problems() if pressed else ()  # what is only posted to is no concern of the gateway
    if problems := (*settings.gateway.problems(), *slack):
        raise ConfigurationError(*problems)
    return settings
