"""The steady profile: the seed contract's constants, to the letter.

Its oddities are the contract's: chaos on the good deployment reports the bad figures plus three points of errors,
/metrics says 98 requests per second where /metrics/json says 110, and neither alerts nor logs notice chaos.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from mock_service.alerts import CPU, ERROR_RATE, LATENCY, Firing, page_of_alerts
from mock_service.calls import ActivationCall
from mock_service.chaos import Chaos, ChaosKind
from mock_service.clock import Clock, iso
from mock_service.noise import chance
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
from mock_service.steady_logs import DEGRADED_LOG, HEALTHY_LOG, log_page

HEALTHY = Reading(0.8, 85, 120, 180, 110, 45, 52, 120)
DEGRADED = Reading(15.5, 450, 850, 1200, 25, 92, 88, 450)
_CHAOS_ERROR_POINTS = 3
_SCRAPED_HEALTHY_RPS = 98
_ALERT_AGES_SECONDS = ((ERROR_RATE, 180), (LATENCY, 150), (CPU, 120))
_FAILED_PAYMENTS = {GOOD: 0.02, BAD: 0.75}
_RECENT_ERRORS = (
    "database connection failed: no free connection in the pool",
    "payment provider did not answer in time",
    "circuit to the payment gateway is open",
)


class SteadyPatient:
    """Two deployments and a latency, nothing that moves."""

    kinds_of_chaos = frozenset({ChaosKind.LATENCY})

    def __init__(self, *, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._payments = 0
        started = clock()
        good = Release(GOOD, "a3f9d2c", "Stable release", started - timedelta(minutes=60))
        bad = Release(BAD, "e7b4k9m", "Move payments to the new provider", started - timedelta(minutes=30))
        self.releases = Releases([good, bad], good)
        self._chaos = Chaos(timedelta())

    def delay(self, method: str, path: str) -> timedelta:
        """The injected latency, for everything but its own switch."""
        if (method, path) == ("POST", "/chaos/latency"):
            return timedelta()
        return timedelta(milliseconds=self._latency_ms(self._clock()))

    def activate(self, release: Release, call: ActivationCall) -> Body:
        """The named deployment becomes live and carries the rollback mark, whichever it is."""
        now = self._clock()
        self.releases.activate(release, now)
        release.rolled_back_at, release.rollback_reason = now, call.reason
        replaced = call.rollback_to + 1 if call.rollback_to else BAD
        return {
            "success": True,
            "currentDeployment": self.releases.live.id,
            "deploymentHistory": self._history(),
            "rollback_info": rollback_info(call, replaced=replaced, to=release.id, at=now),
        }

    def trigger(self) -> Body:
        """The bad deployment becomes live."""
        self.releases.activate(self.releases.get(BAD), self._clock())
        expected = expected_metrics(DEGRADED.error_rate_percent, DEGRADED.p99_latency_ms, healthy=False)
        return {"message": demo_message(BAD), "currentDeployment": BAD, "metrics": expected}

    def reset(self) -> Body:
        """The good deployment becomes live, chaos ends."""
        now = self._clock()
        self.releases.activate(self.releases.get(GOOD), now)
        self._chaos.clear(now)
        expected = expected_metrics(HEALTHY.error_rate_percent, HEALTHY.p99_latency_ms, healthy=True)
        return {"message": demo_message(GOOD), "currentDeployment": GOOD, "chaos_disabled": True, "metrics": expected}

    def inject(self, kind: ChaosKind, amount: float, lasting: timedelta) -> None:
        """Begin the latency."""
        self._chaos.begin(kind, amount, at=self._clock(), lasting=lasting)

    def health(self) -> Answer:
        """Looks at the deployment alone."""
        return health_answer(ok=not self._bad, deployment_id=self.releases.live.id)

    def metrics(self) -> Body:
        """The only endpoint whose figures show chaos."""
        now = self._clock()
        latency = self._latency_ms(now)
        reading = DEGRADED if self._bad else HEALTHY
        if latency > 0:
            reading = replace(
                DEGRADED,
                error_rate_percent=DEGRADED.error_rate_percent + _CHAOS_ERROR_POINTS,
                p50_latency_ms=DEGRADED.p50_latency_ms + latency,
                p95_latency_ms=DEGRADED.p95_latency_ms + latency,
                p99_latency_ms=DEGRADED.p99_latency_ms + latency,
            )
        live = self.releases.live
        return {
            "deployment_id": live.id,
            "timestamp": iso(now),
            "health_status": "healthy" if reading is HEALTHY else "degraded",
            "metrics": reading.as_json(),
            "recent_errors": [] if reading is HEALTHY else list(_RECENT_ERRORS),
            "deployment_info": deployment_info(live, self.releases, live.built_at),
            "chaos_active": latency > 0,
            "chaos_latency_ms": plain(latency),
        }

    def gauges(self) -> list[Gauge]:
        """Static figures of the deployment."""
        scraped = DEGRADED if self._bad else replace(HEALTHY, requests_per_second=_SCRAPED_HEALTHY_RPS)
        return reading_gauges(scraped, self.releases.live, healthy=not self._bad)

    def alerts(self) -> Body:
        """Three alerts of fixed ages with the bad deployment, none otherwise."""
        now = self._clock()
        firing = [Firing(rule, now - timedelta(seconds=age), now) for rule, age in _ALERT_AGES_SECONDS if self._bad]
        return page_of_alerts(firing, DEGRADED, self.releases.live.id)

    def logs(self) -> Body:
        """A fixed story of fixed ages."""
        return log_page(DEGRADED_LOG if self._bad else HEALTHY_LOG, self.releases.live.id, self._clock())

    def status(self) -> Body:
        """The deployments; health looks at the deployment alone."""
        return {
            "currentDeployment": self.releases.live.id,
            "deploymentHistory": self._history(),
            "isHealthy": not self._bad,
        }

    def dashboard(self) -> Body:
        """The deployment's figures; chaos shows in the status alone."""
        now = self._clock()
        chaos = self._latency_ms(now) > 0
        return {
            "status": "🔴 CRITICAL" if chaos or self._bad else "✅ HEALTHY",
            "current_deployment": self.releases.live.id,
            "chaos_mode": chaos,
            "health_summary": health_summary(DEGRADED, 3) if self._bad else health_summary(HEALTHY, 0),
            "recent_deployments": [recent_deployment(each, self.releases, now) for each in self.releases.known],
            "quick_actions": QUICK_ACTIONS,
        }

    def payment(self) -> Answer:
        """Fails now and then, with the bad deployment most of the time and slowly."""
        self._payments += 1
        live = self.releases.live.id
        failed = chance(self._seed, "payment", self._payments) < _FAILED_PAYMENTS[live]
        if not failed:
            paid: Body = {"success": True, "deployment": live}
            return Answer(paid if self._bad else {**paid, "paymentId": f"pay_{int(self._clock().timestamp() * 1000)}"})
        if not self._bad:
            return Answer({"error": "the payment was declined"}, 500)
        failure: Body = {
            "error": "the payment failed",
            "deployment": live,
            "message": "no database connection was free",
        }
        return Answer(failure, 500, FAILED_PAYMENT_DELAY)

    def user_profile(self) -> Answer:
        """Slow with the bad deployment."""
        body: Body = {"user": "demo", "status": "ok", "deployment": self.releases.live.id}
        return Answer(body, delay=PROFILE_DELAY if self._bad else timedelta())

    @property
    def _bad(self) -> bool:
        return self.releases.live.id == BAD

    def _latency_ms(self, at: datetime) -> float:
        return self._chaos.level(ChaosKind.LATENCY, at)

    def _history(self) -> list[Body]:
        return [history_entry(release, self.releases) for release in self.releases.known]
