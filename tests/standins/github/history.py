"""The repository's commits: a straight main branch, and a stray one that no rollback may lead to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha1

MAIN = "main"
STRAY = "stray"


def _sha(name: str) -> str:
    return sha1(name.encode(), usedforsecurity=False).hexdigest()


ROOT_SHA = _sha("root")
OLDER_SHA = _sha("older")
GOOD_SHA = _sha("good")
BAD_SHA = _sha("bad")
HEAD_SHA = _sha("head")
STRAY_SHA = _sha("stray")
_SHORTEST = 7  # characters of an abbreviated SHA


@dataclass(frozen=True)
class Commit:
    """One commit."""

    sha: str
    parent: str | None
    message: str
    at: datetime


@dataclass(frozen=True)
class Comparison:
    """How `head` stands to `base`. `ahead`: what only head has, oldest first."""

    base: Commit
    merge_base: Commit
    ahead: Sequence[Commit]
    behind: int

    @property
    def status(self) -> str:
        """GitHub's word for it."""
        if self.ahead:
            return "diverged" if self.behind else "ahead"
        return "behind" if self.behind else "identical"


class History:
    """Commits by SHA, and the branches' heads."""

    def __init__(self, now: datetime) -> None:
        self._commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        for days, (sha, message) in enumerate(
            [
                (ROOT_SHA, "Begin"),
                (OLDER_SHA, "Take cards"),
                (GOOD_SHA, "Settle faster"),
                (BAD_SHA, "Retry without a limit"),
                (HEAD_SHA, "Say more in the README"),
            ]
        ):
            self.push(sha, message, at=now - timedelta(days=5 - days))
        self._add(Commit(STRAY_SHA, OLDER_SHA, "Try something else", now), STRAY)

    @property
    def head(self) -> Commit:
        """The newest commit of main."""
        return self._commits[self.branches[MAIN]]

    def push(self, sha: str, message: str, *, at: datetime) -> None:
        """Adds a commit to main."""
        self._add(Commit(sha, self.branches.get(MAIN), message, at), MAIN)

    def resolve(self, ref: str) -> Commit | None:
        """The commit that a branch name, a full SHA or the beginning of one stands for."""
        name = ref.removeprefix("refs/").removeprefix("heads/")
        if name in self.branches:
            return self._commits[self.branches[name]]
        matching = [commit for sha, commit in self._commits.items() if sha.startswith(ref)]
        return matching[0] if len(ref) >= _SHORTEST and len(matching) == 1 else None

    def line(self, commit: Commit) -> Sequence[Commit]:
        """The commit and all that came before it, newest first."""
        line = [commit]
        while (parent := line[-1].parent) is not None:
            line.append(self._commits[parent])
        return line

    def compare(self, base: Commit, head: Commit) -> Comparison:
        """What head has that base has not, and the other way round."""
        behind, ahead = self.line(base), self.line(head)
        merge_base = next(commit for commit in ahead if commit in behind)
        return Comparison(base, merge_base, ahead[: ahead.index(merge_base)][::-1], behind.index(merge_base))

    def on_main(self, sha: str) -> bool:
        """Whether main holds that commit."""
        return sha in {commit.sha for commit in self.line(self.head)}

    def _add(self, commit: Commit, branch: str) -> None:
        self._commits[commit.sha] = commit
        self.branches[branch] = commit.sha
