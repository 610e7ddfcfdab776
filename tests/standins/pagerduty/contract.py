"""What PagerDuty takes, by its documentation, in our own words: `events.openapi.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

CONTRACT = Path(__file__).with_name("events.openapi.json")
EVENTS, CHANGES = "/v2/enqueue", "/v2/change/enqueue"
_COMPONENTS = json.loads(CONTRACT.read_text(encoding="utf-8"))["components"]
_VALIDATORS = {
    path: Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": _COMPONENTS})
    for path, name in ((EVENTS, "Event"), (CHANGES, "ChangeEvent"))
}


def errors(path: str, body: Any) -> Sequence[str]:  # noqa: ANN401 - JSON
    """What the contract has against `body` at `path`; empty: nothing. It shows no value of the body."""
    found = _VALIDATORS[path].iter_errors(body)
    return [f"{error.json_path}: {error.validator}" for error in found]
