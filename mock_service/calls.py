"""What a control call may ask, and how it is refused.

Types are strict (a number in quotes is no number). Unknown fields are ignored, because the callers that the contract
grew up with send one body with every chaos field to each chaos endpoint.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mock_service.chaos import ChaosKind

LONGEST_CORRELATION_ID = 200

CorrelationId = Annotated[str, Field(min_length=1, max_length=LONGEST_CORRELATION_ID)]
Reason = Annotated[str, Field(max_length=4000)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
DurationSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Refused(Exception):  # noqa: N818 - an answer to the caller, not a failure of the service
    """The call is answered with this status and body, and nothing was changed."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(body.get("error"))
        self.status = status
        self.body = dict(body)


class Call(BaseModel):
    """What every control call may carry."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    correlation_id: CorrelationId | None = None


class ActivationCall(Call):
    """Body of POST /deployment/{id}/activate."""

    reason: Reason | None = None
    confidence: Percent | None = None  # 0..100, as the seed's flow speaks it
    rollback_to: Annotated[int, Field(ge=0, le=2**53)] | None = None
    execution_id: Reason | None = None
    expected_live: Annotated[int, Field(ge=0, le=2**53)] | None = None


class SpoilCall(Call):
    """Body of POST /demo/spoil."""

    deployment_id: Annotated[int, Field(ge=0, le=2**53)]
    degradation: Annotated[float, Field(ge=0, le=1.5, allow_inf_nan=False)]  # 0 healthy, 1 as bad as the bad deployment


class ChaosCall(Call):
    """What every chaos call says."""

    duration_seconds: DurationSeconds
    reason: Reason | None = None

    @property
    def lasting(self) -> timedelta:
        """How long the chaos is to last."""
        return timedelta(seconds=self.duration_seconds)

    @property
    def amount(self) -> float:
        """How much of it, in its kind's unit."""
        raise NotImplementedError


class LatencyCall(ChaosCall):
    """Body of POST /chaos/latency."""

    latency_ms: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)]

    @property
    def amount(self) -> float:
        """Milliseconds."""
        return self.latency_ms


class ErrorsCall(ChaosCall):
    """Body of POST /chaos/errors."""

    error_rate_percent: Percent

    @property
    def amount(self) -> float:
        """Percentage points."""
        return self.error_rate_percent


class CpuCall(ChaosCall):
    """Body of POST /chaos/cpu."""

    cpu_percent: Percent

    @property
    def amount(self) -> float:
        """Percent of cpu."""
        return self.cpu_percent


CHAOS_CALLS: Mapping[ChaosKind, type[ChaosCall]] = {
    ChaosKind.LATENCY: LatencyCall,
    ChaosKind.ERRORS: ErrorsCall,
    ChaosKind.CPU: CpuCall,
}

AnyCall = TypeVar("AnyCall", bound=Call)


def read_call(model: type[AnyCall], body: bytes) -> AnyCall:
    """The call in a request body (an empty one is `{}`), or Refused with 422 and the names of the fields at fault."""
    try:
        return model.model_validate_json(body.strip() or b"{}")
    except ValidationError as exc:
        faults = [
            {"field": str(error["loc"][0]) if error["loc"] else "body", "problem": error["msg"]}
            for error in exc.errors(include_url=False, include_context=False, include_input=False)
        ]
        fields = ", ".join(sorted({fault["field"] for fault in faults}))
        raise Refused(422, {"error": f"the request is not valid: {fields}", "detail": faults}) from exc
