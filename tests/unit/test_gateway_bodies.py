"""Whatever bytes come, they are read as JSON in one way only, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies import MAX_DEPTH, read_json
from gateway.problems import Reason, Refusal, field_lines

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_every_json_value_that_can_be_kept_is_read_as_it_is(value: Any) -> None:  # noqa: ANN401 - JSON
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60) | st.text('[{"\\u0dD8:,]}e1-NI ').map(lambda text: text.encode()))
def test_any_other_bytes_are_refused_and_nothing_else_happens(body: bytes) -> None:
    reason, value = _read(body)
    assert reason in {None, Reason.ENCODING, Reason.DEPTH}
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def _read(body: bytes) -> tuple[Reason | None, Any]:
    """Why it was refused, or the value."""
    try:
        return None, read_json(body)
    except Refusal as refusal:
        return refusal.reason or Reason.TOKEN, None


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 500, 100_000])
def test_what_is_nested_too_deeply_is_refused_however_deep(opening: bytes, levels: int) -> None:
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    body = opening * levels + (b"1" if opening != b"[" else b"") + closing * levels
    with pytest.raises(Refusal) as caught:
        read_json(body)
    assert caught.value.reason is Reason.DEPTH


def test_thirty_two_levels_are_read() -> None:
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


def test_a_line_of_an_error_holds_nothing_that_was_sent_but_a_fields_name() -> None:
    errors: list[dict[str, Any]] = [
        {"loc": ("body", "note"), "type": "value_error", "msg": "Value error, canary", "input": "canary"},
        {"loc": ("body", "items", 3, "x\x1b" + "y" * 100), "type": "missing", "msg": "Field required"},
    ]
    first, second = field_lines(errors)
    assert first == "body.note: not a usable value"
    assert second == "body.items[3].x?" + "y" * 62 + ": Field required"


def test_no_more_than_fifty_errors_are_told() -> None:
    lines = field_lines([{"loc": ("body", number), "type": "missing", "msg": "Field required"} for number in range(60)])
    assert len(lines) == 51
    assert lines[-1] == "and 10 more"
