"""A fuse: at a named point, once, a process kills itself, freezes, or loses its connection.

The test writes the point and the deed into a file; whichever process reaches that point first takes the file away,
which can succeed only once, and then does the deed.
"""

import json
import os
import signal
from enum import StrEnum
from pathlib import Path

POST_LEAVES = "before the POST leaves"
POST_ACCEPTED = "after the POST was accepted"


class Deed(StrEnum):
    """What happens at the point."""

    KILL = "kill"
    STOP = "stop"
    CUT = "cut"


class Fuse:
    """Lies in `directory`, which every process of the test knows."""

    def __init__(self, directory: Path) -> None:
        self._armed = directory / "fuse.json"
        self._burnt = directory / "fuse.burnt.json"

    def arm(self, point: str, deed: Deed) -> None:
        """From now on `deed` happens at `point`, once."""
        self._burnt.unlink(missing_ok=True)
        draft = self._armed.with_suffix(".draft")
        draft.write_text(json.dumps([point, deed]), encoding="utf-8")
        draft.replace(self._armed)

    def disarm(self) -> None:
        """Nothing happens any more."""
        self._armed.unlink(missing_ok=True)

    @property
    def burnt(self) -> bool:
        """Whether it happened since the last `arm`."""
        return self._burnt.exists()

    def burn(self, point: str) -> bool:
        """Does the deed if it is this point's; whether the connection is to be cut here."""
        try:
            armed, deed = json.loads(self._armed.read_text(encoding="utf-8"))
            if armed != point:
                return False
            self._armed.rename(self._burnt)
        except FileNotFoundError:
            return False
        if deed == Deed.CUT:
            return True
        os.kill(os.getpid(), signal.SIGKILL if deed == Deed.KILL else signal.SIGSTOP)
        return False


def before(activity: str) -> str:
    """The point at which `activity` has been handed to the worker and has done nothing."""
    return f"before {activity}"


def after(activity: str) -> str:
    """The point at which `activity` has done everything and has not reported it."""
    return f"after {activity}"
