"""What Prometheus's answers say, by "HTTP API" (prometheus.io/docs/prometheus/latest/querying/api).

A number, or why there is none: an empty answer, NaN, an infinity and a partial answer are four things, and none of them
is a zero.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@dataclass(frozen=True)
class Course:
    """What a query gave over time."""

    points: Mapping[float, float | None]
    """By unix seconds, oldest first; `None`: not a finite number."""
    problem: str = ""
    """Why there is nothing, or nothing that may be believed; empty: there is."""


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


class _Row(BaseModel):
    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []
    histograms: list[JsonValue] = []


_MATRIX = TypeAdapter(list[_Row])
_VECTOR, _SCALAR = TypeAdapter(list[_Element]), TypeAdapter(tuple[float, JsonValue])


def parse(body: JsonValue) -> Answer:
    """The answer that `body` holds.

    Raises:
        PermanentError: it is of another shape, or says that the query failed.
    """
    with _prometheus_own():
        data, warnings = _opened(body)
        return Answer(said(data.kind), _samples(data), warnings)


def parse_course(body: JsonValue) -> Course:
    """The course of values that `body` holds; one that is partial, or of several series, may not be believed.

    Raises:
        PermanentError: as `parse`.
    """
    with _prometheus_own():
        data, warnings = _opened(body)
        if data.kind != "matrix":
            return Course({}, f"the query gives a {said(data.kind)}, not a course of values")
        rows = _MATRIX.validate_python(data.result)
    if warnings:
        return Course({}, f"the answer may be partial: {'; '.join(warnings)}")
    if len(rows) > 1:
        return Course({}, f"the query gives {len(rows)} series, not one")
    if not rows or not rows[0].values:
        return Course({}, "the query gives histograms, not numbers" if rows else "nothing was found")
    found = {at: _finite(value) for at, value in rows[0].values}
    return Course({at: value if isinstance(value, float) else None for at, value in found.items()})


@contextmanager
def _prometheus_own() -> Iterator[None]:
    """Turns what does not fit Prometheus's shape into an error that says where."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise PermanentError(SYSTEM, f"the answer is not Prometheus's: {where} ({first['type']})") from None


def _opened(body: JsonValue) -> tuple[_Data, tuple[str, ...]]:
    """What was asked for, and why it may be partial or wrong."""
    envelope = _Envelope.model_validate(body)
    if envelope.status != "success" or envelope.data is None:
        raise PermanentError(SYSTEM, f"says: {said(envelope.error) or 'nothing of what was asked'}")
    warnings = [each for each in envelope.warnings or () if not each.startswith(_REMARK)][:_MOST_WARNINGS]
    return envelope.data, tuple(map(said, warnings))


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
