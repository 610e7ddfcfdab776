"""The trace: which process passed which point, in the order of their passing."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One process at one point, and in which activity of which run that was; empty: in none."""

    pid: int
    point: str
    activity: str = ""
    activity_id: str = ""
    run_id: str = ""


class Trace:
    """Lies in `directory`, which every process of the test knows."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "trace.jsonl"

    def note(self, point: str, activity: str = "", activity_id: str = "", run_id: str = "") -> None:
        """This process passes `point`."""
        step = Step(os.getpid(), point, activity, activity_id, run_id)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(step)) + "\n")

    def steps(self) -> Sequence[Step]:
        """All of them so far, oldest first."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [Step(**json.loads(line)) for line in lines if line.endswith("\n")]

    def nth(self, activity: str, activity_id: str, run_id: str) -> int:
        """Which one of its type the activity is in that run, whatever worker had it: 1 for the first."""
        ids = [step.activity_id for step in self.steps() if (step.activity, step.run_id) == (activity, run_id)]
        return list(dict.fromkeys([*ids, activity_id])).index(activity_id) + 1

    def clear(self) -> None:
        """Forgets all."""
        self._path.unlink(missing_ok=True)
