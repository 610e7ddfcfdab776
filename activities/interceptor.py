"""The guard around every activity: what passes in and out is redacted, errors become Temporal's, heartbeats go out.

It is the one choke point before every way out: an activity's arguments reach chat, pager, model and store, its result
and its failure reach Temporal's history.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from incident.errors import IntegrationError, PermanentError, TransientError
from incident.redaction import redact, redact_model

_BEATS_PER_TIMEOUT = 3
_log = structlog.get_logger()


class ActivityGuard(Interceptor):
    """Wraps every activity of a worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        """The guard in front of `next`."""
        return _Guard(next)


class _Guard(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - Temporal's signature
        input.args = [redact_model(each) if isinstance(each, BaseModel) else each for each in input.args]
        incident_id = _incident_id(input.args)
        info = activity.info()
        structlog.contextvars.bind_contextvars(incident_id=incident_id, activity=info.activity_type)
        beating = asyncio.create_task(_beat(info.heartbeat_timeout)) if info.heartbeat_timeout else None
        try:
            result = await super().execute_activity(input)
        except IntegrationError as error:
            _log.warning("activity.failed", attempt=info.attempt, problem=str(error))
            # Not `from error`: Temporal keeps the text of every cause, and a cause is not redacted.
            raise _application_error(error) from None
        except Exception as error:  # noqa: BLE001 - whatever broke must not reach a history unredacted
            _log.exception("activity.broke", attempt=info.attempt)
            raise ApplicationError(redact(str(error)), type=type(error).__name__) from None
        finally:
            if beating:
                beating.cancel()
                with suppress(asyncio.CancelledError):
                    await beating
        return redact_model(result) if isinstance(result, BaseModel) else result


async def _beat(noticed_within: timedelta) -> None:
    while True:
        await asyncio.sleep(noticed_within.total_seconds() / _BEATS_PER_TIMEOUT)
        activity.heartbeat()


def _application_error(error: IntegrationError) -> ApplicationError:
    return ApplicationError(
        redact(str(error)),
        type=type(error).__name__,
        non_retryable=isinstance(error, PermanentError),
        next_retry_delay=error.retry_after if isinstance(error, TransientError) else None,
    )


def _incident_id(args: list[Any]) -> str:
    return next((each.incident_id for each in args if hasattr(each, "incident_id")), "")
