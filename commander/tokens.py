"""Tokens for people and programs: minted here, shown once, and known to the gateway by their hashes only."""

import fcntl
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.tokens import Scope, TokenBook, entry_of, mint
from incident.errors import ConfigurationError

_TABLE = re.compile(r"^(?=[ \t]*\[\[[ \t]*token[ \t]*\]\])", re.MULTILINE)


def grant(file: Path, name: str, scopes: Iterable[Scope], *, replace: bool = False) -> str:
    """A new token for `name`, which `file` knows from now on.

    Args:
        file: the gateway's tokens file; made if it is missing. A gateway reads it when it starts.
        name: of a person as the policy's approvers have it, or of a program.
        scopes: what it is good for.
        replace: whether the tokens that `name` has are known no more.

    Raises:
        ConfigurationError: the file or the name cannot be used, or `name` has a token and is not to be given another.
    """
    token, sha256 = mint()
    entry = entry_of(name, sha256, scopes)
    target = Path(os.path.realpath(file))
    with _alone(target, file):
        text = _read(target, file)
        if name in _names(text, file):
            if not replace:
                raise ConfigurationError(f"{file}: {name} has a token already; --replace makes that one invalid")
            text = _without(text, name, file)
        grown = f"{text.rstrip()}\n\n{entry}".lstrip()
        TokenBook.parse(grown, str(file))
        write_secret(target, grown)
    return token


def write_secret(file: Path, text: str) -> None:
    """Writes `text` at once or not at all, for its owner's eyes only.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written ({type(error).__name__})") from error


@contextmanager
def _alone(target: Path, shown: Path) -> Iterator[None]:
    """Nobody else grants there meanwhile: of two at once, one would be lost."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be written ({type(error).__name__})") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read(target: Path, shown: Path) -> str:
    try:
        return target.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{shown}: cannot be read ({type(error).__name__})") from error


def _names(text: str, shown: Path) -> tuple[str, ...]:
    return tuple(entry.name for entry in TokenBook.parse(text, str(shown)).entries)


def _without(text: str, name: str, shown: Path) -> str:
    """`text` without the tables of `name`; everything else, comments included, stays as it was written."""
    left = "".join(part for part in _TABLE.split(text) if not _is_of(part, name))
    others = [each for each in _names(text, shown) if each != name]
    try:
        holds = list(_names(left, shown)) == others
    except ConfigurationError:
        holds = False
    if not holds:
        raise ConfigurationError(f"{shown}: expected [[token]] tables; remove those of {name} by hand")
    return left


def _is_of(part: str, name: str) -> bool:
    try:
        tables = tomllib.loads(part).get("token", [])
    except tomllib.TOMLDecodeError:
        return False
    return any(each.get("name") == name for each in tables)
