"""The background of an incident: what is normal by history, what runs around the service, and what was changed.

No workflow imports this module: it works on arrays.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from activities.asking import answer_of
from activities.changes import Tidings, with_around
from incident.cause import Change, ChangeKind
from incident.causes import Span, explaining, with_changes
from incident.changes import NEWEST, STORE
from incident.evidence import Background, Evidence, Metric, SourceState
from incident.history import History
from incident.norms import RECENT, foreseen, frame_of, norms_of, with_now
from incident.ports import HistoryQuestion, Services, Surroundings, Usual
from incident.sensitivity import Sensitivity

_FRESH = timedelta(hours=1)
"""How long what is normal is taken for known: it changes by the day."""
_UNKNOWN = timedelta(minutes=5)
"""How long that nothing is known is."""
_MOST = 100
"""Told changes that an incident's evidence holds: it travels with every question to an activity."""


@dataclass(frozen=True)
class _Read:
    """What was read of a service's surroundings."""

    histories: Mapping[str, History]
    """By service; one that could not be read is not among them. Empty: nothing keeps any."""
    problem: str
    """Why the service's own history is not known; empty: it is, or there is none."""
    graph: tuple[tuple[str, str], ...]
    live: tuple[Change, ...]
    """What is live around it."""
    replaced: tuple[Change, ...]
    """What was live there before."""
    told: tuple[Change, ...]
    lacks: str
    """Why what was told of is not known; empty: it is."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is known to have been changed of late."""
        return self.live + self.told


