"""The live profile: the contract's shapes over a simulation, in which every endpoint tells the same story.

Two verdicts exist, and each endpoint uses one. `serving` (GET /health) asks whether requests should still be sent
here. `well` (health_status, isHealthy, the health gauge, the dashboard) asks whether any limit that an alert watches is
breached, chaos included.
"""

from datetime import datetime, timedelta

from mock_service.alerts import page_of_alerts
from mock_service.calls import ActivationCall
from mock_service.chaos import ChaosKind
from mock_service.clock import Clock, epoch_ms, iso
from mock_service.logbook import Logbook
from mock_service.noise import chance
from mock_service.observer import Observer
from mock_service.patient import (
    FAILED_PAYMENT_DELAY,
    PROFILE_DELAY,
    QUICK_ACTIONS,
    Answer,
    Body,
    Gauge,
    demo_message,
    deployment_info,
    expected_metrics,
    health_answer,
    health_summary,
    history_entry,
    reading_gauges,
    recent_deployment,
    rollback_info,
)
from mock_service.readings import Reading, plain
from mock_service.releases import BAD, GOOD, Release, Releases
from mock_service.settings import MockServiceSettings
from mock_service.simulation import DEGRADED, HEALTHY, Simulation

OLDER = 99
_OLDER_LIVE_FOR = timedelta(hours=74)
_GOOD_LIVE_FOR = timedelta(hours=26)
_BAD_BUILT_AGO = timedelta(minutes=30)
_DEGRADATIONS = {BAD: 1.0}


