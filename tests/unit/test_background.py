"""What the histories of a service, and of those around it, are made to say of an incident."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.background import MetricHistorian
from activities.changes import Tidings
from activities.observation import Observer
from activities.watch import Watch, WatchInput
from incident.anomalies import Kind, Thresholds, assess
from incident.cause import Guilt
from incident.causes import cause_of, guilt_of_live
from incident.changes import ToldChange
from incident.errors import TransientError
from incident.evidence import Background, Evidence, Metric, Source, SourceState
from incident.history import History
from incident.norms import RECENT
from incident.ports import HistoryQuestion, Usual
from incident.severity import Severity
from incident.watching import WatchLimits
from tests import builders
from tests.builders import ENVIRONMENT, NOW, SERVICE
from tests.fakes import FakeService, FakeServices, InMemoryStore
from tests.histories import FakeSurroundings, KeptHistory, climbed, history

LIMIT = timedelta(seconds=10)
WITHIN = timedelta(hours=2)
ASKED = HistoryQuestion(ENVIRONMENT, SERVICE, LIMIT)
BAD = {Metric.ERROR_RATE: (6.0, 0.3), Metric.P99_LATENCY: (6.0, 3000.0)}
"""Since six minutes."""


def deployed() -> FakeService:
    """A service whose deployment 100 went live a day ago."""
    return FakeService(live=100, bad=(), clock=lambda: NOW)


class Scene:
    """A service, what is around it, and the historian who reads of them and of the changes in `store`."""

    def __init__(
        self,
        answers: Mapping[str, History | Exception | None],
        *calls: tuple[str, str],
        store: InMemoryStore | None = None,
    ) -> None:
        self.kept = {name: KeptHistory(each) if each is not None else None for name, each in answers.items()}
        self.now = NOW
        self.store = store or InMemoryStore()
        self.around = {name: deployed() for name in answers}
        services = FakeServices(deployed())
        for name, service in self.around.items():
            services.add(service, ENVIRONMENT, name)
        around = FakeSurroundings(self.kept, *calls)
        self.historian = MetricHistorian(services, around, lambda: self.now, Tidings(self.store, around))

    async def completed(self, seen: Evidence) -> Evidence:
        async def looking() -> Evidence:
            return seen

        return await self.historian.completed(looking(), ASKED)

    async def background(self, seen: Evidence) -> Background:
        found = (await self.completed(seen)).background
        assert found
        return found


def now(**values: float) -> Evidence:
    """What is measured of the slow service now; `values` in percent and ms."""
    return builders.evidence(metrics=builders.metrics({"error_rate": 0.4, "p99_latency": 640.0, **values}))


async def test_a_slow_service_that_is_always_slow_is_well() -> None:
    seen = await Scene({SERVICE: history(1)}).completed(now())
    assert assess(seen, Thresholds()).healthy
    assert not assess(now(), Thresholds()).healthy  # by the limits alone
    assert seen.background
    assert (seen.background.state, seen.background.onset, seen.background.suspects) == (SourceState.OK, None, ())
    known = seen.background.normal(Metric.P99_LATENCY)
    assert known
    assert known.typical == pytest.approx(640, rel=0.02)
    assert known.high is not None
    assert 680 < known.high < 1000
    assert known.low is None


async def test_the_onset_is_when_the_metrics_left_what_is_normal() -> None:
    found = await Scene({SERVICE: history(1, BAD)}).background(now(error_rate=30.0, p99_latency=3000.0))
    assert found.onset is not None
    assert NOW - timedelta(minutes=7) <= found.onset <= NOW - timedelta(minutes=5)
    assert [each.service for each in found.suspects] == [SERVICE]


async def test_what_began_this_very_minute_begins_with_the_look() -> None:
    found = await Scene({SERVICE: history(1)}).background(now(error_rate=30.0, p99_latency=3000.0))
    assert found.onset == NOW


async def test_a_dependency_that_moved_more_makes_the_live_deployment_innocent() -> None:
    scene = Scene(
        {
            SERVICE: history(1, {Metric.P99_LATENCY: (5.0, 900.0), Metric.ERROR_RATE: (5.0, 0.12)}),
            "database": history(2, {Metric.P99_LATENCY: (6.0, 9000.0), Metric.CPU_USAGE: (6.0, 0.99), **BAD}),
        },
        (SERVICE, "database"),
    )
    measured = builders.metrics({"error_rate": 12.0, "p99_latency": 900.0})
    seen = await scene.completed(builders.degraded_evidence(metrics=measured))
    assert seen.background
    assert seen.background.suspects[0].service == "database"
    assert seen.background.seen == ("database",)
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert guilt_of_live(cause, seen)[0] is Guilt.INNOCENT


async def test_the_service_itself_is_first_where_nothing_around_it_moved() -> None:
    scene = Scene({SERVICE: history(1, BAD), "database": history(2)}, (SERVICE, "database"))
    seen = await scene.completed(
        builders.degraded_evidence(metrics=builders.metrics({"error_rate": 30.0, "p99_latency": 3000.0}))
    )
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert cause.suspects[0].service == SERVICE
    assert guilt_of_live(cause, seen)[0] is Guilt.GUILTY


async def test_the_newest_deployment_of_a_service_around_is_known_as_a_change() -> None:
    scene = Scene({SERVICE: history(1), "database": history(2)}, (SERVICE, "database"))
    found = await scene.background(now())
    assert [(each.id, each.service, each.at) for each in found.changes] == [
        ("database/deployment:100", "database", NOW - timedelta(days=1))
    ]


async def test_without_a_history_the_evidence_is_what_it_was() -> None:
    assert await Scene({SERVICE: None}).completed(now()) == now()


async def test_a_history_that_cannot_be_read_is_missing_and_the_limits_judge() -> None:
    seen = await Scene({SERVICE: TransientError("prometheus", "answered HTTP 503")}).completed(now())
    assert seen.missing == ("history: answered HTTP 503",)
    assert assess(seen, Thresholds()) == assess(now(), Thresholds())


async def test_a_history_that_is_too_short_tells_nothing_and_says_so() -> None:
    found = await Scene({SERVICE: history(1, minutes=190)}).background(now())
    assert (found.state, found.normals) == (SourceState.EMPTY, ())
    assert found.problem == "too short to tell what is normal"


async def test_where_nothing_has_been_kept_yet_nothing_is_missing() -> None:
    nothing = History("prometheus", (NOW.timestamp(),), {}, ("error_rate: nothing was found",))
    seen = await Scene({SERVICE: nothing}).completed(now())
    assert seen.missing == ()
    assert seen.background
    assert seen.background.state is SourceState.EMPTY
    assert assess(seen, Thresholds()) == assess(now(), Thresholds())


async def test_a_service_around_without_a_history_is_named() -> None:
    scene = Scene({SERVICE: history(1), "cache": None}, (SERVICE, "cache"))
    assert (await scene.background(now())).problem == "no history of cache"


async def test_a_history_that_takes_too_long_is_missing() -> None:
    class Never(KeptHistory):
        async def read_history(self) -> History:
            await asyncio.Event().wait()
            return history(1)

    scene = Scene({SERVICE: history(1)})
    scene.kept[SERVICE] = Never(history(1))
    historian = MetricHistorian(FakeServices(deployed()), FakeSurroundings(scene.kept), lambda: NOW)

    async def looking() -> Evidence:
        return now()

    seen = await historian.completed(looking(), HistoryQuestion(ENVIRONMENT, SERVICE, timedelta(milliseconds=10)))
    assert seen.missing == ("history: no answer within 0.01 s",)


async def test_what_is_normal_is_read_once_an_hour() -> None:
    scene = Scene({SERVICE: history(1)})
    kept = scene.kept[SERVICE]
    assert kept
    for minutes, read in ((0, 1), (59, 1), (61, 2)):
        scene.now = NOW + timedelta(minutes=minutes)
        assert {each.metric for each in (await scene.historian.usual(ASKED)).normals} == {
            Metric.ERROR_RATE,
            Metric.P99_LATENCY,
            Metric.CPU_USAGE,
        }
        assert kept.read == read


async def test_where_nothing_is_known_it_is_asked_again_soon() -> None:
    scene = Scene({SERVICE: TransientError("prometheus", "away")})
    kept = scene.kept[SERVICE]
    assert kept
    for minutes, read in ((0, 1), (4, 1), (6, 2)):
        scene.now = NOW + timedelta(minutes=minutes)
        assert await scene.historian.usual(ASKED) == Usual()
        assert kept.read == read


async def test_a_judgement_by_history_names_what_is_normal() -> None:
    seen = await Scene({SERVICE: history(1, BAD)}).completed(now(error_rate=30.0, p99_latency=3000.0))
    (errors,) = (each for each in assess(seen, Thresholds()).anomalies if each.kind is Kind.ERROR_RATE)
    assert "normally" in errors.label
    assert errors.evidence_ids == ("metric:error_rate", "normal:error_rate")


@pytest.mark.parametrize(("known", "bad"), [(True, False), (False, True)], ids=["by history", "by the limits"])
async def test_a_watched_service_is_judged_by_what_is_normal_for_it(known: bool, bad: bool) -> None:  # noqa: FBT001 - the case
    service = deployed()
    service.answer(Source.METRICS, now().metrics)
    historian = Scene({SERVICE: history(1)}).historian if known else None
    watch = Watch(Observer(FakeServices(service), lambda: NOW), 1, lambda: 0.0, historian)
    order = WatchInput(
        environment=ENVIRONMENT,
        service=SERVICE,
        thresholds=Thresholds(),
        source_timeout=LIMIT,
        limits=WatchLimits(every=timedelta(seconds=1)),
        lasts=timedelta(0),
    )
    watched = await ActivityEnvironment().run(watch.stretch, order)
    assert (watched.taken, watched.checks) == (1, (bad,))


def leaking(hours: float, troubled: Mapping[Metric, tuple[float, float]] = BAD) -> History:
    """A history whose memory has climbed for so long, from 40 % to 80 %."""
    return climbed(history(1, troubled), hours, (0.4, 0.8))


async def leaks(hours: float, live_for: timedelta, store: InMemoryStore | None = None) -> Evidence:
    """What is seen of a service that leaks for so long, and whose live deployment is that old."""
    measured = builders.metrics({"error_rate": 30.0, "p99_latency": 3000.0, "memory_usage": 80.0})
    live = builders.bad_deployment(activated_at=NOW - live_for)
    seen = builders.degraded_evidence(
        metrics=measured, deployments=builders.deployments(live, builders.deployment(100))
    )
    return await Scene({SERVICE: leaking(hours)}, store=store).completed(seen)


async def test_the_trouble_of_a_leak_began_when_the_deployment_that_leaks_went_live() -> None:
    seen = await leaks(6, timedelta(hours=6, minutes=4))
    assert seen.onset == NOW - timedelta(hours=6, minutes=4)
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert guilt_of_live(cause, seen)[0] is Guilt.GUILTY


@pytest.mark.parametrize("live_for", [timedelta(minutes=10), timedelta(hours=10)], ids=["younger", "older"])
async def test_a_deployment_far_from_the_beginning_of_a_leak_is_innocent(live_for: timedelta) -> None:
    seen = await leaks(6, live_for)
    assert abs(seen.onset - (NOW - timedelta(hours=6))) < timedelta(minutes=15)
    judged, words = guilt_of_live(cause_of(seen, assess(seen, Thresholds()), WITHIN), seen)
    assert judged is Guilt.INNOCENT
    assert words.startswith("deployment:101 is innocent: memory has climbed since ")


async def test_memory_that_will_soon_be_critical_is_trouble_before_anything_else_is() -> None:
    scene = Scene({SERVICE: climbed(history(1), 4, (0.44, 0.67), teeth=0.1)})
    live = builders.bad_deployment(activated_at=NOW - timedelta(hours=4, minutes=2))
    measured = builders.metrics({"memory_usage": 86.0})
    seen = await scene.completed(
        builders.evidence(metrics=measured, deployments=builders.deployments(live, builders.deployment(100)))
    )
    assert seen.onset == live.activated_at
    assessed = assess(seen, Thresholds())
    assert (assessed.severity, [each.kind for each in assessed.anomalies]) == (Severity.P2, [Kind.MEMORY])
    assert "and will be critical in 4" in assessed.summary
    assert guilt_of_live(cause_of(seen, assessed, WITHIN), seen)[0] is Guilt.GUILTY
    usual = await scene.historian.usual(ASKED)
    watched = builders.evidence(metrics=measured).with_normals(usual.normals, usual.climb)
    assert [each.kind for each in assess(watched, Thresholds()).anomalies] == [Kind.MEMORY]


async def test_memory_that_climbs_with_the_trouble_is_a_sign_of_it_and_not_its_cause() -> None:
    kept = leaking(0.3, {Metric.ERROR_RATE: (18.0, 0.3), Metric.P99_LATENCY: (18.0, 3000.0)})
    found = await Scene({SERVICE: kept}).background(now(error_rate=30.0, p99_latency=3000.0, memory_usage=80.0))
    assert found.climb is None


async def test_a_told_change_of_a_service_without_a_history_is_known_and_nothing_else() -> None:
    scene = Scene({SERVICE: None, "database": None}, (SERVICE, "database"))
    own, around = builders.told_change(), builders.told_change(service="database")
    for each in (around, own):
        await scene.store.tell(each)
    seen = await scene.completed(now())
    changes = (own.seen_from(SERVICE), around.seen_from(SERVICE))
    assert seen.background == Background(source="store", state=SourceState.EMPTY, changes=changes)
    assert seen.missing == ()
    assert assess(seen, Thresholds()) == assess(now(), Thresholds())


async def test_a_told_change_stands_beside_what_the_history_says() -> None:
    scene = Scene({SERVICE: history(1, BAD), "database": history(2)}, (SERVICE, "database"))
    before = await scene.background(now(error_rate=30.0, p99_latency=3000.0))
    await scene.store.tell(builders.told_change())
    after = await scene.background(now(error_rate=30.0, p99_latency=3000.0))
    assert after.changes == (*before.changes, builders.told_change().seen_from(SERVICE))
    assert after.model_copy(update={"changes": before.changes}) == before


async def test_a_told_change_is_known_also_where_the_history_cannot_be_read() -> None:
    scene = Scene({SERVICE: TransientError("prometheus", "answered HTTP 503")})
    await scene.store.tell(builders.told_change())
    found = await scene.background(now())
    assert (found.state, found.problem) == (SourceState.FAILED, "answered HTTP 503")
    assert [each.id for each in found.changes] == ["change:pool"]


@pytest.mark.parametrize(("kept", "state"), [(None, SourceState.EMPTY), (history(1), SourceState.OK)], ids=["", "read"])
async def test_a_store_that_fails_is_named_and_the_look_goes_on(kept: History | None, state: SourceState) -> None:
    scene = Scene({SERVICE: kept})
    scene.store.errors["told"] = TransientError("store", "cannot be used now")
    seen = await scene.completed(now())
    assert seen.background
    assert (seen.background.state, seen.background.changes) == (state, ())
    assert seen.background.problem == "told changes are not known: store: cannot be used now"
    assert seen.missing == ()


async def test_a_store_that_takes_too_long_is_named() -> None:
    class Never(InMemoryStore):
        async def told(
            self, environment: str, services: Collection[str], since: datetime, until: datetime | None = None
        ) -> tuple[ToldChange, ...]:
            await asyncio.Event().wait()
            return await super().told(environment, services, since, until)

    around = FakeSurroundings({SERVICE: None})
    historian = MetricHistorian(FakeServices(deployed()), around, lambda: NOW, Tidings(Never(), around))

    async def looking() -> Evidence:
        return now()

    seen = await historian.completed(looking(), HistoryQuestion(ENVIRONMENT, SERVICE, timedelta(milliseconds=10)))
    assert seen.background
    assert seen.background.problem == "told changes are not known: store: no answer within 0.01 s"


class Asked(InMemoryStore):
    """A store that remembers what it was asked for; `second` is what it raises from the second question on."""

    def __init__(self, second: Exception | None = None) -> None:
        super().__init__()
        self.asked: list[tuple[Collection[str], datetime, datetime | None]] = []
        self._second = second

    async def told(
        self, environment: str, services: Collection[str], since: datetime, until: datetime | None = None
    ) -> tuple[ToldChange, ...]:
        """The changes, or the error."""
        self.asked.append((services, since, until))
        if self._second and len(self.asked) > 1:
            raise self._second
        return await super().told(environment, services, since, until)


LATELY = NOW - WITHIN - timedelta(seconds=RECENT)
"""From when on changes are read wherever the trouble began of late."""


async def test_the_store_is_asked_once_a_look_for_what_may_explain_an_onset_of_the_last_hours() -> None:
    store = Asked()
    scene = Scene({SERVICE: history(1, BAD), "database": None}, (SERVICE, "database"), store=store)
    await scene.background(now(error_rate=30.0, p99_latency=3000.0))
    assert store.asked == [((SERVICE, "database"), LATELY, None)]


async def test_a_change_with_which_a_climb_of_long_ago_began_is_known_and_explains_it() -> None:
    begun = NOW - timedelta(hours=9)
    store = Asked()
    await store.tell(builders.told_change(at=begun + timedelta(minutes=1)))
    seen = await leaks(9, timedelta(hours=9, minutes=5), store)
    assert seen.climb
    first, last = seen.climb.since - seen.climb.within, seen.climb.since + seen.climb.within
    assert store.asked[0][1] > begun  # the first question does not reach so far
    assert store.asked[1:] == [((SERVICE,), first - WITHIN, last)]
    assert seen.onset == begun + timedelta(minutes=1)
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert cause.guilty
    assert cause.guilty.id == "change:pool"
    assert guilt_of_live(cause, seen)[0] is Guilt.INNOCENT


async def test_a_change_that_is_known_twice_is_known_once() -> None:
    at = NOW - timedelta(hours=4)  # within what both questions ask for
    store = Asked()
    await store.tell(builders.told_change(at=at))
    seen = await leaks(4, timedelta(hours=4), store)
    assert len(store.asked) == 2
    assert [each.id for each in seen.changes] == ["change:pool"]


async def test_an_alert_that_has_fired_for_hours_is_explained_by_a_change_of_then() -> None:
    begun = NOW - timedelta(hours=8)
    scene = Scene({SERVICE: None})
    await scene.store.tell(builders.told_change(at=begun - timedelta(minutes=1)))
    firing = builders.alerts(builders.alert(started_at=begun))
    seen = await scene.completed(builders.degraded_evidence(alerts=firing))
    assert seen.background == Background(
        source="store",
        state=SourceState.EMPTY,
        changes=(builders.told_change(at=begun - timedelta(minutes=1)).seen_from(SERVICE),),
    )
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert cause.guilty == seen.changes[0]


async def test_where_the_changes_of_then_cannot_be_read_that_is_named_and_those_of_late_are_kept() -> None:
    store = Asked(second=TransientError("store", "cannot be used now"))
    await store.tell(builders.told_change(at=NOW - timedelta(minutes=1)))
    firing = builders.alerts(builders.alert(started_at=NOW - timedelta(hours=8)))
    found = await Scene({SERVICE: None}, store=store).background(builders.degraded_evidence(alerts=firing))
    assert [each.id for each in found.changes] == ["change:pool"]
    assert found.problem == "since 2026-11-24 04:00Z: told changes are not known: store: cannot be used now"


async def test_a_flood_of_changes_since_the_onset_hides_none_of_before_it() -> None:
    scene = Scene({SERVICE: None})
    before = builders.told_change("before", at=builders.ONSET - timedelta(minutes=1))
    await scene.store.tell(before)
    for number in range(200):
        at = builders.ONSET + timedelta(milliseconds=500 * (number + 1))
        await scene.store.tell(builders.told_change(f"{number}", at=at))
    seen = await scene.completed(builders.degraded_evidence())
    assert seen.changes[0] == before.seen_from(SERVICE)
    cause = cause_of(seen, assess(seen, Thresholds()), WITHIN)
    assert cause.guilty == before.seen_from(SERVICE)


async def test_of_very_many_changes_the_services_own_are_kept_and_the_rest_is_counted() -> None:
    names = [f"near-{number}" for number in range(4)]
    scene = Scene({SERVICE: None, **dict.fromkeys(names)}, *((SERVICE, name) for name in names))
    for number in range(30):
        for name in (SERVICE, *names):
            await scene.store.tell(builders.told_change(f"{number}", service=name, at=NOW - timedelta(seconds=number)))
    found = await scene.background(now())
    assert len(found.changes) == 100
    assert sum(each.service == SERVICE for each in found.changes) == 30
    assert found.problem == "50 more changes were told of"


async def test_what_was_live_next_door_when_it_began_is_known_though_it_was_replaced_since() -> None:
    scene = Scene({SERVICE: history(1), "database": history(2)}, (SERVICE, "database"))
    live = builders.deployment(103, live=True, activated_at=NOW - timedelta(minutes=1))
    then = builders.deployment(102, live=False, activated_at=builders.ONSET - timedelta(minutes=9))
    long_ago = builders.deployment(101, live=False, activated_at=builders.ONSET - timedelta(hours=3))
    scene.around["database"].answer(Source.DEPLOYMENTS, builders.deployments(live, then, long_ago))
    found = await scene.background(builders.degraded_evidence())
    assert [each.id for each in found.changes] == ["database/deployment:103", "database/deployment:102"]