class MetricHistorian:
    """Reads the histories of a service and of those around it, and says what they come to.

    Args:
        services: for what was deployed around a service.
        surroundings: for the histories, and for what is around it.
        clock: the time, aware.
        tidings: for what people and programs told of; without, nobody tells of anything.
    """

    def __init__(
        self,
        services: Services,
        surroundings: Surroundings,
        clock: Callable[[], datetime],
        tidings: Tidings | None = None,
    ) -> None:
        self._services, self._surroundings, self._clock, self._tidings = services, surroundings, clock, tidings
        self._known: dict[tuple[str, str, Sensitivity], tuple[datetime, Usual]] = {}

    async def completed(self, looking: Awaitable[Evidence], asked: HistoryQuestion) -> Evidence:
        """The evidence that `looking` gives, with its background, which is read meanwhile.

        Without one where what measures the service keeps no history and nobody told of a change. A history that fails
        or takes too long is reported as failed; one of a service around it is left out.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        evidence, read = await asyncio.gather(looking, self._read(asked))
        background = await asyncio.to_thread(_background, read, evidence, asked)
        seen = evidence.model_copy(update={"background": background}) if background else evidence
        return await self._explained(seen, read, asked)

    async def _read(self, asked: HistoryQuestion) -> _Read:
        environment, service, limit = asked.environment, asked.service, asked.limit
        measured = self._surroundings.history(environment, service) is not None
        graph = self._surroundings.calls(environment, service)
        names = with_around(service, graph)
        found, deployed, told = await asyncio.gather(
            asyncio.gather(*(self._history(environment, name, limit) for name in names if measured)),
            asyncio.gather(*(self._deployed(environment, name, limit) for name in names[1:] if measured)),
            self._tidings.told(environment, service, self._lately(asked), limit) if self._tidings else _nothing(),
        )
        return _Read(
            histories={name: each for name, each in zip(names, found, strict=False) if isinstance(each, History)},
            problem=found[0] if found and isinstance(found[0], str) else "",
            graph=graph,
            live=tuple(live for live, _ in deployed if live),
            replaced=tuple(each for _, others in deployed for each in others),
            told=() if isinstance(told, str) else told,
            lacks=told if isinstance(told, str) else "",
        )

    def _lately(self, asked: HistoryQuestion) -> Span:
        """When a change was made that may explain an onset of the last hours."""
        return Span(self._clock() - asked.explains_within - timedelta(seconds=RECENT), None)

    async def _explained(self, seen: Evidence, read: _Read, asked: HistoryQuestion) -> Evidence:
        """The evidence with every change that may explain its onset, however long ago that was."""
        span = explaining(seen, asked.explains_within)
        full = any(count >= NEWEST for count in Counter(each.service for each in read.told).values())
        earlier: tuple[Change, ...] | str = ()
        if self._tidings and not read.lacks and (full or span.since < self._lately(asked).since):
            earlier = await self._tidings.explaining(seen, asked.explains_within, asked.limit)
        around = tuple(each for each in read.replaced if span.holds(each.at))
        if isinstance(earlier, str):
            return _arranged(with_changes(seen, around), span, f"since {span.since:%Y-%m-%d %H:%MZ}: {earlier}")
        return _arranged(with_changes(seen, around + earlier), span)

    async def usual(self, asked: HistoryQuestion) -> Usual:
        """What is normal of the service, and what climbs, as it was known within the last hour.

        Raises:
            UnknownServiceError: the registry has no such service.
        """
        key, now = (asked.environment, asked.service, asked.sensitivity), self._clock()
        known = self._known.get(key)
        if known is None or now - known[0] > (_FRESH if known[1].normals else _UNKNOWN):
            history = await self._history(asked.environment, asked.service, asked.limit)
            usual = await asyncio.to_thread(_usual, history, asked) if isinstance(history, History) else Usual()
            known = self._known[key] = now, usual
        return known[1]

    async def _history(self, environment: str, service: str, limit: timedelta) -> History | str:
        """The history, or why there is none."""
        source = self._surroundings.history(environment, service)
        if source is None:
            return "what measures it keeps none"
        return await answer_of(source.read_history(), limit)

    async def _deployed(
        self, environment: str, service: str, limit: timedelta
    ) -> tuple[Change | None, tuple[Change, ...]]:
        """What is live, and what was live before it."""
        report = await answer_of(self._services.connect(environment, service).deployments.read_deployments(), limit)
        live = None if isinstance(report, str) else report.live
        if isinstance(report, str) or live is None or live.activated_at is None:
            return None, ()  # a change that is not known accuses nobody
        known = {
            each: Change(id=f"{service}/{each.id}", service=service, kind=ChangeKind.DEPLOYMENT, at=each.activated_at)
            for each in report.deployments
            if each.activated_at and each.activated_at <= live.activated_at
        }
        return known.pop(live), tuple(known.values())


async def _nothing() -> tuple[Change, ...] | str:
    """What was told of where nobody tells of anything."""
    return ()


def _arranged(evidence: Evidence, span: Span, lacks: str = "") -> Evidence:
    """The evidence with as many of its told changes as it holds: the likeliest first, and its own first of these.

    Args:
        evidence: what is known.
        span: when a change was made that may explain the onset.
        lacks: what else of the changes is not known, and why.
    """
    background = evidence.background or Background(source=STORE, state=SourceState.EMPTY)
    around = tuple(each for each in background.changes if each.kind is ChangeKind.DEPLOYMENT)
    told = sorted(set(background.changes) - set(around), key=lambda each: (each.at, each.id), reverse=True)
    told.sort(key=lambda each: (not span.holds(each.at), each.service != evidence.service))
    more = f"{len(told) - _MOST} more changes were told of" if len(told) > _MOST else ""
    arranged = background.model_copy(
        update={
            "changes": (*around, *told[:_MOST]),
            "problem": "; ".join(each for each in (background.problem, more, lacks) if each),
        }
    )
    nothing = evidence.background is None and not lacks
    return evidence if nothing else evidence.model_copy(update={"background": arranged})


def _usual(history: History, asked: HistoryQuestion) -> Usual:
    frame = frame_of({asked.service: history})
    norms = norms_of(asked.service, frame, (), (), asked.sensitivity)
    return Usual(norms.normals, norms.rising)


def _background(read: _Read, evidence: Evidence, asked: HistoryQuestion) -> Background | None:
    if read.problem:
        problem = "; ".join(each for each in (read.problem, read.lacks) if each)
        return Background(source="history", state=SourceState.FAILED, problem=problem, changes=read.changes)
    if evidence.service not in read.histories:
        if not read.changes and not read.lacks:
            return None
        return Background(source=STORE, state=SourceState.EMPTY, problem=read.lacks, changes=read.changes)
    service, own = evidence.service, read.histories[evidence.service]
    readings = {each.metric: each.value for each in evidence.metrics.readings}
    frame = with_now(frame_of(read.histories), service, evidence.collected_at.timestamp(), readings)
    changed = [each.activated_at for each in evidence.deployments.deployments if each.activated_at]
    changed += [each.at for each in read.changes if each.service == service]
    norms = norms_of(service, frame, read.graph, read.changes, asked.sensitivity, changed)
    norms = foreseen(norms, readings.get(Metric.MEMORY_USAGE), asked.thresholds, changed)
    around = {name for call in read.graph for name in call} - {service}
    short = "" if norms.normals else "too short to tell what is normal"
    unseen = sorted(around - set(read.histories))
    unknown = f"no history of {', '.join(unseen)}" if unseen else ""
    return Background(
        source=own.source,
        state=SourceState.OK if norms.normals else SourceState.EMPTY,
        problem="; ".join(each for each in (*own.problems, short, unknown, read.lacks) if each),
        since=datetime.fromtimestamp(own.times[0], UTC),
        normals=norms.normals,
        onset=norms.onset,
        climb=norms.climb,
        suspects=norms.suspects,
        seen=tuple(sorted(around & set(read.histories))),
        changes=read.changes,
    )
