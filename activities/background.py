"""The background of an incident: what is normal by history, what runs around the service, and what was changed.

No workflow imports this module: it works on arrays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from activities.asking import answer_of
from incident.cause import Change, ChangeKind
from incident.errors import IntegrationError
from incident.evidence import Background, Evidence, Metric, SourceState
from incident.history import History
from incident.norms import RECENT, foreseen, frame_of, norms_of, with_now
from incident.ports import ChangeBook, HistoryQuestion, Services, Surroundings, Usual
from incident.sensitivity import Sensitivity

_FRESH = timedelta(hours=1)
"""How long what is normal is taken for known: it changes by the day."""
_UNKNOWN = timedelta(minutes=5)
"""How long that nothing is known is."""
_MOST = 100
"""Changes that an incident's evidence holds: it travels with every question to an activity."""
_STORE = "store"
_STORE_WITHIN = timedelta(seconds=3)
"""How long the store may take: it is asked for a few rows, and one that is away must not keep a page back for long."""


@dataclass(frozen=True)
class _Read:
    """What was read of a service's surroundings."""

    histories: Mapping[str, History]
    """By service; one that could not be read is not among them. Empty: nothing keeps any."""
    problem: str
    """Why the service's own history is not known; empty: it is, or there is none."""
    graph: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]
    lacks: tuple[str, ...]
    """What of the changes is not known, and why."""


class MetricHistorian:
    """Reads the histories of a service and of those around it, and says what they come to.

    Args:
        services: for what was deployed around a service.
        surroundings: for the histories, and for what is around it.
        clock: the time, aware.
        changes: for what people and programs told of; without it nobody tells of anything.
    """

    def __init__(
        self,
        services: Services,
        surroundings: Surroundings,
        clock: Callable[[], datetime],
        changes: ChangeBook | None = None,
    ) -> None:
        self._services, self._surroundings, self._clock, self._changes = services, surroundings, clock, changes
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
        return evidence.model_copy(update={"background": background}) if background else evidence

    async def _read(self, asked: HistoryQuestion) -> _Read:
        environment, service, limit = asked.environment, asked.service, asked.limit
        measured = self._surroundings.history(environment, service) is not None
        graph = self._surroundings.calls(environment, service)
        around = sorted({name for call in graph for name in call} - {service})
        names = (service, *around)
        found, deployed, (told, lacks) = await asyncio.gather(
            asyncio.gather(*(self._history(environment, name, limit) for name in names if measured)),
            asyncio.gather(*(self._change(environment, name, limit) for name in around if measured)),
            self._told(asked, names),
        )
        return _Read(
            histories={name: each for name, each in zip(names, found, strict=False) if isinstance(each, History)},
            problem=found[0] if found and isinstance(found[0], str) else "",
            graph=graph,
            changes=(*(each for each in deployed if each), *told),
            lacks=lacks,
        )

    async def _told(
        self, asked: HistoryQuestion, services: Sequence[str]
    ) -> tuple[tuple[Change, ...], tuple[str, ...]]:
        """The changes of late that somebody told of, the service's own first, and what of them is not known."""
        if self._changes is None:
            return (), ()
        limit = min(asked.limit, _STORE_WITHIN).total_seconds()
        since = self._clock() - asked.explains_within - timedelta(seconds=RECENT)
        try:
            async with asyncio.timeout(limit):
                told = await self._changes.told(asked.environment, services, since)
        except TimeoutError:
            return (), (f"told changes are not known: no answer within {limit:g} s",)
        except IntegrationError as error:
            return (), (f"told changes are not known: {error}",)
        own_first = sorted(told, key=lambda each: each.service != asked.service)
        more = (f"{len(told) - _MOST} more changes were told of",) if len(told) > _MOST else ()
        return tuple(each.seen_from(asked.service) for each in own_first[:_MOST]), more

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

    async def _change(self, environment: str, service: str, limit: timedelta) -> Change | None:
        try:
            async with asyncio.timeout(limit.total_seconds()):
                live = (await self._services.connect(environment, service).deployments.read_deployments()).live
        except (TimeoutError, IntegrationError):
            return None  # a change that is not known accuses nobody
        if live is None or live.activated_at is None:
            return None
        return Change(id=f"{service}/{live.id}", service=service, kind=ChangeKind.DEPLOYMENT, at=live.activated_at)


def _usual(history: History, asked: HistoryQuestion) -> Usual:
    frame = frame_of({asked.service: history})
    norms = norms_of(asked.service, frame, (), (), asked.sensitivity)
    return Usual(norms.normals, norms.rising)


def _background(read: _Read, evidence: Evidence, asked: HistoryQuestion) -> Background | None:
    if read.problem:
        problem = "; ".join((read.problem, *read.lacks))
        return Background(source="history", state=SourceState.FAILED, problem=problem, changes=read.changes)
    if evidence.service not in read.histories:
        if not read.changes and not read.lacks:
            return None
        return Background(source=_STORE, state=SourceState.EMPTY, problem="; ".join(read.lacks), changes=read.changes)
    service, own = evidence.service, read.histories[evidence.service]
    readings = {each.metric: each.value for each in evidence.metrics.readings}
    frame = with_now(frame_of(read.histories), service, evidence.collected_at.timestamp(), readings)
    changed = [each.activated_at for each in evidence.deployments.deployments if each.activated_at]
    changed += [each.at for each in read.changes if each.service == service]
    norms = norms_of(service, frame, read.graph, read.changes, asked.sensitivity, changed)
    norms = foreseen(norms, readings.get(Metric.MEMORY_USAGE), asked.thresholds, changed)
    around = {name for call in read.graph for name in call} - {service}
    short = () if norms.normals else ("too short to tell what is normal",)
    unseen = sorted(around - set(read.histories))
    unknown = (f"no history of {', '.join(unseen)}",) if unseen else ()
    return Background(
        source=own.source,
        state=SourceState.OK if norms.normals else SourceState.EMPTY,
        problem="; ".join((*own.problems, *short, *unknown, *read.lacks)),
        since=datetime.fromtimestamp(own.times[0], UTC),
        normals=norms.normals,
        onset=norms.onset,
        climb=norms.climb,
        suspects=norms.suspects,
        seen=tuple(sorted(around & set(read.histories))),
        changes=read.changes,
    )
