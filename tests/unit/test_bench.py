import json
from datetime import timedelta

import httpx
import pytest

from bench.alerts import Drive
from bench.bare import BarePipeline
from bench.bare_handler import build_app
from bench.fakes import build_world
from bench.measure import Load, Spread, take_rates, take_times
from bench.results import Bar, compare
from bench.texts import ordinary_lines
from incident.ledger import Stop
from incident.policy import Mode, Policy
from incident.recovery import Classification
from incident.redaction import redact

AT_ONCE = timedelta(0)
POLICY = Policy(mode=Mode.AUTO, settle=AT_ONCE, look_every=AT_ONCE)


async def test_the_bare_pipeline_ends_recovered_and_recorded() -> None:
    world = build_world()
    snapshot = await BarePipeline(world).run("bench-1", POLICY)
    assert snapshot.health_status is Classification.FULLY_RECOVERED
    assert len(snapshot.looks) == 3
    assert await world.store.load(snapshot.incident_id) == snapshot


async def test_every_service_of_the_bench_begins_sick() -> None:
    pipeline = BarePipeline(build_world())
    first, second = [await pipeline.run(name, POLICY) for name in ("bench-1", "bench-2")]
    assert first.remediation is not None
    assert second.remediation is not None
    assert first.incident_id != second.incident_id


async def test_the_bench_counts_no_quota_and_heeds_the_kill_switch() -> None:
    world = build_world()
    pipeline = BarePipeline(world)
    runs = [await pipeline.run(f"bench-{each}", POLICY) for each in range(POLICY.fleet_rollbacks_per_hour + 1)]
    assert all(each.remediation and each.remediation.run for each in runs)
    stop = Stop(by="grace", at=runs[0].closed_at)
    await world.ledger.stop(stop)
    assert await world.ledger.stops() == (stop,)
    with pytest.raises(ValueError, match="allows no rollback"):
        await pipeline.run("bench-stopped", POLICY)
    assert await world.ledger.release("", "")
    assert (await pipeline.run("bench-stopped", POLICY)).deployment_changed


async def test_rows_take_turns_and_one_round_is_taken_without_any_budget() -> None:
    taken: list[str] = []

    async def do(name: str) -> None:
        taken.append(name)

    times = await take_times({"a": lambda: do("a"), "b": lambda: do("b")}, rounds=2, budget=timedelta(minutes=1))
    assert taken == ["a", "b", "b", "a"]
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}
    assert len((await take_times({"a": lambda: do("a")}, rounds=9, budget=AT_ONCE))["a"]) == 1


async def test_a_load_is_started_all_at_once() -> None:
    begun = 0

    async def do() -> None:
        nonlocal begun
        begun += 1

    rates = await take_rates({"a": Load(do, 7)}, rounds=1, budget=AT_ONCE)
    assert begun == 7
    assert rates["a"][0] > 0


def test_a_spread_is_lowest_median_and_highest() -> None:
    assert Spread.of([3, 1, 2]) == Spread(lowest=1, median=2, highest=3, count=3)


@pytest.mark.parametrize(
    ("mine", "limits", "words"),
    [
        (7, (6, 4), "bar missed"),
        (6, (6, 4), "bar met"),
        (4, (6, 4), "goal met"),
        (0.2, (0.3, 0.5), "bar missed"),
        (0.3, (0.3, 0.5), "bar met"),
        (0.5, (0.3, 0.5), "goal met"),
    ],
)
def test_a_bar_is_met_from_its_own_side(mine: float, limits: tuple[float, float], words: str) -> None:
    bar: Bar = compare("a bar", [mine], [1], limits)
    assert bar.words == words


def test_what_wrk_says_is_read_from_its_last_line() -> None:
    told = {"answered": 2000, "microseconds": 4_000_000, "failed": 0, "p50_us": 1500, "p95_us": 9000}
    said = f"Running 4s test\n  32 connections\n\n{json.dumps(told)}\n"
    assert Drive.read(said) == Drive(per_second=500, p50=1.5, p95=9)


@pytest.mark.parametrize(("answered", "failed"), [(2000, 1), (0, 0)])
def test_a_rate_of_alerts_that_were_not_all_taken_is_none(answered: int, failed: int) -> None:
    said = json.dumps({"answered": answered, "microseconds": 1, "failed": failed, "p50_us": 1, "p95_us": 1})
    with pytest.raises(RuntimeError, match="were not taken"):
        Drive.read(said)


async def test_the_bare_handler_validates_what_the_gateway_does() -> None:
    alert = {"labels": {"service": "bench-1", "alertname": "HighErrorRate"}}
    transport = httpx.ASGITransport(build_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://bare") as client:
        taken = await client.post("/webhooks/alertmanager", json={"alerts": [alert]})
        refused = await client.post("/webhooks/alertmanager", json={"alerts": [{"labels": 7}]})
    assert (taken.status_code, taken.json()["accepted"]) == (200, ["bench-1"])
    assert refused.status_code == 422


def test_the_texts_of_the_bench_are_ordinary_and_some_hold_a_secret() -> None:
    lines = ordinary_lines()
    changed = [line for line in lines if redact(line) != line]
    assert changed == lines[::100]
    assert all(line.endswith("password=hunter2") for line in changed)
