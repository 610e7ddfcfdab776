"""Writes docs/quality.md: what the judgement is worth, measured now, with the command of each figure.

`make quality` runs it. Nothing is asserted: a bar that is missed is written down as missed.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quality.md"
INCIDENTS = ROOT / "tests" / "incidents"
_MEASURES = (
    ("detection_recall", "incidents detected", ">="),
    ("false_per_healthy_hour", "false openings per healthy hour", "<="),
    ("top1", "culprit named first", ">="),
    ("top3", "culprit among the first three", ">="),
    ("change_recall", "causing change named", ">="),
    ("herring_blamed", "coinciding change blamed", "<="),
    ("change_invented", "change blamed where none was the cause", "<="),
    ("recovered_right", "recovery seen, and not too early", ">="),
    ("premature", "recovery said too early", "<="),
)
_Bar = tuple[str, float | None, float | None]
"""Whether more or less is better, floor, and goal."""
_RECORDS = 1_000
_REDECIDE_WITHIN = 20
"""Seconds for that many."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs every measurement and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=200, help="made-up incidents in each cell of class and noise")
    parser.add_argument("--verifications", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2, help="processes for the made-up incidents")
    asked = parser.parse_args(arguments)
    sections = [
        *_recorded(),
        *_verification(asked.verifications),
        *_decisions(asked.incidents, asked.jobs),
        *_redeciding(),
    ]
    said = "do not edit. A bar that is missed is written down as missed."
    head = [
        "# What the judgement is worth",
        "",
        f"Written by `make quality` on {datetime.now(UTC):%Y-%m-%d}; {said}",
        "",
    ]
    PAGE.write_text("\n".join([*head, *sections]))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: written\n")


