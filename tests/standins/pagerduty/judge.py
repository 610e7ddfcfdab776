"""Prism, which others wrote, judging both sides of every call by our contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.standins.github.judge import PRISM, Judge, why_not
from tests.standins.github.processes import free_port, running
from tests.standins.pagerduty.contract import CONTRACT

__all__ = ["judging", "why_not"]


@asynccontextmanager
async def judging(upstream: str, directory: Path) -> AsyncIterator[Judge]:
    """A Prism between its clients and `upstream`; `why_not` says whether it is installed."""
    log, port = directory / "prism.log", free_port()

    async def listens() -> bool:
        return "Prism is listening" in log.read_text(encoding="utf-8")

    command = ["node", str(PRISM), "proxy", "--errors", "--port", str(port), str(CONTRACT), upstream]
    async with running(command, log=log, ready=listens):
        yield Judge(f"http://127.0.0.1:{port}", log)
