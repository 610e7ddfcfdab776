from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mock_service.alerts import AlertMemory
from mock_service.chaos import ChaosKind
from mock_service.observer import TICK, Observer
from mock_service.readings import Reading
from mock_service.releases import BAD, GOOD, Release, Releases
from mock_service.simulation import Simulation

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
RAMP = timedelta(seconds=4)
AFTER = timedelta(seconds=3)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Ward:
    """A simulation, its deployments and the observer under test."""

    def __init__(self, seed: int = 0, ramp: timedelta = RAMP, alert_after: timedelta = AFTER) -> None:
        good = Release(GOOD, "aaa", "good", after(-7200), activated_at=after(-3600), last_healthy_at=START)
        bad = Release(BAD, "bbb", "bad", after(-1800))
        self.releases = Releases([good, bad], good)
        self.simulation = Simulation(seed=seed, ramp=ramp)
        self.observer = Observer(self.simulation, self.releases, settles=ramp, alert_after=alert_after, since=START)

    def switch(self, deployment_id: int, at: datetime) -> None:
        self.observer.witness(at)
        self.releases.activate(self.releases.get(deployment_id), at)
        self.simulation.degradation.aim(float(deployment_id == BAD), at)

    def firing(self, at: datetime) -> dict[str, datetime]:
        self.observer.catch_up(at)
        return {each.rule.key.removeprefix("payment-api/"): each.created_at for each in self.observer.firing()}


def test_a_breach_that_ends_early_fires_nothing() -> None:
    memory = AlertMemory(AFTER)
    for seconds, breached in ((0, True), (2, True), (2.5, False), (3, True), (5.5, True)):
        memory.observe(breached=breached, at=after(seconds))
    assert memory.firing_since is None


def test_a_good_moment_does_not_resolve_an_alert() -> None:
    memory = AlertMemory(AFTER)
    for seconds, breached in ((0, True), (3, True), (4, False), (6, False), (6.5, True), (7, False), (9.5, False)):
        memory.observe(breached=breached, at=after(seconds))
    assert memory.firing_since == after(3)
    memory.observe(breached=False, at=after(10))
    assert memory.firing_since is None


def test_an_alert_without_a_hold_fires_at_once() -> None:
    memory = AlertMemory(timedelta())
    memory.observe(breached=True, at=START)
    assert memory.firing_since == START


def test_alerts_fire_late_with_a_bad_deployment_and_resolve_after_it() -> None:
    ward = Ward()
    ward.switch(BAD, after(10))
    assert ward.firing(after(13)) == {}
    assert set(ward.firing(after(18))) == {"error-rate-spike", "latency-spike", "cpu-spike"}
    ward.switch(GOOD, after(60))
    assert ward.firing(after(62)) != {}
    assert ward.firing(after(68)) == {}


def test_no_alert_is_older_than_the_deployment_that_it_is_about() -> None:
    ward = Ward(ramp=timedelta(seconds=0.2), alert_after=timedelta(seconds=0.1))
    ward.switch(BAD, after(10.1))
    ward.switch(GOOD, after(10.44))
    ward.switch(BAD, after(10.68))
    firing = ward.firing(after(12))
    assert firing
    assert min(firing.values()) > after(10.68)


def test_chaos_on_a_good_deployment_fires_its_own_alert_alone() -> None:
    ward = Ward()
    ward.simulation.chaos.begin(ChaosKind.CPU, 95, at=START, lasting=timedelta(seconds=20))
    assert set(ward.firing(after(10))) == {"cpu-spike"}
    assert ward.firing(after(30)) == {}


def test_an_alert_that_nobody_looked_at_has_its_true_age() -> None:
    watched, unwatched = Ward(), Ward()
    for ward in (watched, unwatched):
        ward.switch(BAD, after(10))
    for second in range(11, 4000):
        watched.firing(after(second))
    assert watched.firing(after(4000)) == unwatched.firing(after(4000))


@given(
    seed=st.integers(0, 1000),
    errors=st.floats(min_value=3.5, max_value=5.5),
    reads=st.lists(st.floats(min_value=1, max_value=119), max_size=10),
)
def test_alerts_do_not_depend_on_who_reads_when(seed: int, errors: float, reads: list[float]) -> None:
    read, unread = Ward(seed), Ward(seed)
    for ward in (read, unread):
        ward.simulation.chaos.begin(ChaosKind.ERRORS, errors, at=START, lasting=timedelta(seconds=100))
    for seconds in sorted(reads):
        read.firing(after(seconds))
    assert read.firing(after(120)) == unread.firing(after(120))
    assert read.releases.live.last_healthy_at == unread.releases.live.last_healthy_at


def test_a_quiet_day_is_caught_up_with_in_a_few_strides() -> None:
    ward = Ward()
    asked: list[datetime] = []

    class Counted(Simulation):
        def reading(self, at: datetime) -> Reading:
            asked.append(at)
            return super().reading(at)

    counted = Counted(seed=0, ramp=RAMP)
    observer = Observer(counted, ward.releases, settles=RAMP, alert_after=AFTER, since=START)
    observer.catch_up(after(86_400))
    assert len(asked) < 10
    assert ward.releases.live.last_healthy_at == after(86_400)


def test_a_deployment_that_was_never_well_was_never_healthy() -> None:
    ward = Ward()
    ward.switch(BAD, after(10))
    ward.observer.catch_up(after(100))
    good, bad = ward.releases.known
    assert bad.last_healthy_at is None
    assert good.last_healthy_at is not None
    assert after(10) - TICK <= good.last_healthy_at <= after(10)


def test_chaos_does_not_move_the_time_of_last_health() -> None:
    ward = Ward()
    ward.observer.catch_up(after(10))
    ward.simulation.chaos.begin(ChaosKind.ERRORS, 50, at=after(10), lasting=timedelta(seconds=60))
    ward.observer.catch_up(after(60))
    seen = ward.releases.live.last_healthy_at
    assert seen is not None
    assert seen < after(12)
