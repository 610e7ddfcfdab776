"""How GitHub is reached, and as whom."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from incident.errors import ConfigurationError
from incident.model import Duration

_A_TOKEN_OR_AN_APP = "expected a token, or a GitHub App by APP_ID, INSTALLATION_ID and PRIVATE_KEY or PRIVATE_KEY_FILE"  # noqa: S105 - words, no token


class GitHubSettings(BaseModel):
    """GitHub's address, a token or an App, and how long a run may stay unlisted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_url: str = Field(
        default="https://api.github.com", description="GitHub's API; of an Enterprise server https://HOST/api/v3."
    )
    web_url: str = Field(default="https://github.com", description="Where people find GitHub; for links only.")
    token: SecretStr | None = Field(
        default=None,
        description="A fine-grained token with Actions: write, Deployments: read, Contents: read; or give an App.",
    )
    app_id: str = Field(default="", max_length=100, description="A GitHub App's id or client id, instead of a token.")
    installation_id: int | None = Field(default=None, ge=1, description="The App's installation on the repositories.")
    private_key: SecretStr | None = Field(
        default=None, description=r"The App's private key in PEM, line breaks as they are or as \n."
    )
    private_key_file: Path | None = Field(default=None, description="The file that holds it, instead.")
    api_version: str = Field(
        default="2022-11-28", pattern=r"^\d{4}-\d{2}-\d{2}$", description="GitHub's API version that is spoken."
    )
    run_appears_within: Duration = Field(
        default=timedelta(seconds=90),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How long a run may stay out of GitHub's lists before it counts as not started.",
    )
    search_every: Duration = Field(
        default=timedelta(seconds=3),
        gt=timedelta(0),
        le=timedelta(minutes=1),
        description="How soon an unlisted run is looked for again; then ever more slowly, to four times that.",
    )

    def key(self) -> str:
        """The App's private key, as text; whether it is one is not looked at.

        Raises:
            ConfigurationError: it lies in a file that cannot be read.
        """
        if self.private_key_file is None:
            return self.private_key.get_secret_value().replace("\\n", "\n") if self.private_key else ""
        try:
            return self.private_key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"GITHUB__PRIVATE_KEY_FILE: cannot be read ({type(error).__name__})") from error

    def problems(self) -> tuple[str, ...]:
        """A line for each variable that keeps GitHub from being asked; empty: none does."""
        return (*self._addresses(), *self._identity())

    def _addresses(self) -> tuple[str, ...]:
        # Checked here and not by a field, whose error would show the address, password included.
        return tuple(
            f"GITHUB__{name}: expected an address that begins with https:// or http://, without user or query"
            for name, value in (("API_URL", self.api_url), ("WEB_URL", self.web_url))
            if not _usable(value)
        )

    def _identity(self) -> tuple[str, ...]:
        token = self.token.get_secret_value() if self.token else ""
        parts = {
            "GITHUB__APP_ID": bool(self.app_id),
            "GITHUB__INSTALLATION_ID": self.installation_id is not None,
            "GITHUB__PRIVATE_KEY": self.private_key is not None or self.private_key_file is not None,
        }
        if token and any(parts.values()):
            given = ", ".join(name for name, present in parts.items() if present)
            return (f"GITHUB__TOKEN: expected either a token or an App, not both; an App is given by {given}",)
        if token:
            fits = token.isascii() and token.isprintable() and " " not in token
            return () if fits else ("GITHUB__TOKEN: expected one word of ASCII characters",)
        if not any(parts.values()):
            return (f"GITHUB__TOKEN: {_A_TOKEN_OR_AN_APP}",)
        missing = tuple(
            f"{name}: expected for a GitHub App, since {', '.join(n for n, given in parts.items() if given)} is set"
            for name, present in parts.items()
            if not present
        )
        twice = self.private_key is not None and self.private_key_file is not None
        return missing or (
            ("GITHUB__PRIVATE_KEY: expected this or GITHUB__PRIVATE_KEY_FILE, not both",) if twice else ()
        )


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    return bool(parts.scheme in {"http", "https"} and host and not parts.query and not parts.fragment) and (
        "@" not in parts.netloc
    )
