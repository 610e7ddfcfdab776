"""Runs the steps of a dispatched workflow as GitHub's runner would: real bash, real Python, a real clone.

Only what this repository's workflows use is understood; anything else raises `UnsupportedError`, so that no step passes
because its expression was misread.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_SECONDS = 60
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_CHECKOUT = re.compile(r"actions/checkout@[0-9a-f]{40}")
_OUTPUT = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.*)")
_SHELLS = {
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
    "python": ("python",),
}


class UnsupportedError(Exception):
    """The workflow uses something that this runner does not know."""


class InvalidDispatchError(Exception):
    """GitHub would answer 422 to a dispatch with these inputs."""


@dataclass(frozen=True)
class Step:
    name: str
    code: int | None
    """None: skipped."""
    output: str
    env: Mapping[str, str]
    """What the workflow itself gave to the step."""


@dataclass(frozen=True)
class Run:
    run_id: int
    display_title: str
    steps: Sequence[Step]
    summary: str

    @property
    def succeeded(self) -> bool:
        return all(step.code in (0, None) for step in self.steps)

    @property
    def failed_step(self) -> Step:
        """The one step that ended the job."""
        (step,) = [step for step in self.steps if step.code not in (0, None)]
        return step

    @property
    def executed(self) -> Sequence[str]:
        return [step.name for step in self.steps if step.code is not None]

    @property
    def errors(self) -> Sequence[str]:
        """What the steps said with `::error::`."""
        lines = [line for step in self.steps for line in step.output.splitlines()]
        return [line.partition("::")[2].partition("::")[2] for line in lines if line.startswith("::error")]


@dataclass(frozen=True)
class Place:
    """Where a workflow runs: the repository, the commit that was dispatched, and the API that it sees."""

    repository: Path
    sha: str
    api_url: str
    scratch: Path
    """An empty folder of this run's own; the workspace lies in it."""
    run_id: int = 1
    name: str = "octo/shop"
    token: str = "job-token"  # noqa: S105 - nobody's

    @property
    def workspace(self) -> Path:
        return self.scratch / "workspace"

    @property
    def file_commands(self) -> Mapping[str, Path]:
        """The files through which a step speaks to the runner."""
        return {name: self.scratch / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}


