"""The workflows under .github: two linters find nothing in them, and what no linter holds is held here."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.standins.github_runner import load

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ROLLBACK = load(GITHUB / "workflows" / "rollback.yml")
INPUTS: Mapping[str, Mapping[str, Any]] = ROLLBACK["on"]["workflow_dispatch"]["inputs"]
ACTIONLINT = ROOT / ".tools" / "bin" / "actionlint"
ZIZMOR = Path(sys.executable).with_name("zizmor")
_MOST_INPUTS = 25
"""GitHub's limit for one workflow."""

needs_actionlint = pytest.mark.skipif(not ACTIONLINT.exists(), reason="actionlint needs: tests/standins/install")

BAD = """\
name: Bad
on:
  workflow_dispatch:
    inputs:
      name:
        type: string
permissions: write-all
jobs:
  bad:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v6
      - run: echo "${{ inputs.name }} ${{ inputs.nmae }}"
"""


def actionlint(*workflows: Path) -> list[str]:
    """What actionlint has against them, as "kind: message". Shellcheck is left out: not every machine has it."""
    told = _run(ACTIONLINT, "-no-color", "-shellcheck=", "-pyflakes=", "-format={{json .}}", *workflows)
    return [f"{each['kind']}: {each['message']}" for each in json.loads(told)]


def zizmor(folder: Path) -> list[str]:
    """What zizmor's strictest persona has against a folder, as "severity: audit"."""
    told = _run(ZIZMOR, "--offline", "--persona=auditor", "--no-exit-codes", "--format=json", "--quiet", folder)
    return [
        f"{each['determinations']['severity']}: {each['ident']}" for each in json.loads(told) if not each["ignored"]
    ]


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - two linters
    assert done.returncode in (0, 1), done.stderr  # 1: actionlint found something
    return done.stdout


@needs_actionlint
def test_actionlint_finds_nothing() -> None:
    assert WORKFLOWS
    assert actionlint(*WORKFLOWS) == []


def test_zizmor_finds_nothing_as_an_auditor() -> None:
    assert zizmor(GITHUB) == []


@needs_actionlint
def test_actionlint_catches_an_input_that_does_not_exist(tmp_path: Path) -> None:
    (finding,) = actionlint(bad_workflow(tmp_path))
    assert finding.startswith('expression: property "nmae" is not defined')


def test_zizmor_catches_what_a_bad_workflow_does(tmp_path: Path) -> None:
    bad_workflow(tmp_path)
    assert {
        "High: template-injection",
        "High: unpinned-uses",
        "High: excessive-permissions",
        "Low: artipacked",
    } <= set(zizmor(tmp_path))


def bad_workflow(folder: Path) -> Path:
    path = folder / ".github" / "workflows" / "bad.yml"
    path.parent.mkdir(parents=True)
    path.write_text(BAD)
    return path


def test_an_input_reaches_a_step_only_through_its_environment() -> None:
    places = {place for place, text in texts(ROLLBACK) if "inputs." in text}
    assert {re.sub(r"/[0-9]+/env/[A-Z_]+$", "/N/env", place) for place in places} == {
        "run-name",
        "concurrency/group",
        "jobs/rollback/environment/name",
        "jobs/rollback/steps/N/env",
    }


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_script_holds_an_expression(workflow: Path) -> None:
    scripts = [text for place, text in texts(load(workflow)) if place.endswith("/run")]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


def test_every_input_is_checked_before_anything_is_done() -> None:
    first, *_ = ROLLBACK["jobs"]["rollback"]["steps"]
    assert first["env"] == {name.upper(): f"${{{{ inputs.{name} }}}}" for name in INPUTS}
    assert not [name for name in INPUTS if not re.search(rf"\b{name.upper()}\b", first["run"])]


def test_every_input_is_used_after_it_was_checked() -> None:
    _, *rest = ROLLBACK["jobs"]["rollback"]["steps"]
    passed = {name for step in rest for name in step.get("env", {})}
    assert not {name.upper() for name in INPUTS} - passed


def test_inputs_are_text_required_and_few_enough() -> None:
    assert len(INPUTS) <= _MOST_INPUTS
    assert {name for name, about in INPUTS.items() if not about["required"]} == {"execution_id"}
    assert {name: about["type"] for name, about in INPUTS.items() if about["type"] != "string"} == {
        "environment": "environment"
    }


def test_the_run_name_ends_with_the_correlation_id_in_brackets() -> None:
    assert ROLLBACK["run-name"] == (
        "Roll back ${{ inputs.service }} in ${{ inputs.environment }} to deployment ${{ inputs.deployment_id }} "
        "(execution ${{ inputs.execution_id || 'none' }}) [${{ inputs.correlation_id }}]"
    )


def test_rollbacks_of_one_service_in_one_environment_queue_and_are_never_broken_off() -> None:
    assert set(ROLLBACK["concurrency"]) == {"group", "cancel-in-progress"}
    assert ROLLBACK["concurrency"]["cancel-in-progress"] is False
    assert {"${{ inputs.service }}", "${{ inputs.environment }}"} <= set(
        re.findall(r"\$\{\{.*?\}\}", ROLLBACK["concurrency"]["group"])
    )


@pytest.mark.parametrize(
    ("workflow", "permissions"),
    [
        ("ci.yml", {"contents": "read"}),
        ("rollback.yml", {"contents": "read", "deployments": "write", "actions": "read"}),
    ],
)
def test_a_job_may_do_no_more_than_it_must(workflow: str, permissions: Mapping[str, str]) -> None:
    definition = load(GITHUB / "workflows" / workflow)
    assert definition["permissions"] == {}
    assert {str(job["permissions"]) for job in definition["jobs"].values()} == {str(permissions)}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_and_says_its_version(workflow: Path) -> None:
    uses = [line for line in workflow.read_text().splitlines() if "uses:" in line]
    assert uses
    assert not [line for line in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$", line)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_a_time_out_and_every_checkout_forgets_the_token(workflow: Path) -> None:
    for job in load(workflow)["jobs"].values():
        assert job["timeout-minutes"] > 0
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


def test_only_the_steps_that_speak_to_github_hold_its_token() -> None:
    holders = {step["name"] for step in ROLLBACK["jobs"]["rollback"]["steps"] if "GITHUB_TOKEN" in step.get("env", {})}
    assert holders == {"Compare what is live with what is expected", "Record what is live now"}


def texts(node: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a parsed workflow, with the way to it."""
    match node:
        case dict():
            for key, value in node.items():
                yield from texts(value, f"{place}/{key}" if place else str(key))
        case list():
            for number, value in enumerate(node):
                yield from texts(value, f"{place}/{number}")
        case str():
            yield place, node
