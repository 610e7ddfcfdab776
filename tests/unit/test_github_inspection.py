"""What `commander doctor` finds of a repository: each fault in words that say what to do."""

import base64
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from incident.services import GitHubEndpoint
from integrations.github import Checked, GitHubDeployments, inspect_deployments, inspect_rollback
from integrations.github.rollback import INPUTS
from integrations.github.workflow_file import inputs_of, is_found_by_its_name
from tests.unit.github_double import NOW, REPO, REPOSITORY, WORKFLOW, Answer, Script, github

FILE = f"{REPO}/contents/.github/workflows/rollback.yml"
OURS = (Path(__file__).parents[2] / ".github/workflows/rollback.yml").read_text()
ENDPOINT = GitHubEndpoint(kind="github", repository=REPOSITORY)
MANY = "on:\n  workflow_dispatch:\n    inputs:\n"


def _content(text: str) -> dict[str, object]:
    return {"encoding": "base64", "content": base64.encodebytes(text.encode()).decode()}


@pytest.fixture
def script() -> Script:
    told = Script()
    told.say("GET", REPO, {"archived": False, "permissions": {"pull": True, "push": False}})
    told.say("GET", WORKFLOW, {"state": "active"})
    told.say("GET", FILE, _content(OURS))
    return told


async def _found(script: Script) -> dict[str, Checked]:
    return {each.subject: each for each in await inspect_rollback(github(script), ENDPOINT)}


async def test_a_repository_that_would_work_is_said_to_with_what_is_not_proven(script: Script) -> None:
    found = await _found(script)

    assert [(each.subject, each.works) for each in found.values()] == [
        ("repository", True),
        ("workflow", True),
        ("workflow file", True),
    ]
    assert "GitHub names these rights on it: pull. Not proven" in found["repository"].words
    assert "actions=write" in found["repository"].words
    assert dict(script.sent("GET", FILE)[0].url.params) == {"ref": "main"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404, json={"message": "Not Found"}), "there is no repository acme/payment-api, or the token"),
        (httpx.Response(401, json={"message": "Bad credentials"}), "HTTP 401 Bad credentials: the token is not valid"),
        (httpx.Response(403, json={"message": "no"}), "the token needs metadata=read on acme/payment-api"),
        (httpx.Response(502), "answered HTTP 502"),
        ({"archived": True}, "is archived"),
        ({"archived": "no idea"}, "archived is not as expected"),
    ],
)
async def test_of_a_repository_that_cannot_be_used_nothing_else_is_asked(
    script: Script, answer: Answer, words: str
) -> None:
    script.say("GET", REPO, answer)

    found = await _found(script)

    assert [(each.subject, each.works) for each in found.values()] == [("repository", False)]
    assert words in found["repository"].words
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404, json={"message": "Not Found"}), "there is no workflow rollback.yml of acme/payment-api"),
        ({"state": "disabled_manually"}, "enable it: gh workflow enable rollback.yml --repo acme/payment-api"),
        ({"state": "disabled_inactivity"}, "is disabled_inactivity, so it takes no dispatch"),
        ({"state": "deleted"}, "is deleted"),
    ],
)
async def test_a_workflow_that_takes_no_dispatch_is_found(script: Script, answer: Answer, words: str) -> None:
    script.say("GET", WORKFLOW, answer)

    found = (await _found(script))["workflow"]

    assert (found.works, words in found.words) == (False, True)


def _file(*inputs: str, extra: str = "") -> str:
    fields = "".join(f"      {name}: {{type: string, required: true}}\n" for name in inputs)
    return f"run-name: x [${{{{ inputs.correlation_id }}}}]\n{MANY}{fields}{extra}jobs: {{}}\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(404, json={"message": "No commit found for the ref main"}), "has no branch or tag main: set"),
        (httpx.Response(404, json={"message": "Not Found"}), "there is no file .github/workflows/rollback.yml at main"),
        (_content(_file(*INPUTS[1:-1])), "takes no input service, correlation_id: GitHub refuses"),
        (_content(_file(*INPUTS, "ticket")), "requires ticket, which the commander does not give"),
        (_content(_file(*INPUTS).replace("run-name", "name")), "run-name must end with [${{ inputs.correlation_id }}]"),
        (_content("run-name: x [${{ inputs.correlation_id }}]\non: workflow_dispatch\n"), "takes no input service"),
        ({"encoding": "none", "content": ""}, "not given as base64"),
        ({"encoding": "base64", "content": "/w=="}, "is no text"),
        ({"encoding": "base64", "content": "é"}, "is no text"),
        ([], "is not as expected"),
    ],
)
async def test_a_workflow_file_that_would_not_do_is_found(script: Script, answer: Answer, words: str) -> None:
    script.say("GET", FILE, answer)

    found = (await _found(script))["workflow file"]

    assert not found.works
    assert words in found.words


async def test_a_file_that_cannot_be_read_by_its_lines_is_not_said_to_be_wrong(script: Script) -> None:
    text = "run-name: x [${{ inputs.correlation_id }}]\non: {workflow_dispatch: {inputs: {}}}\n"
    script.say("GET", FILE, _content(text))

    found = (await _found(script))["workflow file"]

    assert found.works
    assert "Not proven" in found.words


