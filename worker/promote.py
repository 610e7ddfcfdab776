"""`python -m worker.promote`: sends new incidents to the build WORKER__BUILD_ID, once a worker of it takes work.

Open incidents follow where that worker was started with WORKER__VERSIONING=auto-upgrade; pinned ones stay. An older
build is promoted in the same way, which rolls back.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from incident.errors import ConfigurationError, IntegrationError
from incident.model import Duration
from integrations.temporal import await_worker, connect, leave, make_current, make_ramping
from worker.settings import Settings, load_settings
from workflows.names import TASK_QUEUE

_WITHIN = "2m"
"""An image is pulled and started in less, as a rule; where it takes longer, whoever supervises this tries again."""
_WHOLE = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """0 once the build is promoted, 2 with one line where it cannot be."""
    told = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{asyncio.run(promote(load_settings(), told.ramp, told.within))}\n")
    except (ConfigurationError, IntegrationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def promote(settings: Settings, ramp: float | None, within: timedelta) -> str:
    """Makes the settings' build current once a worker of it takes work, and says so.

    Args:
        settings: where Temporal is, and which build of which deployment.
        ramp: the percentage of new incidents that it gets instead of all.
        within: how long its worker is awaited.

    Raises:
        IntegrationError: no such worker was seen in that time, or Temporal cannot be reached or refused.
        ConfigurationError: a file that the settings name cannot be used.
    """
    deployment, build_id = settings.worker.deployment, settings.worker.build_id
    client = await connect(settings.temporal)
    await await_worker(client, TASK_QUEUE, build_id, within)
    if ramp is None:
        await make_current(client, deployment, build_id, within)
        return f"new incidents go to build {build_id} of {deployment}"
    await make_ramping(client, deployment, build_id, ramp, within)
    return f"{ramp:g} % of new incidents go to build {build_id} of {deployment}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.promote",
        description="Sends new incidents to the build WORKER__BUILD_ID, once a worker of it takes work.",
    )
    parser.add_argument(
        "--ramp", type=_percent, metavar="PERCENT", help="send only this share to it; the rest stays where it is"
    )
    parser.add_argument(
        "--within", type=_duration, default=_WITHIN, metavar="DURATION", help=f"how long to wait for it ({_WITHIN})"
    )
    return parser


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = -1
    if not 0 <= percent <= _WHOLE:
        raise argparse.ArgumentTypeError("expected 0 to 100")
    return percent


def _duration(text: str) -> timedelta:
    try:
        return TypeAdapter[timedelta](Duration).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError("expected a duration such as 90s or 2m") from error


if __name__ == "__main__":
    leave(main())
