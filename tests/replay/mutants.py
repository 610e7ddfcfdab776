"""The incident workflow with one step moved: what the replay of the stored histories must refuse."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.detect import Detection
    from incident.gate import Verdict
    from incident.recovery import look_at
    from incident.snapshot import Snapshot
    from workflows import names
    from workflows.incident import IncidentWorkflow
    from workflows.messages import IncidentRequest
    from workflows.remedy import Remedy


@workflow.defn(name=names.INCIDENT)
class Unchanged(IncidentWorkflow):
    """The same steps: shows that it is a moved step, not the subclass, that a replay refuses."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)


@workflow.defn(name=names.INCIDENT)
class LooksBeforeItAnalyses(IncidentWorkflow):
    """An activity moved: the first look comes before the analysis."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)

    async def _decide(self, seen: Detection) -> Verdict:
        await self._crew.look(look_at(seen.evidence, seen.assessment), 0, ask_live=True)
        return await super()._decide(seen)


@workflow.defn(name=names.INCIDENT)
class NeverWaits(IncidentWorkflow):
    """Timers gone: looks follow at once."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)

    async def _pause(self, duration: timedelta, summary: str) -> None:  # noqa: ARG002 - the pause that is left out
        await super()._pause(timedelta(0), summary)


class _PagesBeforeItUndoes(Remedy):
    async def undo(self) -> None:
        self._people.page("it is worse")
        await super().undo()


@workflow.defn(name=names.INCIDENT)
class PagesBeforeItUndoes(IncidentWorkflow):
    """An activity moved: the page is sent before the undoing is asked for, not once its answer is known."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)
        self._remedy = _PagesBeforeItUndoes(self._dossier, self._crew, self._people, self._chronicle, self._called_off)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)


@workflow.defn(name=names.INCIDENT)
class CallsNothingOff(IncidentWorkflow):
    """A branch gone: what has not begun is not called off."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)

    def _called_off(self) -> str:
        return ""


@workflow.defn(name=names.INCIDENT)
class DecidesOnce(IncidentWorkflow):
    """A branch gone: what is void is not decided anew."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: IncidentRequest) -> Snapshot:
        return await super().run(request)

    async def _respond(self, seen: Detection, verdict: Verdict) -> bool:
        await super()._respond(seen, verdict)
        return False
