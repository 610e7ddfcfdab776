"""Who may call, and what for: tokens that people and programs present, known by their hashes only."""

import hashlib
import hmac
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import Field, ValidationError

from incident.errors import ConfigurationError
from incident.model import Fact

PREFIX = "ict_"
"""What every token begins with, so that a scanner of secrets can know one."""
_ENTROPY = 32
"""Bytes of chance in a token: 256 bits, which nobody guesses, so that a plain hash keeps it."""
_FINGERPRINT = 16
"""Hex digits by which a token is named without being known."""


class Scope(StrEnum):
    """What a token is good for; none holds another."""

    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"


class Caller(Fact):
    """Whose token was presented."""

    name: str
    scopes: frozenset[Scope]
    fingerprint: str = Field(default="", description="which of the caller's tokens it was, without giving it away")

    def may(self, scope: Scope) -> bool:
        """Whether the token is good for that."""
        return scope in self.scopes


class _Entry(Fact):
    # No colon: a name can never be another way in's, such as slack:T024/U061.
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="as the policy names people")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)


class _File(Fact):
    token: tuple[_Entry, ...] = ()


@dataclass(frozen=True)
class TokenBook:
    """Every known token, as its hash; an empty one knows nobody."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """The tokens that the TOML `text` holds: `[[token]]` tables of name, sha256 and scopes.

        Raises:
            ConfigurationError: a line for each entry that cannot be used, beginning with `where`; it shows no hash.
        """
        try:
            entries = _File.model_validate(tomllib.loads(text)).token
        except tomllib.TOMLDecodeError:
            # The parser's own text may quote the line.
            raise ConfigurationError(f"{where}: not TOML") from None
        except ValidationError as error:
            raise ConfigurationError(*_problems(error, where)) from None
        hashes = [entry.sha256 for entry in entries]
        if twice := sorted({entry.name for entry in entries if hashes.count(entry.sha256) > 1}):
            raise ConfigurationError(f"{where}: token: expected each sha256 once; twice: {', '.join(twice)}")
        return cls(entries)

    def find(self, token: str) -> Caller | None:
        """Whose `token` it is; `None`: nobody's. Takes as long whoever's it is."""
        return self._match(hash_of(token))

    def fingerprinted(self, fingerprint: str) -> Caller | None:
        """Whose token has that fingerprint; `None`: nobody's any more."""
        return self._match(fingerprint, _FINGERPRINT)

    def _match(self, presented: str, digits: int | None = None) -> Caller | None:
        found: _Entry | None = None
        for entry in self.entries:
            if hmac.compare_digest(entry.sha256[:digits].encode(), presented.encode("utf-8", "replace")):
                found = entry
        if found is None:
            return None
        return Caller(name=found.name, scopes=found.scopes, fingerprint=found.sha256[:_FINGERPRINT])


def hash_of(token: str) -> str:
    """What stands for `token` in the file: its SHA-256, 64 hex digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def mint() -> tuple[str, str]:
    """A new token and its hash; the token is shown once and kept nowhere."""
    token = PREFIX + secrets.token_urlsafe(_ENTROPY)
    return token, hash_of(token)


def entry_of(name: str, sha256: str, scopes: Iterable[Scope]) -> str:
    """The table that makes the tokens file know a token.

    Raises:
        ConfigurationError: it would not be taken.
    """
    listed = ", ".join(f'"{scope}"' for scope in Scope if scope in set(scopes))
    text = f'[[token]]\nname = "{name}"\nsha256 = "{sha256}"\nscopes = [{listed}]\n'
    TokenBook.parse(text, name)
    return text


def _problems(error: ValidationError, where: str) -> list[str]:
    """One line for each invalid field, without what stood there."""
    lines = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each["loc"]).lstrip(".")
        lines.append(f"{where}: {path}: {each['msg']}")
    return lines