async def test_what_is_live_and_what_would_be_rolled_back_to_is_told(script: Script) -> None:
    listed = [
        {"id": number, "sha": f"{number}{'a' * 37}", "task": "deploy", "created_at": NOW.isoformat()}
        for number in (101, 100)
    ]
    source = GitHubDeployments(github(script), ENDPOINT, "production", "payment-api")
    script.say("GET", f"{REPO}/deployments", listed)
    for number in (100, 101):
        at = (NOW + timedelta(minutes=number)).isoformat()
        succeeded: dict[str, object] = {"id": number, "state": "success", "created_at": at}
        script.say("GET", f"{REPO}/deployments/{number}/statuses", [succeeded])

    assert await inspect_deployments(source) == [
        Checked(
            "live",
            works=True,
            words="deployment 101 (101aaaaaaaaa) is live since 2026-11-24 15:41:00Z; "
            "the last known good is 100 (100aaaaaaaaa)",
        )
    ]

    script.say("GET", f"{REPO}/deployments/100/statuses", [])
    (found,) = await inspect_deployments(source)
    assert (found.works, "nothing could be rolled back to" in found.words) == (True, True)

    script.say("GET", f"{REPO}/deployments/101/statuses", [])
    (found,) = await inspect_deployments(source)
    assert found == Checked("live", works=False, words="none of the newest deployments ever succeeded")

    script.say("GET", f"{REPO}/deployments", [])
    (found,) = await inspect_deployments(source)
    assert (found.works, "the environment production of acme/payment-api" in found.words) == (False, True)


def test_this_repositorys_own_workflow_takes_all_that_is_given() -> None:
    taken = inputs_of(OURS)

    assert taken is not None
    assert set(taken) == set(INPUTS)
    assert is_found_by_its_name(OURS)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("", {}),
        ("name: x\non:\n  push:\n", {}),
        ("on:\n  workflow_dispatch:\njobs: {}\n", {}),
        ("on: workflow_dispatch\n", {}),
        ("on: [push, workflow_dispatch]\n", {}),
        ('"on":\n  workflow_dispatch:\n    inputs:\n      a:\n        required: true\n', {"a": True}),
        (
            "---\n# c\non: # c\n  workflow_dispatch: # c\n    inputs:\n\n      a: # c\n        type: string\n",
            {"a": False},
        ),
        (f"{MANY}      a:\n        required: true\n        default: x\n", {"a": False}),
        (f"{MANY}      a:\n        required: false\n      'b': {{required: true}}\n", {"a": False, "b": True}),
        (f"{MANY}      a:\n        description: |\n          required: true\n        type: string\n", {"a": False}),
        (f"{MANY}      a:\n        required: true\n  push:\n    inputs:\n      b:\n", {"a": True}),
        (f"{MANY}      a: {{required: true, default: x}}\n", {"a": False}),
        ("on: {workflow_dispatch: {inputs: {a: {}}}}\n", None),
        ("on:\n  workflow_dispatch: {inputs: {a: {}}}\n", None),
        ("on:\n  workflow_dispatch:\n    inputs: {a: {}}\n", None),
        ("on:\n  workflow_dispatch:\n    inputs: *anchor\n", None),
        (f"{MANY}      ? a\n", None),
        ("on:\n  - push\n  - workflow_dispatch\n", None),
    ],
)
def test_inputs_are_read_from_the_lines_or_said_to_be_unclear(text: str, inputs: dict[str, bool] | None) -> None:
    assert inputs_of(text) == inputs


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('run-name: "x [${{ inputs.correlation_id }}]"', True),
        ("run-name: x [${{inputs.correlation_id}}]  # c", True),
        ("run-name: x [${{ inputs.correlation_id }}] y", False),
        ("run-name: x ${{ inputs.correlation_id }}", False),
        ("run-name: x [${{ inputs.incident_id }}]", False),
        ("jobs:\n  run-name: x [${{ inputs.correlation_id }}]", False),
        ("", False),
    ],
)
def test_a_run_is_found_by_a_name_that_ends_with_the_correlation_id(line: str, *, found: bool) -> None:
    assert is_found_by_its_name(line) is found


_NAMES = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True).filter(lambda name: name not in {"on", "no", "yes", "off"})
_TEXTS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=20)
_FIELDS = st.fixed_dictionaries(
    {"type": st.just("string")}, optional={"required": st.booleans(), "default": _TEXTS, "description": _TEXTS}
)


@given(st.dictionaries(_NAMES, _FIELDS, max_size=6))
def test_the_lines_say_what_yaml_says(inputs: dict[str, dict[str, object]]) -> None:
    text = yaml.safe_dump({"on": {"push": None, "workflow_dispatch": {"inputs": inputs}}, "jobs": {}}, width=1000)
    expected = {name: fields.get("required") is True and "default" not in fields for name, fields in inputs.items()}

    found = inputs_of(text)

    assert found == expected or (found is None and not inputs)
