"""Hostile texts through the whole workflow, with a model that obeys them: a third of the corpus, in turns by the day.

ATTACKS=whole plays all of it, as `make attacks` does.
"""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from commander.attacks.corpus import read_corpus
from commander.attacks.trial import try_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_CORPUS = read_corpus(Path(__file__).parents[1] / "attacks")
_TURN = date.today().toordinal() % 3  # noqa: DTZ011 - any day will do
CASES = _CORPUS if os.environ.get("ATTACKS") == "whole" else _CORPUS[_TURN::3]


async def test_no_text_gains_anything_and_every_benign_twin_is_acted_on(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = await try_all(CASES, tmp_path)
    record_property("ended", report.model_dump_json(exclude={"failures"}))
    assert report.failures == ()
    assert report.held
    assert report.attempts == report.benign_twins_acted == len(CASES)