@dataclass
class _Contexts:
    """What expressions can see."""

    inputs: Mapping[str, str]
    github: Mapping[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def render(self, text: str) -> str:
        """`text` with every `${{ }}` replaced."""
        return _EXPRESSION.sub(lambda match: self.evaluate(match[1]), text)

    def holds(self, condition: str | None) -> bool:
        """What an `if:` says; without a status function, it holds only while nothing has failed."""
        if condition is None:
            return True
        whole = _EXPRESSION.fullmatch(condition.strip())
        return self.evaluate(whole[1] if whole else condition) not in ("", "false")

    def evaluate(self, expression: str) -> str:
        for alternative in expression.split("||"):
            value = self._compare(alternative)
            if value not in ("", "false"):
                break
        return value

    def _compare(self, expression: str) -> str:
        left, operator, right = expression.partition("==")
        if not operator:
            return self._look_up(left)
        # GitHub ignores case where it compares text.
        return str(self._look_up(left).lower() == self._look_up(right).lower()).lower()

    def _look_up(self, term: str) -> str:
        match term.strip().split("."):
            case ["inputs", name] if name in self.inputs:
                return self.inputs[name]
            case ["github", name] if name in self.github:
                return self.github[name]
            case ["steps", step, "outputs", name] if step in self.outputs:
                return self.outputs[step].get(name, "")
        if literal := re.fullmatch(r"'([^']*)'", term.strip()):
            return literal[1]
        raise UnsupportedError(f"expression: {term.strip()}")


def load(workflow: Path) -> dict[Any, Any]:
    """The parsed workflow. YAML 1.1 reads the key `on` as True."""
    parsed = yaml.safe_load(workflow.read_text())
    assert isinstance(parsed, dict)
    parsed["on"] = parsed.pop(True)
    return parsed


def run(workflow: Path, inputs: Mapping[str, str], place: Place) -> Run:
    """Dispatches `workflow` and runs the steps of its only job.

    Raises:
        InvalidDispatchError: an input is missing or unknown.
        UnsupportedError: the workflow uses something that this runner does not know.
    """
    definition = load(workflow)
    (job,) = definition["jobs"].values()
    declared = definition["on"]["workflow_dispatch"]["inputs"]
    github = {"token": place.token, "sha": place.sha, "repository": place.name}
    contexts = _Contexts(_accepted(declared, inputs), github)
    shell = definition.get("defaults", {}).get("run", {}).get("shell")
    place.workspace.mkdir(parents=True)
    steps: list[Step] = []
    for declaration in job["steps"]:
        going = all(step.code in (0, None) for step in steps)
        name = declaration.get("name") or declaration.get("uses") or declaration["run"]
        if unknown := set(declaration) - {"name", "id", "if", "env", "uses", "with", "run", "shell"}:
            raise UnsupportedError(f"step keys: {sorted(unknown)}")
        if not (going and contexts.holds(declaration.get("if"))):
            steps.append(Step(name, None, "", {}))
            continue
        env = {key: contexts.render(str(value)) for key, value in declaration.get("env", {}).items()}
        code, output = _execute(declaration, declaration.get("shell", shell), env, place)
        contexts.outputs[declaration.get("id", "")] = _outputs(place)
        steps.append(Step(name, code, output, env))
    summary = place.file_commands["GITHUB_STEP_SUMMARY"]
    return Run(
        place.run_id, contexts.render(definition["run-name"]), steps, summary.read_text() if summary.exists() else ""
    )


def _accepted(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> Mapping[str, str]:
    missing = {name for name, about in declared.items() if about.get("required") and name not in given}
    if wrong := missing | set(given) - set(declared):
        raise InvalidDispatchError(f"missing or unknown: {sorted(wrong)}")
    return {name: given.get(name, str(about.get("default", ""))) for name, about in declared.items()}


def _execute(step: Mapping[str, Any], shell: str | None, env: Mapping[str, str], place: Place) -> tuple[int, str]:
    if "uses" in step:
        return _check_out(step, place)
    if shell not in _SHELLS:
        raise UnsupportedError(f"shell: {shell}")
    if _EXPRESSION.search(step["run"]):
        raise UnsupportedError("an expression in run:")
    script = place.scratch / "script"
    script.write_text(step["run"])
    return _call([*_SHELLS[shell], str(script)], {**_environment(place), **env}, place.workspace)


def _check_out(step: Mapping[str, Any], place: Place) -> tuple[int, str]:
    """A clone of the dispatched commit, as deep as the step asks for; actions/checkout itself gives one commit."""
    options = dict(step.get("with", {}))
    depth, keeps = options.pop("fetch-depth", 1), options.pop("persist-credentials", True)
    if options or keeps or not _CHECKOUT.fullmatch(step["uses"]):
        raise UnsupportedError(f"uses: {step['uses']} with {sorted(options)}, credentials kept: {keeps}")
    limit = [f"--depth={depth}"] if depth else []
    source = place.repository.as_uri()
    clone = ["git", "clone", "--quiet", "--no-checkout", *limit, source, str(place.workspace)]
    code, output = _call(clone, _environment(place), place.scratch)
    if code:
        return code, output
    return _call(["git", "checkout", "--quiet", "--detach", place.sha], _environment(place), place.workspace)


def _environment(place: Place) -> dict[str, str]:
    return {
        "CI": "true",
        "HOME": str(place.scratch),
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": place.api_url,
        "GITHUB_REPOSITORY": place.name,
        "GITHUB_RUN_ID": str(place.run_id),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": place.sha,
        "GITHUB_WORKSPACE": str(place.workspace),
        **{name: str(path) for name, path in place.file_commands.items()},
    }


def _call(command: Sequence[str], env: Mapping[str, str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603 - the workflow's own steps
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def _outputs(place: Place) -> dict[str, str]:
    """What the last step wrote, and a clean file for the next."""
    path = place.file_commands["GITHUB_OUTPUT"]
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    found = [_OUTPUT.fullmatch(line) for line in lines]
    if None in found:
        raise UnsupportedError(f"output: {lines}")
    return {match[1]: match[2] for match in found if match}
