"""Every kind of work has an end and a rule for trying again, and a workflow asks for none without."""

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from workflows import options

WORKFLOWS = Path(options.__file__).parent
KINDS = {name: value for name, value in vars(options).items() if name.isupper() and not name.startswith("_")}
WATCHING = options.watching(timedelta(hours=1))


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every place where a workflow asks for an activity."""
    for path in sorted(WORKFLOWS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "_activity" in node.func.attr:
                yield f"{path.name}:{node.lineno}", node


@pytest.mark.parametrize("kind", [*KINDS, "watching"])
def test_every_kind_of_work_has_an_end_and_a_rule_for_trying_again(kind: str) -> None:
    given = KINDS.get(kind, WATCHING)
    assert given["start_to_close_timeout"] > timedelta(0)
    assert given["retry_policy"].initial_interval > timedelta(0)
    bounded = "schedule_to_close_timeout" in given
    assert bounded or kind == "watching", "a watch ends with its stretch, whichever worker makes the checks"


def test_every_activity_is_asked_for_with_the_options_of_its_kind() -> None:
    found = dict(calls())
    without = [
        where
        for where, call in found.items()
        if not any(each.arg is None and "options." in ast.unparse(each.value) for each in call.keywords)
    ]
    assert len(found) > 10
    assert without == []
