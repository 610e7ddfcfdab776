"""`python -m worker`, as whoever deploys it meets it."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from commander.stack import EmbeddedStack, StackPlan, StackPorts
from tests.e2e.conftest import DEADLINE, Ended
from worker.settings import child_environment

pytestmark = pytest.mark.slow


async def worker(directory: Path, environment: Mapping[str, str]) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker"),
        cwd=directory,
        env=child_environment(**environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_it_lives_is_ready_and_serves_metrics(tmp_path: Path) -> None:
    ports, spare = StackPorts.free(), StackPorts.free()
    plan = StackPlan(
        directory=tmp_path,
        ports=ports,
        worker={"WORKER__METRICS_BIND": f"127.0.0.1:{spare.health}", "WORKER__DRAIN": "2s"},
    )
    async with EmbeddedStack(plan) as stack, httpx.AsyncClient() as http:
        health = f"http://127.0.0.1:{ports.health}"
        assert (await http.get(f"{health}/healthz")).json() == {"status": "live"}
        assert (await http.get(f"{health}/readyz")).json() == {"status": "ready"}
        metrics = (await http.get(f"http://127.0.0.1:{spare.health}/metrics")).text
        assert "temporal_worker_task_slots_available" in metrics

        await stack.kill("temporal")
        assert (await http.get(f"{health}/healthz")).status_code == httpx.codes.OK
        assert (await http.get(f"{health}/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"TEMPORAL__ADDRESS": "127.0.0.1:9"},
            "temporal: cannot be reached at 127.0.0.1:9 (setting TEMPORAL__ADDRESS)",
        ),
        ({"SERVICES_FILE": "nowhere.toml"}, "nowhere.toml: cannot be read (FileNotFoundError)"),
        ({"WORKER__VERSIONING": "sometimes"}, "WORKER__VERSIONING: Input should be 'auto-upgrade' or 'pinned'"),
        ({"WORKER__ANALYST": "openai"}, "OPENAI__API_KEY: expected a key"),
    ],
)
async def test_what_cannot_be_used_is_one_line_and_exit_two(
    environment: Mapping[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "services.toml").write_text(
        '[[service]]\nname = "payment-api"\nsource = { kind = "mock", url = "http://127.0.0.1:9" }\n'
    )
    ended = await worker(tmp_path, environment)
    assert ended.status == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
