"""Bets on a ratio of failures: bounded where the claim is true, growing where it is not, at every look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident.sequential import Bet, Doubted, raise_bet, requests_needed

LIMIT = 0.01
WRONG = 0.01
REQUESTS = 250
NOISE = 0.8
BOTH = tuple(Doubted)


def ever_proves(doubted: Doubted, failures: list[int], noise: float = NOISE, limit: float = LIMIT) -> int | None:
    """After how many samples the claim is refuted; `None`: never."""
    bet = Bet()
    for number, failed in enumerate(failures, start=1):
        bet = raise_bet(bet, doubted, limit, failed, REQUESTS, noise)
        if bet.proves(WRONG):
            return number
    return None


def shares(doubted: Doubted, ratio: float, noise: float, runs: int = 300, samples: int = 60) -> float:
    """How many of the runs ever refute the claim, looked at after every sample."""
    drawn = np.random.default_rng(1).binomial(REQUESTS, ratio, (runs, samples))
    return sum(ever_proves(doubted, row.tolist(), noise) is not None for row in drawn) / runs


@pytest.mark.parametrize("doubted", BOTH)
def test_a_true_claim_at_its_limit_is_refuted_in_one_of_a_hundred_at_the_most(doubted: Doubted) -> None:
    assert shares(doubted, LIMIT, noise=0.0) <= WRONG


@pytest.mark.parametrize(("doubted", "ratio"), [(Doubted.AT_LEAST, 0.003), (Doubted.AT_MOST, 0.03)])
def test_a_false_claim_is_refuted_nearly_always(doubted: Doubted, ratio: float) -> None:
    assert shares(doubted, ratio, NOISE) >= 0.99


@pytest.mark.parametrize(("doubted", "ratio"), [(Doubted.AT_LEAST, 0.02), (Doubted.AT_MOST, 0.005)])
def test_a_claim_that_is_truer_than_its_limit_is_never_refuted(doubted: Doubted, ratio: float) -> None:
    assert shares(doubted, ratio, noise=0.0) == 0


RAISED = Bet(held=0.3, stakes=(0.4, 0.1, 2.0, 0.2), raised=5)


def expected(doubted: Doubted, limit: float, noise: float) -> float:
    """The worth that `RAISED` is expected to have after 40 requests whose ratio of failures is the limit."""
    chances = [binomial(40, failed, limit) for failed in range(41)]
    worths = [raise_bet(RAISED, doubted, limit, failed, 40, noise).worth for failed in range(41)]
    return sum(chance * worth for chance, worth in zip(chances, worths, strict=True))


@pytest.mark.parametrize("doubted", BOTH)
@pytest.mark.parametrize("noise", [0.0, NOISE])
@pytest.mark.parametrize("limit", [0.001, 0.01, 0.3, 0.9])
def test_the_worth_is_not_expected_to_grow_while_the_claim_is_true(
    doubted: Doubted, noise: float, limit: float
) -> None:
    assert expected(doubted, limit, noise) <= RAISED.worth + 1e-9


@pytest.mark.parametrize("doubted", BOTH)
def test_without_noise_no_evidence_is_given_away(doubted: Doubted) -> None:
    assert expected(doubted, 0.01, noise=0.0) == pytest.approx(RAISED.worth)


def binomial(requests: int, failed: int, ratio: float) -> float:
    ways = 1.0
    for taken in range(failed):
        ways *= (requests - taken) / (taken + 1)
    return ways * ratio**failed * (1 - ratio) ** (requests - failed)


def test_many_requests_that_fail_together_are_worth_less_than_as_many_by_themselves() -> None:
    alone = raise_bet(Bet(), Doubted.AT_LEAST, LIMIT, 0, 100_000, noise=0.0)
    together = raise_bet(Bet(), Doubted.AT_LEAST, LIMIT, 0, 100_000, NOISE)
    assert alone.proves(WRONG)
    assert not together.proves(WRONG)


def test_a_service_that_is_well_late_is_found_well_too() -> None:
    assert (found := ever_proves(Doubted.AT_LEAST, [25] * 20 + [0] * 60)) is not None
    assert found > 20


def test_a_long_good_time_does_not_outweigh_what_is_bad_now() -> None:
    bet = Bet()
    for _ in range(1000):
        bet = raise_bet(bet, Doubted.AT_LEAST, LIMIT, 0, REQUESTS, NOISE)
    assert bet.proves(WRONG)
    for _ in range(3):
        bet = raise_bet(bet, Doubted.AT_LEAST, LIMIT, 25, REQUESTS, NOISE)
    assert not bet.proves(WRONG)


def test_no_requests_change_nothing() -> None:
    assert raise_bet(Bet(), Doubted.AT_LEAST, LIMIT, 0, 0, NOISE) == Bet()


@given(
    st.sampled_from(Doubted),
    st.floats(0, 1),
    st.floats(0, 1e7),
    st.floats(0, 1),
    st.floats(0, 100),
)
def test_a_bet_stays_a_number_whatever_comes(
    doubted: Doubted, limit: float, requests: float, ratio: float, noise: float
) -> None:
    bet = Bet()
    for _ in range(3):
        bet = raise_bet(bet, doubted, limit, requests * ratio, requests, noise)
    assert 0 <= bet.worth < 1e6
    assert Bet.model_validate_json(bet.model_dump_json()) == bet


def test_it_says_how_many_requests_without_a_failure_are_needed() -> None:
    assert requests_needed(0.01, 0.01) == pytest.approx(458.2, abs=0.1)
    assert (1 - 0.01) ** requests_needed(0.01, 0.01) == pytest.approx(0.01)
