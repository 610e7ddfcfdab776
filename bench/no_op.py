"""The workflow that does nothing: what one start, one workflow task and one end cost on this machine."""

from temporalio import workflow


@workflow.defn(name="no-op")
class NoOpWorkflow:
    """Returns."""

    @workflow.run
    async def run(self) -> None:
        """Nothing."""
