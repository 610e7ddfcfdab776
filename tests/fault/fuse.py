"""A fuse: at a named point, once, a process kills itself, freezes, or loses its connection.

The test writes the point and the deed into a file; whichever process reaches that point first takes the file away,
which can succeed only once, says who it is, and then does the deed.
"""

import json
import os
import signal
from enum import StrEnum
from pathlib import Path


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
        self._struck = directory / "fuse.struck"

    def arm(self, point: str, deed: Deed) -> None:
        """From now on `deed` happens at `point`, once."""
        self._struck.unlink(missing_ok=True)
        draft = self._armed.with_suffix(".draft")
        draft.write_text(json.dumps([point, deed]), encoding="utf-8")
        draft.replace(self._armed)

    def disarm(self) -> None:
        """Nothing happens any more."""
        self._armed.unlink(missing_ok=True)

    @property
    def struck(self) -> int | None:
        """The process that it happened to since the last `arm`; `None`: it has not happened."""
        return int(self._struck.read_text(encoding="utf-8")) if self._struck.exists() else None

    @property
    def burnt(self) -> bool:
        """Whether it happened since the last `arm`."""
        return self.struck is not None

    def burn(self, point: str) -> bool:
        """Does the deed if it is this point's; whether the connection is to be cut here."""
        try:
            armed, deed = json.loads(self._armed.read_text(encoding="utf-8"))
            if armed != point:
                return False
            self._armed.rename(self._burnt)
        except FileNotFoundError:
            return False
        draft = self._struck.with_suffix(".draft")
        draft.write_text(str(os.getpid()), encoding="utf-8")
        draft.replace(self._struck)
        if deed == Deed.CUT:
            return True
        os.kill(os.getpid(), signal.SIGKILL if deed == Deed.KILL else signal.SIGSTOP)
        return False
