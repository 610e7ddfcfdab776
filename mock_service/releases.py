"""The deployments that exist, which one is live, and what has happened to each."""

from dataclasses import dataclass, field
from datetime import datetime

GOOD = 100
BAD = 101

_KEPT = 64  # activations; log lines look back minutes, not weeks


@dataclass
class Release:
    """One deployment. Times are null until the thing has happened."""

    id: int
    sha: str
    message: str
    built_at: datetime
    activated_at: datetime | None = None
    last_healthy_at: datetime | None = None
    rolled_back_from_at: datetime | None = None
    rolled_back_at: datetime | None = None  # the seed's mark: on the entry that an activation call named
    rollback_reason: str | None = None


@dataclass
class Releases:
    """Every known deployment, oldest first, and the one that serves."""

    known: list[Release]
    live: Release
    _activations: list[tuple[datetime, int]] = field(default_factory=list)

    def find(self, text: str) -> Release | None:
        """The deployment whose id is written exactly so."""
        return next((release for release in self.known if str(release.id) == text), None)

    def get(self, deployment_id: int) -> Release:
        """A deployment that is known to exist; KeyError otherwise."""
        found = self.find(str(deployment_id))
        if found is None:
            raise KeyError(deployment_id)
        return found

    def activate(self, release: Release, at: datetime) -> Release:
        """Make a release live and return the one it replaced; activating the live one again moves no times."""
        replaced = self.live
        if release is replaced:
            return replaced
        if release.id < replaced.id:
            replaced.rolled_back_from_at = at
        release.activated_at = at
        self._activations = [*self._activations, (at, replaced.id)][-_KEPT:]
        self.live = release
        return replaced

    def live_at(self, at: datetime) -> int:
        """The id of the deployment that served at a past instant."""
        return next((replaced for changed, replaced in self._activations if changed > at), self.live.id)
