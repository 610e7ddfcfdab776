"""Text without what nobody sees, as every way in and every way out has it."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commander.view import plain
from incident.redaction import redact
from incident.text import visible
from integrations.slack.literal import literal
from integrations.text import clean, one_line

UNSEEN = [
    *("\x00", "\x08", "\x1b", "\x7f", "\x85", "\x9b", "\r"),
    *("\u00ad", "\u061c", "\u200b", "\u200d", "\u200e", "\u2028", "\u2029", "\u202e", "\u2066", "\u2069", "\ufeff"),
    *("\u034f", "\u115f", "\u17b4", "\u180e", "\u2800", "\u3164", "\ufe0f", "\uffa0"),
    *("\ud800", "\udfff", "\ue000", "\uffff", "\U000e0001", "\U000e0041", "\U000e007f", "\U000e0100", "\U0010ffff"),
]
SEEN = "Grüße, 支付 ошибка\n\t→ 92 % „ok“ é 😀 a\u00a0b"


@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_what_shows_as_nothing_or_steers_is_left_out(character: str) -> None:
    assert visible(f"a{character}b") == "ab"
    assert visible(f"{character}é{character}\n") == "é\n"


def test_what_people_write_stays() -> None:
    assert visible(SEEN) is SEEN
    assert visible("") == ""


def test_no_tag_is_left_whichever_is_assigned() -> None:
    assert visible("".join(map(chr, range(0xE0000, 0xE1000)))) == ""


def test_every_way_out_goes_through_it() -> None:
    hidden = "".join(each for each in UNSEEN if each not in "\r\x85\u2028\u2029")  # those part words
    for shown in (clean, one_line, literal):
        assert shown(f"pay{hidden}ment", 200) == "payment"
    assert plain(f"pay{hidden}ment") == redact(f"pay{hidden}ment") == "payment"


@settings(derandomize=True)
@given(st.text())
def test_the_same_again_changes_nothing_more_and_what_is_left_can_be_written(text: str) -> None:
    once = visible(text)
    assert visible(once) == once
    assert once.encode().decode() == once
    assert not any(unicodedata.category(each) in {"Cc", "Cf", "Co", "Cs", "Cn"} for each in once if each not in "\n\t")
