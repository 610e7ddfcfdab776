"""How whoever ran `commander up` gets into its gateway: a token and a key that are made once and kept."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commander.tokens import grant, write_secret
from gateway.tokens import Scope, TokenBook
from incident.errors import ConfigurationError

_KEY_BYTES = 48
_OTHER = re.compile(r"[^A-Za-z0-9._@-]")
_LONGEST = 64


@dataclass(frozen=True)
class Login:
    """One person's way into a gateway of their own."""

    name: str
    """As the policy's approvers must have it."""
    token_file: Path
    tokens_file: Path
    session_key: str

    @property
    def gateway(self) -> Mapping[str, str]:
        """What the gateway must be told, as environment variables."""
        return {"GATEWAY__TOKENS_FILE": str(self.tokens_file), "GATEWAY__SESSION_KEY": self.session_key}


def prepare(directory: Path, user: str) -> Login:
    """The login of `user`, whose token is good for everything; what an earlier one left in `directory` stays in force.

    Raises:
        ConfigurationError: a file there cannot be used or written.
    """
    name = token_name(user)
    token_file, tokens_file = directory / "token", directory / "tokens.toml"
    if not _holds(tokens_file, _kept(token_file), name):
        write_secret(token_file, grant(tokens_file, name, Scope, replace=True) + "\n")
    key_file = directory / "session-key"
    if not (key := _kept(key_file)):
        key = secrets.token_urlsafe(_KEY_BYTES)
        write_secret(key_file, key + "\n")
    return Login(name, token_file, tokens_file, key)


def token_name(user: str) -> str:
    """The user's name as a token may have it."""
    return _OTHER.sub("-", user).lstrip("._@-")[:_LONGEST] or "me"


def _holds(tokens_file: Path, token: str, name: str) -> bool:
    caller = TokenBook.parse(_kept(tokens_file), str(tokens_file)).find(token) if token else None
    return caller is not None and caller.name == name


def _kept(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read ({type(error).__name__})") from error
