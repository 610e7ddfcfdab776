"""Record: keeps the snapshot."""

from temporalio import activity

from incident.ports import SnapshotStore
from incident.snapshot import Snapshot


class Record:
    """Writes snapshots to the store."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store

    @activity.defn(name="record.save")
    async def save(self, snapshot: Snapshot) -> None:
        """Keeps `snapshot`; the same incident again replaces it, unless what is kept closed later.

        Raises:
            TransientError: the store cannot be written.
        """
        await self._store.save(snapshot)
