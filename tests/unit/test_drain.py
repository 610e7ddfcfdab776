"""What log lines have in common, as the miner finds it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import pytest

from integrations.drain import MAX_WORD, MAX_WORDS, Group, Line, group


def _lines(messages: Iterable[str], level: str = "ERROR") -> tuple[Line, ...]:
    return tuple(Line(number, level, message) for number, message in enumerate(messages))


def _forms(groups: Iterable[Group]) -> dict[str, int]:
    return {f"{each.level} {each.text}": len(each.lines) for each in groups}


def test_lines_that_differ_in_numbers_and_ids_are_one_form() -> None:
    found = group(
        _lines(
            f"charge ch_{number}f refused: upstream 10.0.0.{number}:8080 took {number * 7}ms" for number in range(50)
        )
    )
    assert _forms(found) == {"ERROR charge <*> refused: upstream <*>:<*> took <*>": 50}
    assert [line.nanoseconds for line in found[0].lines] == list(range(50))


def test_words_that_differ_become_a_gap_and_other_sentences_stay_apart() -> None:
    names = ("ada", "grace", "alan")
    found = group(_lines([f"user {name} logged in" for name in names] + ["connection pool is exhausted"]))
    assert _forms(found) == {"ERROR user <*> logged in": 3, "ERROR connection pool is exhausted": 1}


def test_a_form_of_many_numbers_is_one_form() -> None:
    assert _forms(group(_lines(f"GET {n} {n + 1} {n + 2} {n + 3}" for n in range(20)))) == {
        "ERROR GET <*> <*> <*> <*>": 20
    }


def test_levels_do_not_share_forms() -> None:
    found = group((*_lines(["disk is full"], "WARN"), *_lines(["disk is full"], "ERROR")))
    assert _forms(found) == {"WARN disk is full": 1, "ERROR disk is full": 1}


def test_the_first_line_tells_the_form_of_a_stack_trace() -> None:
    traces = [f"ValueError: bad amount {n}\n  at charge.py:{n}\n" + "  at x\n" * n for n in range(5)]
    assert _forms(group(_lines(traces))) == {"ERROR ValueError: bad amount <*>": 5}


def test_an_empty_message_is_a_form_too() -> None:
    assert _forms(group(_lines(["", " \n", ""]))) == {"ERROR ": 3}


def test_a_long_line_is_told_by_its_first_words_and_a_long_word_is_data() -> None:
    (found,) = group(_lines(["x" * (MAX_WORD + 1) + " " + "word " * 500]))
    assert found.text.split() == ["<*>"] + ["word"] * (MAX_WORDS - 1)


def test_forms_that_made_room_are_one_again() -> None:
    once = [f"{chr(97 + n % 26)}{chr(97 + n // 26)} alone" for n in range(300)]
    found = group(_lines(["the pool is exhausted", *once, "the pool is exhausted"]))
    assert _forms(found)["ERROR the pool is exhausted"] == 2


def test_the_same_lines_give_the_same_forms_whatever_the_hash_seed() -> None:
    script = (
        "from integrations.drain import Line, group;"
        "lines = [Line(n, 'ERROR', f'{chr(97 + n % 7)} failed for {chr(97 + n % 11)}{n}') for n in range(300)];"
        "print([(each.text, len(each.lines)) for each in group(lines)])"
    )
    said = {
        subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1
    assert "failed for" in said.pop()


LETTERS = "abcdefghijklmnop"
HOSTILE = {
    "words of two letters": lambda n, at: LETTERS[(n * 7 + at * n) % 16] + LETTERS[(n + at * at) % 16],
    "long words": lambda n, at: LETTERS[(n + at) % 16] * 48 + "-" * 48 + LETTERS[(n * at) % 16],
    "long words that end in a number": lambda n, at: LETTERS[(n + at) % 16] + "-" * 90 + f"={n}",
}


@pytest.mark.parametrize("word", HOSTILE.values(), ids=HOSTILE)
def test_lines_that_share_nothing_do_not_stall_it(word: Callable[[int, int], str]) -> None:
    lines = _lines(" ".join(word(number, at) for at in range(MAX_WORDS)) for number in range(2000))
    began = time.process_time()
    group(lines)
    assert time.process_time() - began < 10
