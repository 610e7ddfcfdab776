"""How many of a service's requests failed over some windows, all in one query."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from incident.burn_rate import Counted
from incident.prometheus import PrometheusEndpoint
from integrations.prometheus.answers import Answer, Unknown, number
from integrations.prometheus.client import Prometheus
from integrations.prometheus.queries import COUNTED, NEWEST, begun_of, counting, failed_of, label_matchers, requests_of
from integrations.prometheus.readings import too_old

_ROUNDED = 1.000_001
"""Failed requests are a part of all; two sums of estimates may differ in their last bits."""


class PrometheusCounts:
    """The requests of the service that `endpoint`, which names a set, describes."""

    def __init__(self, prometheus: Prometheus, endpoint: PrometheusEndpoint) -> None:
        self._prometheus, self._endpoint = prometheus, endpoint

    async def count_requests(self, windows: Sequence[timedelta]) -> tuple[Counted, ...]:
        """The requests of each window that ends now, behind the newest scrapes; those that may not be believed unknown.

        Raises:
            TransientError: Prometheus may answer if it is asked again.
            PermanentError: it refuses, such as a window of more samples than it reads at once.
        """
        at = self._prometheus.asked_time()
        answer = await self._prometheus.instant(self._endpoint.url, counting(self._endpoint, windows), at)
        return _Count(self._endpoint, answer, at).counted(windows)


class _Count:
    """One answer, which holds what was counted, each under its name."""

    def __init__(self, endpoint: PrometheusEndpoint, answer: Answer, at: datetime) -> None:
        self._endpoint, self._answer, self._at = endpoint, answer, at
        self._named = {each.labels.get(COUNTED, ""): each for each in answer.samples}

    def counted(self, windows: Sequence[timedelta]) -> tuple[Counted, ...]:
        """Each window's requests, or why they are unknown."""
        if problem := self._unusable():
            return tuple(Counted(over=over, requests=None, failed=None, problem=problem) for over in windows)
        return tuple(map(self._window, windows))

    def _unusable(self) -> str:
        """Why nothing of it may be believed; empty: it may."""
        newest = self._number(NEWEST)
        if isinstance(newest, Unknown) and NEWEST not in self._named and not self._answer.warnings:
            return f"not seen: no fresh sample of {{{label_matchers(self._endpoint.selector)}}}"
        if isinstance(newest, Unknown):
            return newest.why
        old = too_old(newest, self._at, self._endpoint.stale_after)
        return old.why if old else ""

    def _window(self, over: timedelta) -> Counted:
        requests, failed = self._number(requests_of(over)), self._number(failed_of(over))
        if isinstance(requests, Unknown):
            return Counted(over=over, requests=None, failed=None, problem=f"its requests: {requests.why}")
        if failed_of(over) not in self._named:
            failed = 0.0  # no series of failures, among requests whose status is told
        if isinstance(failed, Unknown):
            return Counted(over=over, requests=None, failed=None, problem=f"those that failed: {failed.why}")
        if not 0 <= failed <= requests * _ROUNDED:
            return Counted(over=over, requests=None, failed=None, problem=f"{failed:g} of {requests:g} failed")
        return Counted(
            over=over,
            requests=round(requests, 3),
            failed=round(min(failed, requests), 3),
            whole=not isinstance(self._number(begun_of(over)), Unknown),
        )

    def _number(self, name: str) -> float | Unknown:
        found = self._named.get(name)
        return number(Answer(self._answer.kind, (found,) if found else (), self._answer.warnings))
