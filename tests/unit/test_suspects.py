"""Every scene is made: an hour that is known to be healthy, ten quiet minutes, and five after the onset."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import numpy as np
import pytest

from incident.cause import Cause, Change, ChangeKind, Guilt
from incident.series import Array, Column, Frame, Quantity
from incident.signs import newness
from incident.suspects import Scene, find_cause

ONSET = 1_700_000_400.0
MINUTE = 60.0
METRICS = {
    "latency_s": (Quantity.LATENCY, 0.1),
    "success_ratio": (Quantity.SUCCESS, 1.0),
    "cpu_ratio": (Quantity.CPU, 0.2),
    "memory_ratio": (Quantity.MEMORY, 0.5),
    "client_p95_s": (Quantity.LATENCY, 0.15),
    "requests": (Quantity.TRAFFIC, 40.0),
}
CHAIN = (("shop", "orders"), ("orders", "stock"), ("shop", "ads"))
SERVICES = ("shop", "orders", "stock", "ads")

Changed = Mapping[str, float | Callable[[Array], Array]]


def frame(rows: int, until: float, services: tuple[str, ...], seed: int) -> Frame:
    """Quiet minutes up to `until`: each metric near its level, within a few percent."""
    columns = tuple(
        Column(service=service, metric=metric, quantity=METRICS[metric][0])
        for service in services
        for metric in METRICS
    )
    levels = np.array([METRICS[column.metric][1] for column in columns])
    noise: Array = np.random.default_rng(seed).normal(0, 0.03, (rows, len(columns)))
    noise[:, [column.quantity is Quantity.SUCCESS for column in columns]] = 0
    return Frame(until - MINUTE * np.arange(rows, 0, -1.0), columns, np.asarray(levels * np.exp(noise)))


def with_trouble(quiet: Frame, changed: Changed, since: float = ONSET) -> Frame:
    """The frame with the columns of those names multiplied since then, or made anew from what stood there."""
    values = quiet.values.copy()
    later = quiet.times >= since
    for place, column in enumerate(quiet.columns):
        if column.name in changed:
            how = changed[column.name]
            values[later, place] = how(values[later, place]) if callable(how) else values[later, place] * how
    return Frame(quiet.times, quiet.columns, values)


def scene(
    changed: Changed,
    *changes: Change,
    graph: tuple[tuple[str, str], ...] = CHAIN,
    services: tuple[str, ...] = SERVICES,
    history: Frame | None = None,
    recent: Frame | None = None,
    new_templates: Mapping[str, float] | None = None,
) -> Scene:
    healthy = frame(60, ONSET - 86_400, services, seed=1)
    quiet = frame(15, ONSET + 5 * MINUTE, services, seed=2)
    return Scene(
        history=healthy if history is None else history,
        recent=with_trouble(quiet if recent is None else recent, changed),
        onset=ONSET,
        entry="shop",
        graph=graph,
        changes=changes,
        interval=MINUTE,
        new_templates=new_templates or {},
    )


def suspects(cause: Cause) -> list[str]:
    return [each.service for each in cause.suspects if each.score >= 0.5]


def change(service: str, minutes: float, name: str = "") -> Change:
    """A deployment that many minutes before the onset."""
    return Change(
        id=name or f"{service}:{minutes:g}",
        service=service,
        kind=ChangeKind.DEPLOYMENT,
        at=datetime.fromtimestamp(ONSET - minutes * MINUTE, UTC),
    )


def guilt(cause: Cause) -> dict[str, Guilt]:
    return {each.change.id: each.guilt for each in cause.changes}


def reasons(cause: Cause, name: str) -> str:
    verdict = cause.verdict(name)
    assert verdict is not None
    return "; ".join(verdict.reasons)


SLOW_STOCK = {"stock:latency_s": 5.0, "orders:latency_s": 4.0, "orders:client_p95_s": 5.0, "shop:latency_s": 3.0}


def test_a_quiet_scene_has_no_suspect() -> None:
    assert suspects(find_cause(scene({}))) == []


def test_the_latency_of_a_caller_is_explained_by_its_callee() -> None:
    assert suspects(find_cause(scene(SLOW_STOCK)))[0] == "stock"


def test_the_errors_of_a_caller_are_explained_by_its_callee() -> None:
    failing = {"stock:success_ratio": 0.8, "orders:success_ratio": 0.8, "shop:success_ratio": 0.9}
    assert suspects(find_cause(scene(failing)))[0] == "stock"


def test_errors_are_not_explained_by_the_latency_of_a_callee() -> None:
    failing = {"orders:success_ratio": 0.8, "shop:success_ratio": 0.8, "stock:latency_s": 1.3}
    assert suspects(find_cause(scene(failing)))[0] == "orders"


def test_a_service_that_moved_without_what_it_calls_is_the_suspect() -> None:
    assert suspects(find_cause(scene({"orders:latency_s": 4.0, "shop:latency_s": 3.0})))[0] == "orders"


def test_the_entry_is_suspected_when_nothing_behind_it_moved() -> None:
    assert suspects(find_cause(scene({"shop:latency_s": 4.0, "shop:cpu_ratio": 4.0}))) == ["shop"]


def test_own_cpu_is_more_telling_than_waiting_for_others() -> None:
    busy = {"stock:cpu_ratio": 4.0, "orders:client_p95_s": 4.0, "ads:client_p95_s": 4.0}
    assert suspects(find_cause(scene(busy, graph=())))[0] == "stock"


def test_what_explains_more_of_the_trouble_is_suspected_before_a_bystander() -> None:
    assert suspects(find_cause(scene({**SLOW_STOCK, "ads:latency_s": 5.0})))[0] == "stock"


@pytest.mark.parametrize("metric", ["latency_s", "cpu_ratio", "memory_ratio"])
def test_a_metric_that_fell_the_good_way_is_no_suspicion(metric: str) -> None:
    assert suspects(find_cause(scene({f"stock:{metric}": 0.2}))) == []


def test_more_traffic_is_no_suspicion_by_itself() -> None:
    assert suspects(find_cause(scene({"stock:requests": 3.0, "orders:requests": 3.0}))) == []


@pytest.mark.parametrize(("times", "expected"), [(1.2, Guilt.GUILTY), (2.0, Guilt.UNKNOWN)])
def test_a_surge_of_requests_leaves_open_whether_a_change_is_guilty(times: float, expected: Guilt) -> None:
    busy = {f"{service}:requests": times for service in SERVICES} | {"stock:cpu_ratio": 4.0, "stock:latency_s": 5.0}
    cause = find_cause(scene(busy, change("stock", 12)))
    assert cause.suspects[0].asked == pytest.approx(times, rel=0.1)
    assert guilt(cause) == {"stock:12": expected}
    assert ("times as much as before" in reasons(cause, "stock:12")) is (expected is Guilt.UNKNOWN)


def test_a_service_that_is_new_since_the_history_is_judged_by_the_rows_before() -> None:
    history = frame(60, ONSET - 86_400, SERVICES, seed=1)
    known = history.only([column for column in history.columns if column.service != "stock"])
    assert suspects(find_cause(scene(SLOW_STOCK, history=known)))[0] == "stock"


def test_what_users_meet_under_a_name_of_its_own_is_the_service_in_front() -> None:
    def with_entry(quiet: Frame) -> Frame:
        place = next(at for at, column in enumerate(quiet.columns) if column.name == "front:latency_s")
        success = np.ones((len(quiet), 1))
        columns = (
            *quiet.columns,
            Column(service="shop", metric="p95_s", quantity=Quantity.LATENCY),
            Column(service="shop", metric="success_ratio", quantity=Quantity.SUCCESS),
        )
        return Frame(quiet.times, columns, np.hstack([quiet.values, quiet.values[:, [place]], success]))

    behind = ("front", "stock", "ads")
    cause = find_cause(
        scene(
            {"shop:success_ratio": 0.9},
            change("front", 12),
            graph=(),
            history=with_entry(frame(60, ONSET - 86_400, behind, 1)),
            recent=with_entry(frame(15, ONSET + 300, behind, 2)),
        )
    )
    assert (cause.suspects[0].service, cause.suspects[0].moved) == ("front", ("success_ratio",))
    assert "shop" not in [each.service for each in cause.suspects]
    assert guilt(cause) == {"front:12": Guilt.GUILTY}


def test_the_metrics_of_a_shared_machine_say_nothing_of_a_service() -> None:
    def on_a_machine(quiet: Frame) -> Frame:
        columns = tuple(
            Column(service=each.service, metric=f"node_{each.metric}", quantity=each.quantity) for each in quiet.columns
        )
        return Frame(quiet.times, columns, quiet.values)

    history, recent = (
        on_a_machine(frame(60, ONSET - 86_400, SERVICES, 1)),
        on_a_machine(frame(15, ONSET + 300, SERVICES, 2)),
    )
    cause = find_cause(scene({"stock:node_cpu_ratio": 5.0}, change("stock", 1), history=history, recent=recent))
    assert cause.suspects == ()
    assert guilt(cause) == {"stock:1": Guilt.UNKNOWN}


def test_a_caller_that_no_longer_calls_is_suspected_not_the_one_that_is_asked_less() -> None:
    cause = find_cause(scene({"stock:requests": 0.0, "stock:cpu_ratio": 0.5}))
    assert suspects(cause) == ["orders"]


def test_when_callers_wait_and_the_callee_shows_nothing_the_callee_is_suspected() -> None:
    slow_network = {"orders:client_p95_s": 6.0, "orders:latency_s": 5.0, "shop:latency_s": 3.0}
    assert suspects(find_cause(scene(slow_network)))[0] == "stock"


def test_without_a_graph_traffic_that_went_together_stands_for_it() -> None:
    history = frame(60, ONSET - 86_400, SERVICES, seed=1)
    waves = np.exp(np.sin(np.arange(60)))
    values = history.values.copy()
    for place, column in enumerate(history.columns):
        if column.name in {"orders:requests", "stock:requests"}:
            values[:, place] = 40 * waves
    together = Frame(history.times, history.columns, values)
    cause = find_cause(scene({"stock:requests": 0.0}, graph=(), history=together))
    assert suspects(cause) == ["orders"]


def test_new_grave_log_templates_are_a_suspicion() -> None:
    assert suspects(find_cause(scene({}, new_templates={"stock": 2, "ads": 0.0}))) == ["stock"]


@pytest.mark.parametrize(
    ("lines", "since", "read_for", "expected"),
    [(1, 60, 120, 0.5), (4, 60, 120, 0.9375), (1, 60, 6000, 0.99), (9, 60, 60, 0.0), (9, 90, 60, 0.0), (9, 0, 0, 0.0)],
)
def test_log_lines_are_the_surer_new_the_more_came_and_the_longer_none_had_come(
    lines: int, since: float, read_for: float, expected: float
) -> None:
    assert newness(lines, since, read_for) == pytest.approx(expected)


def test_what_stood_there_before_the_onset_is_no_movement() -> None:
    shifted = with_trouble(
        frame(15, ONSET + 300, SERVICES, 2), {"ads:memory_ratio": 5.0, "ads:cpu_ratio": 5.0}, since=0
    )
    assert suspects(find_cause(scene(SLOW_STOCK, recent=shifted)))[0] == "stock"


def test_a_metric_that_is_often_far_off_in_health_is_no_movement() -> None:
    history = frame(60, ONSET - 86_400, SERVICES, seed=1)
    values = history.values.copy()
    spiky = next(place for place, column in enumerate(history.columns) if column.name == "ads:latency_s")
    values[::10, spiky] *= 6
    cause = find_cause(scene({"ads:latency_s": 5.0}, history=Frame(history.times, history.columns, values)))
    assert suspects(cause) == []


def test_one_odd_row_is_no_movement() -> None:
    def once(values: Array) -> Array:
        return np.where(np.arange(len(values)) == len(values) - 2, values * 10, values)

    assert suspects(find_cause(scene({"ads:latency_s": once}))) == []


@pytest.mark.parametrize(
    ("metric", "idle", "expected"),
    [
        ("cpu_ratio", 0.01, []),
        ("cpu_ratio", 1.0, ["ads"]),
        ("latency_s", 0.002, []),
        ("latency_s", 1.0, ["ads"]),
        ("cpu_ratio", 0.0, []),
    ],
    ids=["idle processor", "busy processor", "at once", "slow", "never used"],
)
def test_what_doubled_and_is_still_too_little_to_matter_is_no_movement(
    metric: str, idle: float, expected: list[str]
) -> None:
    name = f"ads:{metric}"
    quiet, healthy = frame(15, ONSET + 5 * MINUTE, SERVICES, seed=2), frame(60, ONSET - 86_400, SERVICES, seed=1)
    history, recent = (with_trouble(each, {name: idle}, since=0) for each in (healthy, quiet))

    cause = find_cause(scene({name: lambda now: now * 2 + 1e-4}, history=history, recent=recent))

    assert suspects(cause) == expected


def test_a_column_that_is_hardly_ever_there_says_little() -> None:
    history = frame(60, ONSET - 86_400, SERVICES, seed=1)
    values = history.values.copy()
    rare = next(place for place, column in enumerate(history.columns) if column.name == "ads:latency_s")
    values[2:, rare] = np.nan
    cause = find_cause(scene({"ads:latency_s": 30.0}, history=Frame(history.times, history.columns, values)))
    assert suspects(cause) == []


def test_gaps_and_constant_columns_do_not_stop_the_search() -> None:
    def with_gaps(quiet: Frame) -> Frame:
        values = quiet.values.copy()
        for place, column in enumerate(quiet.columns):
            if column.service == "ads":
                values[:, place] = np.nan if column.metric == "cpu_ratio" else 1.0
        values[3, :] = np.nan
        return Frame(quiet.times, quiet.columns, values)

    healthy, quiet = with_gaps(frame(60, ONSET - 86_400, SERVICES, 1)), with_gaps(frame(15, ONSET + 300, SERVICES, 2))
    assert suspects(find_cause(scene(SLOW_STOCK, history=healthy, recent=quiet)))[0] == "stock"


def test_without_a_history_the_rows_before_the_onset_stand_for_it() -> None:
    nothing = frame(0, ONSET, SERVICES, 1)
    assert suspects(find_cause(scene(SLOW_STOCK, history=nothing)))[0] == "stock"


def test_without_any_known_row_there_is_no_suspect_and_nobody_is_guilty() -> None:
    nothing = frame(0, ONSET, SERVICES, 1)
    only_trouble = frame(5, ONSET + 5 * MINUTE, SERVICES, 2)
    cause = find_cause(scene(SLOW_STOCK, change("stock", 1), history=nothing, recent=only_trouble))
    assert cause.suspects == ()
    assert guilt(cause) == {"stock:1": Guilt.UNKNOWN}


def test_a_suspect_says_what_moved_and_since_when() -> None:
    first = find_cause(scene({"stock:latency_s": 9.0, "stock:cpu_ratio": 1.5})).suspects[0]
    assert (first.service, first.moved) == ("stock", ("latency_s", "cpu_ratio"))
    assert first.since == datetime.fromtimestamp(ONSET, UTC)


def test_the_change_of_the_suspect_is_guilty_and_bystanders_are_innocent() -> None:
    cause = find_cause(
        scene(SLOW_STOCK, change("stock", 12), change("ads", 3), change("stock", 300), change("orders", 5))
    )
    assert guilt(cause) == {
        "stock:12": Guilt.GUILTY,
        "ads:3": Guilt.INNOCENT,
        "stock:300": Guilt.INNOCENT,
        "orders:5": Guilt.INNOCENT,
    }
    assert cause.guilty == change("stock", 12)


def test_verdicts_say_in_words_why() -> None:
    cause = find_cause(scene(SLOW_STOCK, change("stock", 12), change("ads", 3), change("orders", 5)))
    assert (
        reasons(cause, "stock:12") == "made 12 min before the trouble began; stock is suspect number 1: latency_s moved"
    )
    assert reasons(cause, "ads:3") == "made 3 min before the trouble began; ads shows nothing unusual"
    assert "stock explains it better than orders: latency_s, client_p95_s moved" in reasons(cause, "orders:5")


def test_none_of_them_is_an_answer() -> None:
    cause = find_cause(scene(SLOW_STOCK, change("ads", 3), change("stock", 300), change("stock", -3)))
    assert cause.guilty is None
    assert set(guilt(cause).values()) == {Guilt.INNOCENT}


def test_a_change_of_a_service_without_metrics_is_never_guilty() -> None:
    assert guilt(find_cause(scene(SLOW_STOCK, change("mail", 1)))) == {"mail:1": Guilt.UNKNOWN}


def test_a_change_in_the_row_of_the_onset_counts_as_before_it() -> None:
    assert guilt(find_cause(scene(SLOW_STOCK, change("stock", -0.9)))) == {"stock:-0.9": Guilt.GUILTY}


@pytest.mark.parametrize(("minutes", "expected"), [(0.5, Guilt.GUILTY), (20, Guilt.UNKNOWN)])
def test_of_a_suspect_that_hardly_moved_only_a_change_at_the_very_onset_is_guilty(
    minutes: float, expected: Guilt
) -> None:
    cause = find_cause(scene({"stock:latency_s": 1.08}, change("stock", minutes)))
    assert (cause.suspects[0].service, cause.suspects[0].moved) == ("stock", ())
    assert list(guilt(cause).values()) == [expected]


def test_the_same_scene_gives_the_same_cause_whatever_the_order_of_its_columns() -> None:
    straight = scene(SLOW_STOCK, change("stock", 12))
    turned = scene(
        SLOW_STOCK,
        change("stock", 12),
        history=straight.history.only(straight.history.columns[::-1]),
        recent=straight.recent.only(straight.recent.columns[::-1]),
    )
    twice = with_trouble(straight.recent, {})
    assert find_cause(straight) == find_cause(scene({}, change("stock", 12), recent=twice))
    assert suspects(find_cause(turned))[0] == "stock"


def test_a_scene_of_150_columns_and_60_rows_is_judged_in_under_50_milliseconds() -> None:
    services = tuple(f"service-{number}" for number in range(25))
    large = scene(
        {"service-3:latency_s": 4.0},
        graph=tuple((f"service-{number}", f"service-{number + 1}") for number in range(24)),
        services=services,
        history=frame(500, ONSET - 86_400, services, 1),
        recent=frame(60, ONSET + 5 * MINUTE, services, 2),
    )
    assert len(large.recent.columns) == 150
    took = []
    for _ in range(5):
        begun = time.process_time()
        find_cause(large)
        took.append(time.process_time() - begun)
    assert min(took) < 0.05
