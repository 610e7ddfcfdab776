"""`commander budget`: what is spent of how much, and by whom."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commander.__main__ import run
from incident.budget import BudgetLimits, ModelCall
from integrations.store import SqlStore, StoreSettings

REGISTRY = """
[[service]]
name = "payment-api"
source = { kind = "mock", url = "http://127.0.0.1:9" }
[service.policy.budget]
calls_per_service_and_day = 7
"""
POLICY = """
[budget]
calls_per_fleet_and_day = 90
cost_per_fleet_and_day = 2.5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a registry and a policy; the address of its store."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("STORE__URL", url)
    (tmp_path / "services.toml").write_text(REGISTRY)
    (tmp_path / "policy.toml").write_text(POLICY)
    return url


async def _spend(url: str) -> None:
    store = SqlStore(StoreSettings(url=url))
    for number, (service, age) in enumerate((("payment-api", 1), ("payment-api", 30), ("gone", 2))):
        call = ModelCall(
            call_id=f"call-{number}",
            incident_id=service,
            service=service,
            environment="production",
            at=datetime.now(UTC) - timedelta(hours=age),
            tokens=1_500,
            cost=250_000,
        )
        assert await store.reserve(call, BudgetLimits()) == ()
    await store.close()


def test_the_json_says_what_each_service_and_the_fleet_have_spent_today(
    here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(_spend(here))
    assert run(["budget", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fleet"]["calls"] == {"spent": 2, "limit": 90}
    assert told["fleet"]["cost"] == {"spent": 0.5, "limit": 2.5}
    assert [(each["service"], each["calls"]["spent"], each["calls"]["limit"]) for each in told["services"]] == [
        ("payment-api", 1, 7),
        ("gone", 1, 200),
    ]


def test_a_person_sees_a_row_for_each_also_where_nothing_is_spent(
    here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here
    assert run(["budget"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "payment-api (production) 0 of 7 0 of 3,000,000 0 of 5" in out
    assert "the fleet 0 of 90" in out
