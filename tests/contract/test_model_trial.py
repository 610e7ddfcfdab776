"""`commander eval model` and `commander redecide --analyst model` against aimock, as against any server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commander.__main__ import run
from tests import builders
from tests.standins.aimock.server import MODEL, Aimock, running_aimock, why_not

pytestmark = pytest.mark.needs_node

ESCALATE = builders.decision(action="escalate", rollback_to=None)


@pytest.fixture(scope="module")
def server() -> Iterator[Aimock]:
    if reason := why_not():
        pytest.skip(reason)
    with running_aimock() as aimock:
        yield aimock


@pytest.fixture
def aimock(server: Aimock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aimock]:
    """The model that the settings name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI__BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI__API_KEY", "sk-canary-of-the-api-key-0123456789")
    monkeypatch.setenv("OPENAI__MODEL", MODEL)
    yield server
    server.reset()


def cases(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        seen = json.loads(builders.degraded_evidence().model_dump_json())
        expected = {"actions": ["rollback"], "rollback_to": 100, "culprit": 101}
        content = {"id": name, "story": "101 is to blame", "evidence": seen, "expected": expected}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def replied(decision: str, used: int = 1000) -> dict[str, Any]:
    return {"content": decision, "usage": {"prompt_tokens": used, "completion_tokens": 100}}


def test_a_model_is_judged_by_what_it_replies_and_named_with_its_endpoint(
    aimock: Aimock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, wrong = builders.decision().model_dump_json(), ESCALATE.model_dump_json()
    aimock.script(replied(good), replied('{"severity": "bad"}'), replied(wrong))
    folder = cases(tmp_path / "cases", "first", "second")
    assert run(["eval", "model", "--cases", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["endpoint"], report["model"], report["recorded"]) == (aimock.base_url, MODEL, False)
    assert (report["valid_at_once"]["right"], report["valid"]["right"], report["right_action"]["right"]) == (1, 2, 1)
    assert (report["calls"], report["tokens"]) == (3, 3300)
    assert report["cost"] == pytest.approx((3000 * 0.75 + 300 * 4.5) / 1e6)
    assert report["median_seconds"] > 0


def test_a_case_that_nobody_answers_is_exit_one(
    aimock: Aimock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aimock.script({"error": {"message": "busy", "type": "server_error"}, "status": 503})
    assert run(["eval", "model", "--cases", str(cases(tmp_path / "cases", "only"))]) == 1
    assert "unanswered         only: openai: failed (503)" in capsys.readouterr().out


def test_a_record_is_decided_again_by_the_model_with_instructions_of_ones_own(
    aimock: Aimock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aimock.script(replied(ESCALATE.model_dump_json()))
    fields = " ".join(type(ESCALATE).model_fields)
    (tmp_path / "own.txt").write_text(f"Judge what stands in <evidence>; answer {fields}.")
    (tmp_path / "record.json").write_text(builders.snapshot().model_dump_json())
    assert run(["redecide", "record.json", "--prompt", "own.txt", "--json"]) == 0
    replay = json.loads(capsys.readouterr().out)
    assert (replay["decider"], replay["would_stop"]) == ("model", 1)
    assert replay["changes"][0]["now"]["analyst"] == "openai"
    told = aimock.calls()[0]["body"]["messages"][0]["content"]
    assert told.startswith("Judge what stands in <evidence>; answer severity")
