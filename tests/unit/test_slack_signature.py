"""Only what Slack signed with the app's secret, and lately, is Slack's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from incident.errors import PermanentError
from integrations.slack import ForgedError, verify
from integrations.slack.signature import MAX_AGE
from tests.standins.slack.payloads import signed

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - the one of Slack's documentation
NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
BODY = b"payload=%7B%7D"
GOOD = signed(BODY, AT, SECRET)["X-Slack-Signature"]


def _refused(body: bytes, timestamp: str | None, signature: str | None, secret: str = SECRET) -> ForgedError:
    with pytest.raises(ForgedError) as raised:
        verify(body, timestamp, signature, secret, NOW)
    return raised.value


def test_the_example_of_slacks_documentation_verifies() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"

    verify(body, "1531420618", signature, SECRET, datetime.fromtimestamp(1531420618, UTC))


@given(st.binary(max_size=200))
def test_whatever_bytes_slack_signs_verify_and_one_byte_more_does_not(body: bytes) -> None:
    signature = signed(body, AT, SECRET)["X-Slack-Signature"]

    verify(body, AT, signature, SECRET, NOW)

    _refused(body + b"&", AT, signature)


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_header_whatever_stands_in_it_is_another_error(timestamp: str, signature: str) -> None:
    _refused(BODY, timestamp, GOOD)
    _refused(BODY, AT, signature)
    _refused(b"\xff\xfe", timestamp, signature)


@pytest.mark.parametrize(
    ("timestamp", "signature"),
    [
        (None, GOOD),
        (AT, None),
        (None, None),
        ("", ""),
        ("soon", GOOD),
        (f"{AT}.0", GOOD),
        (f"+{AT}", GOOD),
        (f" {AT}", GOOD),
        (f"{AT}, {AT}", GOOD),
        ("9" * 400, GOOD),
        (AT.translate({ord(str(each)): chr(0x660 + each) for each in range(10)}), GOOD),
        (AT, GOOD.upper()),
        (AT, GOOD[:-1]),
        (AT, f"{GOOD}0"),
        (AT, f"{GOOD}\n"),
        (AT, f"{GOOD}, {GOOD}"),
        (AT, GOOD.replace("v0", "v1")),
        (AT, f"{GOOD[:-1]}é"),
        (AT, "v0=" + "0" * 64),
        (AT, f"{GOOD}\ud800"),
        (f"{AT}\ud800", GOOD),
    ],
)
def test_a_missing_malformed_or_doubled_header_is_refused_and_no_reason_is_given(
    timestamp: str | None, signature: str | None
) -> None:
    error = _refused(BODY, timestamp, signature)

    assert str(error) == str(_refused(BODY, AT, "v0=" + "f" * 64))
    assert isinstance(error, PermanentError)
    assert SECRET not in str(error)


def test_another_secret_or_none_verifies_nothing() -> None:
    _refused(BODY, AT, GOOD, "another0" * 4)
    _refused(BODY, AT, signed(BODY, AT, "")["X-Slack-Signature"], "")


@pytest.mark.parametrize("off", [MAX_AGE, -MAX_AGE])
def test_a_request_counts_for_five_minutes_on_either_side_of_this_clock(off: timedelta) -> None:
    verify(BODY, AT, GOOD, SECRET, NOW + off)

    with pytest.raises(ForgedError):
        verify(BODY, AT, GOOD, SECRET, NOW + off * (1 + 1 / 300))


def test_the_timestamp_is_signed_as_well() -> None:
    later = str(int(AT) + 1)
    _refused(BODY, later, GOOD)


def test_slacks_own_sdk_signs_the_same() -> None:
    theirs = SignatureVerifier(SECRET).generate_signature(timestamp=AT, body=BODY)

    verify(BODY, AT, theirs, SECRET, NOW)