def _recorded() -> Iterable[str]:
    command = "observe tests/incidents/streams --out predictions.jsonl"
    with TemporaryDirectory() as place:
        predictions = Path(place) / "predictions.jsonl"
        began = perf_counter()
        _commander("observe", str(INCIDENTS / "streams"), "--out", str(predictions))
        took = perf_counter() - began
        score = [sys.executable, str(INCIDENTS / "score.py"), str(INCIDENTS / "labels"), str(predictions), "--json"]
        found = json.loads(subprocess.run(score, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - our own
    groups = found["datasets"] | {"overall": found["overall"]}
    every = groups["overall"]
    yield from (
        "## Recorded incidents of real systems",
        "",
        f"`commander {command}`, then `tests/incidents/score.py`: {every['incidents']} labelled incidents in",
        f"{every['streams']} streams, {took:.0f} s. These streams were at hand while the detector was built:",
        "expect less of others.",
        "",
        "| | measured | floor | goal | |",
        "|---|---|---|---|---|",
    )
    floors: dict[str, dict[str, tuple[str, float | None, float | None]]] = json.loads(
        (INCIDENTS / "floors.json").read_text()
    )
    for group, values in sorted(groups.items(), key=lambda each: (each[0] == "overall", each[0])):
        for measure, words, better in _MEASURES:
            value = values[measure]
            if value is None:
                continue
            _, floor, goal = floors.get(group, {}).get(measure, (better, None, None))
            shown = [f"{each:g}" if each is not None else "" for each in (floor, goal)]
            yield f"| {group}: {words} | {value:.2f} | {' | '.join(shown)} | {_verdict(value, floor, goal, better)} |"
    yield ""


def _verification(verifications: int) -> Iterable[str]:
    command = ("eval", "verification", "--verifications", str(verifications), "--streams", "tests/incidents/streams")
    found = json.loads(_commander(*command, "--json", may_fail=True))
    made_up, recorded = found["made_up"], found["recorded"]
    yield from (
        "## Verification by the sequential test",
        "",
        f"`commander {' '.join(command)}`: {made_up['verifications']} made-up verifications in {len(made_up['cells'])}",
        "kinds of service (error ratio, traffic, noise), a look every 5 s for at most 10 minutes.",
        "",
        "| | measured | bar | |",
        "|---|---|---|---|",
        _row("worst cell: wrongly called recovered", made_up["worst_false_recovered"], 0.01, "<="),
        _row("worst cell: healthy, and called degraded", made_up["worst_false_degraded"], 0.01, "<="),
        _row(
            "slowest median to FULLY_RECOVERED at 50 requests a second or more, in fixed ten-minute waits",
            made_up["slowest_median_seconds"] / made_up["fixed_wait_seconds"],
            0.5,
            "<=",
        ),
        _row(
            "healthy stretches of the recorded streams called degraded",
            recorded["degraded"] / recorded["verifications"],
            0.01,
            "<=",
        ),
        "",
    )


def _decisions(incidents: int, jobs: int) -> Iterable[str]:
    command = ("eval", "decisions", "--incidents", str(incidents), "--jobs", str(jobs))
    found = json.loads(_commander(*command, "--json", may_fail=True))
    worst = max(cell["deciders"]["production"]["harmful"] for cell in found["cells"])
    regrets = {
        decider: max(cell["deciders"][decider]["regret"] for cell in found["cells"]) for decider in found["overall"]
    }
    mine, _ = regrets.pop("production"), regrets.pop("production_alone")
    yield from (
        "## Regret over made-up incidents",
        "",
        f"`commander {' '.join(command)}`: {incidents} incidents for each class of fault and each noise;",
        f"{found['without_guilty']:.0%} without a guilty deployment. Regret is in user-error-minutes above the best",
        "response in hindsight; the rest per 1,000 incidents. What the simulator assumes:",
        "[decision 0015](decisions/0015-simulator.md).",
        "",
        "| decider | regret | harmful | missed | acted | asked |",
        "|---|---|---|---|---|---|",
    )
    for decider, figures in found["overall"].items():
        shares = " | ".join(f"{figures[name]:.1f}" for name in ("harmful", "missed", "acted", "asked"))
        yield f"| {decider} | {figures['regret']:.0f} ± {figures['regret_error']:.0f} | {shares} |"
    yield from (
        "",
        "| production | measured | bar | |",
        "|---|---|---|---|",
        _row("harmful, overall", found["overall"]["production"]["harmful"], 1, "<="),
        _row("harmful, in the worst class and noise", worst, 5, "<="),
        *(
            f"| regret in the worst class and noise | {mine:.0f} | below {theirs:.0f} ({decider}) | "
            f"{'met' if mine < theirs else '**missed**'} |"
            for decider, theirs in regrets.items()
        ),
        "",
        "| class of fault (all noises) | production: regret | harmful | missed | always | never | seed |",
        "|---|---|---|---|---|---|---|",
    )
    for fault in dict.fromkeys(cell["fault"] for cell in found["cells"]):
        cells = [cell["deciders"] for cell in found["cells"] if cell["fault"] == fault]
        mean = {
            (decider, name): sum(cell[decider][name] for cell in cells) / len(cells)
            for decider in cells[0]
            for name in ("regret", "harmful", "missed")
        }
        shown = [
            f"{mean['production', 'regret']:.0f}",
            f"{mean['production', 'harmful']:.1f}",
            f"{mean['production', 'missed']:.1f}",
            *(f"{mean[decider, 'regret']:.0f}" for decider in ("always_roll_back", "never_act", "seed")),
        ]
        yield f"| {fault} | {' | '.join(shown)} |"
    yield ""


def _redeciding() -> Iterable[str]:
    with TemporaryDirectory() as place:
        record = json.loads(_commander("demo", "--json"))
        for number in range(_RECORDS):
            again = record | {"incident_id": f"{record['incident_id'].rpartition('.')[0]}.{number:08x}"}
            (Path(place) / f"{number}.json").write_text(json.dumps(again))
        began = perf_counter()
        _commander("redecide", place, "--analyst", "rules", "--json", may_fail=True)
        took = perf_counter() - began
    yield from (
        "## Decision replay",
        "",
        f"`commander redecide RECORDS --analyst rules` over {_RECORDS} records of the demo's incident:",
        "",
        "| | measured | bar | |",
        "|---|---|---|---|",
        _row("seconds, start included", took, _REDECIDE_WITHIN, "<="),
        "",
    )


def _row(words: str, value: float, bar: float, better: str) -> str:
    return f"| {words} | {value:.3g} | {better} {bar:g} | {_verdict(value, bar, None, better)} |"


def _verdict(value: float, floor: float | None, goal: float | None, better: str) -> str:
    def meets(limit: float) -> bool:
        return value >= limit if better == ">=" else value <= limit

    if goal is not None and meets(goal):
        return "goal met"
    return "" if floor is None else "met" if meets(floor) else "**missed**"


def _commander(*arguments: str, may_fail: bool = False) -> str:
    """What the command prints; it exits 1 where a bar is missed, which is written down."""
    command = [sys.executable, "-m", "commander", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    if done.returncode not in ({0, 1} if may_fail else {0}):
        raise SystemExit(f"commander {' '.join(arguments)}: exit {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
