"""`commander demo`, as a person runs it."""

import asyncio
import json
import os
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from commander.scenarios import PLOTS, Scenario
from tests.e2e.conftest import DEADLINE, commander, processes_of
from tests.standins.prometheus import why_not

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def scenarios(day: int, *, whole: bool) -> list[Scenario]:
    """Those to run: all, or a third of them, so that three days cover all; `make demo` runs the first one anyway."""
    return [each for number, each in enumerate(Scenario) if whole or number % 3 == day % 3]


TODAY = scenarios(date.today().toordinal(), whole=os.environ.get("DEMOS") == "whole")  # noqa: DTZ011 - any day will do


def test_the_turns_of_three_days_cover_every_scenario() -> None:
    assert {each for day in range(3) for each in scenarios(day, whole=False)} == set(Scenario)


@pytest.mark.parametrize("scenario", TODAY)
async def test_every_scenario_ends_as_it_should_and_its_json_holds_to_the_published_schema(
    scenario: Scenario, tmp_path: Path
) -> None:
    if scenario is Scenario.REAL_SHAPES:
        if why := why_not():
            pytest.skip(why)
        (tmp_path / ".tools").symlink_to(ROOT / ".tools")  # the programs are looked for beside the command
    ended = await commander(tmp_path, "demo", "--scenario", scenario, "--json")
    schema = await commander(tmp_path, "schema", "snapshot")
    assert ended.status == 0, ended.err
    snapshot = json.loads(ended.out)
    jsonschema.Draft202012Validator(json.loads(schema.out)).validate(snapshot)
    plot = PLOTS[scenario]
    assert (snapshot["outcome"], snapshot["action_taken"]) == (plot.outcome, plot.action)
    done = [each for each in (snapshot["remediation"], snapshot["undo"]) if each]
    assert len(done) == plot.activations
    assert processes_of(tmp_path) == []
    kept = await commander(tmp_path, "show", snapshot["incident_id"], "--json", "--direct")
    assert json.loads(kept.out) == snapshot


async def test_make_demo_tells_the_whole_story() -> None:
    process = await asyncio.create_subprocess_exec(
        *("make", "-C", str(ROOT), "demo"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE):
        out, _ = await process.communicate()
    story = out.decode()
    assert process.returncode == 0, story
    for told in (
        "Temporal Web UI",
        "chat: alert",
        "rolling back deployment 101 to 100",
        "chat: report",
        "Before and after",
        "FULLY_RECOVERED",
        "Snapshot",
        "/namespaces/default/workflows",
        "Ended as it should.",
    ):
        assert told in story
