"""The results as tables for a person."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from bench.measure import Spread
from bench.results import Results

_NOTES = """\
P0 incident: the default policy, which takes 3 good looks, each an activity: the bars are about this row.
One look: stable_looks = 1. From the desk: opened as the product does, with an update that joins an open incident, \
which cannot start eagerly. Eager: started with request_eager_start, no-op and incident alike.
Timers of settling and sampling are not started (settle = look_every = 0); the page's timer is, as always.
One process holds client, production worker and fakes that answer at once; the server keeps everything in memory.
The dev server reads the queue of its one shard 20 times a second (history.transferProcessorMaxPollRPS): one at a \
time, each workflow task waits up to 50 ms for its turn, so the latency ratio is near the number of workflow tasks.
Alerts: each answered once Temporal has it, beside a FastAPI handler that only validates the same body; wrk sends \
both, 32 at a time, and no worker runs. Both times are of one alert among those.
Kestra alone: the same stages and calls as a flow on Kestra's own engine, warm, without timers, gate or ledger. It \
asks the fakes by HTTP on this machine, the workflow asks them in process; both share the cores with that engine.
Redacted: lines one by one, and whole texts, as values are looked through; one line in a hundred holds a secret. A \
hostile line is cut before it is looked at, and what stands at the cut is still seen whole."""


def show(results: Results, console: Console) -> None:
    """Prints `results`."""
    console.print(_spreads("One at a time", "ms", results.milliseconds))
    console.print(_spreads("Many at once, one worker", "per second", results.per_second))
    bars = Table(title="What durability costs", title_justify="left")
    for column in ("ratio", "of medians", "round min", "median", "max", "bar", "goal", ""):
        bars.add_column(column, justify="left" if column in {"ratio", ""} else "right")
    for bar in results.bars:
        sign = "≤" if bar.at_most else "≥"
        numbers = (bar.ratio, bar.rounds.lowest, bar.rounds.median, bar.rounds.highest)
        limits = (f"{sign} {bar.bar:g}", f"{sign} {bar.goal:g}")
        bars.add_row(bar.name, *(f"{number:.2f}" for number in numbers), *limits, bar.words)
    console.print(bars)
    history = Table(title="History of the P0 incident", title_justify="left")
    history.add_column("#", justify="right")
    history.add_column("event")
    history.add_column("what", overflow="fold")
    history.add_column("bytes", justify="right")
    for number, event in enumerate(results.history, 1):
        history.add_row(str(number), event.what, event.about, str(event.size))
    console.print(history)
    console.print(f"{len(results.history)} events, {sum(event.size for event in results.history)} bytes")
    console.print(_NOTES, highlight=False)
    if results.left_out:
        console.print(f"Not measured: {results.left_out}", highlight=False)
    console.print(f"Took {results.took:.0f} s.")


def _spreads(title: str, unit: str, rows: Mapping[str, Spread]) -> Table:
    table = Table(title=f"{title} ({unit})", title_justify="left")
    table.add_column("")
    for column in ("min", "median", "max", "rounds"):
        table.add_column(column, justify="right")
    for name, spread in rows.items():
        table.add_row(
            name, *(f"{each:.3g}" for each in (spread.lowest, spread.median, spread.highest)), str(spread.count)
        )
    return table
