"""What a Temporal server answers, as a value or as one of our errors."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio.client import (
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from incident.errors import NotOpenError, PermanentError, RefusedError, TransientError
from workflows.messages import NOT_AWAITED

_T = TypeVar("_T")
ANSWER_WITHIN = timedelta(seconds=10)
"""How long a query or an update may take: they need a worker."""
_NO_WORKER = (
    f"no worker answered within {ANSWER_WITHIN.total_seconds():g} s; what was asked for waits for one: "
    "start `python -m worker`, and make its build the current one"
)


async def signalled(signal: Awaitable[None]) -> bool:
    """Whether there is an open incident to take the signal."""
    try:
        await answered(signal)
    except NotOpenError:
        return False
    return True


async def answered(question: Awaitable[_T]) -> _T:
    """What Temporal answers to `question`.

    Raises:
        NotOpenError: the workflow has closed, or there never was one.
        RefusedError: it takes no such answer.
        TransientError: Temporal, or a worker, does not answer.
    """
    try:
        return await question
    except WorkflowUpdateFailedError as error:
        raise _refusal(error.cause) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise TransientError("incident", _NO_WORKER) from error
    except WorkflowQueryFailedError as error:
        raise TransientError("incident", str(error)) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower():
            raise NotOpenError("incident", f"is not open: {error.message}") from error
        silent = error.status in {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}
        raise TransientError("temporal", _NO_WORKER if silent else error.message or error.status.name) from error


def _refusal(cause: BaseException | None) -> PermanentError:
    if not isinstance(cause, ApplicationError):
        return PermanentError("incident", str(cause))
    errors = tuple(each for each in cause.details if isinstance(each, str))
    return RefusedError(cause.message, errors, awaited=cause.type != NOT_AWAITED)
