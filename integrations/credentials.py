"""What the commander shows to a source that does not answer everybody."""

from base64 import b64encode
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Credentials(BaseModel):
    """A bearer token, or a user with a password; without either, the source is asked as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(
        default=None, description="Sent as a bearer token; with a username beside it, as that user's password."
    )
    username: str = Field(
        default="", max_length=200, description="For basic authentication, as Grafana Cloud wants it."
    )

    def headers(self) -> Mapping[str, str]:
        """What is sent with every question."""
        token = self.token.get_secret_value() if self.token else ""
        if self.username:
            return {"Authorization": f"Basic {b64encode(f'{self.username}:{token}'.encode()).decode()}"}
        return {"Authorization": f"Bearer {token}"} if token else {}

    def problems(self, prefix: str) -> tuple[str, ...]:
        """A line for each variable that cannot be sent; empty: all can.

        Args:
            prefix: what the variables' names begin with, such as `LOKI__`.
        """
        # Checked here and not by the fields, whose errors would show what was given.
        token = self.token.get_secret_value() if self.token else ""
        found = []
        if not _one_word(token) and not self.username:
            found.append(f"{prefix}TOKEN: expected one word of ASCII characters")
        if self.username and (":" in self.username or not self.username.isprintable()):
            found.append(f"{prefix}USERNAME: expected a name without a colon")
        return tuple(found)


class SourceCredentials(BaseModel):
    """What is shown to each kind of source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loki: Credentials = Credentials()
    json_lines: Credentials = Credentials()
    alertmanager: Credentials = Credentials()

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that cannot be sent; empty: all can."""
        return (
            *self.loki.problems("LOKI__"),
            *self.json_lines.problems("JSON_LINES__"),
            *self.alertmanager.problems("ALERTMANAGER__"),
        )


def _one_word(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
