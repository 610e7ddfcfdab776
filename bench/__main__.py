"""`python -m bench`: what durability costs, as tables, or with --json as one JSON document. It enforces no bar."""

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

import structlog
from rich.console import Console

from bench import alerts, kestra
from bench.alerts import BARE_HANDLER, GATEWAY, Drive, drive_alerts
from bench.bare import BarePipeline
from bench.fakes import build_world
from bench.measure import Load, Once, Spread, take_rates, take_times
from bench.observing import BARE, EVIDENCE, SLOWEST, WATCHED, check_rates, evidence_rows
from bench.report import show
from bench.results import Bar, Results, compare
from bench.stack import Stack, running
from bench.texts import hostile_times, redaction_rates
from incident.policy import Mode, Policy
from incident.verifying import RecoveryLimits

_AT_ONCE = timedelta(0)
_DEFAULT = Policy(
    mode=Mode.AUTO,
    service_rollbacks_per_hour=100_000,
    fleet_rollbacks_per_hour=100_000,
    cool_down=_AT_ONCE,
    settle=_AT_ONCE,
    look_every=_AT_ONCE,
)
_ONE_LOOK = _DEFAULT.model_copy(update={"recovery": RecoveryLimits(stable_looks=1)})
_WARM_UP = 3
_TIMES = (60, timedelta(seconds=45))
_RATES = (6, timedelta(seconds=60))
"""The most rounds, and after how long none begins any more: together under three minutes on two busy cores."""
_INCIDENTS, _NO_OPS = 100, 200
"""In flight."""
_LOOKS = (30, timedelta(seconds=10))
_STORIES = (15, timedelta(seconds=60))
_KESTRA_ONLY, _BESIDE_IT = "P0 story, Kestra alone", "P0 incident, beside it"
_LATENCY, _THROUGHPUT, _ALERTS, _KESTRA = (6, 4), (0.3, 0.5), (0.25, 0.5), (2, 1)
_EVIDENCE, _CHECKS = (1.5, 1.2), (0.3, 0.5)
"""Bar and goal."""


async def measure() -> Results:
    """Takes every measurement; about five minutes."""
    begun = time.monotonic()
    async with running() as stack:
        rows = _rows(stack)
        await take_times(rows, _WARM_UP, _TIMES[1])
        times = await take_times(rows, *_TIMES)
        rates = await take_rates(_loads(stack), *_RATES)
        history = await stack.history(await stack.incident(_DEFAULT))
        looks = await take_times(evidence_rows(), *_LOOKS)
        checks = await check_rates(stack.client)
        stories = {} if kestra.why_not() else await _stories(stack)
    drives = {} if alerts.why_not() else await drive_alerts()
    no_op, no_ops = times["no-op workflow"], rates["no-op workflow"]
    return Results(
        milliseconds={
            name: Spread.of([each * 1000 for each in taken])
            for name, taken in (times | looks | stories | hostile_times()).items()
        }
        | {f"alert, {name}, p95": Spread.of([each.p95 for each in taken]) for name, taken in drives.items()},
        per_second={name: Spread.of(taken) for name, taken in (rates | checks).items()}
        | {f"alerts, {name}": Spread.of(_per_second(taken)) for name, taken in drives.items()}
        | {name: Spread.of(taken) for name, taken in redaction_rates().items()},
        bars=(
            compare("latency", times["P0 incident"], no_op, _LATENCY),
            compare("latency, one look", times["P0 incident, one look"], no_op, _LATENCY),
            compare("latency, both eager", times["P0 incident, eager"], times["no-op workflow, eager"], _LATENCY),
            compare("throughput", rates["P0 incident"], no_ops, _THROUGHPUT),
            compare("throughput, one look", rates["P0 incident, one look"], no_ops, _THROUGHPUT),
            *_alerts(drives),
            *_kestra(stories),
            compare("evidence, of its slowest", looks[EVIDENCE], looks[SLOWEST], _EVIDENCE),
            compare("checks, watched", checks[WATCHED], checks[BARE], _CHECKS),
        ),
        history=history,
        took=time.monotonic() - begun,
        left_out="; ".join(filter(None, (kestra.why_not(), alerts.why_not()))),
    )


async def _stories(stack: Stack) -> dict[str, list[float]]:
    """Both in turns, on an engine that is there for no longer, since it is busy even when it idles."""
    async with kestra.kestra_story() as story:
        return await take_times({_KESTRA_ONLY: story, _BESIDE_IT: partial(stack.incident, _DEFAULT)}, *_STORIES)


def _kestra(stories: Mapping[str, Sequence[float]]) -> tuple[Bar, ...]:
    """The bar of the workflow beside a flow that does it all; none where that was not measured."""
    return (compare("story, beside Kestra's", stories[_BESIDE_IT], stories[_KESTRA_ONLY], _KESTRA),) if stories else ()


def _alerts(drives: Mapping[str, Sequence[Drive]]) -> tuple[Bar, ...]:
    """The bar of the gateway; none where it was not measured."""
    if not drives:
        return ()
    gateway, bare = (_per_second(drives[name]) for name in (GATEWAY, BARE_HANDLER))
    return (compare("alerts taken", gateway, bare, _ALERTS),)


def _per_second(drives: Sequence[Drive]) -> list[float]:
    return [each.per_second for each in drives]


def _rows(stack: Stack) -> dict[str, Once]:
    bare = BarePipeline(build_world())
    return {
        "bare asyncio pipeline": lambda: bare.run(stack.next_name("bare"), _DEFAULT),
        "no-op workflow": stack.no_op,
        "P0 incident": partial(stack.incident, _DEFAULT),
        "P0 incident, one look": partial(stack.incident, _ONE_LOOK),
        "P0 incident, from the desk": partial(stack.incident_from_desk, _DEFAULT),
        "no-op workflow, eager": partial(stack.no_op, eager=True),
        "P0 incident, eager": partial(stack.incident, _DEFAULT, eager=True),
    }


def _loads(stack: Stack) -> dict[str, Load]:
    return {
        "no-op workflow": Load(stack.no_op, _NO_OPS),
        "P0 incident": Load(partial(stack.incident, _DEFAULT), _INCIDENTS),
        "P0 incident, one look": Load(partial(stack.incident, _ONE_LOOK), _INCIDENTS),
    }


def main() -> None:
    """Exit 0 whatever the numbers say."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console(stderr=options.json)
    with console.status("measuring; about five minutes"):
        results = asyncio.run(measure())
    if options.json:
        print(json.dumps(results.as_json(), indent=2))
    else:
        show(results, console)


if __name__ == "__main__":
    main()
