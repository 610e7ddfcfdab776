"""Asking a source that may be silent: what it answers, or in words why it did not."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from incident.errors import IntegrationError

Answer = TypeVar("Answer")


async def answer_of(asking: Awaitable[Answer], limit: timedelta) -> Answer | str:
    """What `asking` comes to within `limit`, or why nothing is known."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await asking
    except TimeoutError:
        return f"no answer within {limit.total_seconds():g} s"
    except IntegrationError as error:
        return error.problem
