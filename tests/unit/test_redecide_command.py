"""`commander redecide`: what it reads, what it prints, and with which status it ends."""

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from commander.__main__ import run
from commander.periods import start_of
from evaluation.records import Unreadable, in_files
from incident.errors import ConfigurationError
from incident.snapshot import Outcome, Snapshot, close
from integrations.openai import parse_instructions
from integrations.openai.instructions import INSTRUCTIONS, MAX_INSTRUCTIONS
from integrations.store import SqlStore, StoreSettings
from tests import builders

REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
"""
AUTO = 'mode = "auto"\napprovers = ["ada"]\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI__API_KEY", "OPENAI__BASE_URL", "STORE__URL", "SERVICES_FILE", "POLICY_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "records").mkdir()
    return tmp_path


def record(number: int, mode: str = "ask") -> Snapshot:
    seen = builders.degraded_evidence()
    policy = builders.policy(mode=mode)
    dossier = builders.decided_dossier(
        incident_id=f"production.payment-api.20261124T140000Z.{number:08x}",
        policy=policy,
        ledger=builders.ledger(),
        verdict=builders.verdict(seen=seen, by=policy),
    )
    return close(dossier, Outcome.ESCALATED, builders.NOW + timedelta(minutes=3))


def kept(home: Path, *records: Snapshot) -> None:
    for each in records:
        (home / "records" / f"{each.incident_id}.json").write_text(each.model_dump_json())


def replay(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(["redecide", *arguments, "--json"])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, said


def test_a_policy_that_acts_by_itself_is_a_new_action_and_fails_where_that_is_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(home, record(1), record(2), record(3, "auto"))
    (home / "auto.toml").write_text(AUTO)
    status, said = replay(capsys, "records", "--policy", "auto.toml")
    assert (status, said["would_roll_back"], said["new_actions"], said["same"]) == (0, 2, 2, 1)
    assert run(["redecide", "records", "--policy", "auto.toml", "--fail-on-new-action"]) == 1
    assert run(["redecide", "records", "--fail-on-new-action"]) == 0


def test_people_see_then_and_now_beside_each_other_and_the_sum_last(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(home, record(1), record(2, "auto"))
    (home / "auto.toml").write_text(AUTO)
    assert run(["redecide", "records", "--policy", "auto.toml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == record(1).incident_id
    assert lines[1].split() == ["then", "now"]
    assert lines[2].split("  ")[-1].strip() == "P0 act → deployment 100"
    assert any(line.startswith("because   auto: the mode is ask") and "every rule passed" in line for line in lines)
    assert lines[-2:] == ["would now roll back 1, would stop 0, same 1", "     1  ask → act"]


def test_what_is_no_record_is_named_skipped_and_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(home, record(1))
    whole = record(2).model_dump_json()
    for name, text in {
        "cut": whole[:-20],
        "empty": "",
        "other": "[1, 2]",
        "future": whole.replace('"1.3"', '"9.0"', 1),
        "binary": "\udc80",
    }.items():
        (home / "records" / f"{name}.json").write_text(text, errors="surrogateescape")
    status, said = replay(capsys, "records")
    assert (status, said["decided"], len(said["unreadable"])) == (1, 1, 5)
    assert {Path(each.partition(":")[0]).stem for each in said["unreadable"]} == {
        "cut",
        "empty",
        "other",
        "future",
        "binary",
    }
    assert run(["redecide", "records"]) == 1
    shown = capsys.readouterr()
    assert "     5  unreadable, skipped" in shown.out
    assert shown.err.count("skipped: records/") == 5


def test_an_incident_that_is_given_twice_counts_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(home, record(1))
    (home / "again.json").write_text(record(1).model_dump_json())
    assert replay(capsys, "records", "again.json")[1]["decided"] == 1


async def _store(url: str, *records: Snapshot) -> None:
    store = SqlStore(StoreSettings(url=url))
    for each in records:
        await store.save(each)
    await store.close()


def test_the_stores_incidents_since_then_are_decided_and_those_it_cannot_read_are_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE__URL", f"sqlite:///{home / 'incidents.db'}")
    late = [
        each.model_copy(update={"opened_at": each.opened_at + timedelta(days=1)}) for each in (record(2), record(3))
    ]
    asyncio.run(_store(f"sqlite:///{home / 'incidents.db'}", record(1), *late))
    database = sqlite3.connect(home / "incidents.db")
    with database:
        database.execute("UPDATE incidents SET snapshot = '{' WHERE incident_id = ?", (late[1].incident_id,))
    database.close()
    status, said = replay(capsys, "--since", "2026-11-25")
    assert (status, said["decided"]) == (1, 1)
    assert said["unreadable"] == [f"{late[1].incident_id}: no record of a version that is known here"]
    assert replay(capsys, "--since", "2026-11-24")[1]["decided"] == 2


def test_a_policy_is_held_to_the_registry_where_there_is_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(home, record(1))
    (home / "auto.toml").write_text(f'{AUTO}[services.payments]\nmode = "shadow"\n')
    assert run(["redecide", "records", "--policy", "auto.toml"]) == 0
    (home / "services.toml").write_text(REGISTRY)
    assert run(["redecide", "records", "--policy", "auto.toml"]) == 2
    assert "services.payments: expected a service of the registry: payment-api" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected either records of incidents or --since"),
        (("records", "--since", "7d"), "expected either records of incidents or --since"),
        (("nowhere",), "nowhere: no such file or folder"),
        (("empty",), "empty: expected records of incidents, as .json files; it holds none"),
        (("records", "--policy", "nowhere.toml"), "nowhere.toml: cannot be read (FileNotFoundError)"),
        (("records", "--policy", "bad.toml"), "bad.toml: not TOML"),
        (("records", "--analyst", "oracle"), "'oracle' is not one of 'same'"),
        (("records", "--analyst", "model"), "OPENAI__API_KEY: expected a key, since OpenAI is asked"),
        (("records", "--prompt", "empty.txt"), "empty.txt: expected instructions for the model; it is empty"),
        (("records", "--prompt", "nowhere.txt"), "nowhere.txt: cannot be read"),
        (("records", "--prompt", "p.txt", "--analyst", "rules"), "--prompt: only with --analyst model"),
        (("--since", "yesterday"), "--since: expected a duration such as 7d, or a date, got 'yesterday'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_decided_again_is_one_line_and_exit_two(
    home: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(home, record(1))
    (home / "empty").mkdir()
    (home / "empty.txt").write_text(" \n")
    (home / "bad.toml").write_text("][")
    assert run(["redecide", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert (err.count("\n"), out) == (1, "")


def test_since_is_a_duration_or_a_date_and_a_date_without_a_zone_is_utc() -> None:
    assert start_of("7d", builders.NOW) == builders.NOW - timedelta(days=7)
    assert start_of("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert start_of("2026-11-01T08:00+02:00") == datetime(2026, 11, 1, 6, tzinfo=UTC)


def test_instructions_of_ones_own_name_every_field_of_a_decision_and_where_the_evidence_stands() -> None:
    assert parse_instructions(f"\n{INSTRUCTIONS}\n\n", "p.txt") == INSTRUCTIONS
    with pytest.raises(ConfigurationError, match=r"p\.txt: expected it to say what to make of rollback_to$"):
        parse_instructions(INSTRUCTIONS.replace("rollback_to", "target"), "p.txt")
    with pytest.raises(ConfigurationError, match="<evidence>"):
        parse_instructions(INSTRUCTIONS.replace("<evidence>", "the block"), "p.txt")
    with pytest.raises(ConfigurationError, match=f"at most {MAX_INSTRUCTIONS} bytes"):
        parse_instructions(INSTRUCTIONS + "x" * MAX_INSTRUCTIONS, "p.txt")


async def test_a_folder_is_read_by_name_and_no_other_file_of_it(home: Path) -> None:
    kept(home, record(2), record(1))
    (home / "records" / "notes.txt").write_text("none")
    found = [each async for each in in_files([home / "records"])]
    assert not any(isinstance(each, Unreadable) for each in found)
    assert [each.incident_id[-1] for each in found if isinstance(each, Snapshot)] == ["1", "2"]


def test_a_hundred_records_take_a_tenth_of_what_a_thousand_may(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = builders.logs(*(builders.log_line(number, f"charge ch_{number} refused") for number in range(1, 101)))
    looks = [builders.look(at=builders.NOW + timedelta(minutes=minute)) for minute in range(20)]
    dossier = builders.decided_dossier(evidence=builders.degraded_evidence(logs=lines), looks=looks)
    long = close(dossier, Outcome.RECOVERED, builders.NOW + timedelta(minutes=30))
    kept(home, *(long.model_copy(update={"incident_id": record(number).incident_id}) for number in range(100)))
    began = process_time()  # of this process alone: whatever else the machine does
    status, said = replay(capsys, "records", "--analyst", "rules")
    assert (status, said["decided"]) == (0, 100)
    assert process_time() - began < 2
