"""What Prometheus kept: one range query for each metric, and nothing that may not be believed."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.evidence import Metric
from incident.history import History
from integrations.http import HttpSettings, build_client
from integrations.prometheus import Prometheus, PrometheusHistory, PrometheusSettings
from tests.unit.test_prometheus import ASKED, NOW, OWN, Script, entry, of_kind, vector

LAST = ASKED.timestamp() // 60 * 60
"""The last whole minute."""
HOUR = timedelta(hours=1)


def matrix(*rows: list[tuple[float, str]]) -> dict[str, object]:
    """A success that gives these series."""
    return of_kind("matrix", [{"metric": {"n": str(n)}, "values": row} for n, row in enumerate(rows)])


class Kept:
    """Prometheus: answers the range of each query by its text; a constant for those that are not given."""

    def __init__(self, **answers: object) -> None:
        self.answers, self.asked = answers, list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer: Any = self.answers.get(request.url.params["query"], matrix([(LAST, "0.02")]))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


async def kept(script: Script, **settings: object) -> History:
    async with build_client(HttpSettings(), httpx.MockTransport(script)) as client:
        known = PrometheusSettings.model_validate({"history": HOUR, **settings})
        return await PrometheusHistory(Prometheus(client, known, lambda: NOW), entry()).read_history()


async def test_each_metric_is_asked_once_for_the_same_times_behind_the_scrapes() -> None:
    script = Kept()
    history = await kept(script)
    asked = [each.url for each in script.asked]
    assert {each.path for each in asked} == {"/prefix/api/v1/query_range"}
    assert sorted(each.params["query"] for each in asked) == sorted(
        set(OWN.values()) - {"health", "newest"}  # only what is measured over time
    )
    assert {(each.params["start"], each.params["end"], each.params["step"]) for each in asked} == {
        (f"{LAST - 3600:.3f}", f"{LAST:.3f}", "60")
    }
    assert (len(history.times), history.times[-1]) == (61, LAST)


async def test_values_stand_at_their_times_in_the_metrics_units_and_gaps_stay_gaps() -> None:
    history = await kept(Kept(p99=matrix([(LAST - 120, "0.25"), (LAST, "0.5")]), errors=matrix([(LAST, "NaN")])))
    assert history.values[Metric.P99_LATENCY][-3:] == (250.0, None, 500.0)
    assert history.values[Metric.ERROR_RATE][-1] is None
    assert history.problems == ()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (matrix([(LAST, "1")], [(LAST, "2")]), "p99_latency: the query gives 2 series, not one"),
        (matrix(), "p99_latency: nothing was found"),
        (vector("1"), "p99_latency: the query gives a vector, not a course of values"),
        ({**matrix([(LAST, "1")]), "warnings": ["a store is away"]}, "p99_latency: the answer may be partial"),
        (matrix([(LAST - 60, "0.2"), (LAST, "250")]), "p99_latency: implausible: up to 250000ms"),
        (of_kind("matrix", [{"metric": {}, "histograms": [[LAST, {}]]}]), "p99_latency: the query gives histograms"),
        (httpx.Response(422, json={"status": "error", "error": "bad"}), "p99_latency: answered HTTP 422: bad"),
    ],
    ids=["two series", "nothing", "vector", "partial", "unit", "histograms", "refused"],
)
async def test_what_may_not_be_believed_is_left_out_and_named(answer: object, words: str) -> None:
    history = await kept(Kept(p99=answer))
    assert Metric.P99_LATENCY not in history.values
    assert Metric.ERROR_RATE in history.values
    assert [each[: len(words)] for each in history.problems] == [words]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(httpx.Response(503), TransientError), (httpx.Response(404), PermanentError)],
    ids=["away", "not there"],
)
async def test_a_history_that_cannot_be_asked_for_says_why(answer: object, expected: type[IntegrationError]) -> None:
    with pytest.raises(expected):
        await kept(Kept(**dict.fromkeys(OWN.values(), answer)))


async def test_a_long_history_is_asked_for_in_no_more_points_than_prometheus_gives() -> None:
    script = Kept()
    history = await kept(script, history=timedelta(days=60))
    assert 4_900 < len(history.times) <= 5_001
    assert LAST - 18 * 60 < history.times[-1] <= LAST


async def test_where_nothing_has_been_kept_yet_the_history_is_empty_and_says_so() -> None:
    history = await kept(Kept(**dict.fromkeys(OWN.values(), matrix())))
    assert history.values == {}
    assert "error_rate: nothing was found" in history.problems
