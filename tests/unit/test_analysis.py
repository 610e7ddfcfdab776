"""What an analysis may rest on: citations that do not exist cost confidence, and are kept apart."""

import pytest

from incident.analysis import MAX_SHOWN, Analysis
from incident.gate import Course, judge
from incident.policy import Mode
from tests import builders

SEEN = builders.degraded_evidence()


def cited(*ids: str, confidence: float = 0.96) -> Analysis:
    """An analysis that cites `ids`, held to the evidence."""
    decision = builders.decision(evidence_ids=ids, confidence=confidence)
    return builders.analysis(decision=decision).held_to(SEEN.ids)


def test_citations_that_exist_leave_the_analysis_as_it_is() -> None:
    analysis = builders.analysis()
    assert analysis.held_to(SEEN.ids) is analysis


def test_a_decision_that_cites_nothing_keeps_its_confidence() -> None:
    assert cited().decision.confidence == 0.96


@pytest.mark.parametrize(
    ("ids", "confidence", "invented"),
    [
        (("metric:error_rate", "log:404"), 0.48, ("log:404",)),
        (("metric:error_rate", "deployment:101", "log:404"), 0.64, ("log:404",)),
        (("log:404", "log:404", "metric:error_rate"), 0.48, ("log:404",)),
        (("log:404", "log:405"), 0.0, ("log:404", "log:405")),
    ],
    ids=["one of two", "one of three", "one twice", "all"],
)
def test_an_invented_citation_is_left_out_and_takes_its_share_of_the_confidence(
    ids: tuple[str, ...], confidence: float, invented: tuple[str, ...]
) -> None:
    held = cited(*ids)
    assert held.decision.confidence == pytest.approx(confidence)
    assert held.invented == invented
    assert set(held.decision.evidence_ids) == set(ids) - set(invented)


def test_what_is_held_to_the_evidence_twice_is_lowered_once() -> None:
    held = cited("metric:error_rate", "log:404")
    assert held.held_to(SEEN.ids) == held


def test_a_decision_whose_every_citation_is_invented_never_acts() -> None:
    policy = builders.policy(mode=Mode.AUTO, min_confidence=0.5)
    verdicts = [
        judge(analysis.decision, SEEN, builders.assessment(SEEN), builders.ledger(), policy)
        for analysis in (cited("metric:error_rate", confidence=1), cited("log:404", confidence=1))
    ]
    assert [verdict.course for verdict in verdicts] == [Course.ACT, Course.ASK]


def test_what_is_kept_of_an_invented_id_is_short_and_without_secrets() -> None:
    (kept,) = cited("AKIA" + "CANARY7890123456" + " x" * 500).invented
    assert len(kept) == MAX_SHOWN
    assert "CANARY" not in kept
