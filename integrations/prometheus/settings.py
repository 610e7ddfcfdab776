"""How Prometheus is asked, and on whose behalf. Where it is stands in the registry of services."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from incident.model import Duration


class PrometheusSettings(BaseModel):
    """The credentials for every Prometheus of the registry, which time is asked for, and how much at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(
        default=None, description="A bearer token; sent to every Prometheus that services.toml names."
    )
    username: str = Field(default="", max_length=200, description="For basic authentication, instead of a token.")
    password: SecretStr | None = Field(default=None, description="Of that user.")
    lag: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How far behind now is asked, so that the newest scrapes are in.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        description="How long Prometheus may work on a query; under HTTP__READ_TIMEOUT.",
    )
    history: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(hours=1),
        le=timedelta(days=60),
        description="How far back each metric is read to tell what is normal; from 14d on by hour and day.",
    )
    at_once: int = Field(
        default=20, ge=1, le=1000, description="Queries under way together, of all services; Prometheus runs 20 itself."
    )

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that keeps Prometheus from being asked; empty: none does."""
        # Checked here and not by the fields, whose errors would show what was given, secrets included.
        found = []
        token, password = _text(self.token), _text(self.password)
        if token and (self.username or password):
            found.append("PROMETHEUS__TOKEN: expected either a token, or a user with a password, not both")
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            found.append("PROMETHEUS__TOKEN: expected one word of ASCII characters")
        if bool(self.username) != bool(password):
            found.append("PROMETHEUS__PASSWORD: expected together with PROMETHEUS__USERNAME")
        if ":" in self.username or not self.username.isprintable():
            found.append("PROMETHEUS__USERNAME: expected a name without a colon or control characters")
        return tuple(found)


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
