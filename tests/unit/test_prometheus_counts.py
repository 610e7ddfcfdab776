"""Requests that Prometheus counts: fresh, finite, whole numbers are believed, and nothing else is no failure."""

from collections.abc import Sequence
from datetime import timedelta

import httpx
import pytest

from incident.burn_rate import Counted
from incident.errors import PermanentError, TransientError
from incident.prometheus import PrometheusEndpoint
from incident.services import parse_registry
from integrations.http import HttpSettings, build_client
from integrations.prometheus import Prometheus, PrometheusCounts, PrometheusSettings
from tests.burns import NAMED
from tests.unit.test_prometheus import ASKED, FRESH, NOW, REGISTRY, entry, of_kind
from worker.sources import ConfiguredServices

ASKED_FOR = (NAMED["5m"], NAMED["1h"])
WELL = {
    "newest": FRESH,
    "requests 300s": "3000.5",
    "failed 300s": "3",
    "begun 300s": "2",
    "requests 3600s": "36000",
    "failed 3600s": "36",
    "begun 3600s": "2",
}


def answer(**changes: str | None) -> dict[str, object]:
    """What is counted of a healthy service, with these in place of theirs; `None`: without it. `_` is a space."""
    named = {name.replace("_", " "): value for name, value in changes.items()}
    values = {name: value for name, value in {**WELL, **named}.items() if value is not None}
    return of_kind("vector", [{"metric": {"counted": name}, "value": [1.0, value]} for name, value in values.items()])


class Script:
    """Prometheus: gives that one answer."""

    def __init__(self, answer: object) -> None:
        self._answer = answer
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer if isinstance(self._answer, httpx.Response) else httpx.Response(200, json=self._answer)


async def count(script: Script, endpoint: PrometheusEndpoint | None = None) -> Sequence[Counted]:
    async with build_client(HttpSettings(), httpx.MockTransport(script)) as client:
        prometheus = Prometheus(client, PrometheusSettings(), lambda: NOW)
        return await PrometheusCounts(prometheus, endpoint or entry(set="otel")).count_requests(ASKED_FOR)


async def test_all_windows_are_one_question_of_one_time_behind_the_scrapes() -> None:
    script = Script(answer())
    found = await count(script)
    (asked,) = script.asked
    assert asked.url.path == "/prefix/api/v1/query"
    assert asked.url.params["time"] == f"{ASKED.timestamp():.3f}"
    assert found == (
        Counted(over=timedelta(minutes=5), requests=3000.5, failed=3),
        Counted(over=timedelta(hours=1), requests=36000, failed=36),
    )


async def test_no_failure_is_a_zero_among_requests_whose_status_is_told() -> None:
    assert [each.failed for each in await count(Script(answer(failed_300s=None)))] == [0, 36]


async def test_samples_that_begin_late_are_told() -> None:
    assert [each.whole for each in await count(Script(answer(begun_3600s=None)))] == [True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requests_300s": None}, "its requests: nothing was found"),
        ({"requests_300s": "NaN"}, "its requests: not a number (NaN)"),
        ({"failed_300s": "NaN"}, "those that failed: not a number (NaN)"),
        ({"failed_300s": "+Inf"}, "those that failed: infinite"),
        ({"failed_300s": "-1"}, "-1 of 3000.5 failed"),
        ({"failed_300s": "3001"}, "3001 of 3000.5 failed"),
    ],
    ids=["absent", "NaN", "NaN failed", "infinite", "negative", "more failed than there were"],
)
async def test_a_window_that_may_not_be_believed_is_unknown_by_itself(
    changes: dict[str, str | None], words: str
) -> None:
    short, long = await count(Script(answer(**changes)))
    assert (short.requests, short.failed, long.failed) == (None, None, 36)
    assert short.problem.startswith(words)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(newest=str(ASKED.timestamp() - 600)), "stale: the newest sample is 600 s old, 120 s are allowed"),
        (answer(newest=None), 'not seen: no fresh sample of {job="payment-api"}'),
        (answer(newest=str(ASKED.timestamp() + 60)), "how old it is cannot be told"),
        ({**answer(), "warnings": ["a store is away"]}, "the answer may be partial: a store is away"),
        (of_kind("vector", []), "not seen: no fresh sample"),
        (of_kind("scalar", [1.0, "1"]), "not seen: no fresh sample"),
    ],
    ids=["stale", "gone", "ahead", "partial", "empty", "scalar"],
)
async def test_an_answer_that_says_nothing_of_now_leaves_every_window_unknown(said: object, words: str) -> None:
    found = await count(Script(said))
    assert [(each.requests, each.failed) for each in found] == [(None, None)] * 2
    assert all(each.problem.startswith(words) for each in found)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (httpx.Response(503), TransientError),
        (httpx.Response(422, json={"status": "error", "error": "too many samples"}), PermanentError),
        (httpx.Response(200, text="<html>"), PermanentError),
        (httpx.ConnectError("refused"), TransientError),
    ],
    ids=["overloaded", "too much", "HTML", "away"],
)
async def test_a_question_that_fails_says_whether_it_may_be_asked_again(said: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        await count(Script(said))


async def test_the_status_is_told_by_the_label_that_the_registry_names() -> None:
    script = Script(answer())
    await count(script, entry(set="classic", status_label="st", selector={"job": "x"}))
    query = script.asked[0].url.params["query"]
    assert 'sum(increase(http_requests_total{job="x",st=~"5.."}[300s]))' in query
    assert "code" not in query


@pytest.mark.parametrize("counts", [True, False], ids=["a set", "queries of one's own"])
def test_only_a_set_says_how_requests_are_counted(counts: bool) -> None:  # noqa: FBT001 - a case
    own = "queries = { error_rate = 'errors', p99_latency = 'p99' }"
    registry = parse_registry(REGISTRY if counts else REGISTRY.replace('set = "otel"', own), "services.toml")
    counter = ConfiguredServices(registry, build_client(HttpSettings())).counter("production", "payment-api")
    assert isinstance(counter, PrometheusCounts) is counts
