"""What stands in the files of observability/, as data."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OBSERVABILITY = Path(__file__).parents[2] / "observability"
RULES = sorted((OBSERVABILITY / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS = sorted((OBSERVABILITY / "prometheus" / "tests").glob("*.yml"))
DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))

_KEYWORDS = {"and", "or", "unless", "offset", "bool"}
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)")
_SELECTOR = re.compile(r"(?<![\w$])(?P<name>[a-zA-Z_:][\w:]*)?(?P<labels>\{[^}]*\})?(?P<call>\s*\()?")


def document(name: str) -> Any:  # noqa: ANN401 - YAML
    """A file of observability/."""
    return yaml.safe_load((OBSERVABILITY / name).read_text())


def alerts() -> Sequence[Mapping[str, Any]]:
    """Every alert of every rule file."""
    documents = (yaml.safe_load(file.read_text()) for file in RULES)
    return [rule for each in documents for group in each["groups"] for rule in group["rules"] if "alert" in rule]


def selectors(expression: str) -> frozenset[str]:
    """Every series that a PromQL expression reads, each as it selects it."""
    found = set()
    for each in _SELECTOR.finditer(_GROUPING.sub("", expression)):
        name, labels = each["name"] or "", each["labels"] or ""
        if (name or labels) and not each["call"] and name not in _KEYWORDS:
            found.add(name + labels)
    return frozenset(found)


@dataclass(frozen=True)
class Query:
    """One query of one panel, of an annotation or of a variable."""

    dashboard: str
    panel: str
    name: str
    source: str
    """The uid of its data source."""
    text: str
    instant: bool = False

    def __str__(self) -> str:
        """How a test is called."""
        return f"{self.dashboard}: {self.panel} {self.name}"


def dashboards() -> Mapping[str, Mapping[str, Any]]:
    """Every dashboard, by its file's stem."""
    return {file.stem: json.loads(file.read_text()) for file in DASHBOARDS}


def queries() -> Iterator[Query]:
    """Every query of every panel and annotation."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield _query(name, panel["title"], target, target["datasource"]["uid"])
        for annotation in dashboard["annotations"]["list"]:
            yield _query(
                name, f"annotation {annotation['name']}", annotation["target"], annotation["datasource"]["uid"]
            )


def variables() -> Iterator[Query]:
    """Every variable that is asked for, in the order in which they build on each other."""
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                text = variable["definition"]
                yield Query(name, "variable", variable["name"], variable["datasource"]["uid"], text)


def _query(dashboard: str, panel: str, target: Mapping[str, Any], source: str) -> Query:
    text = target["expr"] if "expr" in target else target["rawSql"]
    return Query(dashboard, panel, target["refId"], source, text, instant=target.get("instant", False))
