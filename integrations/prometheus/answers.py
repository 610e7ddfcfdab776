"""What Prometheus's answers say, by "HTTP API" (prometheus.io/docs/prometheus/latest/querying/api).

A number, or why there is none: an empty answer, NaN, an infinity and a partial answer are four things, and none of them
is a zero.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from incident.errors import PermanentError
from incident.redaction import redact
from integrations.text import one_line

SYSTEM = "prometheus"
MAX_SAID = 300
"""Characters kept of what Prometheus says."""
_MOST_WARNINGS = 3
_REMARK = "PromQL info:"
"""How what says nothing against an answer begins; before 2.54 it stands among the warnings (prometheus#14327)."""


@dataclass(frozen=True)
class Unknown:
    """That there is no number, and why."""

    why: str


@dataclass(frozen=True)
class Sample:
    """One series at the time that was asked for."""

    labels: Mapping[str, str]
    value: JsonValue
    """As it was sent: a text where it is a number; `None`: it is a histogram."""


@dataclass(frozen=True)
class Answer:
    """What a query gave."""

    kind: str
    """Prometheus's resultType: vector, scalar, matrix or string."""
    samples: tuple[Sample, ...] = ()
    """Of a vector or a scalar."""
    warnings: tuple[str, ...] = ()
    """Why it may be partial or wrong."""


class _Data(BaseModel):
    kind: str = Field(alias="resultType")
    result: Any


class _Envelope(BaseModel):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] | None = None


class _Element(BaseModel):
    metric: dict[str, str] = {}
    value: tuple[float, JsonValue] | None = None


_VECTOR, _SCALAR = TypeAdapter(list[_Element]), TypeAdapter(tuple[float, JsonValue])


def parse(body: JsonValue) -> Answer:
    """The answer that `body` holds.

    Raises:
        PermanentError: it is of another shape, or says that the query failed.
    """
    try:
        envelope = _Envelope.model_validate(body)
        if envelope.status != "success" or envelope.data is None:
            raise PermanentError(SYSTEM, f"says: {said(envelope.error) or 'nothing of what was asked'}")
        samples = _samples(envelope.data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise PermanentError(SYSTEM, f"the answer is not Prometheus's: {where} ({first['type']})") from None
    warnings = [each for each in envelope.warnings or () if not each.startswith(_REMARK)][:_MOST_WARNINGS]
    return Answer(said(envelope.data.kind), samples, tuple(map(said, warnings)))


def _samples(data: _Data) -> tuple[Sample, ...]:
    if data.kind == "scalar":
        return (Sample({}, _SCALAR.validate_python(data.result)[1]),)
    if data.kind != "vector":
        return ()
    return tuple(
        Sample(each.metric, each.value[1] if each.value else None) for each in _VECTOR.validate_python(data.result)
    )


def said(text: str) -> str:
    """`text` of Prometheus on one short line, redacted: it may repeat the query, and whatever stands in there."""
    return one_line(redact(text[: 4 * MAX_SAID]), MAX_SAID)


def number(answer: Answer) -> float | Unknown:
    """The one finite number that `answer` gives, or why there is none."""
    if answer.kind not in {"vector", "scalar"}:
        return Unknown(f"the query gives a {answer.kind}, not a value of now")
    if answer.warnings:
        return Unknown(f"the answer may be partial: {'; '.join(answer.warnings)}")
    if not answer.samples:
        return Unknown("nothing was found")
    if len(answer.samples) > 1:
        return Unknown(f"the query gives {len(answer.samples)} series, not one")
    return _finite(answer.samples[0].value)


def _finite(value: JsonValue) -> float | Unknown:
    if value is None:
        return Unknown("the query gives a histogram, not a number")
    try:
        found = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        found = math.nan
    if math.isfinite(found):
        return found
    if isinstance(value, str) and value in {"NaN", "+Inf", "-Inf"}:
        words = {"NaN": "not a number (NaN): nothing was there to be measured"}
        return Unknown(words.get(value, f"infinite ({value})"))
    return Unknown("not a number, nor what Prometheus writes for one")


def last_bucket(answer: Answer) -> float | None:
    """The largest finite `le` among the series; `None` where there is none: then nothing is known of saturation."""
    bounds = (_bound(each.labels.get("le", "")) for each in answer.samples)
    return max((bound for bound in bounds if bound is not None), default=None)


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if math.isfinite(bound) else None
