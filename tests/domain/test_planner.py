import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from app.domain.intervals import log_e_value
from app.domain.planner import LIVE_VOTES, Assumptions, exact_votes, power, votes_needed

TEXTBOOK = Assumptions(tie_rate=0, live=False)


@pytest.mark.parametrize(("p", "votes"), [(0.55, 783), (0.60, 194), (0.65, 85), (0.70, 47), (0.77, 25)])
def test_the_reference_values_of_the_formula(p: float, votes: int) -> None:
    assert votes_needed(p, assumptions=TEXTBOOK) == votes
    assert votes_needed(1 - p, assumptions=TEXTBOOK) == votes


@pytest.mark.parametrize(("p", "votes"), [(0.55, 786), (0.60, 199), (0.65, 90), (0.70, 49), (10 / 13, 28)])
def test_the_reference_values_of_the_exact_test(p: float, votes: int) -> None:
    assert exact_votes(p) == votes
    assert exact_votes(1 - p) == votes
    assert power(votes, p) >= 0.8 > power(votes - 1, p)


@pytest.mark.parametrize(("votes", "percent"), [(13, 5.9), (15, 9.2), (57, 27), (100, 46), (200, 79)])
def test_the_power_against_a_true_60_percent(votes: int, percent: float) -> None:
    assert 100 * power(votes, 0.6) == pytest.approx(percent, abs=0.05 if percent < 10 else 0.5)


@given(st.integers(1, 30), st.floats(0.01, 0.99), st.floats(0.001, 0.3))
def test_power_is_the_probability_of_what_scipys_test_refuses(votes: int, p: float, alpha: float) -> None:
    refused = [wins for wins in range(votes + 1) if binomtest(wins, votes).pvalue <= alpha]
    assert power(votes, p, alpha) == pytest.approx(sum(binom.pmf(wins, votes, p) for wins in refused), abs=1e-9)


@pytest.mark.parametrize("p", [0.5, 0.0, 1.0, 1.2])
def test_a_rate_that_no_number_of_votes_is_enough_for_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|cannot be told from one half"):
        exact_votes(p)


@pytest.mark.parametrize(("p", "simulated"), [(0.55, 1472), (0.60, 348), (0.65, 148), (0.70, 80), (10 / 13, 45)])
def test_live_looking_costs_about_what_simulated_studies_needed(p: float, simulated: int) -> None:
    assert LIVE_VOTES[p] == simulated
    assert votes_needed(p, assumptions=Assumptions(tie_rate=0)) == pytest.approx(simulated, rel=0.08)
    assert looked_at_after_every_vote(p) == pytest.approx(simulated, rel=0.04)


def looked_at_after_every_vote(p: float) -> int:
    """Votes after which the live interval has excluded one half with a probability of 80%, by exact recursion.

    ``still``: the probability of each number of wins in studies that have not yet excluded it.
    """
    still, found, wins_needed, votes = np.ones(1), 0.0, 0, 0
    while found < 0.8:
        votes += 1
        still = np.append(still * (1 - p), 0.0) + np.insert(still * p, 0, 0.0)
        wins_needed = max(wins_needed, (votes + 1) // 2)
        while wins_needed <= votes and log_e_value(0.5, wins_needed, votes) < math.log(20):
            wins_needed += 1
        for excluded in (slice(wins_needed, None), slice(0, max(0, votes - wins_needed + 1))):
            found += still[excluded].sum()
            still[excluded] = 0.0
    return votes


def test_more_votes_on_the_same_prompts_count_for_less() -> None:
    # The third vote of a prompt with an intra-class correlation of .3: 1 + 2 * .3 = 1.6 times as many.
    assert votes_needed(0.6, 3, TEXTBOOK) == pytest.approx(1.6 * votes_needed(0.6, 1, TEXTBOOK), abs=1)
    independent = Assumptions(tie_rate=0, live=False, icc=0)
    assert votes_needed(0.6, 3, independent) == votes_needed(0.6, 1, independent)


@pytest.mark.parametrize("p", [0.5, 0.96, 0.03, 1.0])
def test_a_rate_that_no_number_of_votes_can_show_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="with 10% ties"):
        votes_needed(p)
