"""Every setting of whoever sits at the terminal, from the environment: which gateway, and the token that says who.

`COMMANDER__URL` sets `commander.url`, and so on. `--direct` goes past the gateway, by the worker's own settings.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from incident.errors import ConfigurationError
from integrations.addresses import host_of
from integrations.http import HttpSettings
from integrations.variables import from_environment

UP = Path(".commander/up")
"""Where `commander up` keeps what it needs, beneath the folder that it runs in."""
TOKEN_FILE = UP / "token"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
"""What can stand in an Authorization header (RFC 6750 §2.1)."""
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


class CommanderSettings(BaseModel):
    """The gateway that the commands go through, and in whose name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(default="http://127.0.0.1:8080", description="The gateway that the commands go through.")
    token: SecretStr | None = Field(
        default=None,
        description="Your token at the gateway; left out, at one on this machine, the token of `commander up`.",
    )

    @property
    def on_this_machine(self) -> bool:
        """Whether the gateway is one that `commander up` may have started."""
        return host_of(self.url) in _HERE

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that cannot be used; empty: none."""
        # Checked here and not by the fields, whose errors would show what was given.
        found = []
        if not host_of(self.url):
            found.append(
                "COMMANDER__URL: expected an address that begins with https:// or http://, without user or query"
            )
        if self.token is not None and not _TOKEN.fullmatch(self.token.get_secret_value()):
            found.append("COMMANDER__TOKEN: expected a token as `commander token` prints it")
        return tuple(found)

    def bearer(self, kept: Path = TOKEN_FILE) -> str:
        """The token that is presented.

        Args:
            kept: where `commander up` leaves one; it is presented to no other machine.

        Raises:
            ConfigurationError: there is none, or the settings cannot be used.
        """
        if problems := self.problems():
            raise ConfigurationError(*problems)
        if self.token is not None:
            return self.token.get_secret_value()
        if self.on_this_machine and (token := _kept(kept)):
            return token
        raise ConfigurationError(
            f"COMMANDER__TOKEN: expected your token at {self.url}; whoever runs the gateway makes one with "
            "`commander token`; --direct goes past it"
        )


class PersonSettings(BaseSettings):
    """All settings of the command line; see each part for its fields."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True)

    commander: CommanderSettings = CommanderSettings()
    http: HttpSettings = HttpSettings()


def load_person() -> PersonSettings:
    """The settings of this process's environment.

    Raises:
        ConfigurationError: a line for each variable that cannot be used.
    """
    return from_environment(PersonSettings)


def _kept(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read ({type(error).__name__}); or set COMMANDER__TOKEN") from error
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"{file}: expected a token; `commander up` writes a new one where it is removed")
    return token
