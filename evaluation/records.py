"""Records of closed incidents, out of files and folders or of the store; what cannot be read is named, not hidden."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from incident.errors import ConfigurationError
from incident.model import Fact, field_errors
from incident.ports import IncidentArchive
from incident.search import Wanted
from incident.snapshot import Snapshot

_PAGE = 200
"""Records that are asked of the store at once."""


class Unreadable(Fact):
    """A record that is none: cut off, not JSON, or of a version that is not known here."""

    name: str
    problem: str


async def in_files(paths: Iterable[Path]) -> AsyncIterator[Snapshot | Unreadable]:
    """The records in `paths`, in their order; of a folder every `.json` file beneath it, by name.

    Raises:
        ConfigurationError: there is no such file or folder, or a folder holds none.
    """
    for path in paths:
        for file in _files(path):
            yield _read(file)


async def in_store(archive: IncidentArchive, since: datetime | None) -> AsyncIterator[Snapshot | Unreadable]:
    """The records of incidents that opened at `since` or later, newest first; `None`: every one.

    Raises:
        TransientError: the store does not answer.
    """
    wanted = Wanted(since=since, limit=_PAGE)
    while True:
        found = await archive.search(wanted)
        for name in found.unreadable:
            yield Unreadable(name=name, problem="no record of a version that is known here")
        for snapshot in found.snapshots:
            yield snapshot
        if found.next is None:
            return
        wanted = wanted.model_copy(update={"after": found.next})


def _files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigurationError(f"{path}: no such file or folder")
    if found := sorted(each for each in path.rglob("*.json") if each.is_file()):
        return found
    raise ConfigurationError(f"{path}: expected records of incidents, as .json files; it holds none")


def _read(file: Path) -> Snapshot | Unreadable:
    try:
        return Snapshot.model_validate_json(file.read_bytes())
    except OSError as error:
        return Unreadable(name=str(file), problem=f"cannot be read ({type(error).__name__})")
    except ValidationError as error:
        first, *more = field_errors(error)
        also = f" (and {len(more)} more)" if more else ""
        return Unreadable(name=str(file), problem=f"no record of an incident: {first}{also}")