class LivePatient:
    """Three deployments, noise, ramps, alerts that take their time."""

    kinds_of_chaos = frozenset(ChaosKind)

    def __init__(self, settings: MockServiceSettings, *, clock: Clock) -> None:
        self._clock = clock
        self._seed = settings.seed
        self._payments = 0
        self._degradations = dict(_DEGRADATIONS)
        started = clock()
        self.releases = _releases(started)
        self._simulation = Simulation(seed=settings.seed, ramp=settings.ramp)
        self._observer = Observer(
            self._simulation, self.releases, settles=settings.ramp, alert_after=settings.alert_after, since=started
        )
        self._logbook = Logbook(self._simulation, self.releases, seed=settings.seed)

    def delay(self, method: str, path: str) -> timedelta:
        """The injected latency, for what users wait for; control and health endpoints stay prompt."""
        del method
        if path == "/dashboard" or path.startswith("/api/"):
            return timedelta(milliseconds=self._latency_ms(self._clock()))
        return timedelta()

    def activate(self, release: Release, call: ActivationCall) -> Body:
        """The named deployment becomes live and carries the contract's rollback mark."""
        now = self._changing()
        replaced = self._switch(release, now)
        release.rolled_back_at, release.rollback_reason = now, call.reason
        return {
            "success": True,
            "currentDeployment": self.releases.live.id,
            "deploymentHistory": self._history(now),
            "rollback_info": rollback_info(call, replaced=replaced, to=release.id, at=now),
        }

    def trigger(self) -> Body:
        """The bad deployment becomes live."""
        self._switch(self.releases.get(BAD), self._changing())
        return {"message": demo_message(BAD), "currentDeployment": BAD, "metrics": _heading_for(healthy=False)}

    def reset(self) -> Body:
        """The good deployment becomes live, chaos ends."""
        now = self._changing()
        spoiled = self._degradations != _DEGRADATIONS
        self._degradations = dict(_DEGRADATIONS)
        if self._switch(self.releases.get(GOOD), now) == GOOD and spoiled:
            self._simulation.degradation.aim(0.0, now)
        self._simulation.chaos.clear(now)
        return {
            "message": demo_message(GOOD),
            "currentDeployment": GOOD,
            "chaos_disabled": True,
            "metrics": _heading_for(healthy=True),
        }

    def spoil(self, release: Release, degradation: float) -> None:
        """From now on that deployment is this bad whenever it is live: 0 is healthy, 1 the bad deployment."""
        self._degradations[release.id] = degradation
        if release is self.releases.live:
            self._simulation.degradation.aim(degradation, self._changing())

    def inject(self, kind: ChaosKind, amount: float, lasting: timedelta) -> None:
        """Begin chaos on whatever deployment is live."""
        self._simulation.chaos.begin(kind, amount, at=self._changing(), lasting=lasting)

    def health(self) -> Answer:
        """Whether requests should still be sent here."""
        return health_answer(ok=self._reading(self._clock()).serving, deployment_id=self.releases.live.id)

    def metrics(self) -> Body:
        """Every signal, with the last complaints when something is wrong."""
        now = self._clock()
        reading = self._reading(now)
        live = self.releases.live
        return {
            "deployment_id": live.id,
            "timestamp": iso(now),
            "health_status": "healthy" if reading.well else "degraded",
            "metrics": reading.as_json(),
            "recent_errors": [] if reading.well else self._logbook.recent_errors(now),
            "deployment_info": deployment_info(live, self.releases, live.activated_at or live.built_at),
            "chaos_active": self._simulation.chaos.active(now),
            "chaos_latency_ms": plain(round(self._latency_ms(now), 1)),
        }

    def gauges(self) -> list[Gauge]:
        """The same signals for a scrape."""
        reading = self._reading(self._clock())
        return reading_gauges(reading, self.releases.live, healthy=reading.well)

    def alerts(self) -> Body:
        """The alerts that fire, oldest rule first, with the present figures."""
        now = self._now()
        return page_of_alerts(self._observer.firing(), self._reading(now), self.releases.live.id)

    def logs(self) -> Body:
        """What was written in the last minutes."""
        entries = self._logbook.entries(self._clock())
        return {"logs": entries, "total_count": len(entries), "next_cursor": None}

    def status(self) -> Body:
        """The deployments, when each was activated, seen healthy and rolled back from."""
        now = self._now()
        return {
            "currentDeployment": self.releases.live.id,
            "deploymentHistory": self._history(now),
            "isHealthy": self._reading(now).well,
        }

    def dashboard(self) -> Body:
        """The same signals in one glance."""
        now = self._now()
        reading = self._reading(now)
        return {
            "status": "✅ HEALTHY" if reading.well else "🔴 CRITICAL",
            "current_deployment": self.releases.live.id,
            "chaos_mode": self._simulation.chaos.active(now),
            "health_summary": health_summary(reading, len(self._observer.firing())),
            "recent_deployments": [recent_deployment(each, self.releases, now) for each in self.releases.known],
            "quick_actions": QUICK_ACTIONS,
        }

    def payment(self) -> Answer:
        """Fails as often as the error rate says, and the slower the more the service is degraded."""
        now = self._clock()
        self._payments += 1
        live = self.releases.live.id
        if chance(self._seed, "payment", self._payments) >= self._reading(now).error_rate_percent / 100:
            return Answer({"success": True, "paymentId": f"pay_{epoch_ms(now)}", "deployment": live})
        failure: Body = {"error": "the payment failed", "deployment": live, "message": "the payment was not taken"}
        return Answer(failure, 500, FAILED_PAYMENT_DELAY * self._simulation.degradation.value(now))

    def user_profile(self) -> Answer:
        """Slower the more the service is degraded."""
        body: Body = {"user": "demo", "status": "ok", "deployment": self.releases.live.id}
        return Answer(body, delay=PROFILE_DELAY * self._simulation.degradation.value(self._clock()))

    def _now(self) -> datetime:
        """The present instant, with the past observed up to it."""
        now = self._clock()
        self._observer.catch_up(now)
        return now

    def _changing(self) -> datetime:
        """The present instant, of which nothing is forgotten once something is changed."""
        now = self._clock()
        self._observer.witness(now)
        return now

    def _reading(self, at: datetime) -> Reading:
        return self._simulation.reading(at)

    def _latency_ms(self, at: datetime) -> float:
        return self._simulation.chaos.level(ChaosKind.LATENCY, at)

    def _switch(self, release: Release, at: datetime) -> int:
        replaced = self.releases.activate(release, at)
        if release is not replaced:
            self._simulation.degradation.aim(self._degradations.get(release.id, 0.0), at)
            self._logbook.note_activation(deployment_id=release.id, replaced=replaced.id, at=at)
        return replaced.id

    def _history(self, now: datetime) -> list[Body]:
        return [self._history_entry(release, now) for release in self.releases.known]

    def _history_entry(self, release: Release, now: datetime) -> Body:
        healthy_now = release is self.releases.live and self._observer.settled(now) and self._reading(now).well
        times = {
            "activatedAt": release.activated_at,
            "lastHealthyAt": now if healthy_now else release.last_healthy_at,
            "rolledBackFromAt": release.rolled_back_from_at,
        }
        written = {name: None if at is None else iso(at) for name, at in times.items()}
        return {**history_entry(release, self.releases), **written}


def _releases(started: datetime) -> Releases:
    """The three deployments as a week of ordinary work has left them."""
    older = Release(OLDER, "7c1e0b4", "Retry declined cards once", started - _OLDER_LIVE_FOR)
    good = Release(GOOD, "a3f9d2c", "Cache the price list", started - _GOOD_LIVE_FOR)
    bad = Release(BAD, "e7b4c9d", "Move payments to the new provider", started - _BAD_BUILT_AGO)
    older.activated_at, older.last_healthy_at = started - _OLDER_LIVE_FOR, started - _GOOD_LIVE_FOR
    good.activated_at, good.last_healthy_at = started - _GOOD_LIVE_FOR, started
    return Releases([older, good, bad], good)


def _heading_for(*, healthy: bool) -> Body:
    bands = HEALTHY if healthy else DEGRADED
    return expected_metrics(bands["error_rate_percent"].centre, bands["p99_latency_ms"].centre, healthy=healthy)
