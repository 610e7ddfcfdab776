"""`commander stop` and `commander release` past the gateway, without a Temporal server: the ledger is what holds."""

import asyncio
from pathlib import Path

import pytest

from commander.__main__ import run
from incident.ledger import Stop
from integrations.store import SqlStore, StoreSettings

REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEMPORAL__ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("STORE__URL", f"sqlite:///{tmp_path}/incidents.db")
    (tmp_path / "services.toml").write_text(REGISTRY)
    return tmp_path


def pulled(home: Path) -> tuple[Stop, ...]:
    async def read() -> tuple[Stop, ...]:
        store = SqlStore(StoreSettings(url=f"sqlite:///{home}/incidents.db"))
        found = await store.stops()
        await store.close()
        return found

    return asyncio.run(read())


def test_a_switch_is_pulled_even_where_no_incident_can_be_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stop", "payment-api", "--direct", "--as", "ada", "--reason", "drill"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("payment-api stopped by ada at ")
    assert "could not be told, but meet it before they act: temporal: " in err
    assert [(each.service, each.environment, each.by, each.reason) for each in pulled(home)] == [
        ("payment-api", "", "ada", "drill")
    ]


def test_without_a_service_everything_stops(home: Path) -> None:
    assert run(["stop", "--direct", "--as", "ada"]) == 1
    assert [each.covers("staging", "anything") for each in pulled(home)] == [True]


@pytest.mark.parametrize("scope", [["paymnet-api"], ["--environment", "prodution"]])
def test_a_misspelt_scope_is_refused_since_it_would_stop_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], scope: list[str]
) -> None:
    assert run(["stop", *scope, "--direct"]) == 2
    assert "the registry has no such service there; known: payment-api (production)" in capsys.readouterr().err
    assert pulled(home) == ()


def test_releasing_needs_the_very_scope_that_was_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["stop", "payment-api", "--environment", "production", "--direct", "--as", "ada"])
    capsys.readouterr()
    assert run(["release", "payment-api", "--direct"]) == 1
    assert "still pulled: payment-api production stopped by ada" in capsys.readouterr().out
    assert len(pulled(home)) == 1
    assert run(["release", "payment-api", "--environment", "production", "--direct"]) == 0
    assert pulled(home) == ()
