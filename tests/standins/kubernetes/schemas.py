"""`schemas.py SWAGGER FOLDER`: a JSON schema for each kind of Kubernetes, as kubeconform looks for them.

Needs nothing but Python: the stand-ins are installed before anything else is.
"""

import json
import sys
from pathlib import Path
from typing import Any

_PLACE = "#/definitions/"
_EITHER = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
"""Types that OpenAPI 2 can only call strings; the API takes numbers for them too."""


def closed(schema: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """`schema`, in which an object that says its properties takes no others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(each) for name, each in schema.items()}
    open_ended = inside.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in inside
    if isinstance(inside.get("properties"), dict) and inside.get("type") == "object" and not open_ended:
        inside["additionalProperties"] = False
    return inside


def file_name(kind: str, group: str, version: str) -> str:
    """How kubeconform's `{{ .ResourceKind }}{{ .KindSuffix }}.json` spells it."""
    parts = (kind, group.partition(".")[0], version)
    return "-".join(part for part in parts if part).lower() + ".json"


def needed(schema: Any, definitions: dict[str, Any]) -> set[str]:  # noqa: ANN401 - whatever JSON holds
    """The names of the definitions that `schema` refers to, through others too."""
    found: set[str] = set()
    open_ = [schema]
    while open_:
        each = open_.pop()
        if isinstance(each, list):
            open_ += each
        elif isinstance(each, dict):
            open_ += each.values()
            name = str(each.get("$ref", "")).removeprefix(_PLACE)
            if name in definitions and name not in found:
                found.add(name)
                open_.append(definitions[name])
    return found


def write(swagger: Path, folder: Path) -> int:
    """Writes the schemas; gives how many."""
    definitions = {**closed(json.loads(swagger.read_text(encoding="utf-8"))["definitions"]), **_EITHER}
    count = 0
    for definition in definitions.values():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:  # what belongs to many is no resource, but what is asked of all of them
            continue
        (kind,) = kinds
        inner = {name: definitions[name] for name in sorted(needed(definition, definitions))}
        schema = {**definition, "required": ["apiVersion", "kind"], "definitions": inner}
        path = folder / file_name(kind["kind"], kind["group"], kind["version"])
        path.write_text(json.dumps(schema), encoding="utf-8")
        count += 1
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]), Path(sys.argv[2]))} schemas\n")
