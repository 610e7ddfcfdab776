"""Writes a snapshot that could not be written when its incident closed, once the store is back."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.record import Record
    from incident.snapshot import Snapshot
    from workflows import names, options


@workflow.defn(name=names.LATE_RECORD)
class LateRecordWorkflow:
    """Tries for days, while the incident itself has long closed."""

    @workflow.run
    async def run(self, snapshot: Snapshot) -> None:
        """Returns once the snapshot is kept."""
        await workflow.execute_activity_method(
            Record.save, snapshot, summary="write the snapshot once the store is back", **options.KEEP_LATER
        )
