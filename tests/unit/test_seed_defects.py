"""docs/seed-defects.md names every defect of the seed once, and tests that exist and are run."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "seed-defects.md").read_text(encoding="utf-8")
DEFECTS = re.findall(r"^\| (D\d+) \| (.+) \|$", PAGE, re.MULTILINE)
SCENARIOS = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
TESTS = sorted(set(NAMED.findall(PAGE)))
_NEVER = {"pytest.mark.skip", "pytest.skip", "pytest.mark.xfail"}
"""What keeps a test from being run, or from failing, whatever the machine has."""


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def called(node: ast.AST) -> str:
    """What a mark or a call is of, without its arguments."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def marks(module: ast.Module) -> list[str]:
    """What the whole file is marked with, and what is called when it is imported."""
    found = []
    for each in module.body:
        if isinstance(each, ast.Assign) and "pytestmark" in ast.unparse(each.targets[0]):
            found += [called(mark) for mark in (each.value.elts if isinstance(each.value, ast.List) else [each.value])]
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
            found.append(called(each.value))
    return found


def test_every_defect_is_there_once_and_in_order() -> None:
    assert [name for name, _ in DEFECTS] == [f"D{number}" for number in range(1, 28)]
    assert {name for name, _ in SCENARIOS} == {"14", "15", "16", "23", "25", "26"}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in (*DEFECTS, *SCENARIOS)])
def test_a_row_says_what_how_and_by_which_tests(row: str) -> None:
    cells = [each.strip() for each in row.split(" | ")]
    assert len(cells) == 3
    assert all(cells)
    assert NAMED.sub("", cells[2]).replace("<br>", "") == "", "nothing but tests"
    assert NAMED.findall(cells[2])


@pytest.mark.parametrize(("path", "name"), TESTS, ids=lambda value: value.removeprefix("tests/"))
def test_a_test_that_is_named_exists_and_is_not_skipped_whatever_happens(path: str, name: str) -> None:
    module = parsed(path)
    found = [
        each for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
    ]
    assert len(found) == 1
    first = found[0].body[0]
    at_once = [called(first.value)] if isinstance(first, ast.Expr) else []
    assert not _NEVER & {*marks(module), *map(called, found[0].decorator_list), *at_once}
