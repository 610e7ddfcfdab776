"""compose/make-env, on a copy of the folder it lies in."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.tokens import Scope, TokenBook
from tests.compose.engine import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("make-env", "env.example"):
        (tmp_path / "compose").mkdir(exist_ok=True)
        shutil.copy2(ROOT / "compose" / name, tmp_path / "compose" / name)
    return tmp_path


def _make(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "compose" / "make-env")]
    return subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - our own command, no shell


def _variables(tree: Path) -> dict[str, str]:
    lines = (tree / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_is_set_and_every_credential_is_another_one(tree: Path) -> None:
    assert _make(tree).returncode == 0

    made = _variables(tree)
    assert "<" not in "".join(made.values())
    assert set(made) == set(re.findall(r"^([A-Z0-9_]+)=", (tree / "compose/env.example").read_text(), re.MULTILINE))
    passwords = [value for name, value in made.items() if "PASSWORD" in name or "SECRET" in name or "KEY" in name]
    assert len(set(passwords)) == len(passwords)
    assert all(len(each) > 32 for each in passwords)
    assert (tree / ".env").stat().st_mode & 0o077 == 0


def test_kestra_gets_a_token_that_the_gateway_knows_and_that_may_not_approve(tree: Path) -> None:
    told = _make(tree).stdout

    made = _variables(tree)
    book = TokenBook.parse((tree / made["TOKENS_FILE"]).read_text(), "tokens.toml")
    kestra = book.find(base64.b64decode(made["SECRET_COMMANDER_TOKEN"]).decode())
    assert kestra is not None
    assert kestra.scopes == {Scope.READ, Scope.OPERATE}
    shown = re.search(r"ict_\S+", told)
    assert shown
    oncall = book.find(shown[0])
    assert oncall is not None
    assert oncall.name == "oncall"
    assert oncall.may(Scope.APPROVE)


def test_what_is_there_is_left_as_it_is(tree: Path) -> None:
    (tree / ".env").write_text("GATEWAY_PORT=9999")
    assert _make(tree).returncode == 0
    once = (tree / ".env").read_text()
    assert once.splitlines()[0] == "GATEWAY_PORT=9999"
    assert once.count("GATEWAY_PORT=") == 1
    assert _make(tree).returncode == 0
    assert (tree / ".env").read_text() == once


def test_a_key_that_was_added_reaches_kestra_in_base64(tree: Path) -> None:
    _make(tree)
    with (tree / ".env").open("a") as file:
        file.write("OPENAI__API_KEY=sk-given\n")
    _make(tree)
    assert base64.b64decode(_variables(tree)["SECRET_OPENAI_API_KEY"]) == b"sk-given"


def test_tokens_that_env_does_not_know_of_are_not_overwritten(tree: Path) -> None:
    tokens = tree / "compose" / "tokens.toml"
    tokens.write_text("# somebody's")
    made = _make(tree)
    assert made.returncode == 1
    assert str(tokens) in made.stderr
    assert tokens.read_text() == "# somebody's"
    assert not (tree / ".env").exists()
