"""GitHub's published API description, cut to what a rollback needs and tightened until it refuses what GitHub refuses.

The description comes from the npm package `@octokit/openapi` and is cut anew for each run; no copy of it is kept here.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""A piece of an OpenAPI description, as JSON has it."""

HERE = Path(__file__).parent
DESCRIPTION = HERE / "node_modules" / "@octokit" / "openapi" / "generated" / "api.github.com.json"

_REPO = "/repos/{owner}/{repo}"
_DISPATCHES = f"{_REPO}/actions/workflows/{{workflow_id}}/dispatches"
_CONTENTS = f"{_REPO}/contents/{{path}}"
_KEPT: Mapping[str, tuple[str, ...]] = {
    _REPO: ("get",),
    _CONTENTS: ("get",),
    _DISPATCHES: ("post",),
    f"{_REPO}/actions/workflows/{{workflow_id}}/runs": ("get",),
    f"{_REPO}/actions/workflows/{{workflow_id}}": ("get",),
    f"{_REPO}/actions/runs": ("get",),
    f"{_REPO}/actions/runs/{{run_id}}": ("get",),
    f"{_REPO}/actions/runs/{{run_id}}/jobs": ("get",),
    f"{_REPO}/actions/runs/{{run_id}}/cancel": ("post",),
    f"{_REPO}/actions/runs/{{run_id}}/force-cancel": ("post",),
    f"{_REPO}/actions/runs/{{run_id}}/pending_deployments": ("get", "post"),
    f"{_REPO}/deployments": ("get", "post"),
    f"{_REPO}/deployments/{{deployment_id}}": ("get",),
    f"{_REPO}/deployments/{{deployment_id}}/statuses": ("get", "post"),
    f"{_REPO}/commits": ("get",),
    f"{_REPO}/commits/{{ref}}": ("get",),
    f"{_REPO}/compare/{{basehead}}": ("get",),
    "/rate_limit": ("get",),
    "/app/installations/{installation_id}/access_tokens": ("post",),
}
_METHODS = frozenset({"get", "post"})
_INSTANT = r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?"
_CREATED = rf"^(>=|<=|>|<)?{_INSTANT}(\.\.(\*|{_INSTANT}))?$"
_LONGEST_INPUT = 65_535  # characters of all inputs together: "Workflow syntax", on.workflow_dispatch.inputs
_REFUSALS = ("401", "403", "404", "422", "429", "500", "502", "503")
_WITH_RETRY_AFTER = frozenset({"403", "429", "503"})


def write_contract(target: Path) -> None:
    """Writes the contract as JSON, for Prism to read. Raises FileNotFoundError without the npm packages."""
    target.write_text(json.dumps(tightened(cut(json.loads(DESCRIPTION.read_text(encoding="utf-8"))))), encoding="utf-8")


def cut(description: Document) -> Document:
    """The paths that a rollback uses, and the components that those refer to."""
    paths = {
        path: {part: value for part, value in description["paths"][path].items() if part in {*methods, "parameters"}}
        for path, methods in _KEPT.items()
    }
    return deepcopy(
        {
            "openapi": description["openapi"],
            "info": description["info"],
            "servers": description["servers"],
            "paths": paths,
            "components": _components(paths, description["components"]),
        }
    )


def tightened(contract: Document) -> Document:
    """The contract with what the description leaves out or has wrong; changes `contract` and returns it."""
    _require_a_token(contract)
    _close_the_dispatch(contract)
    # Declared as a date-time, but the API takes search syntax: >=2026-11-24, 2026-11-24..*
    contract["components"]["parameters"]["created"]["schema"] = {"type": "string", "pattern": _CREATED}
    # Declared as URIs, but empty where none was given.
    for name in ("environment_url", "log_url", "target_url"):
        contract["components"]["schemas"]["deployment-status"]["properties"][name].pop("format")
    # Prism matches one segment to {path}, GitHub all that follow.
    contract["paths"][_CONTENTS.replace("{path}", ".github/workflows/{path}")] = contract["paths"].pop(_CONTENTS)
    for operation in _operations(contract):
        for status in _REFUSALS:
            operation["responses"][status] = _refusal(status)
    return contract


def _require_a_token(contract: Document) -> None:
    contract["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    contract["security"] = [{"token": []}]


def _close_the_dispatch(contract: Document) -> None:
    body = contract["paths"][_DISPATCHES]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body["additionalProperties"] = False
    body["properties"]["inputs"]["additionalProperties"] = {"type": "string", "maxLength": _LONGEST_INPUT}


def _operations(contract: Document) -> Iterator[Document]:
    for path in contract["paths"].values():
        yield from (operation for method, operation in path.items() if method in _METHODS)


def _refusal(status: str) -> Document:
    """An error reply: GitHub's own JSON, or the page that a proxy in front of it shows."""
    problem = {
        "type": "object",
        "properties": {
            "message": {"type": "string"},
            "documentation_url": {"type": "string"},
            "status": {"type": "string"},
        },
        "required": ["message"],
    }
    reply: Document = {
        "description": status,
        "content": {"application/json": {"schema": problem}, "text/html": {"schema": {"type": "string"}}},
    }
    if status in _WITH_RETRY_AFTER:
        # Seconds, a count, and seconds since the epoch.
        names = ("retry-after", "x-ratelimit-remaining", "x-ratelimit-reset")
        reply["headers"] = {name: {"schema": {"type": "integer"}} for name in names}
    return reply


def _components(paths: Document, known: Document) -> Document:
    """Every component that the paths refer to, directly or not, by section and name."""
    found: Document = {}
    waiting = list(_references(paths))
    while waiting:
        _, _, section, name = waiting.pop().split("/", 3)
        name = name.replace("~1", "/")
        if name not in found.setdefault(section, {}):
            found[section][name] = known[section][name]
            waiting.extend(_references(known[section][name]))
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
