"""`commander demo`, interrupted: it ends soon, says so, and leaves no process behind."""

import asyncio
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fault import processes
from tests.fault.world import until
from worker.settings import child_environment

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_SOON = timedelta(seconds=30)
_INTERRUPTED = 130
MOMENTS = {"while it starts": "commander demo", "in the incident": "Incident  "}
"""Each moment, and what the demo has just written then."""


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_demo_interrupted(
    tmp_path: Path, number: signal.Signals, moment: str, record_property: Callable[[str, object], None]
) -> None:
    said = tmp_path / "said.log"
    with said.open("wb") as output:
        demo = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "commander", "demo"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(PYTHONUNBUFFERED="1", PYTHONPATH=str(Path(__file__).parents[2])),
            start_new_session=True,
        )
    await until(lambda: MOMENTS[moment] in said.read_text() and len(processes.working_in(tmp_path)) > 1, moment)
    children = len(processes.working_in(tmp_path)) - 1
    demo.send_signal(number)
    async with asyncio.timeout(_SOON.total_seconds()):
        status = await demo.wait()
    left = processes.working_in(tmp_path)
    record_property("ended", f"exit {status}; {children} children before, {len(left)} processes left")
    assert (status, left) == (_INTERRUPTED, {}), said.read_text()
